//! An HTTP answer, read to its end.

use anyhow::{Context as _, Result, bail};
use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// Status, headers and body of an answer. Redirects are not followed.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// When there is no answer; whatever status it has is fine.
    pub async fn to(request: RequestBuilder) -> Result<Self> {
        let response = request.send().await.context("no answer")?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.context("the answer broke off")?.to_vec();
        Ok(Self { status, headers, body })
    }

    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("status {}, not JSON: {}", self.status, self.text()))
    }

    /// The same answer if it has this status.
    ///
    /// # Errors
    /// Names status and body if it has another one.
    pub fn expect(self, status: u16) -> Result<Self> {
        if self.status == status {
            return Ok(self);
        }
        bail!("expected status {status}, got {}: {}", self.status, self.text())
    }
}

/// A client that follows no redirect and uses no proxy.
pub(crate) fn http() -> Result<reqwest::Client> {
    http_with(HeaderMap::new())
}

/// The same, with headers that each request has.
pub(crate) fn http_with(headers: HeaderMap) -> Result<reqwest::Client> {
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
    Ok(builder.default_headers(headers).build()?)
}
