//! The client: kick off or go on, wait and download, delete, and all in a row.

use std::time::Duration;

use chrono::Utc;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LOCATION, CONTENT_TYPE};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;
use url::Url;

use super::download::Downloads;
use super::error::ExportError;
use super::folder::Folder;
use super::http::{Http, SMALL_BODY_BYTES, body, send};
use super::kick_off::Asked;
use super::outcome::ServerSays;
use super::progress::Progress;
use super::record::{Record, State, is_trace_of_record};
use super::retry_after::retry_after;
use super::summary::Summary;
use super::token::Tokens;
use super::{Connection, Options};

const KICK_OFF: &str = "starting the export";
const DELETE: &str = "deleting the export (its files are here and verified)";

/// A bulk client of one app at one base URL. It gets and renews its access token by itself.
#[derive(Debug)]
pub struct Client {
    pub(super) http: Http,
    pub(super) base_url: Url,
    tokens: Tokens,
}

impl Client {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    /// [`ExportError::Option`] for a base URL that is not one, [`ExportError::Setup`] if TLS cannot be set up.
    pub fn new(connection: Connection) -> Result<Self, ExportError> {
        let base_url = connection.base_url;
        if !matches!(base_url.scheme(), "http" | "https") || !base_url.has_host() {
            return Err(ExportError::Option {
                option: "--base-url",
                problem: "write the FHIR base URL, such as https://host/fhir/r4".to_owned(),
            });
        }
        let http = Http::new(&base_url, connection.ca_pem.as_deref())?;
        let tokens = Tokens::new(
            connection.client_id,
            connection.key,
            &connection.scopes,
            connection.token_url.as_ref(),
        );
        Ok(Client { http, base_url, tokens })
    }

    /// Exports into a folder: kicks off or goes on, waits, downloads and verifies, and deletes if asked to.
    ///
    /// # Errors
    /// Any [`ExportError`]. The folder is checked before anything is asked of the server. On an error after the
    /// kick-off the export is left as it is at the server, and the next call with the same options goes on with it.
    pub async fn export(&self, options: &Options, progress: &Progress) -> Result<Summary, ExportError> {
        let asked = options.request.at(&self.base_url)?;
        let folder = Folder::take(&options.out).await?;
        let (record, resumed) = match found(&asked, &folder, options, progress).await? {
            Some(record) if record.state == State::Complete => {
                record.check_sizes(folder.path()).await?;
                let record = self.delete_if_asked(record, options).await?;
                progress.finished();
                return Ok(Summary { already_complete: true, ..Summary::of(&record) });
            }
            Some(record) => {
                progress.note(&format!("going on with export {}", record.status_url));
                (record, true)
            }
            None => (self.start(asked, &folder, progress).await?, false),
        };
        let status_url = record.status_url.clone();
        let downloads = Downloads::new(self, folder.path(), record, resumed, options.parallel, progress);
        let outcome = match options.timeout {
            None => downloads.run().await,
            Some(limit) => tokio::time::timeout(limit, downloads.run())
                .await
                .unwrap_or_else(|_| Err(ExportError::TimedOut { seconds: limit.as_secs(), status_url })),
        };
        progress.finished();
        let record = self.delete_if_asked(outcome?, options).await?;
        Ok(Summary::of(&record))
    }

    /// Kicks off, and writes down where the export can be found.
    async fn start(&self, asked: Asked, folder: &Folder, progress: &Progress) -> Result<Record, ExportError> {
        let alone = is_empty(folder).await?;
        let begun = Utc::now();
        let status_url = self.kick_off(&asked, progress).await?;
        progress.note(&format!("export {status_url}"));
        let record = Record::new(asked, status_url, begun, alone);
        record.save(folder.path()).await?;
        Ok(record)
    }

    async fn delete_if_asked(&self, mut record: Record, options: &Options) -> Result<Record, ExportError> {
        if options.delete && !record.deleted {
            self.delete(&record.status_url).await?;
            record.deleted = true;
            record.save(&options.out).await?;
        }
        Ok(record)
    }

