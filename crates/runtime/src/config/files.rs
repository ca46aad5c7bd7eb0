//! `[files]`: the links of a manifest.

use std::time::Duration;

use serde::Deserialize;

use super::checks::Checks;

/// The links of a manifest.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Seconds a link works; 0: as long as an access token.
    pub url_ttl_s: u64,
}

impl Files {
    /// How long a link works, given the lifetime of access tokens.
    #[must_use]
    pub fn url_ttl(&self, token_lifetime: Duration) -> Duration {
        if self.url_ttl_s == 0 { token_lifetime } else { Duration::from_secs(self.url_ttl_s) }
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        if self.url_ttl_s != 0 {
            // Signature version 4 allows 7 days.
            checks.range("files.url_ttl_s", self.url_ttl_s, 1..=604_800);
        }
    }
}
