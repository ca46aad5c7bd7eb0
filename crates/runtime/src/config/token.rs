//! `[token]`: access tokens.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::Jwks;
use super::checks::Checks;

/// Access tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Seconds an access token is valid.
    pub lifetime_s: u64,
    /// Path of the shared token endpoint.
    pub path: String,
    /// `iss`; empty: derived from the public base URL.
    pub issuer: String,
    /// Seconds by which a client's clock may differ.
    pub clock_skew_s: u64,
    /// Seconds after which a new key signs; 0: only when an operator says so.
    pub key_rotation_s: u64,
    /// Seconds that a key is published before it signs.
    pub key_overlap_s: u64,
    /// Token requests that one address, and one client, may make in a minute.
    pub requests_per_minute: u32,
    /// Who issues the tokens, if it is not we.
    pub external: External,
}

/// An issuer elsewhere. Either all of `issuer`, `jwks_url` and `token_endpoint` are given, or nothing is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct External {
    /// The claim `iss` of its tokens; empty: we issue the tokens ourselves.
    pub issuer: String,
    /// Where it publishes its keys.
    pub jwks_url: String,
    /// What its tokens must have in `aud`; empty: `aud` is not looked at.
    pub audience: String,
    /// Where apps get its tokens.
    pub token_endpoint: String,
}

impl External {
    /// Whether the tokens come from elsewhere.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.issuer.is_empty()
    }

    fn check(&self, jwks: &Jwks, checks: &mut Checks) {
        let needed = [&self.issuer, &self.jwks_url, &self.token_endpoint];
        if needed.iter().all(|text| text.is_empty()) {
            if !self.audience.is_empty() {
                checks.problem("token.external.audience", "give it with token.external.issuer only");
            }
            return;
        }
        if needed.iter().any(|text| text.is_empty()) {
            checks.problem(
                "token.external",
                "give issuer, jwks_url and token_endpoint, or none of them for tokens of our own",
            );
            return;
        }
        jwks.check_url("token.external.jwks_url", &self.jwks_url, checks);
        jwks.check_url("token.external.token_endpoint", &self.token_endpoint, checks);
    }
}

impl Token {
    /// How long an access token is valid.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        Duration::from_secs(self.lifetime_s)
    }

    /// By how much a client's clock may differ.
    #[must_use]
    pub fn clock_skew(&self) -> Duration {
        Duration::from_secs(self.clock_skew_s)
    }

    /// How long a key signs; `None`: until an operator says so.
    #[must_use]
    pub fn key_rotation(&self) -> Option<Duration> {
        (self.key_rotation_s > 0).then(|| Duration::from_secs(self.key_rotation_s))
    }

    /// How long a key is published before it signs.
    #[must_use]
    pub fn key_overlap(&self) -> Duration {
        Duration::from_secs(self.key_overlap_s)
    }

    /// `iss` of access tokens, given the public base URL.
    #[must_use]
    pub fn issuer(&self, public_base_url: &str) -> String {
        if self.issuer.is_empty() {
            format!("{public_base_url}/auth/realms/fhir")
        } else {
            self.issuer.clone()
        }
    }

    pub(super) fn check(&self, jwks: &Jwks, checks: &mut Checks) {
        checks.range("token.lifetime_s", self.lifetime_s, 30..=86_400);
        checks.range("token.clock_skew_s", self.clock_skew_s, 0..=300);
        checks.range("token.key_rotation_s", self.key_rotation_s, 0..=315_360_000);
        if self.key_rotation_s > 0 && self.key_overlap_s >= self.key_rotation_s {
            checks.problem("token.key_overlap_s", "must be less than token.key_rotation_s");
        }
        checks.range("token.key_overlap_s", self.key_overlap_s, 0..=604_800);
        checks.range("token.requests_per_minute", self.requests_per_minute, 1..=1_000_000);
        self.external.check(jwks, checks);
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._~-".contains(&b);
        let segments = self.path.strip_prefix('/').unwrap_or_default();
        let whole = segments.split('/').all(|s| !s.is_empty() && s != "." && s != "..");
        if !whole || !self.path.bytes().all(plain) {
            checks.problem("token.path", "must be a path such as /oauth/token");
        }
        if !self.issuer.is_empty() && Url::parse(&self.issuer).is_err() {
            checks.problem("token.issuer", "must be a URL, or empty");
        }
    }
}
