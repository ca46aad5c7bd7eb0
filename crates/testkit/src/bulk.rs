//! The Bulk Data protocol, thinly: requests as a test writes them, answers as they come.
//!
//! This is not the client `headgate export`, which forgives and repeats; here one call is one request, but for
//! [`BulkClient::wait_complete`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use aws_lc_rs::digest;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use crate::Answer;

/// How long an export of a test may take.
const COMPLETE_WITHIN: Duration = Duration::from_secs(90);

/// Pause between polls, short of what a server might call hammering.
const POLL_EVERY: Duration = Duration::from_millis(150);

/// What a kick-off covers (Bulk Data IG, Kick-off Request: the three endpoints).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Level {
    /// `$export`.
    System,
    /// `Patient/$export`.
    Patient,
    /// `Group/{id}/$export`.
    Group(String),
}

impl Level {
    /// The path below the base URL.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Level::System => "$export".to_owned(),
            Level::Patient => "Patient/$export".to_owned(),
            Level::Group(id) => format!("Group/{id}/$export"),
        }
    }
}

/// One app at one practice, with an access token.
#[derive(Clone)]
pub struct BulkClient {
    http: Client,
    base_url: String,
    token: String,
}

impl BulkClient {
    /// With any token, such as one of another issuer. `http` must follow no redirect.
    #[must_use]
    pub fn new(http: Client, base_url: &str, token: String) -> Self {
        Self { http, base_url: base_url.to_owned(), token }
    }

    /// The same with another token, such as one of another practice.
    #[must_use]
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: token.into(), ..self.clone() }
    }

    /// The access token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The practice's base URL.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// A request with the token and nothing else. `url` may be relative to the base URL.
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        let absolute = url.starts_with("http://") || url.starts_with("https://");
        let url = if absolute { url.to_owned() } else { format!("{}/{url}", self.base_url) };
        self.http.request(method, url).bearer_auth(&self.token)
    }

    /// Kicks off with the headers of the guide: `Accept: application/fhir+json`, `Prefer: respond-async`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn kick_off(&self, level: &Level, query: &[(&str, &str)]) -> Result<Answer> {
        self.kick_off_with(level, query, &[("Accept", "application/fhir+json"), ("Prefer", "respond-async")])
            .await
    }

    /// Kicks off with the given headers only.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn kick_off_with(
        &self,
        level: &Level,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Result<Answer> {
        let mut url = reqwest::Url::parse(&format!("{}/{}", self.base_url, level.path()))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.get(url).bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::to(request).await
    }

    /// Kicks off and returns the status URL.
    ///
    /// # Errors
    /// When the answer is not 202 with a `Content-Location`.
    pub async fn start(&self, level: &Level, query: &[(&str, &str)]) -> Result<String> {
        let answer = self.kick_off(level, query).await?.expect(202)?;
        answer.header("content-location").map(str::to_owned).context("202 without Content-Location")
    }

    /// One poll.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn poll(&self, status_url: &str) -> Result<Answer> {
        Answer::to(self.request(Method::GET, status_url).header("Accept", "application/json")).await
    }

    /// Polls until the manifest is there.
    ///
    /// # Errors
    /// When a poll answers with neither 202 nor 200 (nor 429, which is waited out), or after 90 s.
    pub async fn wait_complete(&self, status_url: &str) -> Result<Value> {
        let until = Instant::now() + COMPLETE_WITHIN;
        loop {
            let answer = self.poll(status_url).await?;
            match answer.status {
                200 => return answer.json(),
                202 => tokio::time::sleep(POLL_EVERY).await,
                429 => {
                    let pause = answer.header("retry-after").and_then(|text| text.parse().ok()).unwrap_or(1);
                    tokio::time::sleep(Duration::from_secs(pause)).await;
                }
                _ => return answer.expect(200)?.json(),
            }
            ensure!(
                Instant::now() < until,
                "the export was not complete within {} s: {}",
                COMPLETE_WITHIN.as_secs(),
                answer_progress(&self.poll(status_url).await?)
            );
        }
    }

    /// Deletes an export (Bulk Data IG, Delete Request).
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn delete(&self, status_url: &str) -> Result<Answer> {
        Answer::to(self.request(Method::DELETE, status_url).header("Accept", "application/fhir+json")).await
    }

    /// Downloads every file of a manifest and holds it against what the manifest says of it: lines, bytes and
    /// SHA-256. The token is sent only where the manifest asks for it, and never to where that redirects.
    ///
    /// # Errors
    /// When a file is not there or is not as announced.
    pub async fn download_all(&self, manifest: &Value) -> Result<Download> {
        let with_token = manifest["requiresAccessToken"].as_bool().context("no requiresAccessToken")?;
        let mut download = Download::default();
        for section in ["output", "deleted", "error"] {
            for entry in manifest[section].as_array().with_context(|| format!("no array {section}"))? {
                let url = entry["url"].as_str().context("an entry without url")?;
                let body = self.fetch(url, with_token).await?;
                let file = DownloadedFile::new(section, url, &body, entry)?;
                download.files.push(file);
            }
        }
        Ok(download)
    }

    async fn fetch(&self, url: &str, with_token: bool) -> Result<Vec<u8>> {
        let request = if with_token { self.request(Method::GET, url) } else { self.http.get(url) };
        let answer = Answer::to(request).await?;
        if with_token && answer.status == 307 {
            let signed = answer.header("location").context("307 without Location")?;
            return Ok(Answer::to(self.http.get(signed)).await?.expect(200)?.body);
        }
        Ok(answer.expect(200)?.body)
    }
}

