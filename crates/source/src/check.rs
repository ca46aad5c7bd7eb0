//! Whether a practice's schema keeps the source contract, as far as that can be seen.
//!
//! Meant for the person who connects a practice: every line says what was looked at, whether it will do, and
//! what to change where it will not. Nothing is written, plans are made but only samples are read, and no
//! line holds an id or a value of a row: counts only.

mod indexes;
mod sample;
mod server;

use serde::Serialize;

use crate::{Catalog, Relation, Source, SourceError};
use headgate_domain::ResourceType;

/// What [`Source::check`] found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The findings, in reading order.
    pub rows: Vec<Check>,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at: `connection`, `patient: indexes`.
    pub what: String,
    /// Whether it will do.
    pub verdict: Verdict,
    /// What was found and, where it will not do, what to change.
    pub detail: String,
}

/// How a finding is to be taken; ordered from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Exports work, but something should be looked at.
    Warn,
    /// Exports fail, leave resources out or burden the database.
    Fail,
}

impl CheckReport {
    /// The worst verdict.
    #[must_use]
    pub fn worst(&self) -> Verdict {
        self.rows.iter().map(|r| r.verdict).max().unwrap_or(Verdict::Ok)
    }

    fn add(&mut self, what: impl Into<String>, verdict: Verdict, detail: impl Into<String>) {
        self.rows.push(Check { what: what.into(), verdict, detail: detail.into() });
    }

    /// Adds a finding that could not be made.
    fn failed(&mut self, what: impl Into<String>, error: &SourceError) {
        self.add(what, Verdict::Fail, describe(error));
    }
}

/// The error with its causes, which hold no data either.
fn describe(error: &SourceError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

impl Source {
    /// Looks at the practice's database and reports. Never fails: what goes wrong is a finding.
    pub async fn check(&self) -> CheckReport {
        let mut report = CheckReport { rows: Vec::new() };
        if let Err(e) = server::connection(self, &mut report).await {
            report.failed("connection", &e);
            return report;
        }
        match self.catalog().await {
            Ok(catalog) => {
                schema(&catalog, &mut report);
                server::horizon(self, &mut report).await;
                for relation in &catalog.relations {
                    check_relation(self, relation, &mut report).await;
                }
            }
            Err(e) => report.failed(format!("schema {}", self.schema()), &e),
        }
        report
    }
}

/// What the catalogue says.
fn schema(catalog: &Catalog, report: &mut CheckReport) {
    let what = format!("schema {}", catalog.schema);
    let absent: Vec<&str> = ResourceType::USCDI
        .iter()
        .filter(|t| catalog.relation(**t).is_none())
        .map(|t| t.relation())
        .filter(|name| catalog.unusable.iter().all(|u| u.relation != *name))
        .collect();
    let verdict = if catalog.relations.is_empty() { Verdict::Fail } else { Verdict::Ok };
    let mut detail = format!("{} resource types", catalog.relations.len());
    if !absent.is_empty() {
        detail.push_str(&format!("; unsupported for want of a relation: {}", absent.join(", ")));
    }
    report.add(what, verdict, detail);
    for unusable in &catalog.unusable {
        report.add(unusable.relation.as_str(), Verdict::Fail, unusable.problem.as_str());
    }
    if !catalog.tombstone && catalog.unusable.iter().all(|u| u.relation != "tombstone") {
        let detail = "no relation: deletions cannot be reported to clients that use _since";
        report.add("tombstone", Verdict::Warn, detail);
    } else if catalog.tombstone {
        report.add("tombstone", Verdict::Ok, "as agreed");
    }
    if catalog.group_member {
        report.add("group_member", Verdict::Ok, "as agreed");
    }
}

/// What one relation's columns, plans and first rows say.
async fn check_relation(source: &Source, relation: &Relation, report: &mut CheckReport) {
    let key = match relation.page_key {
        Some(page_key) => format!("(page_key {}, id)", format!("{page_key:?}").to_lowercase()),
        None => "id".to_owned(),
    };
    let body = format!("{:?}", relation.body).to_lowercase();
    match server::relation(source, relation).await {
        Ok(facts) => {
            let detail = format!("about {} rows, key {key}, resource {body}", facts.rows);
            if facts.writable {
                let detail = format!("{detail}; the role may write here: REVOKE all but SELECT");
                report.add(&relation.name, Verdict::Warn, detail);
            } else {
                report.add(&relation.name, Verdict::Ok, detail);
            }
            if let Err(e) = indexes::check(source, relation, facts.rows, report).await {
                report.failed(format!("{}: indexes", relation.name), &e);
            }
        }
        Err(e) => report.failed(&relation.name, &e),
    }
    if let Err(e) = sample::check(source, relation, report).await {
        report.failed(format!("{}: rows", relation.name), &e);
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
