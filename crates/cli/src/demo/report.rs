//! What came out, as tables for people and as one line of JSON for programs.

use std::collections::BTreeMap;
use std::path::Path;

use comfy_table::{CellAlignment, TableComponent};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::exports::Finished;
use super::files::Tally;
use crate::output;

#[derive(Serialize)]
struct Report<'a> {
    exports: Vec<ExportReport<'a>>,
    dir: &'a Path,
}

#[derive(Serialize)]
struct ExportReport<'a> {
    practice: &'a str,
    level: &'a str,
    resources: u64,
    files: u64,
    bytes: u64,
    seconds: f64,
    by_type: &'a BTreeMap<String, u64>,
    source_rows: &'a BTreeMap<String, u64>,
    equal: bool,
}

/// Prints the summary as one line to stdout.
pub(super) fn print_json(exports: &[Finished], dir: &Path) {
    let exports = exports.iter().map(|export| ExportReport {
        practice: export.practice.slug,
        level: &export.level,
        resources: export.summary.resources,
        files: export.summary.files,
        bytes: export.summary.bytes,
        seconds: export.summary.seconds,
        by_type: &export.summary.by_type,
        source_rows: &export.source_rows,
        equal: export.is_equal(),
    });
    output::print_json(&Report { exports: exports.collect(), dir });
}

/// A table for each export.
pub(super) fn tables(exports: &[Finished]) -> String {
    exports.iter().map(table).collect::<Vec<_>>().join("\n")
}

fn table(export: &Finished) -> String {
    let mut table = output::table(["type", "rows in the database", "resources", "files", "bytes"]);
    // Twenty rows need no lines between them.
    table.remove_style(TableComponent::HorizontalLines).remove_style(TableComponent::MiddleIntersections);
    let mut types: Vec<&String> = export.source_rows.keys().chain(export.on_disk.keys()).collect();
    types.sort();
    types.dedup();
    let mut sum = Tally::default();
    for name in types {
        let rows = export.source_rows.get(name).copied().unwrap_or_default();
        let tally = export.on_disk.get(name).copied().unwrap_or_default();
        table.add_row(row(name, rows, tally));
        sum.resources += tally.resources;
        sum.files += tally.files;
        sum.bytes += tally.bytes;
    }
    table.add_row(row("total", export.source_rows.values().sum(), sum));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let (name, level) = (export.practice.name, &export.level);
    format!("\n{name}, {level}\n{table}\n{}\n{}", rate(export), verdict(export))
}

fn row(name: &str, rows: u64, tally: Tally) -> [String; 5] {
    [
        name.to_owned(),
        HumanCount(rows).to_string(),
        HumanCount(tally.resources).to_string(),
        HumanCount(tally.files).to_string(),
        HumanBytes(tally.bytes).to_string(),
    ]
}

fn rate(export: &Finished) -> String {
    let summary = &export.summary;
    let per_second = (summary.resources as f64 / summary.seconds.max(0.001)) as u64;
    format!(
        "{} resources in {} files, {}, in {:.1} s from kick-off to the last file: {} resources/s",
        HumanCount(summary.resources),
        HumanCount(summary.files),
        HumanBytes(summary.bytes),
        summary.seconds,
        HumanCount(per_second),
    )
}

fn verdict(export: &Finished) -> String {
    if export.is_equal() {
        return "every count equals that of the source".to_owned();
    }
    let errors = export.summary.error_outcomes;
    format!("NOT equal to the source: {}; {errors} errors reported", export.differing().join(", "))
}
