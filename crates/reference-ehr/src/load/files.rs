//! The files of a load: listing a folder, and reading its lines into COPY batches on a thread of its own,
//! so that parsing overlaps with the database's work. Memory is bounded by the batches, not by the files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use headgate_domain::ResourceType;
use indicatif::ProgressBar;
use tokio::sync::mpsc;

use super::MAX_LINE_BYTES;
use super::copy::{Batch, Destination};
use super::error::{LineProblem, LoadError};
use super::row;

/// A batch is sent when it is this long.
const BATCH_BYTES: usize = 2 << 20;
const READ_BYTES: usize = 1 << 20;

/// COPY data and where it goes.
pub(super) type Filled = (Destination, Vec<u8>);

/// What was read.
#[derive(Default)]
pub(super) struct ReadSummary {
    pub rows: BTreeMap<ResourceType, u64>,
    pub bytes: u64,
}

/// The NDJSON files of a folder, in the order of their names.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let failed = |source| LoadError::Folder { folder: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_file() && (name.ends_with(".ndjson") || name.ends_with(".ndjson.gz")) {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() { Err(LoadError::NoFiles(folder.to_owned())) } else { Ok(files) }
}

/// Reads all files, in order, and sends their rows. The bar moves by bytes on disk. Stops early, without
/// an error, when the receiver is gone: it is the receiver that knows why.
pub(super) fn read(
    files: &[PathBuf],
    bar: &ProgressBar,
    filled: &mpsc::Sender<Filled>,
) -> Result<ReadSummary, LoadError> {
    bar.set_length(files.iter().filter_map(|f| f.metadata().ok()).map(|m| m.len()).sum());
    let mut reading = Reading { filled, open: BTreeMap::new(), summary: ReadSummary::default() };
    for (number, path) in files.iter().enumerate() {
        if !reading.file(number, path, bar)? {
            return Ok(reading.summary);
        }
    }
    for (destination, batch) in std::mem::take(&mut reading.open) {
        reading.send(destination, batch);
    }
    Ok(reading.summary)
}

struct Reading<'a> {
    filled: &'a mpsc::Sender<Filled>,
    open: BTreeMap<Destination, Batch>,
    summary: ReadSummary,
}

impl Reading<'_> {
    /// Reads one file; `false` when nobody receives any more.
    fn file(&mut self, number: usize, path: &Path, bar: &ProgressBar) -> Result<bool, LoadError> {
        let mut line_number = 0;
        let failed = |line, source| LoadError::Read { file: path.to_owned(), line, source };
        let mut input = open(path, bar).map_err(|source| failed(0, source))?;
        let mut line = Vec::new();
        loop {
            line.clear();
            // Two bytes more than a line may have: its line feed, and the one that shows it is too long.
            let mut bounded = input.by_ref().take(MAX_LINE_BYTES as u64 + 2);
            let read = bounded.read_until(b'\n', &mut line).map_err(|source| failed(line_number, source))?;
            if read == 0 {
                return Ok(true);
            }
            line_number += 1;
            self.summary.bytes += read as u64;
            let body = line.strip_suffix(b"\n").unwrap_or(&line);
            if body.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let accepted = self.line(number, line_number, body);
            if !accepted.map_err(|problem| LoadError::Line {
                file: path.to_owned(),
                line: line_number,
                problem,
            })? {
                return Ok(false);
            }
        }
    }

    fn line(&mut self, file: usize, line: u64, body: &[u8]) -> Result<bool, LineProblem> {
        if body.len() > MAX_LINE_BYTES {
            return Err(LineProblem::TooLong);
        }
        let row = row::parse(body)?;
        *self.summary.rows.entry(row.resource_type).or_default() += 1;
        let destination = Destination::of(&row);
        let batch = self.open.entry(destination).or_insert_with(|| Batch::new(BATCH_BYTES));
        batch.push(&row, file, line, body);
        if batch.len() < BATCH_BYTES {
            return Ok(true);
        }
        let batch = self.open.remove(&destination).expect("it was just filled");
        Ok(self.send(destination, batch))
    }

    fn send(&self, destination: Destination, batch: Batch) -> bool {
        self.filled.blocking_send((destination, batch.finish())).is_ok()
    }
}

/// Opens a file, unpacking `.gz` (also of several members, as bgzip writes them).
fn open(path: &Path, bar: &ProgressBar) -> std::io::Result<Box<dyn BufRead>> {
    let packed = BufReader::with_capacity(READ_BYTES, bar.wrap_read(File::open(path)?));
    Ok(match path.extension().is_some_and(|extension| extension == "gz") {
        true => Box::new(BufReader::with_capacity(READ_BYTES, MultiGzDecoder::new(packed))),
        false => Box::new(packed),
    })
}
