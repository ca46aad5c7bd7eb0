//! Polling (Bulk Data IG, Status Request): waits as long as the server says, and bears with passing failures.

use std::time::Duration;

use chrono::Utc;
use reqwest::header::{ACCEPT, HeaderMap};
use reqwest::{Response, StatusCode};
use url::Url;

use super::client::{Client, refusal};
use super::error::ExportError;
use super::http::{MANIFEST_BYTES, SMALL_BODY_BYTES, body};
use super::manifest::Page;
use super::outcome::{ServerSays, printable};
use super::progress::Progress;
use super::retry_after::{Backoff, retry_after};

const WHAT: &str = "asking for the status";
pub(super) const FAILED: &str = "the export failed (--restart starts a new one)";
/// Failures in a row, which is about two minutes when the server names no pause.
const MOST_FAILURES: u32 = 8;

/// What one poll says.
enum Answer {
    /// Not yet; with a manifest of what is ready, if the server offers that.
    Running {
        progress: Option<String>,
        page: Option<Page>,
        pause: Option<Duration>,
    },
    /// Not now, but perhaps later.
    Failing {
        why: String,
        pause: Option<Duration>,
    },
    Complete(Page),
}

/// What the server says of one page of the manifest.
#[derive(Debug)]
pub(super) enum Polled {
    /// The export is running, and the page may still grow.
    Running(Option<Page>),
    /// The page is as it will be.
    Complete(Page),
}

/// Asks for one page until it is complete, with the pauses that this takes.
pub(super) struct Polls<'a> {
    client: &'a Client,
    url: Url,
    status_url: &'a Url,
    progress: &'a Progress,
    backoff: Backoff,
    /// To wait before the next request.
    pause: Option<Duration>,
}

impl<'a> Polls<'a> {
    /// `status_url` is what an error may name; the address of a further page may be signed.
    pub(super) fn new(client: &'a Client, url: Url, status_url: &'a Url, progress: &'a Progress) -> Self {
        Polls { client, url, status_url, progress, backoff: Backoff::new(), pause: None }
    }

    /// The next answer; passing failures are borne with.
    pub(super) async fn next(&mut self) -> Result<Polled, ExportError> {
        let mut failures = 0;
        loop {
            if let Some(pause) = self.pause.take() {
                tokio::time::sleep(pause).await;
            }
            let (answer, pause) = match self.client.poll(&self.url).await? {
                Answer::Complete(page) => return Ok(Polled::Complete(page)),
                Answer::Running { progress, page, pause } => {
                    self.progress.waiting(progress.as_deref());
                    (Some(Polled::Running(page)), pause)
                }
                Answer::Failing { why, pause } => {
                    failures += 1;
                    if failures > MOST_FAILURES {
                        let status_url = self.status_url.clone();
                        return Err(ExportError::PollFailures { failures, last: why, status_url });
                    }
                    self.progress.waiting(Some(&format!("{why}; trying again")));
                    (None, pause)
                }
            };
            let backoff = self.backoff.next();
            self.pause = Some(pause.unwrap_or(backoff));
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
    }

    /// A page that was told before, with the links that are in force now.
    pub(super) async fn again(mut self) -> Result<Page, ExportError> {
        loop {
            match self.next().await? {
                Polled::Complete(page) | Polled::Running(Some(page)) => return Ok(page),
                Polled::Running(None) => {}
            }
        }
    }
}

impl Client {
    /// Asks once.
    async fn poll(&self, url: &Url) -> Result<Answer, ExportError> {
        let request = || self.http.get(url).header(ACCEPT, "application/json, application/fhir+json");
        let response = match self.authorized(WHAT, url, request).await {
            Err(error @ ExportError::Network { .. }) => {
                return Ok(Answer::Failing { why: error.to_string(), pause: None });
            }
            other => other?,
        };
        match response.status() {
            StatusCode::OK => match body(WHAT, response, MANIFEST_BYTES).await {
                Ok(bytes) => Page::parse(&bytes, url).map(Answer::Complete),
                Err(error @ ExportError::Network { .. }) => {
                    Ok(Answer::Failing { why: error.to_string(), pause: None })
                }
                Err(error) => Err(error),
            },
            StatusCode::ACCEPTED => {
                let headers = response.headers();
                let (progress, pause) = (x_progress(headers), retry_after(headers, Utc::now()));
                // What does not come as a manifest of files that are ready is only an explanation: all files are in
                // the manifest of the end, too.
                let bytes = body(WHAT, response, MANIFEST_BYTES).await.unwrap_or_default();
                Ok(Answer::Running { progress, page: Page::parse(&bytes, url).ok(), pause })
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(ExportError::Gone),
            _ => failure(response).await,
        }
    }
}

/// Tells a failure that may pass from the end of the export: by the status where it leaves no doubt, else by the
/// issue code (Bulk Data IG, Error Status: `transient` and its children).
async fn failure(response: Response) -> Result<Answer, ExportError> {
    let status = response.status();
    let pause = retry_after(response.headers(), Utc::now());
    // What the body adds is only an explanation.
    let bytes = body(WHAT, response, SMALL_BODY_BYTES).await.unwrap_or_default();
    let says = ServerSays::read(&bytes);
    let passing = match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => true,
        _ => status.is_server_error() && says.transient,
    };
    if passing {
        return Ok(Answer::Failing { why: format!("{status}: {}", says.text), pause });
    }
    // 401, 403 and redirects are about the request, not about the export.
    let about_request = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let what = if about_request || status.is_redirection() { WHAT } else { FAILED };
    Err(refusal(what, status, says, pause))
}

fn x_progress(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("x-progress")?.to_str().ok()?;
    Some(printable(text))
}