/// Shows where, not the token.
impl std::fmt::Debug for BulkClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BulkClient").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

fn answer_progress(answer: &Answer) -> String {
    format!("{} {}", answer.status, answer.header("x-progress").unwrap_or_default())
}

/// The files of one manifest.
#[derive(Debug, Clone, Default)]
pub struct Download {
    /// In the order of the manifest: output, deleted, error.
    pub files: Vec<DownloadedFile>,
}

/// One file, as announced.
#[derive(Debug, Clone)]
pub struct DownloadedFile {
    /// `output`, `deleted` or `error`.
    pub section: String,
    /// The type that the manifest names.
    pub resource_type: String,
    /// The last segment of the link's path: `encounter_1.ndjson`.
    pub name: String,
    /// The lines, without their line feeds.
    pub lines: Vec<String>,
    /// Length in bytes.
    pub bytes: u64,
}

impl DownloadedFile {
    fn new(section: &str, url: &str, body: &[u8], entry: &Value) -> Result<Self> {
        let url = reqwest::Url::parse(url)?;
        let name = url.path_segments().and_then(|mut s| s.next_back()).unwrap_or_default().to_owned();
        let text = std::str::from_utf8(body).with_context(|| format!("{name} is not UTF-8"))?;
        ensure!(text.ends_with('\n'), "{name} does not end with a line feed");
        let lines: Vec<String> = text.split_terminator('\n').map(str::to_owned).collect();
        let bytes = body.len() as u64;
        let says = |what: &str, value: &Value, is: Value| {
            if *value == is { Ok(()) } else { bail!("{name}: the manifest says {what} {value}, it has {is}") }
        };
        says("count", &entry["count"], lines.len().into())?;
        says("bytes", &entry["extension"]["bytes"], bytes.into())?;
        let sha256 = hex::encode(digest::digest(&digest::SHA256, body));
        says("sha256", &entry["extension"]["sha256"], sha256.into())?;
        let resource_type = entry["type"].as_str().context("an entry without type")?.to_owned();
        Ok(Self { section: section.to_owned(), resource_type, name, lines, bytes })
    }
}

impl Download {
    /// The output, by type: the lines of its files in the order of the manifest.
    #[must_use]
    pub fn by_type(&self) -> BTreeMap<String, Vec<String>> {
        let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for file in self.section("output") {
            types.entry(file.resource_type.clone()).or_default().extend(file.lines.iter().cloned());
        }
        types
    }

    /// The output lines of a type, in byte order.
    #[must_use]
    pub fn lines(&self, resource_type: &str) -> Vec<String> {
        let files = self.section("output").filter(|file| file.resource_type == resource_type);
        let mut lines: Vec<String> = files.flat_map(|file| file.lines.iter().cloned()).collect();
        lines.sort();
        lines
    }

    /// The ids of a type's output, in byte order; one that came out twice is there twice.
    ///
    /// # Errors
    /// When a line is not a resource with an id.
    pub fn ids(&self, resource_type: &str) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for line in self.lines(resource_type) {
            let resource: Value = serde_json::from_str(&line)?;
            ids.push(resource["id"].as_str().with_context(|| format!("no id: {line}"))?.to_owned());
        }
        ids.sort();
        Ok(ids)
    }

    /// The files of `output`, `deleted` or `error`.
    pub fn section(&self, section: &str) -> impl Iterator<Item = &DownloadedFile> {
        self.files.iter().filter(move |file| file.section == section)
    }

    /// The OperationOutcomes of the error files.
    ///
    /// # Errors
    /// When a line is not JSON.
    pub fn outcomes(&self) -> Result<Vec<Value>> {
        let lines = self.section("error").flat_map(|file| &file.lines);
        lines.map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}
