//! What the API has to be told. Plain values: where they come from is the process's matter.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::endpoints;

/// The settings of the API.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// The public URL of this server, without a path: `https://fhir.example`. The shared token endpoint
    /// and the key set stand below it, and practices that are told apart by path.
    pub public_base_url: Url,
    /// The path of the token endpoint, below [`public_base_url`](Self::public_base_url) and below each
    /// practice's base URL: `/auth/realms/fhir/protocol/openid-connect/token`.
    pub token_path: String,
    /// The claim `iss` of access tokens.
    pub issuer: String,
    /// How long an access token is good for.
    pub token_lifetime: Duration,
    /// How far the clocks of clients may be off.
    pub clock_skew: Duration,
    /// How long a link to a file is good for.
    pub url_ttl: Duration,
    /// How long after kick-off a poll is answered with 202 at least: clients expect to be told to wait.
    pub poll_min_age: Duration,
    /// Exports that one app may run at one practice at a time, where the practice has no number of its own.
    pub max_exports_per_app: u32,
    /// The bearer token of operators.
    pub operator_token: SecretString,
    /// Longest body of a public request, in bytes.
    pub max_body_bytes: usize,
    /// Longest body of a request to the admin API, in bytes; members of groups come in such bodies.
    pub max_admin_body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
}

impl ApiConfig {
    /// The URL of the shared token endpoint.
    pub(crate) fn shared_token_url(&self) -> String {
        format!("{}{}", self.public_base_url.as_str().trim_end_matches('/'), self.token_path)
    }

    /// The URL of the list of all practices.
    pub(crate) fn endpoints_url(&self) -> String {
        format!("{}{}", self.public_base_url.as_str().trim_end_matches('/'), endpoints::PATH)
    }

    /// The path of the key set: the sibling `certs` of the token endpoint.
    pub(crate) fn certs_path(&self) -> String {
        let parent = self.token_path.rsplit_once('/').map_or("", |(parent, _)| parent);
        format!("{parent}/certs")
    }
}
