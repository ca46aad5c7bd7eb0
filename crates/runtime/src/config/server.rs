//! `[server]`: listeners and what a connection may cost.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::checks::Checks;
use super::{Role, Tls};

/// Listeners, and what a connection may cost.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Where the FHIR API and the token endpoint listen.
    pub public_listen: String,
    /// Where the admin API listens.
    pub admin_listen: String,
    /// Where `/startupz`, `/livez` and `/readyz` listen.
    pub private_listen: String,
    /// Under which URL clients reach the public listener; no path, no slash at the end. Empty unless the role is `api`.
    pub public_base_url: String,
    /// Seconds for the headers of a connection's first request.
    pub header_timeout_s: u64,
    /// Seconds that a connection may be idle between two requests.
    pub idle_timeout_s: u64,
    /// Seconds until a request is given up.
    pub request_timeout_s: u64,
    /// Connections of one listener.
    pub max_connections: usize,
    /// Proxies in front of us that append to `X-Forwarded-For`: the client's address is the entry so many from the
    /// right. 0: it is the peer's.
    pub forwarded_hops: usize,
    /// The certificate of the public and the admin listener.
    pub tls: Tls,
}

impl Server {
    /// Time for the headers of a connection's first request.
    #[must_use]
    pub fn header_timeout(&self) -> Duration {
        Duration::from_secs(self.header_timeout_s)
    }

    /// Time that a connection may be idle between two requests.
    #[must_use]
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout_s)
    }

    /// Time until a request is given up.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_s)
    }

    pub(super) fn check(&self, role: Role, checks: &mut Checks) {
        checks.address("server.public_listen", &self.public_listen);
        checks.address("server.admin_listen", &self.admin_listen);
        checks.address("server.private_listen", &self.private_listen);
        if !self.public_base_url.is_empty() || role == Role::Api {
            self.check_base_url(checks);
        }
        checks.range("server.header_timeout_s", self.header_timeout_s, 1..=120);
        checks.range("server.idle_timeout_s", self.idle_timeout_s, 1..=600);
        checks.range("server.request_timeout_s", self.request_timeout_s, 1..=600);
        checks.range("server.max_connections", self.max_connections, 1..=100_000);
        checks.range("server.forwarded_hops", self.forwarded_hops, 0..=16);
        self.tls.check(role, checks);
        if self.tls.is_on() && self.public_base_url.starts_with("http:") {
            checks.problem("server.public_base_url", "must begin with https, because server.tls is given");
        }
    }

    fn check_base_url(&self, checks: &mut Checks) {
        let text = &self.public_base_url;
        let good = Url::parse(text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
                && url.path() == "/"
        });
        if !good || text.ends_with('/') {
            checks.problem(
                "server.public_base_url",
                "say under which URL clients reach the API, without a path or a slash, such as \
                 https://fhir.example.org",
            );
        }
    }
}
