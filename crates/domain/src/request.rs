//! A kick-off request, parsed (Bulk Data IG, Bulk Data Kick-off Request).
//!
//! Everything is read at the edge into an [`ExportRequest`] that cannot be wrong; later code never
//! looks at the raw parameters again. What is unknown is refused, unless the client asked for lenient
//! handling: then it is ignored and the client is told. An export is never wider than its request: where lenient
//! handling ignores a part of a restriction, the rest still restricts.

mod parameters;
mod prefer;
mod read;
mod selection;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::outcome::{Issue, IssueCode};
use crate::practice::PracticeOptions;
use crate::{ResourceType, ids, instant};

pub use parameters::{Form, Parameters};
pub use prefer::Prefer;
pub use selection::{AssociatedProvenance, Delivery, Selection};

/// Which patients an export is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// `[base]/$export`: everything of the practice.
    System,
    /// `[base]/Patient/$export`: all patients, the directory and Medication.
    Patient,
    /// `[base]/Group/[id]/$export`: the members, the directory and Medication.
    Group(String),
}

impl Level {
    /// The level's name in records and summaries: `system`, `patient` or `group`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Level::System => "system",
            Level::Patient => "patient",
            Level::Group(_) => "group",
        }
    }

    /// The group's id at Group level.
    #[must_use]
    pub fn group_id(&self) -> Option<&str> {
        match self {
            Level::Group(id) => Some(id),
            Level::System | Level::Patient => None,
        }
    }
}

/// A well-formed kick-off request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportRequest {
    /// Which patients.
    pub level: Level,
    /// Only these of them: ids of Patients, from `patient`.
    pub patients: Option<BTreeSet<String>>,
    /// Only resources changed after this.
    pub since: Option<DateTime<Utc>>,
    /// Only these types; `None`: all that the client may read and the source has.
    pub types: Option<BTreeSet<ResourceType>>,
    /// Not these types: lenient handling could read none of the filters that restrict them.
    pub without: BTreeSet<ResourceType>,
    /// Which resources of the types, and what of them.
    pub selection: Selection,
    /// How the client wants it delivered.
    pub delivery: Delivery,
    /// Whether deletions since `since` are told; not where the source's memory does not reach back so far.
    pub deleted: bool,
    /// Whether the client asked for `handling=lenient`.
    pub lenient: bool,
    /// What the client should know: shown in the kick-off response and, where a parameter was ignored,
    /// in the export's error file too.
    pub notes: Vec<Note>,
}

/// Something the client should know about a request that is served all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The issue as the client reads it.
    pub issue: Issue,
    /// Whether part of the request was ignored, so that the error file must tell it as well.
    pub ignored: bool,
}

/// The headers of a kick-off that matter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers<'a> {
    /// `Accept`, all values joined by commas.
    pub accept: Option<&'a str>,
    /// `Prefer`, all values joined by commas.
    pub prefer: Option<&'a str>,
}

/// Parses a kick-off. `now` is the server's clock.
///
/// # Errors
/// Every issue found; the answer is 400 with all of them.
pub fn parse(
    level: Level,
    parameters: &Parameters,
    headers: Headers<'_>,
    options: &PracticeOptions,
    now: DateTime<Utc>,
) -> Result<ExportRequest, Vec<Issue>> {
    parameters.check_output_format().map_err(|issue| vec![issue])?;
    let prefer = Prefer::parse(headers.prefer.unwrap_or_default());
    let mut errors = Vec::new();
    if options.require_headers {
        errors.extend(missing_headers(headers, &prefer));
    }
    let request = ExportRequest {
        level,
        patients: None,
        since: None,
        types: None,
        without: BTreeSet::new(),
        selection: Selection::default(),
        delivery: Delivery { separate_status: prefer.separate_export_status, ..Delivery::default() },
        deleted: true,
        lenient: prefer.lenient,
        notes: Vec::new(),
    };
    let mut reader = read::Reader::new(request, parameters.form(), options, now);
    for (name, value) in parameters.iter() {
        errors.extend(reader.read(name, value).err());
    }
    let request = reader.finish().map_err(|issue| errors.push(issue));
    if let Ok(ExportRequest { level: Level::Group(id), .. }) = &request
        && !ids::is_fhir_id(id)
    {
        errors
            .push(Issue::error(IssueCode::Value, "the group id is not a FHIR id (letters, digits, - and .)"));
    }
    match request {
        Ok(request) if errors.is_empty() => Ok(request),
        _ => Err(errors),
    }
}

impl ExportRequest {
    /// Compares `_since` with the time from which on the source remembers what was deleted and who left a group.
    ///
    /// # Errors
    /// The issue to answer with, where `_since` is older; with lenient handling deletions are left out instead.
    pub fn check_history(&mut self, history_since: Option<DateTime<Utc>>) -> Result<(), Issue> {
        let Some(history) = history_since.filter(|history| self.since.is_some_and(|since| since < *history))
        else {
            return Ok(());
        };
        let text = format!(
            "_since lies before {}, since when this practice's source remembers deletions and memberships",
            instant::format(history)
        );
        if !self.lenient {
            let text = format!("{text}: ask for a full export, without _since");
            return Err(Issue::error(IssueCode::Value, text));
        }
        self.deleted = false;
        self.ignore(format!("{text}: what was deleted is not told in this export"));
        Ok(())
    }

    /// Notes that a part of the request was ignored.
    pub fn ignore(&mut self, text: String) {
        self.notes.push(Note { issue: Issue::warning(IssueCode::NotSupported, text), ignored: true });
    }
}

fn missing_headers(headers: Headers<'_>, prefer: &Prefer) -> Vec<Issue> {
    let mut issues = Vec::new();
    if !headers.accept.is_some_and(accepts_fhir_json) {
        issues.push(Issue::error(IssueCode::Required, "add the header `Accept: application/fhir+json`"));
    }
    if !prefer.respond_async {
        issues.push(Issue::error(IssueCode::Required, "add the header `Prefer: respond-async`"));
    }
    issues
}

fn accepts_fhir_json(accept: &str) -> bool {
    accept
        .split(',')
        .map(|range| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        .any(|range| {
            matches!(range.as_str(), "application/fhir+json" | "application/json" | "application/*" | "*/*")
        })
}

#[cfg(test)]
mod tests;
