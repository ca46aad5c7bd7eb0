//! Whether a practice's schema keeps the source contract, as far as that can be seen.
//!
//! Meant for the person who connects a practice: every line says what was looked at, whether it will do, and
//! what to change where it will not. Nothing is written, plans are made but only samples are read, and no
//! line holds an id or a value of a row: counts only. [`CheckOptions::show_sample`] is the one exception, and
//! has to be asked for.

mod codes;
mod indent;
mod indexes;
mod relation;
mod resource;
mod rows;
mod sample;
mod server;
mod stamps;
mod statement_of_index;
mod time;

use headgate_domain::ResourceType;
use headgate_domain::mapping::MappingSet;
use serde::Serialize;

use crate::{Catalog, Source, SourceError};

pub use sample::SampleResource;
pub use time::Estimate;

/// What to look at.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckOptions<'m> {
    /// The mapping set of the practice.
    pub mappings: Option<&'m MappingSet>,
    /// Whether the report may hold one resource of each template: a patient's data.
    pub show_sample: bool,
}

/// What [`Source::check`] found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Whether the database could be reached.
    pub connected: bool,
    /// The findings, in reading order.
    pub rows: Vec<Check>,
    /// What an export would take, by relation.
    pub estimates: Vec<Estimate>,
    /// One resource of each template, where they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<SampleResource>,
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
    /// Statements that change it, to be run by the owner of the tables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statements: Vec<String>,
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
        self.add_with(what, verdict, detail, Vec::new());
    }

    fn add_with(
        &mut self,
        what: impl Into<String>,
        verdict: Verdict,
        detail: impl Into<String>,
        statements: Vec<String>,
    ) {
        self.rows.push(Check { what: what.into(), verdict, detail: detail.into(), statements });
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
    pub async fn check(&self, options: CheckOptions<'_>) -> CheckReport {
        let mut report =
            CheckReport { connected: false, rows: Vec::new(), estimates: Vec::new(), samples: Vec::new() };
        if let Err(e) = server::connection(self, &mut report).await {
            report.failed("connection", &e);
            return report;
        }
        report.connected = true;
        match self.catalog(options.mappings).await {
            Ok(catalog) => {
                schema(&catalog, options.mappings, &mut report);
                server::horizon(self, &mut report).await;
                for relation in &catalog.relations {
                    relation::check(self, relation, options.show_sample, &mut report).await;
                }
                time::total(&mut report);
            }
            Err(e) => report.failed(format!("schema {}", self.schema()), &e),
        }
        report
    }
}

/// What the catalogue says.
fn schema(catalog: &Catalog, mappings: Option<&MappingSet>, report: &mut CheckReport) {
    let is_there = |t: ResourceType| catalog.relations_of(t).next().is_some();
    let is_mapped = |t: ResourceType| mappings.is_some_and(|mappings| mappings.streams(t).is_some());
    let is_unusable = |name: &str| catalog.unusable.iter().any(|u| u.relation == name);
    let absent: Vec<&str> = ResourceType::USCDI
        .iter()
        .filter(|t| !is_there(**t) && !is_mapped(**t))
        .map(|t| t.relation())
        .filter(|name| !is_unusable(name))
        .collect();
    let types = ResourceType::ALL.iter().filter(|t| is_there(**t)).count();
    let verdict = if types == 0 { Verdict::Fail } else { Verdict::Ok };
    let mut detail = format!("{types} resource types");
    if !absent.is_empty() {
        detail.push_str(&format!("; unsupported for want of a relation: {}", absent.join(", ")));
    }
    report.add(format!("schema {}", catalog.schema), verdict, detail);
    for unusable in &catalog.unusable {
        for problem in unusable.problem.lines() {
            report.add(unusable.relation.as_str(), Verdict::Fail, problem);
        }
    }
    if catalog.tombstone {
        report.add("tombstone", Verdict::Ok, "as agreed");
    } else if !is_unusable("tombstone") {
        let detail = "no relation: deletions cannot be reported to clients that use _since";
        report.add("tombstone", Verdict::Warn, detail);
    }
    if catalog.group_member {
        report.add("group_member", Verdict::Ok, "as agreed");
    }
    if catalog.binary {
        report.add("binary", Verdict::Ok, "as agreed");
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
