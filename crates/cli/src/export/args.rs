//! The options of `headgate export`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime};
use url::Url;

use super::{Options, Request};

/// Export a practice from a Bulk Data server into a folder of NDJSON files.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "After an interruption, run the same command again: it goes on with the same export, and \
    does not download again what is here and whole."
)]
pub struct ExportArgs {
    /// FHIR base URL of the practice.
    #[arg(long, value_name = "URL")]
    pub base_url: Url,
    /// Client id that the server gave the app at registration.
    #[arg(long, value_name = "ID")]
    pub client_id: String,
    /// File with the app's private key as a JWK: EC P-384 (signs ES384) or RSA (signs RS384).
    #[arg(long, value_name = "KEY.jwk")]
    pub key: PathBuf,
    /// Folder for the files; made if missing, readable by its owner only.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// What is asked for.
    #[command(flatten)]
    pub asked: RequestArgs,
    /// Fetch by increments: FILE keeps the last transaction time. The first run is full, each further one asks for
    /// what changed since. DIR/current holds the merged state, one file per type; DIR/runs/N the files of run N.
    /// Not with --type-filter: no server reports what has ceased to match.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["since", "until", "type_filters", "overwrite"])]
    pub state: Option<PathBuf>,
    /// Token endpoint; by default read from `.well-known/smart-configuration` below the base URL.
    #[arg(long, value_name = "URL")]
    pub token_url: Option<Url>,
    /// Scope to ask for; may be repeated.
    #[arg(long = "scope", value_name = "SCOPE", default_value = "system/*.rs")]
    pub scopes: Vec<String>,
    /// How many files to download at a time.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub parallel: u8,
    /// Delete the export on the server once all files are here and verified.
    #[arg(long)]
    pub delete: bool,
    /// Write into a folder that is not empty: files of the same name are replaced, others stay.
    #[arg(long)]
    pub overwrite: bool,
    /// Forget the export that the folder holds, complete or not, remove its files, and start a new one. With
    /// --state: the unfinished run.
    #[arg(long)]
    pub restart: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
    /// No progress and no table; errors are still printed.
    #[arg(long)]
    pub quiet: bool,
    /// Give up after this many seconds; the export goes on at the server, and the same command goes on with it.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,
    /// PEM file of further certificate authorities to trust.
    #[arg(long, value_name = "PEM", env = "HEADGATE_CA_FILE")]
    pub ca_file: Option<PathBuf>,
}

/// The options that make up the kick-off request.
#[derive(Debug, Clone, clap::Args)]
pub struct RequestArgs {
    /// What to export: `patient` (all patients), `system` (everything) or `group:ID`.
    #[arg(long, value_name = "LEVEL", default_value = "patient")]
    pub level: Level,
    /// Only resources that changed after this instant, such as the transaction time of the last export.
    #[arg(long, value_name = "INSTANT", value_parser = parse_instant)]
    pub since: Option<String>,
    /// Only resources that changed before this instant.
    #[arg(long, value_name = "INSTANT", value_parser = parse_instant)]
    pub until: Option<String>,
    /// Only these resource types; repeat the option or separate them by commas.
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    pub types: Vec<String>,
    /// Of a type, only what a search finds, such as 'Observation?category=laboratory'; repeated for one type, what
    /// any of them finds. Write the query as in a search URL.
    #[arg(long = "type-filter", value_name = "TYPE?QUERY", value_parser = parse_type_filter)]
    pub type_filters: Vec<String>,
    /// Only these root elements, as `name` or `Type.name`, and mandatory ones; repeat or separate by commas.
    #[arg(long, value_name = "ELEMENT", value_delimiter = ',')]
    pub elements: Vec<String>,
    /// Only this patient, by id; may be repeated. The request is sent by POST, as the guide demands.
    #[arg(long = "patient", value_name = "ID", value_parser = parse_patient)]
    pub patients: Vec<String>,
    /// Associated data to add, such as LatestProvenanceResources; repeat or separate by commas.
    #[arg(long = "include-associated-data", value_name = "CODE", value_delimiter = ',')]
    pub associated_data: Vec<String>,
    /// Format to ask for, such as application/fhir+ndjson, which is also what servers give by default.
    #[arg(long, value_name = "FORMAT")]
    pub output_format: Option<String>,
    /// Download files as they become ready, where the server offers partial manifests.
    #[arg(long)]
    pub allow_partial_manifests: bool,
    /// Ask the server to go on where it does not support a parameter (Prefer: handling=lenient).
    #[arg(long)]
    pub lenient: bool,
    /// Send the request by POST, with a Parameters resource as its body.
    #[arg(long)]
    pub post: bool,
}

