//! What came out of an export.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::manifest::Section;
use super::record::Record;

/// An export that is complete and verified.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Status URL of the export at the server.
    pub status_url: String,
    /// `transactionTime` of the manifest: `_since` of the next export.
    pub transaction_time: String,
    /// Resources in the output files.
    pub resources: u64,
    /// Output files.
    pub files: u64,
    /// Bytes of the output files.
    pub bytes: u64,
    /// From the kick-off until everything was on disk, also where that took several runs.
    pub seconds: f64,
    /// Resources by type.
    pub by_type: BTreeMap<String, u64>,
    /// OperationOutcomes in the error files.
    pub error_outcomes: u64,
    /// Resources reported as deleted.
    pub deleted: u64,
    /// Everything was here before: nothing was asked of the server.
    pub already_complete: bool,
    /// What became of the current state, where one is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merged: Option<Merged>,
}

/// What merging a run into the current state did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Merged {
    /// Number of the run, from 1.
    pub run: u64,
    /// Resources that were added or replaced.
    pub written: u64,
    /// Resources that were removed, of those that the server reports as deleted.
    pub removed: u64,
    /// Resources in the files that were written anew.
    pub current: u64,
}

impl Summary {
    /// The summary of an export that is complete.
    pub(super) fn of(record: &Record) -> Self {
        let took = record.completed_at.unwrap_or(record.kicked_off_at) - record.kicked_off_at;
        let mut summary = Summary {
            status_url: record.status_url.to_string(),
            transaction_time: record.transaction_time.clone().unwrap_or_default(),
            seconds: took.num_milliseconds().max(0) as f64 / 1000.0,
            ..Summary::default()
        };
        for file in &record.files {
            match file.key.section {
                Section::Output => {
                    summary.resources += file.resources;
                    summary.files += 1;
                    summary.bytes += file.received.bytes;
                    let name = file.resource_type.as_deref().unwrap_or("(several)");
                    *summary.by_type.entry(name.to_owned()).or_default() += file.resources;
                }
                Section::Error => summary.error_outcomes += file.resources,
                Section::Deleted => summary.deleted += file.resources,
            }
        }
        summary
    }

    /// For people: a table of types, the totals, and what needs attention.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header(["type", "resources"]);
        for (name, count) in &self.by_type {
            table.add_row([name.clone(), HumanCount(*count).to_string()]);
        }
        table.add_row(["total".to_owned(), HumanCount(self.resources).to_string()]);
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut text = format!(
            "{table}\n{} files, {}, {:.1} s, {} resources/s",
            HumanCount(self.files),
            HumanBytes(self.bytes),
            self.seconds,
            HumanCount(self.resources_per_second()),
        );
        if self.deleted > 0 {
            text.push_str(&format!("\n{} resources were deleted", HumanCount(self.deleted)));
        }
        if self.error_outcomes > 0 {
            let count = HumanCount(self.error_outcomes);
            text.push_str(&format!("\n{count} OperationOutcomes in the error files: read them"));
        }
        if self.already_complete {
            text.push_str("\nthe export in this folder was complete already; nothing was downloaded");
        }
        if let Some(merged) = &self.merged {
            text.push_str(&format!(
                "\nrun {}: {} resources added or replaced, {} removed; the state is that of {}",
                merged.run,
                HumanCount(merged.written),
                HumanCount(merged.removed),
                self.transaction_time
            ));
        } else if !self.transaction_time.is_empty() {
            text.push_str(&format!("\nnext time: --since {}", self.transaction_time));
        }
        text
    }

    fn resources_per_second(&self) -> u64 {
        (self.resources as f64 / self.seconds.max(0.001)) as u64
    }
}
