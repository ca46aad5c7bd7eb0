//! What came out of an export.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;
use url::Url;

use super::download::Fetched;
use super::manifest::{Manifest, Section};

/// An export that is complete and verified.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
    /// From before the kick-off until everything was on disk.
    pub seconds: f64,
    /// Resources by type.
    pub by_type: BTreeMap<String, u64>,
    /// OperationOutcomes in the error files.
    pub error_outcomes: u64,
    /// Resources reported as deleted.
    pub deleted: u64,
}

impl Summary {
    pub(super) fn new(status_url: &Url, manifest: &Manifest, fetched: &[Fetched], elapsed: Duration) -> Self {
        let mut summary = Summary {
            status_url: status_url.to_string(),
            transaction_time: manifest.transaction_time.clone(),
            resources: 0,
            files: 0,
            bytes: 0,
            seconds: (elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
            by_type: BTreeMap::new(),
            error_outcomes: 0,
            deleted: 0,
        };
        for file in fetched {
            match file.section {
                Section::Output => {
                    summary.resources += file.resources;
                    summary.files += 1;
                    summary.bytes += file.bytes;
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
        if !self.transaction_time.is_empty() {
            text.push_str(&format!("\nnext time: --since {}", self.transaction_time));
        }
        text
    }

    fn resources_per_second(&self) -> u64 {
        (self.resources as f64 / self.seconds.max(0.001)) as u64
    }
}
