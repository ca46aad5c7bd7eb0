//! Speaks to the admin API.
//!
//! Whatever changes something carries an Idempotency-Key, so that it can be sent again when a connection breaks
//! and nobody knows whether it has arrived.

use std::path::Path;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::{Value, json};
use url::Url;

use super::args::Change;
use crate::export::{past_proxies, trusting};
use crate::failure::Failure;

/// Longest time for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same for a file of half a million ids on a slow line.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(600);

/// Pause before the second try.
const PAUSE: Duration = Duration::from_millis(250);

/// Most items of a page.
const PAGE: usize = 1000;

/// Parameters of a query; those without a value are left out.
pub type Query<'a> = &'a [(&'a str, Option<String>)];

/// A client of one admin API, for one token.
#[derive(Debug)]
pub struct AdminClient {
    http: reqwest::Client,
    base: Url,
    token: SecretString,
}

impl AdminClient {
    /// Prepares a client for the listener at `base`, such as `http://127.0.0.1:8081`. `ca_pem` is trusted besides
    /// the certificates of the system.
    pub fn new(base: Url, token: SecretString, ca_pem: Option<&[u8]>) -> Result<Self, Failure> {
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(Failure::config("--admin-url: write a URL such as http://127.0.0.1:8081"));
        }
        let is_local = matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if base.scheme() == "http" && !is_local {
            tracing::warn!("--admin-url is http: the token can be read on the way");
        }
        let builder = || {
            let builder = reqwest::Client::builder().redirect(Policy::none()).timeout(PATIENCE);
            past_proxies(builder, &base)
        };
        let http = trusting(builder, ca_pem, base.scheme() == "http")?;
        Ok(Self { http, base, token })
    }

    /// `GET` below `/admin/v1`; segments are encoded.
    pub async fn get(&self, path: &[&str]) -> Result<Value, Failure> {
        self.get_with(path, &[]).await
    }

    /// The same with parameters.
    pub async fn get_with(&self, path: &[&str], query: Query<'_>) -> Result<Value, Failure> {
        let url = self.url(path, query);
        self.send(|| self.http.get(url.clone())).await
    }

    /// The first `limit` items of a list, or all if that is 0, page by page, as one answer. `name` is what the list
    /// is called in the answer.
    pub async fn list(
        &self,
        path: &[&str],
        name: &str,
        query: Query<'_>,
        limit: usize,
    ) -> Result<Value, Failure> {
        self.pages(name, limit, async |limit, cursor| {
            let mut query = query.to_vec();
            query.extend([("limit", limit), ("cursor", cursor)]);
            self.get_with(path, &query).await
        })
        .await
    }

    /// A list that is asked for by `POST`, because what is searched for must not stand in a URL.
    pub async fn search(
        &self,
        path: &[&str],
        name: &str,
        body: &Value,
        limit: usize,
    ) -> Result<Value, Failure> {
        self.pages(name, limit, async |limit, cursor| {
            let url = self.url(path, &[("limit", limit), ("cursor", cursor)]);
            self.send(|| self.http.post(url.clone()).json(body)).await
        })
        .await
    }

    async fn pages(
        &self,
        name: &str,
        limit: usize,
        page: impl AsyncFn(Option<String>, Option<String>) -> Result<Value, Failure>,
    ) -> Result<Value, Failure> {
        let wanted = if limit == 0 { usize::MAX } else { limit };
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let size = PAGE.min(wanted - items.len());
            let mut answer = page(Some(size.to_string()), cursor.clone()).await?;
            if let Value::Array(more) = answer[name].take() {
                items.extend(more);
            }
            let next = answer["next"].as_str().map(str::to_owned);
            if next.is_none() || items.len() >= wanted {
                return Ok(json!({ name: items, "next": next }));
            }
            if next == cursor {
                return Err(Failure::failed("the admin API answered with the same page again"));
            }
            cursor = next;
        }
    }

    /// A `POST` that changes nothing.
    pub async fn ask(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        let url = self.url(path, &[]);
        self.send(|| self.http.post(url.clone()).json(body)).await
    }

    /// `POST` below `/admin/v1`.
    pub async fn post(&self, path: &[&str], body: &impl Serialize) -> Result<Value, Failure> {
        self.change(Method::POST, path, body, &Change::default()).await
    }

    /// `PUT` below `/admin/v1`, as the demo does it: without terms.
    #[cfg(feature = "demo")]
    pub async fn put(&self, path: &[&str], body: &impl Serialize) -> Result<Value, Failure> {
        self.change(Method::PUT, path, body, &Change::default()).await
    }

    /// A request that changes something, on terms.
    pub async fn change(
        &self,
        method: Method,
        path: &[&str],
        body: &impl Serialize,
        terms: &Change,
    ) -> Result<Value, Failure> {
        let url = self.url(path, &[]);
        let key = terms.once.idempotency_key.clone();
        let key = key.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let request = || {
            let request = self.http.request(method.clone(), url.clone());
            let request = request.header("Idempotency-Key", &key).json(body);
            on_terms(request, terms)
        };
        self.send(request).await
    }

    /// Sends a file as it is, while it is read. It cannot be told from its repetition unless it is given a key, and
    /// is not sent twice.
    pub async fn upload(
        &self,
        method: Method,
        path: &[&str],
        query: Query<'_>,
        content_type: &str,
        file: &Path,
        terms: &Change,
    ) -> Result<Value, Failure> {
        let file = tokio::fs::File::open(file)
            .await
            .map_err(|error| Failure::config(format!("--file: {}: {error}", file.display())))?;
        let mut request = self
            .http
            .request(method, self.url(path, query))
            .timeout(UPLOAD_PATIENCE)
            .header("Content-Type", content_type)
            .body(file);
        if let Some(key) = &terms.once.idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        let request = on_terms(request, terms).bearer_auth(self.token.expose_secret());
        read(request.send().await).await
    }

    /// Sends a request, and a second time if the connection breaks.
    async fn send(&self, request: impl Fn() -> RequestBuilder) -> Result<Value, Failure> {
        let request = || request().bearer_auth(self.token.expose_secret());
        let mut answer = request().send().await;
        if answer.as_ref().is_err_and(is_broken_connection) {
            tokio::time::sleep(PAUSE).await;
            answer = request().send().await;
        }
        read(answer).await
    }

    fn url(&self, path: &[&str], query: Query<'_>) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("a URL with a host has a path")
            .pop_if_empty()
            .extend(["admin", "v1"])
            .extend(path);
        let given = query.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        if given.clone().next().is_some() {
            url.query_pairs_mut().extend_pairs(given);
        }
        url
    }
}

fn on_terms(request: RequestBuilder, terms: &Change) -> RequestBuilder {
    match &terms.if_match {
        Some(revision) => request.header("If-Match", revision),
        None => request,
    }
}

/// Whether the server may never have seen the request, or its answer was lost. Slowness is no reason to ask again.
fn is_broken_connection(error: &reqwest::Error) -> bool {
    !error.is_timeout() && (error.is_connect() || error.is_request())
}

async fn read(answer: Result<Response, reqwest::Error>) -> Result<Value, Failure> {
    // A URL may name a person as the subject of a search.
    let unavailable = |error: reqwest::Error| Failure::unavailable(&error.without_url());
    let answer = answer.map_err(unavailable)?;
    let status = answer.status();
    let text = answer.text().await.map_err(unavailable)?;
    let value: Value =
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or_default() };
    if status.is_success() {
        return Ok(value);
    }
    // Problem details (RFC 9457).
    let detail = value["detail"].as_str().or(value["title"].as_str()).unwrap_or("without an explanation");
    Err(Failure::failed(format!("the admin API answered {status}: {detail}")))
}

#[cfg(test)]
mod tests;
