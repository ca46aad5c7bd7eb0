//! `headgate export`: a bulk client for any server that follows the Bulk Data Access IG, versions 1 to 3, and SMART
//! Backend Services; nothing in it knows our own server.
//!
//! An export is four phases, each a method of [`Client`]: kick off, wait, download, delete. [`run`] is the command;
//! other commands use [`Client::export`] with typed [`Options`] and a [`Progress`]. Two promises shape the code:
//!
//! - **A file that is there is whole.** A body goes to `NAME.part`, is counted and digested on the way, compared with
//!   what the manifest says, synced, and only then renamed.
//! - **Secrets stay inside.** Tokens, assertions and the query strings of file links are never printed, nor put into
//!   an error or into `manifest.json`; the token is never sent to a host that a redirect names, nor without TLS when
//!   the base URL has it.

mod client;
mod download;
mod error;
mod http;
mod manifest;
mod names;
mod outcome;
mod poll;
mod progress;
mod retry_after;
mod summary;
mod tally;
#[cfg(test)]
mod tests;
mod token;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime};
use headgate_auth::PrivateKey;
use url::Url;

pub use client::Client;
pub use error::ExportError;
pub use http::past_proxies;
pub use progress::Progress;
pub use summary::Summary;

/// Export a practice from a Bulk Data server into a folder of NDJSON files.
#[derive(Debug, Clone, clap::Args)]
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
    /// What to export: `patient` (all patients), `system` (everything) or `group:ID`.
    #[arg(long, value_name = "LEVEL", default_value = "patient")]
    pub level: Level,
    /// Only resources that changed after this instant, such as the transaction time of the last export.
    #[arg(long, value_name = "INSTANT", value_parser = parse_instant)]
    pub since: Option<String>,
    /// Only these resource types; repeat the option or separate them by commas.
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    pub types: Vec<String>,
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
    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
    /// No progress and no table; errors are still printed.
    #[arg(long)]
    pub quiet: bool,
    /// Give up after this many seconds; the export goes on at the server.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,
    /// PEM file of further certificate authorities to trust.
    #[arg(long, value_name = "PEM")]
    pub ca_file: Option<PathBuf>,
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

/// How to reach a server and who asks.
#[derive(Debug)]
pub struct Connection {
    /// FHIR base URL.
    pub base_url: Url,
    /// The app's client id.
    pub client_id: String,
    /// The app's private key.
    pub key: PrivateKey,
    /// Token endpoint, else discovered.
    pub token_url: Option<Url>,
    /// Scopes to ask for.
    pub scopes: Vec<String>,
    /// Certificates in PEM to trust besides those of the system.
    pub ca_pem: Option<Vec<u8>>,
}

/// What to export and where to.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to export.
    pub level: Level,
    /// `_since`, sent as it is.
    pub since: Option<String>,
    /// `_type`; empty means all types.
    pub types: Vec<String>,
    /// Folder for the files.
    pub out: PathBuf,
    /// Whether the folder may hold files already.
    pub overwrite: bool,
    /// Files downloaded at a time, at least 1.
    pub parallel: usize,
    /// Delete the export at the server at the end.
    pub delete: bool,
    /// Longest time from the kick-off to the last file.
    pub timeout: Option<Duration>,
}

/// Runs the command: exports, prints the summary to stdout (a table, or JSON), progress to stderr.
///
/// # Errors
/// Any [`ExportError`]; files that were complete by then stay in the folder.
pub async fn run(args: ExportArgs) -> Result<Summary, ExportError> {
    let jwk = read_file("the private key", &args.key).await?;
    let jwk = String::from_utf8(jwk).map_err(|_| ExportError::Option {
        option: "--key",
        problem: "the file is not text; it must hold the private key as a JWK".to_owned(),
    })?;
    let key =
        PrivateKey::from_jwk(&jwk).map_err(|source| ExportError::Key { path: args.key.clone(), source })?;
    let ca_pem = match &args.ca_file {
        Some(path) => Some(read_file("the certificate authorities", path).await?),
        None => None,
    };
    let client = Client::new(Connection {
        base_url: args.base_url,
        client_id: args.client_id,
        key,
        token_url: args.token_url,
        scopes: args.scopes,
        ca_pem,
    })?;
    let options = Options {
        level: args.level,
        since: args.since,
        types: args.types,
        out: args.out,
        overwrite: args.overwrite,
        parallel: usize::from(args.parallel),
        delete: args.delete,
        timeout: args.timeout.map(Duration::from_secs),
    };
    let progress = if args.quiet { Progress::silent() } else { Progress::on_stderr("", None) };
    let summary = client.export(&options, &progress).await?;
    print(&summary, args.json, args.quiet);
    Ok(summary)
}

#[expect(clippy::print_stdout, reason = "the summary is the output of the command")]
fn print(summary: &Summary, json: bool, quiet: bool) {
    if json {
        println!("{}", serde_json::to_string(summary).expect("a summary holds only text and numbers"));
    } else if !quiet {
        println!("{}", summary.table());
    }
}

async fn read_file(what: &'static str, path: &std::path::Path) -> Result<Vec<u8>, ExportError> {
    tokio::fs::read(path).await.map_err(|source| ExportError::Io {
        action: format!("read {what}"),
        path: path.to_owned(),
        source,
    })
}

/// Accepts a FHIR instant, and a date and time without a zone: some servers take that as UTC, and whether this one
/// does is for it to say.
fn parse_instant(text: &str) -> Result<String, String> {
    let zoned = DateTime::parse_from_rfc3339(text).is_ok();
    if zoned || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").is_ok() {
        return Ok(text.to_owned());
    }
    Err("write a date, a time and a zone, such as 2026-01-31T00:00:00Z".to_owned())
}