    /// Kicks off (Bulk Data IG, Kick-off Request) and returns the status URL.
    async fn kick_off(&self, asked: &Asked, progress: &Progress) -> Result<Url, ExportError> {
        let url = &asked.url;
        let body_text = asked.body.as_ref().map(Value::to_string);
        let request = || {
            let request = match &body_text {
                Some(text) => {
                    self.http.post(url).header(CONTENT_TYPE, "application/fhir+json").body(text.clone())
                }
                None => self.http.get(url),
            };
            request.header(ACCEPT, "application/fhir+json").header("Prefer", &asked.prefer)
        };
        let response = self.authorized(KICK_OFF, url, request).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(explained(KICK_OFF, response).await);
        }
        let location = response.headers().get(CONTENT_LOCATION).and_then(|value| value.to_str().ok());
        let status_url = location.and_then(|text| url.join(text).ok());
        // A body is optional, and an OperationOutcome with warnings if there is one.
        let bytes = body(KICK_OFF, response, SMALL_BODY_BYTES).await.unwrap_or_default();
        if let Some(note) = ServerSays::note(&bytes) {
            progress.note(&format!("the server says: {note}"));
        }
        status_url.ok_or_else(|| ExportError::Protocol {
            what: KICK_OFF,
            problem: "the server accepted it but gave no Content-Location to poll".to_owned(),
        })
    }

    /// Deletes an export at the server (Bulk Data IG, Delete Request). One that is gone already is deleted.
    async fn delete(&self, status_url: &Url) -> Result<(), ExportError> {
        let request = || self.http.delete(status_url).header(ACCEPT, "application/fhir+json");
        let response = self.authorized(DELETE, status_url, request).await?;
        let status = response.status();
        if status.is_success() || matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) {
            return Ok(());
        }
        Err(explained(DELETE, response).await)
    }

    /// Sends a request with the token; if the answer is 401, once more with a fresh one.
    pub(super) async fn authorized(
        &self,
        what: &'static str,
        url: &Url,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Response, ExportError> {
        self.http.check(what, url)?;
        let token = self.tokens.get(&self.http, &self.base_url, None).await?;
        let response = send(what, url, request().header(AUTHORIZATION, token.header()?)).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let fresh = self.tokens.get(&self.http, &self.base_url, Some(&token)).await?;
        send(what, url, request().header(AUTHORIZATION, fresh.header()?)).await
    }
}

/// A URL below the base URL, whether that ends in a slash or not.
pub(super) fn below(base_url: &Url, segments: &[&str]) -> Url {
    let mut url = base_url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.path_segments_mut().expect("a URL with a host has a path").pop_if_empty().extend(segments);
    url
}

async fn explained(what: &'static str, response: Response) -> ExportError {
    let status = response.status();
    let pause = retry_after(response.headers(), Utc::now());
    // What the body adds is only an explanation.
    let bytes = body(what, response, SMALL_BODY_BYTES).await.unwrap_or_default();
    refusal(what, status, ServerSays::read(&bytes), pause)
}

/// The error for a refused request.
pub(super) fn refusal(
    what: &'static str,
    status: StatusCode,
    says: ServerSays,
    pause: Option<Duration>,
) -> ExportError {
    let says = if status.is_redirection() {
        "it redirects elsewhere; use the address it redirects to as --base-url".to_owned()
    } else {
        says.text
    };
    ExportError::Refused { what, status, says, retry_after_s: pause.map(|p| p.as_secs()) }
}

/// The export that a folder holds and that is to be gone on with; `None` if a new one may be put there.
async fn found(
    asked: &Asked,
    folder: &Folder,
    options: &Options,
    progress: &Progress,
) -> Result<Option<Record>, ExportError> {
    match Record::load(folder.path()).await? {
        Some(record) if options.restart => {
            progress.note(&format!("giving up export {}", record.status_url));
            record.forget(folder).await?;
        }
        Some(record) if record.asked != *asked => {
            return Err(ExportError::OtherRequest(folder.path().to_owned()));
        }
        found @ Some(_) => return Ok(found),
        None => {}
    }
    if !options.overwrite && !is_empty(folder).await? {
        return Err(ExportError::NotEmpty(folder.path().to_owned()));
    }
    Ok(None)
}

async fn is_empty(folder: &Folder) -> Result<bool, ExportError> {
    Ok(folder.names().await?.iter().all(|name| is_trace_of_record(name)))
}
