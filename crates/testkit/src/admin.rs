//! The admin API, thinly: paths below `/admin/v1`, JSON bodies, answers as they are.

use anyhow::Result;
use reqwest::{Client, Method};
use serde::Serialize;
use serde_json::Value;

use crate::Answer;

/// Speaks to the admin API as the operator.
#[derive(Clone)]
pub struct Admin {
    http: Client,
    url: String,
    token: String,
}

impl Admin {
    pub(crate) fn new(http: Client, listener: &str, token: String) -> Self {
        Self { http, url: format!("{listener}/admin/v1"), token }
    }

    /// The URL of the admin API, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The operator's token.
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

    async fn send(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> Result<Answer> {
        let mut request = self.http.request(method, format!("{}/{path}", self.url)).bearer_auth(&self.token);
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
