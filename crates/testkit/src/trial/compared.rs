//! Input and output of one export, side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use crate::oracle::{ExportedFile, Limits, Multiset, check_names, read_export};

/// How many places of the input a report names.
const PLACES: usize = 5;

/// The comparison of an export with its input.
#[derive(Debug, Clone)]
pub struct Compared {
    expected: BTreeMap<String, u64>,
    found: BTreeMap<String, u64>,
    files: BTreeMap<String, u64>,
    problems: Vec<String>,
    bytes: u64,
}

impl Compared {
    pub(super) fn new(expected: &Multiset, input: &Path, out: &Path) -> Result<Self> {
        let (found, files) = read_export(out)?;
        let found = found.sorted();
        let mut problems = check_names(&files, Limits::default());
        let differences = expected.differences(&found);
        for difference in &differences {
            problems.push(format!(
                "{}: {} lines are missing, {} are too many",
                difference.resource_type, difference.missing, difference.extra
            ));
        }
        if differences.iter().any(|difference| difference.missing > 0) {
            let places = expected.locate_missing(&found, input, PLACES)?;
            problems.extend(places.into_iter().map(|place| format!("missing: {place}")));
        }
        Ok(Self {
            expected: expected.counts(),
            found: found.counts(),
            files: files_by_type(&files),
            problems,
            bytes: found.bytes(),
        })
    }

    /// What is wrong, a line each; empty when the export is right.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Resources in the output.
    #[must_use]
    pub fn resources(&self) -> u64 {
        self.found.values().sum()
    }

    /// Bytes of the output.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Files of the output.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.files.values().sum()
    }

    /// A table by type: input, output, files.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = row("type", "input", "output", "files");
        let types: BTreeSet<&String> = self.expected.keys().chain(self.found.keys()).collect();
        let of =
            |counts: &BTreeMap<String, u64>, name: &str| counts.get(name).copied().unwrap_or(0).to_string();
        for name in types {
            table += &row(name, &of(&self.expected, name), &of(&self.found, name), &of(&self.files, name));
        }
        let sum = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>().to_string();
        table + &row("total", &sum(&self.expected), &sum(&self.found), &sum(&self.files))
    }
}

fn row(name: &str, input: &str, output: &str, files: &str) -> String {
    let mut row = String::new();
    // Writing to a text cannot fail.
    let _written = writeln!(row, "{name:<24}{input:>12}{output:>12}{files:>8}");
    row
}

fn files_by_type(files: &[ExportedFile]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for file in files {
        *counts.entry(file.resource_type.clone()).or_default() += 1;
    }
    counts
}
