//! The client: kick off, wait, download, delete, and the four in a row.

use std::path::Path;
use std::time::{Duration, Instant};

use chrono::Utc;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LOCATION};
use reqwest::{RequestBuilder, Response, StatusCode};
use url::Url;

use super::download::{Downloads, Fetched};
use super::error::ExportError;
use super::http::{Http, SMALL_BODY_BYTES, body, send};
use super::manifest::Manifest;
use super::outcome::ServerSays;
use super::progress::Progress;
use super::retry_after::retry_after;
use super::summary::Summary;
use super::token::Tokens;
use super::{Connection, Level, Options};

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

    /// Exports into a folder: kicks off, waits, downloads and verifies, and deletes if asked to.
    ///
    /// # Errors
    /// Any [`ExportError`]. The folder is checked before anything is asked of the server. On an error after the
    /// kick-off the export is left as it is at the server.
    pub async fn export(&self, options: &Options, progress: &Progress) -> Result<Summary, ExportError> {
        let started = Instant::now();
        prepare_folder(&options.out, options.overwrite).await?;
        let status_url = self.kick_off(options, progress).await?;
        progress.note(&format!("export {status_url}"));
        let rest = self.rest(options, &status_url, progress);
        let outcome = match options.timeout {
            None => rest.await,
            Some(limit) => tokio::time::timeout(limit, rest).await.unwrap_or_else(|_| {
                Err(ExportError::TimedOut { seconds: limit.as_secs(), status_url: status_url.clone() })
            }),
        };
        progress.finished();
        let (manifest, fetched) = outcome?;
        Ok(Summary::new(&status_url, &manifest, &fetched, started.elapsed()))
    }

    async fn rest(
        &self,
        options: &Options,
        status_url: &Url,
        progress: &Progress,
    ) -> Result<(Manifest, Vec<Fetched>), ExportError> {
        let manifest = self.wait(status_url, progress).await?;
        let fetched = Downloads::new(self, status_url, &manifest, options, progress).run().await?;
        if options.delete {
            self.delete(status_url).await?;
        }
        Ok((manifest, fetched))
    }

    /// Kicks off (Bulk Data IG, Kick-off Request) and returns the status URL.
    async fn kick_off(&self, options: &Options, progress: &Progress) -> Result<Url, ExportError> {
        let url = kick_off_url(&self.base_url, options);
        let request =
            || self.http.get(&url).header(ACCEPT, "application/fhir+json").header("Prefer", "respond-async");
        let response = self.authorized(KICK_OFF, &url, request).await?;
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

fn kick_off_url(base_url: &Url, options: &Options) -> Url {
    let mut url = match &options.level {
        Level::System => below(base_url, &["$export"]),
        Level::Patient => below(base_url, &["Patient", "$export"]),
        Level::Group(id) => below(base_url, &["Group", id, "$export"]),
    };
    if let Some(since) = &options.since {
        url.query_pairs_mut().append_pair("_since", since);
    }
    if !options.types.is_empty() {
        url.query_pairs_mut().append_pair("_type", &options.types.join(","));
    }
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

/// Makes the folder, for its owner only since the files hold health data, or checks that it is empty.
async fn prepare_folder(out: &Path, overwrite: bool) -> Result<(), ExportError> {
    let mut folder = tokio::fs::DirBuilder::new();
    folder
        .recursive(true)
        .mode(0o700)
        .create(out)
        .await
        .map_err(|source| ExportError::io("make the folder", out, source))?;
    let mut entries =
        tokio::fs::read_dir(out).await.map_err(|source| ExportError::io("read the folder", out, source))?;
    let first =
        entries.next_entry().await.map_err(|source| ExportError::io("read the folder", out, source))?;
    if first.is_some() && !overwrite {
        return Err(ExportError::NotEmpty(out.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(level: Level, since: Option<&str>, types: &[&str]) -> Options {
        Options {
            level,
            since: since.map(str::to_owned),
            types: types.iter().map(|t| (*t).to_owned()).collect(),
            out: "unused".into(),
            overwrite: false,
            parallel: 1,
            delete: false,
            timeout: None,
        }
    }

    #[test]
    fn kick_off_urls_are_those_of_the_guide() {
        let base: Url = "https://h.example/fhir/r4".parse().unwrap();
        let slash: Url = "https://h.example/fhir/r4/".parse().unwrap();
        let patient = options(Level::Patient, None, &[]);
        assert_eq!(kick_off_url(&base, &patient).as_str(), "https://h.example/fhir/r4/Patient/$export");
        assert_eq!(kick_off_url(&slash, &patient), kick_off_url(&base, &patient));
        let system = options(Level::System, Some("2026-01-01T00:00:00+02:00"), &["Patient", "Device"]);
        assert_eq!(
            kick_off_url(&base, &system).as_str(),
            "https://h.example/fhir/r4/$export?_since=2026-01-01T00%3A00%3A00%2B02%3A00&_type=Patient%2CDevice"
        );
        let group = options(Level::Group("1.2/3".to_owned()), None, &[]);
        assert_eq!(kick_off_url(&base, &group).as_str(), "https://h.example/fhir/r4/Group/1.2%2F3/$export");
    }
}
