//! One file, from its link to its name on disk.
//!
//! A body is streamed to `NAME.part` while it is counted and digested; when it is what the manifest says it is synced
//! and renamed. A body that breaks off is continued behind what is there, if the manifest tells size and digest and
//! the server does ranges (RFC 9110, 14): only the digest of the whole shows that the parts belong together.

use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use reqwest::{Response, StatusCode};

use super::client::Client;
use super::error::{ExportError, FileProblem, host_of};
use super::http::send;
use super::listing::{Link, Listed};
use super::part::Part;
use super::progress::Progress;
use super::tally::Received;

const WHAT: &str = "downloading a file";
const REDIRECTS: u32 = 5;

/// How one attempt ended badly.
pub(super) enum Failure {
    /// Another attempt may do.
    Again(FileProblem),
    /// The link is not accepted.
    Link(FileProblem),
    /// No use in going on.
    Fatal(ExportError),
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        Failure::Fatal(error)
    }
}

/// One attempt at one file.
pub(super) struct Fetch<'a> {
    pub(super) client: &'a Client,
    pub(super) listed: &'a Listed,
    /// Where the file is to be.
    pub(super) target: &'a std::path::Path,
    pub(super) progress: &'a Progress,
}

impl Fetch<'_> {
    pub(super) async fn run(&self, link: &Link) -> Result<Received, Failure> {
        let begun = match self.resumable() {
            Some(total) => Part::found(self.target, total).await?,
            None => None,
        };
        let from = begun.as_ref().map(Part::bytes);
        let response = self.open(link, from).await?;
        let host = host_of(response.url());
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if content_type.is_some_and(|text| text.trim_start().starts_with("text/html")) {
            return Err(Failure::Again(FileProblem::WebPage { host }));
        }
        let part = match (response.status(), begun) {
            (StatusCode::OK, _) => Part::begin(self.target).await?,
            (StatusCode::PARTIAL_CONTENT, Some(part)) if self.continues(&response, part.bytes()) => part,
            (status, part) => {
                if let Some(part) = part {
                    part.discard().await?;
                }
                return Err(Failure::Again(FileProblem::Status { host, status }));
            }
        };
        self.progress.received(part.bytes());
        let ended = self.receive(response, part, host).await?.end().await?;
        if let Err(mismatch) = ended.received.compare(&self.listed.entry) {
            self.progress.received_in_vain(ended.received.bytes);
            ended.discard().await?;
            return Err(Failure::Again(FileProblem::Mismatch(mismatch)));
        }
        Ok(ended.name(self.target).await?)
    }

    /// Size of the file, if its parts can be put together and proved.
    fn resumable(&self) -> Option<u64> {
        let entry = &self.listed.entry;
        entry.sha256.as_ref().and(entry.bytes)
    }

    /// Whether a 206 is what was asked for.
    fn continues(&self, response: &Response, from: u64) -> bool {
        let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let Some((span, total)) = range.and_then(|text| text.strip_prefix("bytes ")?.split_once('/')) else {
            return false;
        };
        let start = span.split_once('-').and_then(|(start, _)| start.parse().ok());
        start == Some(from) && (total == "*" || total.parse().ok() == self.listed.entry.bytes)
    }

    /// Asks for a file: with the token if the manifest says so, and then along redirects without it (a server that
    /// checks tokens may send on to a signed link).
    async fn open(&self, link: &Link, from: Option<u64>) -> Result<Response, Failure> {
        let mut with_token = self.needs_token(link);
        let mut url = link.url.clone();
        for _ in 0..=REDIRECTS {
            self.client.http.check(WHAT, &url)?;
            let request = || {
                let request = self.client.http.get(&url).header(ACCEPT, "application/fhir+ndjson");
                match from {
                    // Ranges are of the file only if it is not compressed on the way.
                    Some(from) => {
                        request.header(RANGE, format!("bytes={from}-")).header(ACCEPT_ENCODING, "identity")
                    }
                    None => request,
                }
            };
            let sent = if with_token {
                self.client.authorized(WHAT, &url, request).await
            } else {
                send(WHAT, &url, request()).await
            };
            let response = match sent {
                Ok(response) => response,
                Err(ExportError::Network { what: WHAT, host, source }) => {
                    return Err(Failure::Again(FileProblem::Broken { host, source }));
                }
                Err(error) => return Err(error.into()),
            };
            if !response.status().is_redirection() {
                return accepted(response, host_of(&url));
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            url = location.and_then(|text| url.join(text).ok()).ok_or_else(|| ExportError::Protocol {
                what: WHAT,
                problem: "a redirect names no address".to_owned(),
            })?;
            with_token = false;
        }
        Err(ExportError::Protocol { what: WHAT, problem: "too many redirects".to_owned() }.into())
    }

    /// As the manifest says. One that does not say gets the token for files on the FHIR server only: elsewhere it
    /// would be given away.
    fn needs_token(&self, link: &Link) -> bool {
        let same_server = || link.url.origin() == self.client.base_url.origin();
        link.requires_access_token.unwrap_or_else(same_server)
    }

    async fn receive(&self, mut response: Response, mut part: Part, host: String) -> Result<Part, Failure> {
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    part.write(&chunk).await?;
                    self.progress.received(chunk.len() as u64);
                }
                Ok(None) => return Ok(part),
                Err(error) => {
                    self.progress.received_in_vain(part.bytes());
                    match self.resumable() {
                        Some(_) => part.leave().await?,
                        None => part.discard().await?,
                    }
                    return Err(Failure::Again(FileProblem::Broken { host, source: error.without_url() }));
                }
            }
        }
    }
}

/// Sorts an answer into file, refused link, and failure that may pass.
fn accepted(response: Response, host: String) -> Result<Response, Failure> {
    match response.status() {
        // Whether a range was asked for, and is of use, is for the caller to say.
        StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
        // 400 is what S3 answers when the credentials that signed a link have expired.
        status @ (StatusCode::BAD_REQUEST
        | StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::GONE) => Err(Failure::Link(FileProblem::LinkRefused { host, status })),
        status => Err(Failure::Again(FileProblem::Status { host, status })),
    }
}
