//! Values of the EHR that the code tables of a mapping do not know.

use crate::Relation;

use super::sample::Sample;
use super::{CheckReport, Verdict};

pub(super) fn check(relation: &Relation, sample: &Sample, report: &mut CheckReport) {
    if sample.misses.is_empty() {
        return;
    }
    let missed: Vec<String> = sample
        .misses
        .iter()
        .filter(|(_, rows)| **rows > 0)
        .map(|(table, rows)| format!("{table} leaves out the values of {rows} rows"))
        .collect();
    let what = format!("{}: codes", relation.name);
    if missed.is_empty() {
        report.add(what, Verdict::Ok, "the code tables know every value");
    } else {
        let detail =
            format!("{}: add entries for them, or null entries for what is meant to go", missed.join("; "));
        report.add(what, Verdict::Warn, detail);
    }
}
