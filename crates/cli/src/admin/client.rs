//! Speaks to the admin API.

use std::time::Duration;

use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::Value;
use url::Url;

use crate::export::past_proxies;
use crate::failure::Failure;

const PATIENCE: Duration = Duration::from_secs(30);

/// A client of one admin API, as the operator.
#[derive(Debug)]
pub struct AdminClient {
    http: reqwest::Client,
    base: Url,
    token: SecretString,
}

impl AdminClient {
    /// Prepares a client for the listener at `base`, such as `http://127.0.0.1:8081`.
    pub fn new(base: Url, token: SecretString) -> Result<Self, Failure> {
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(Failure::config("--admin-url: write a URL such as http://127.0.0.1:8081"));
        }
        let http = past_proxies(reqwest::Client::builder(), &base)
            .timeout(PATIENCE)
            .build()
            .map_err(|error| Failure::unavailable(&error))?;
        Ok(Self { http, base, token })
    }

    /// `GET` below `/admin/v1`; segments are encoded.
    pub async fn get(&self, path: &[&str]) -> Result<Value, Failure> {
        self.send(Method::GET, path, None::<&Value>).await
    }

    /// `POST` below `/admin/v1`.
    pub async fn post(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// `PUT` below `/admin/v1`.
    pub async fn put(&self, path: &[&str], body: &impl Serialize) -> Result<Value, Failure> {
        self.send(Method::PUT, path, Some(body)).await
    }

    async fn send(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&impl Serialize>,
    ) -> Result<Value, Failure> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("a URL with a host has a path")
            .pop_if_empty()
            .extend(["admin", "v1"])
            .extend(path);
        let mut request = self.http.request(method, url).bearer_auth(self.token.expose_secret());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| Failure::unavailable(&error))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| Failure::unavailable(&error))?;
        let value: Value =
            if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or_default() };
        if status.is_success() {
            return Ok(value);
        }
        // Problem details (RFC 9457).
        let detail = value["detail"].as_str().or(value["title"].as_str()).unwrap_or("without an explanation");
        Err(Failure::failed(format!("the admin API answered {status}: {detail}")))
    }
}
