//! One relation: its columns, plans, first rows, and how long it takes to read.

use crate::{Content, Relation, Source, SourceError};

use super::sample::{self, Sample};
use super::time::Estimate;
use super::{CheckReport, Verdict, codes, indexes, rows, server, stamps};

pub(super) async fn check(source: &Source, relation: &Relation, show_sample: bool, report: &mut CheckReport) {
    let facts = match server::relation(source, relation).await {
        Ok(facts) => facts,
        Err(e) => return report.failed(&relation.name, &e),
    };
    let sample = sample::read(source, relation).await;
    let read = sample.as_ref().ok();
    // What was read to its end is known; the planner may never have looked at it.
    let rows = read.filter(|s| s.complete).map_or(facts.rows, |s| s.rows.len() as u64);
    let estimate = read.and_then(|sample| Estimate::of(relation, rows, sample));
    let mut detail = format!("{}, {}", shape(relation), rows_in_words(rows, read));
    if let Some(estimate) = estimate {
        detail.push_str(&format!("; {}", estimate.in_words()));
        report.estimates.push(estimate);
    }
    if facts.writable {
        detail.push_str("; the role may write here: REVOKE all but SELECT");
    }
    let verdict = if facts.writable { Verdict::Warn } else { Verdict::Ok };
    report.add(&relation.name, verdict, detail);
    if let Err(e) = indexes::check(source, relation, rows, report).await {
        report.failed(format!("{}: indexes", relation.name), &e);
    }
    if let Err(e) = stamps::check(source, relation, report).await {
        report.failed(format!("{}: last_updated", relation.name), &e);
    }
    let looked_at = match sample {
        Ok(sample) => look_at(source, relation, &sample, report).await.map(|()| sample),
        Err(e) => Err(e),
    };
    match looked_at {
        Ok(sample) if show_sample => report.samples.extend(sample.one_of_each(relation)),
        Ok(_) => {}
        Err(e) => report.failed(format!("{}: rows", relation.name), &e),
    }
}

async fn look_at(
    source: &Source,
    relation: &Relation,
    sample: &Sample,
    report: &mut CheckReport,
) -> Result<(), SourceError> {
    let stamps = stamps::of_first_rows(source, relation).await?;
    rows::check(relation, sample, &stamps, report);
    codes::check(relation, sample, report);
    Ok(())
}

/// Its key, and what its rows have.
fn shape(relation: &Relation) -> String {
    let key = match relation.page_key {
        Some(page_key) => format!("(page_key {}, id)", format!("{page_key:?}").to_lowercase()),
        None => "id".to_owned(),
    };
    match &relation.content {
        Content::Ready(body) => format!("key {key}, resource {}", format!("{body:?}").to_lowercase()),
        Content::Mapped { mapping, columns } => {
            format!("key {key}, {} columns for {}", columns.len(), mapping.file())
        }
    }
}

fn rows_in_words(rows: u64, sample: Option<&Sample>) -> String {
    if sample.is_some_and(|sample| sample.complete) {
        format!("{rows} rows")
    } else {
        format!("about {rows} rows")
    }
}
