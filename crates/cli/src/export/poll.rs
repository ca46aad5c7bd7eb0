//! Polling (Bulk Data IG, Status Request): waits as long as the server says, bears with passing failures, and puts
//! the pages of the manifest together.

use std::time::Duration;

use chrono::Utc;
use reqwest::header::{ACCEPT, HeaderMap};
use reqwest::{Response, StatusCode};
use url::Url;

use super::client::{Client, refusal};
use super::error::ExportError;
use super::http::{MANIFEST_BYTES, SMALL_BODY_BYTES, body};
use super::manifest::{Manifest, Page};
use super::outcome::{ServerSays, printable};
use super::progress::Progress;
use super::retry_after::{Backoff, retry_after};

const WHAT: &str = "asking for the status";
/// Failures in a row, which is about two minutes when the server names no pause.
const MOST_FAILURES: u32 = 8;
const MOST_PAGES: usize = 10_000;

/// What one poll says.
enum Answer {
    Running {
        progress: Option<String>,
        pause: Option<Duration>,
    },
    /// Not now, but perhaps later.
    Failing {
        why: String,
        pause: Option<Duration>,
    },
    Complete(Page),
}

impl Client {
    /// Waits until the export at `status_url` is complete.
    pub(super) async fn wait(&self, status_url: &Url, progress: &Progress) -> Result<Manifest, ExportError> {
        let first = self.wait_page(status_url, progress).await?;
        let mut manifest = first.manifest;
        let mut next = first.next;
        let mut pages = 1;
        while let Some(url) = next {
            if pages == MOST_PAGES {
                return Err(ExportError::Protocol {
                    what: WHAT,
                    problem: format!(
                        "the manifest has more than {MOST_PAGES} pages, or its links go in a circle"
                    ),
                });
            }
            let page = self.wait_page(&url, progress).await?;
            manifest.append(page.manifest);
            next = page.next;
            pages += 1;
        }
        Ok(manifest)
    }

    async fn wait_page(&self, url: &Url, progress: &Progress) -> Result<Page, ExportError> {
        let mut backoff = Backoff::new();
        let mut failures = 0;
        loop {
            let pause = match self.poll(url).await? {
                Answer::Complete(page) => return Ok(page),
                Answer::Running { progress: text, pause } => {
                    failures = 0;
                    progress.waiting(text.as_deref());
                    pause
                }
                Answer::Failing { why, pause } => {
                    failures += 1;
                    if failures > MOST_FAILURES {
                        return Err(ExportError::PollFailures {
                            failures,
                            last: why,
                            status_url: url.clone(),
                        });
                    }
                    progress.waiting(Some(&format!("{why}; trying again")));
                    pause
                }
            };
            let backoff = backoff.next();
            tokio::time::sleep(pause.unwrap_or(backoff)).await;
        }
    }

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
                Ok(Answer::Running { progress: x_progress(headers), pause: retry_after(headers, Utc::now()) })
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
    let what = if about_request || status.is_redirection() { WHAT } else { "the export failed" };
    Err(refusal(what, status, says, pause))
}

fn x_progress(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("x-progress")?.to_str().ok()?;
    Some(printable(text))
}
