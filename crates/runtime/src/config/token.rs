//! `[token]`: access tokens.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

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

    /// `iss` of access tokens, given the public base URL.
    #[must_use]
    pub fn issuer(&self, public_base_url: &str) -> String {
        if self.issuer.is_empty() {
            format!("{public_base_url}/auth/realms/fhir")
        } else {
            self.issuer.clone()
        }
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        checks.range("token.lifetime_s", self.lifetime_s, 30..=86_400);
        checks.range("token.clock_skew_s", self.clock_skew_s, 0..=300);
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
