//! How long an export would take: the speed of the sample, times the rows that there are.

use serde::Serialize;

use crate::Relation;

use super::sample::Sample;
use super::{CheckReport, Verdict};

/// How long one connection would read a relation and assemble its resources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// The relation.
    pub relation: String,
    /// Its rows, as the planner estimates them.
    pub rows: u64,
    /// As measured in the sample.
    pub rows_per_second: u64,
    /// The estimate.
    pub milliseconds: u64,
}

impl Estimate {
    /// None of a relation without rows.
    pub(super) fn of(relation: &Relation, rows: u64, sample: &Sample) -> Option<Self> {
        let sampled = sample.rows.len() as f64;
        let per_second = sampled / sample.elapsed.as_secs_f64().max(1e-6);
        (sampled > 0.0).then(|| Self {
            relation: relation.name.clone(),
            rows,
            rows_per_second: per_second as u64,
            milliseconds: (rows as f64 / per_second * 1000.0).ceil() as u64,
        })
    }

    pub(super) fn in_words(&self) -> String {
        format!("{} rows/s, about {} to read", self.rows_per_second, duration(self.milliseconds))
    }
}

/// Adds up.
pub(super) fn total(report: &mut CheckReport) {
    if report.estimates.is_empty() {
        return;
    }
    let rows: u64 = report.estimates.iter().map(|e| e.rows).sum();
    let milliseconds = report.estimates.iter().map(|e| e.milliseconds).sum();
    let detail = format!(
        "about {} to read {rows} rows over one connection: an estimate from the rows looked at",
        duration(milliseconds)
    );
    report.add("export time", Verdict::Ok, detail);
}

/// In words, with two digits or so.
fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds.div_ceil(1000);
    match seconds {
        0..=1 => "1 s".to_owned(),
        2..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up_to_what_one_would_say() {
        for (milliseconds, words) in
            [(3, "1 s"), (1500, "2 s"), (119_000, "119 s"), (121_000, "3 min"), (9_000_000, "3 h")]
        {
            assert_eq!(duration(milliseconds), words);
        }
    }
}
