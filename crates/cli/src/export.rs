//! `headgate export`: a bulk client for any server that follows the Bulk Data Access IG, versions 1 to 3, and SMART
//! Backend Services; nothing in it knows our own server.
//!
//! An export is: kick off ([`Request`]), find files by polling, download them, perhaps delete the export; all of it is
//! [`Client::export`], with typed [`Options`] and a [`Progress`]. [`run`] is the command. Files are found page by page
//! (`listing`) and fetched side by side with that (`download`, `fetch`); with `--state`, exports are chained by
//! `_since` (`increment`) and merged (`merge`). Three promises shape the code:
//!
//! - **A file that is there is whole.** A body goes to `NAME.part`, is counted and digested on the way, compared with
//!   what the manifest says, synced, and only then renamed.
//! - **It may be killed at any point.** `export.json` remembers the export (`record`); the same command goes on with it.
//! - **Secrets stay inside.** Tokens, assertions and the query strings of file links are never printed, nor put into
//!   an error or into `manifest.json` or `export.json`; the token is never sent to a host that a redirect names, nor
//!   without TLS when the base URL has it.

mod args;
mod client;
mod download;
mod error;
mod fetch;
mod folder;
mod http;
mod increment;
mod kick_off;
mod listing;
mod manifest;
mod merge;
mod names;
mod outcome;
mod part;
mod poll;
mod progress;
mod record;
mod retry_after;
mod summary;
mod tally;
#[cfg(test)]
mod tests;
mod token;

use std::path::PathBuf;
use std::time::Duration;

use headgate_auth::PrivateKey;
use url::Url;

pub use args::{ExportArgs, Level};
pub use client::Client;
pub use error::ExportError;
pub use http::{past_proxies, read_authorities, trusting};
pub use kick_off::Request;
pub use progress::Progress;
pub use summary::Summary;

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
    /// What to ask for.
    pub request: Request,
    /// Folder for the files.
    pub out: PathBuf,
    /// Whether the folder may hold other files.
    pub overwrite: bool,
    /// Whether an export that the folder holds is given up for a new one.
    pub restart: bool,
    /// Files downloaded at a time, at least 1.
    pub parallel: usize,
    /// Delete the export at the server at the end.
    pub delete: bool,
    /// Longest time from the kick-off, or from going on, to the last file.
    pub timeout: Option<Duration>,
}

impl Options {
    /// A request into a new folder.
    pub fn new(request: Request, out: PathBuf) -> Self {
        Options { request, out, overwrite: false, restart: false, parallel: 8, delete: false, timeout: None }
    }
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
    let ca_pem = read_authorities(args.ca_file.as_deref())?;
    let options = args.options();
    let client = Client::new(Connection {
        base_url: args.base_url,
        client_id: args.client_id,
        key,
        token_url: args.token_url,
        scopes: args.scopes,
        ca_pem,
    })?;
    let progress = if args.quiet { Progress::silent() } else { Progress::on_stderr("", None) };
    let summary = match &args.state {
        Some(state) => increment::run(&client, &options, state, &progress).await?,
        None => client.export(&options, &progress).await?,
    };
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