/// What an export covers (Bulk Data IG, Kick-off Request: the three endpoints).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Level {
    /// `Patient/$export`: all patients.
    Patient,
    /// `$export`: everything.
    System,
    /// `Group/{id}/$export`: the members of a group.
    Group(String),
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Level::Patient => f.write_str("patient"),
            Level::System => f.write_str("system"),
            Level::Group(id) => write!(f, "group:{id}"),
        }
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "patient" => Ok(Level::Patient),
            "system" => Ok(Level::System),
            other => match other.strip_prefix("group:") {
                Some(id) if !id.is_empty() => Ok(Level::Group(id.to_owned())),
                _ => Err("write patient, system or group:ID".to_owned()),
            },
        }
    }
}

impl ExportArgs {
    /// What is asked for and where it goes.
    pub(super) fn options(&self) -> Options {
        let asked = self.asked.clone();
        let request = Request {
            level: asked.level,
            since: asked.since,
            until: asked.until,
            types: asked.types,
            type_filters: asked.type_filters,
            elements: asked.elements,
            patients: asked.patients,
            associated_data: asked.associated_data,
            output_format: asked.output_format,
            partial_manifests: asked.allow_partial_manifests,
            lenient: asked.lenient,
            post: asked.post,
        };
        Options {
            request,
            out: self.out.clone(),
            overwrite: self.overwrite,
            restart: self.restart,
            parallel: usize::from(self.parallel),
            delete: self.delete,
            timeout: self.timeout.map(Duration::from_secs),
        }
    }
}

/// Accepts a FHIR instant, and a date and time without a zone: some servers take that as UTC, and whether this one
/// does is for it to say.
pub(super) fn parse_instant(text: &str) -> Result<String, String> {
    let zoned = DateTime::parse_from_rfc3339(text).is_ok();
    if zoned || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").is_ok() {
        return Ok(text.to_owned());
    }
    Err("write a date, a time and a zone, such as 2026-01-31T00:00:00Z".to_owned())
}

fn parse_type_filter(text: &str) -> Result<String, String> {
    match text.split_once('?') {
        Some((name, query)) if is_word(name) && !query.is_empty() => Ok(text.to_owned()),
        _ => Err("write a type, a question mark and a query, such as Observation?status=final".to_owned()),
    }
}

/// An id, or a relative reference to a patient.
fn parse_patient(text: &str) -> Result<String, String> {
    let id = text.strip_prefix("Patient/").unwrap_or(text);
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if id.is_empty() || id.len() > 64 || !id.chars().all(harmless) {
        return Err("write the id of the patient's resource: letters, digits, - and .".to_owned());
    }
    Ok(id.to_owned())
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: ExportArgs,
    }

    fn line(more: &[&str]) -> Result<ExportArgs, clap::Error> {
        let fixed =
            ["export", "--base-url", "https://h.example/r4", "--client-id", "c", "--key", "k", "--out", "o"];
        <Line as clap::Parser>::try_parse_from(fixed.iter().chain(more)).map(|line| line.args)
    }

    #[test]
    fn options_are_read_as_documented() {
        let plain = line(&[]).unwrap();
        assert_eq!((plain.asked.level, plain.parallel), (Level::Patient, 8));
        assert_eq!(plain.scopes, ["system/*.rs"]);
        let full = line(&[
            "--level=group:1.2",
            "--type=A,B",
            "--type=C",
            "--since=2022-10-01T00:00:00",
            "--type-filter=Observation?code=a,b",
            "--type-filter=Observation?code=c",
            "--patient=Patient/1",
            "--patient=2",
            "--elements=id,Patient.name",
        ]);
        let request = full.unwrap().options().request;
        assert_eq!(request.level, Level::Group("1.2".to_owned()));
        assert_eq!(request.types, ["A", "B", "C"]);
        assert_eq!(request.type_filters, ["Observation?code=a,b", "Observation?code=c"]);
        assert_eq!((request.patients, request.elements.len()), (vec!["1".to_owned(), "2".to_owned()], 2));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for refused in [
            &["--since=2022-10-01"][..],
            &["--until=tomorrow"],
            &["--level=group:"],
            &["--parallel=0"],
            &["--timeout=0"],
            &["--type-filter=Observation"],
            &["--type-filter=?code=a"],
            &["--patient=Device/1"],
            &["--state=s", "--since=2022-10-01T00:00:00Z"],
            &["--state=s", "--type-filter=Observation?code=a"],
        ] {
            assert!(line(refused).is_err(), "{refused:?}");
        }
    }
}
