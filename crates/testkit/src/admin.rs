//! The admin API, thinly: paths below `/admin/v1`, JSON bodies, answers as they are.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use headgate_auth::PrivateKey;
use headgate_auth::admin_token::{self, AdminRole};
use reqwest::{Client, Method};
use serde::Serialize;
use serde_json::Value;

use crate::Answer;

/// How long the tokens of tests are good for.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Speaks to the admin API as somebody: the operator, unless said otherwise.
#[derive(Clone)]
pub struct Admin {
    http: Client,
    url: String,
    key: Arc<PrivateKey>,
    token: String,
}

impl Admin {
    /// `key` is that of the built-in issuer.
    pub(crate) fn new(http: Client, listener: &str, key: Arc<PrivateKey>, role: &AdminRole) -> Result<Self> {
        let token = admin_token::issue(&key, "test", role, LIFETIME)?;
        Ok(Self { http, url: format!("{listener}/admin/v1"), key, token })
    }

    pub(crate) fn shared_key(&self) -> Arc<PrivateKey> {
        Arc::clone(&self.key)
    }

    /// The same as somebody else.
    ///
    /// # Errors
    /// When the token cannot be signed.
    pub fn acting_as(&self, subject: &str, role: &AdminRole) -> Result<Self> {
        Ok(self.with_token(admin_token::issue(&self.key, subject, role, LIFETIME)?))
    }

    /// The same with any token.
    #[must_use]
    pub fn with_token(&self, token: String) -> Self {
        Self { token, ..self.clone() }
    }

    /// The key of the built-in issuer.
    #[must_use]
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The URL of the admin API, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// `GET`, such as `practices/1/exports`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, None::<&Value>).await
    }

    /// `POST` with a JSON body.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// `PUT` with a JSON body.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn put(&self, path: &str, body: &impl Serialize) -> Result<Answer> {
        self.send(Method::PUT, path, Some(body)).await
    }

    /// `PATCH` with a JSON body.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::PATCH, path, Some(body)).await
    }

    /// A request to be changed before it is sent: with other headers, or a body that is not JSON.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}/{path}", self.url)).bearer_auth(&self.token)
    }

    async fn send(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> Result<Answer> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(body);
        }
        Answer::to(request).await
    }
}

/// Shows where, not the token.
impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("url", &self.url).finish_non_exhaustive()
    }
}
