//! `[jwks]`: fetching the key sets that apps and issuers publish at a URL.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::Role;
use super::checks::Checks;

/// Fetching the key sets that apps and issuers publish at a URL.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jwks {
    /// Whether `http` and private addresses are allowed: for development.
    pub allow_insecure: bool,
    /// File of further certificate authorities to trust, in PEM; empty: none.
    pub ca_file: String,
    /// Milliseconds that a fetch may take.
    pub timeout_ms: u64,
    /// Seconds that a key set is used at most before it is fetched again.
    pub max_age_s: u64,
}

impl Jwks {
    /// Time that a fetch may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// How long a key set is used at most before it is fetched again.
    #[must_use]
    pub fn max_age(&self) -> Duration {
        Duration::from_secs(self.max_age_s)
    }

    /// The further certificate authorities, in PEM; `None` if no file is named.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn ca_pem(&self) -> std::io::Result<Option<Vec<u8>>> {
        if self.ca_file.is_empty() { Ok(None) } else { std::fs::read(&self.ca_file).map(Some) }
    }

    pub(super) fn check(&self, role: Role, checks: &mut Checks) {
        checks.range("jwks.timeout_ms", self.timeout_ms, 100..=30_000);
        checks.range("jwks.max_age_s", self.max_age_s, 1..=86_400);
        if role == Role::Api && !self.ca_file.is_empty() {
            checks.authorities("jwks.ca_file", Path::new(&self.ca_file));
        }
    }

    /// The option must be the URL of a key set.
    pub(super) fn check_url(&self, key: &str, value: &str, checks: &mut Checks) {
        let good = Url::parse(value).is_ok_and(|url| {
            let scheme = url.scheme();
            (scheme == "https" || scheme == "http" && self.allow_insecure)
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.fragment().is_none()
        });
        if !good {
            checks.problem(key, "must be an https URL, such as https://login.example.org/certs");
        }
    }
}
