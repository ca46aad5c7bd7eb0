//! A kick-off request, parsed (Bulk Data IG, Bulk Data Kick-off Request).
//!
//! Everything is read at the edge into an [`ExportRequest`] that cannot be wrong; later code never
//! looks at the raw query again. What is unknown is refused, unless the client asked for lenient
//! handling: then it is ignored and the client is told, because an export must never silently be wider
//! or narrower than its request.

mod prefer;

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::instant::{self, InstantError};
use crate::outcome::{Issue, IssueCode};
use crate::practice::PracticeOptions;
use crate::{ResourceType, ids};

pub use prefer::Prefer;

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
    /// Only resources changed after this.
    pub since: Option<DateTime<Utc>>,
    /// Only these types; `None`: all that the client may read and the source has.
    pub types: Option<BTreeSet<ResourceType>>,
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

/// A furthest `_since` in the future that is put down to clock differences.
const FUTURE_LEEWAY: TimeDelta = TimeDelta::minutes(5);

/// Checks `_outputFormat` alone. It comes before everything else, as in the modelled product.
///
/// # Errors
/// The issue to answer with: `Invalid Tenant` (the modelled product's words), then what is wrong.
pub fn check_output_format(query: &str) -> Result<(), Issue> {
    let formats: Vec<_> = pairs(query).filter(|(name, _)| name == "_outputFormat").collect();
    let wrong = formats.iter().find(|(_, value)| {
        !matches!(
            value.trim().to_ascii_lowercase().as_str(),
            // A `+` that was not percent-encoded arrives as a blank.
            "ndjson" | "application/ndjson" | "application/fhir+ndjson" | "application/fhir ndjson"
        )
    });
    if wrong.is_none() && formats.len() <= 1 {
        return Ok(());
    }
    Err(Issue::error(
        IssueCode::NotSupported,
        "Invalid Tenant: the only output format is ndjson; leave _outputFormat out, or give it once as \
         ndjson, application/ndjson or application/fhir+ndjson",
    )
    .with_text("Invalid Tenant"))
}

/// Parses a GET kick-off.
///
/// `query` is the raw query string, `now` the server's clock.
///
/// # Errors
/// Every issue found; the answer is 400 with all of them.
pub fn parse_get(
    level: Level,
    query: &str,
    headers: Headers<'_>,
    options: &PracticeOptions,
    now: DateTime<Utc>,
) -> Result<ExportRequest, Vec<Issue>> {
    check_output_format(query).map_err(|issue| vec![issue])?;
    let prefer = Prefer::parse(headers.prefer.unwrap_or_default());
    let mut errors = Vec::new();
    if options.require_headers {
        errors.extend(missing_headers(headers, &prefer));
    }
    let mut request =
        ExportRequest { level, since: None, types: None, lenient: prefer.lenient, notes: Vec::new() };
    let mut seen_since = false;
    for (name, value) in pairs(query) {
        let outcome = match name.as_str() {
            "_outputFormat" => Ok(()),
            "_since" if seen_since => {
                Err(Issue::error(IssueCode::Invalid, "_since is given twice: give it once"))
            }
            "_since" => {
                seen_since = true;
                request.read_since(&value, options, now)
            }
            "_type" => request.read_types(&value),
            _ => request.unknown_parameter(&name),
        };
        errors.extend(outcome.err());
    }
    if let Level::Group(id) = &request.level
        && !ids::is_fhir_id(id)
    {
        errors
            .push(Issue::error(IssueCode::Value, "the group id is not a FHIR id (letters, digits, - and .)"));
    }
    if errors.is_empty() { Ok(request) } else { Err(errors) }
}

impl ExportRequest {
    fn read_since(
        &mut self,
        value: &str,
        options: &PracticeOptions,
        now: DateTime<Utc>,
    ) -> Result<(), Issue> {
        let wrong = |e: InstantError| Issue::error(IssueCode::Value, format!("_since: {e}"));
        let parsed = instant::parse(value.trim()).map_err(wrong)?;
        if !parsed.zoned {
            if !options.since_without_zone {
                return Err(wrong(InstantError::Malformed));
            }
            let text = format!(
                "_since has no time zone and was read as UTC: {}. Write it with a zone.",
                instant::format(parsed.time)
            );
            self.notes.push(Note { issue: Issue::warning(IssueCode::Value, text), ignored: false });
        }
        if parsed.time > now + FUTURE_LEEWAY {
            return Err(Issue::error(
                IssueCode::Value,
                "_since lies in the future: use the transactionTime of an earlier export",
            ));
        }
        self.since = Some(parsed.time);
        Ok(())
    }

    fn read_types(&mut self, value: &str) -> Result<(), Issue> {
        let names = value.split(',').map(str::trim);
        let mut unknown = Vec::new();
        for name in names {
            match name.parse::<ResourceType>() {
                Ok(t) => {
                    self.types.get_or_insert_default().insert(t);
                }
                Err(_) => unknown.push(name.chars().take(64).collect::<String>()),
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let text = format!(
            "_type: not supported here: {}. See rest.resource of /metadata for the types.",
            unknown.join(", ")
        );
        let issue = Issue::error(IssueCode::NotSupported, text);
        if !self.lenient {
            return Err(issue);
        }
        // An empty set stays a restriction: ignoring the last unknown type must not widen the export.
        self.types.get_or_insert_default();
        self.ignore(issue.diagnostics().to_owned());
        Ok(())
    }

    fn unknown_parameter(&mut self, name: &str) -> Result<(), Issue> {
        let name: String = name.chars().take(64).collect();
        let text = format!("the parameter {name} is not supported by this server");
        if self.lenient {
            self.ignore(format!("{text}; it was ignored (handling=lenient)"));
            return Ok(());
        }
        Err(Issue::error(
            IssueCode::NotSupported,
            format!("{text}; leave it out, or send `Prefer: handling=lenient` to have it ignored"),
        ))
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

fn pairs(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    url::form_urlencoded::parse(query.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests;
