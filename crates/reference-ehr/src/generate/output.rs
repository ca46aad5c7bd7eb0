//! Where the documents go: one NDJSON file per type, and a count that stops at the wanted number.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use headgate_domain::ResourceType;
use indicatif::ProgressBar;

use super::GenerateReport;
use super::json::{Filler, Json};
use super::moment::Moment;

/// The files of one run.
pub(super) struct Output {
    files: BTreeMap<ResourceType, BufWriter<File>>,
    json: Json,
    filler: Filler,
    line_bytes: Option<usize>,
    remaining: u64,
    report: GenerateReport,
    bar: ProgressBar,
}

impl Output {
    /// Creates `{Type}.ndjson` in `folder` for each of the 20 types.
    pub(super) fn create(folder: &Path, line_bytes: Option<usize>, bar: &ProgressBar) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut files = BTreeMap::new();
        for t in ResourceType::USCDI {
            let file = File::create(folder.join(format!("{t}.ndjson")))?;
            files.insert(t, BufWriter::with_capacity(256 << 10, file));
        }
        Ok(Self {
            files,
            json: Json::default(),
            filler: Filler::default(),
            line_bytes,
            remaining: 0,
            report: GenerateReport::default(),
            bar: bar.clone(),
        })
    }

    /// Takes `count` resources from now on and drops the rest. Documents refer only to documents written
    /// before them, so that the set is whole wherever it stops.
    pub(super) fn allow(&mut self, count: u64) {
        self.remaining = count;
        self.bar.set_position(self.report.resources);
    }

    pub(super) fn is_full(&self) -> bool {
        self.remaining == 0
    }

    /// Whether lines are padded with a narrative, so that documents need not write one.
    pub(super) fn is_padded(&self) -> bool {
        self.line_bytes.is_some()
    }

    /// Writes one resource with its id, last change and US Core profile; `members` writes the rest.
    pub(super) fn resource(
        &mut self,
        t: ResourceType,
        id: &str,
        updated: Moment,
        profile: &str,
        members: impl FnOnce(&mut Json),
    ) -> io::Result<()> {
        if self.is_full() {
            return Ok(());
        }
        self.remaining -= 1;
        self.json.begin(t, id, updated, profile);
        members(&mut self.json);
        let line = self.json.finish(self.line_bytes, &mut self.filler);
        self.report.bytes += line.len() as u64;
        self.report.resources += 1;
        *self.report.by_type.entry(t).or_default() += 1;
        self.files.get_mut(&t).expect("only USCDI types are generated").write_all(line)
    }

    /// Flushes the files.
    pub(super) fn finish(mut self) -> io::Result<GenerateReport> {
        for file in self.files.values_mut() {
            file.flush()?;
        }
        self.bar.set_position(self.report.resources);
        Ok(self.report)
    }
}
