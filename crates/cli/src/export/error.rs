//! What can go wrong with an export. Each text says what happened and what to do about it.
//!
//! Texts may hold host names, paths, file names, status codes and what the server says of its own refusal; never a
//! token, an assertion, or the query string of a link.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use headgate_auth::KeyError;
use reqwest::StatusCode;
use url::Url;

use super::tally::Mismatch;

/// Why an export did not come to a good end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// An option that cannot be used.
    #[error("{option}: {problem}")]
    Option {
        /// The option as typed.
        option: &'static str,
        /// What is wrong with it and what to write.
        problem: String,
    },
    /// The private key is not usable.
    #[error("the key in {path} cannot be used: {}; it must be a private JWK with a kid, EC P-384 or RSA", root_cause(source), path = path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// What the key parser says.
        source: KeyError,
    },
    /// The assertion could not be signed.
    #[error("the client assertion cannot be signed: {}; check the private key", root_cause(.0))]
    Sign(#[source] KeyError),
    /// A file or folder on this machine.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried, as a verb phrase.
        action: String,
        /// The path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The target folder holds something.
    #[error("the folder {path} is not empty: choose another, or say --overwrite to replace files of the same name", path = .0.display())]
    NotEmpty(PathBuf),
    /// Another process is at work in the folder.
    #[error("another export is at work in {path}; wait for it, or choose another folder", path = .0.display())]
    Busy(PathBuf),
    /// What a file of ours says cannot be used.
    #[error("{path}: {problem}", path = path.display())]
    Remembered {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// The folder holds an export of another request.
    #[error("the folder {path} holds an export of another request: choose another folder, or say --restart to give that one up", path = .0.display())]
    OtherRequest(PathBuf),
    /// A file of a complete export is not what it was.
    #[error(
        "the export is complete, but its file {name} is missing or was changed since; say --restart to export again"
    )]
    FileChanged {
        /// Name in the folder.
        name: String,
    },
    /// A file that cannot be merged into the current state.
    #[error("cannot merge {path}, line {line}: {problem}; the state is as it was before", path = path.display())]
    Merge {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The HTTP client cannot be made.
    #[error("cannot set up TLS: {}; install the ca-certificates of the system or name a --ca-file", root_cause(.0))]
    Setup(#[source] reqwest::Error),
    /// A request got no answer.
    #[error("{what}: no answer from {host}: {}", root_cause(source))]
    Network {
        /// What was asked for.
        what: &'static str,
        /// Host that was asked.
        host: String,
        /// The client's error, without its URL.
        source: reqwest::Error,
    },
    /// A link that would carry health data or the token in clear text.
    #[error("{what}: {host} is named without TLS although the base URL uses it; nothing was sent there")]
    Insecure {
        /// What was to be asked for.
        what: &'static str,
        /// Host of the link.
        host: String,
    },
    /// An answer that the protocol does not allow.
    #[error("{what}: {problem}")]
    Protocol {
        /// What was asked for.
        what: &'static str,
        /// What is wrong with the answer.
        problem: String,
    },
    /// The token endpoint refused.
    #[error("the token endpoint refused ({status}): {says}{hint}")]
    TokenRefused {
        /// HTTP status.
        status: StatusCode,
        /// `error` and `error_description`.
        says: String,
        /// What to do, starting with a separator, or empty.
        hint: &'static str,
    },
    /// The server refused a request.
    #[error("{what}: the server answered {status}: {says}{}", retry_hint(*retry_after_s))]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// HTTP status.
        status: StatusCode,
        /// The server's explanation.
        says: String,
        /// When it asks to be tried again, in seconds.
        retry_after_s: Option<u64>,
    },
    /// The status URL is not known any more.
    #[error(
        "the export is gone at the server: it was deleted, its consent was revoked, or its retention is over; start a new export with --restart"
    )]
    Gone,
    /// The server keeps failing while it is polled.
    #[error(
        "gave up polling after {failures} failures in a row, the last: {last}; the export may still be running at {status_url}: run the same command again to go on with it"
    )]
    PollFailures {
        /// Failures in a row.
        failures: u32,
        /// The last one.
        last: String,
        /// Where to look later.
        status_url: Url,
    },
    /// The time given by the caller is over.
    #[error(
        "not done after {seconds} s; the export goes on at {status_url}: run the same command again to go on with it, or DELETE that URL to cancel it"
    )]
    TimedOut {
        /// The limit.
        seconds: u64,
        /// The export's status URL.
        status_url: Url,
    },
    /// Fresh links were asked for and another manifest came back.
    #[error(
        "the server changed its manifest between two polls ({0}); its files do not belong together: start a new export with --restart"
    )]
    ManifestChanged(&'static str),
    /// A file could not be had.
    #[error(
        "file {name}: {problem} ({tries} tries); the files that are complete stay in the folder: run the same command again to go on"
    )]
    File {
        /// Name in the folder.
        name: String,
        /// The last problem.
        problem: FileProblem,
        /// How often it was tried.
        tries: u32,
    },
}

/// What is wrong with one file.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// The body ended early or the connection failed.
    #[error("the download from {host} broke off: {}", root_cause(source))]
    Broken {
        /// Host of the file.
        host: String,
        /// The client's error, without its URL.
        source: reqwest::Error,
    },
    /// The file host refused.
    #[error("{host} answered {status}")]
    Status {
        /// Host of the file.
        host: String,
        /// HTTP status.
        status: StatusCode,
    },
    /// The link is refused although it is fresh.
    #[error(
        "{host} answered {status} to a fresh link too; the token may not cover this type, or the file is gone"
    )]
    LinkRefused {
        /// Host of the file.
        host: String,
        /// HTTP status.
        status: StatusCode,
    },
    /// A web page instead of NDJSON.
    #[error("{host} sent a web page instead of NDJSON; a proxy or a login page may be in between")]
    WebPage {
        /// Host of the file.
        host: String,
    },
    /// Not what the manifest says.
    #[error("{0}; the file on the server is damaged or was replaced")]
    Mismatch(#[source] Mismatch),
}

impl ExportError {
    /// Whether the export itself is over without its files: a new one is the only way on.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self, ExportError::Gone | ExportError::ManifestChanged(_))
            || matches!(self, ExportError::Refused { what, .. } if *what == super::poll::FAILED)
    }

    pub(super) fn io(action: &str, path: &std::path::Path, source: io::Error) -> Self {
        ExportError::Io { action: action.to_owned(), path: path.to_owned(), source }
    }
}

/// The innermost cause: reqwest's own text says only that a request failed, not that the connection was refused.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn retry_hint(seconds: Option<u64>) -> String {
    seconds.map(|s| format!(" (it asks to try again in {s} s)")).unwrap_or_default()
}

/// Host and port of a URL: as much of it as an error may name.
pub(super) fn host_of(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => "a URL without host".to_owned(),
    }
}
