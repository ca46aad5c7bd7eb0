//! What the API has to be told. Plain values: where they come from is the process's matter.

use std::time::Duration;

use headgate_auth::{AdminIssuer, IssuerKeys};
use headgate_store::WaitLimits;
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
    /// Who issues the access tokens, if it is not this server.
    pub external: Option<ExternalIssuer>,
    /// How long an access token is good for.
    pub token_lifetime: Duration,
    /// The age at which the key that signs access tokens is replaced; none: an operator replaces it.
    pub key_rotation: Option<Duration>,
    /// How long a new key is published before it signs.
    pub key_overlap: Duration,
    /// Requests to the token endpoint and those beside it that one address, and one app, may make in a minute.
    pub token_requests_per_minute: u32,
    /// Proxies in front of this server that append to `X-Forwarded-For`.
    pub forwarded_hops: usize,
    /// How far the clocks of clients may be off.
    pub clock_skew: Duration,
    /// How long a link to a file is good for.
    pub url_ttl: Duration,
    /// How long after kick-off a poll is answered with 202 at least: clients expect to be told to wait.
    pub poll_min_age: Duration,
    /// Exports that one app may run at one practice at a time, where the practice has no number of its own.
    pub max_exports_per_app: u32,
    /// The keys of the built-in issuer of admin tokens; `None`: it is off.
    pub admin_builtin_keys: Option<IssuerKeys>,
    /// Other issuers whose tokens open the admin API, with the URLs of their key sets.
    pub admin_issuers: Vec<(AdminIssuer, Url)>,
    /// Whether apps may register key sets at http URLs and private addresses: for development.
    pub jwks_allow_insecure: bool,
    /// The limits under which workers take up steps, to tell why an export waits.
    pub wait_limits: WaitLimits,
    /// Longest body of a public request, in bytes.
    pub max_body_bytes: usize,
    /// Longest body of a request to the admin API, in bytes; members of groups come in such bodies.
    pub max_admin_body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long a request of the admin API may take, but for uploads of members.
    pub request_timeout: Duration,
}

/// Another server that issues the access tokens, such as a realm of Keycloak.
#[derive(Debug, Clone)]
pub struct ExternalIssuer {
    /// The claim `iss` of its tokens.
    pub issuer: String,
    /// Where it publishes its keys.
    pub jwks_url: Url,
    /// What its tokens must have in `aud`; none: that is not looked at.
    pub audience: Option<String>,
    /// Where apps get its tokens.
    pub token_endpoint: String,
}

impl ApiConfig {
    /// The public URL of this server, without a slash at its end.
    pub(crate) fn shared_base(&self) -> &str {
        self.public_base_url.as_str().trim_end_matches('/')
    }

    /// The URL of the shared token endpoint.
    pub(crate) fn shared_token_url(&self) -> String {
        format!("{}{}", self.shared_base(), self.token_path)
    }

    /// The URL of the token endpoint of whoever asks below a base URL: one below it, or that of the other issuer.
    pub(crate) fn token_endpoint(&self, base: &str) -> String {
        match &self.external {
            Some(external) => external.token_endpoint.clone(),
            None => format!("{base}{}", self.token_path),
        }
    }

    /// The path of the token endpoint, unless another server issues the tokens.
    pub(crate) fn own_token_path(&self) -> Option<&str> {
        self.external.is_none().then_some(&self.token_path)
    }

    /// The URL of the list of all practices.
    pub(crate) fn endpoints_url(&self) -> String {
        format!("{}{}", self.shared_base(), endpoints::PATH)
    }
}

/// What stands beside the token endpoint, as Keycloak has it: the key set, `certs`, and revocation, `revoke`.
pub(crate) fn beside(token_path: &str, name: &str) -> String {
    let parent = token_path.rsplit_once('/').map_or("", |(parent, _)| parent);
    format!("{parent}/{name}")
}

/// The path of introspection: below the token endpoint, as Keycloak has it.
pub(crate) fn introspection_path(token_path: &str) -> String {
    format!("{token_path}/introspect")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_token_endpoint_stands_where_keycloak_has_it() {
        let token_path = "/auth/realms/fhir/protocol/openid-connect/token";
        let parent = "/auth/realms/fhir/protocol/openid-connect";
        assert_eq!(introspection_path(token_path), format!("{parent}/token/introspect"));
        assert_eq!(beside(token_path, "revoke"), format!("{parent}/revoke"));
        assert_eq!(beside("/token", "certs"), "/certs");
    }
}
