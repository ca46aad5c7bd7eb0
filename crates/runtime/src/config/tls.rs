//! `[server.tls]`: the certificate of the public and the admin listener.

use serde::Deserialize;

use super::Role;
use super::checks::Checks;
use crate::serve;

/// The certificate of the public and the admin listener.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// File of the certificate and its chain, in PEM; empty: no TLS.
    pub cert_file: String,
    /// File of its private key, in PEM.
    pub key_file: String,
}

impl Tls {
    /// Whether the two listeners speak TLS.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.cert_file.is_empty()
    }

    pub(super) fn check(&self, role: Role, checks: &mut Checks) {
        if self.cert_file.is_empty() != self.key_file.is_empty() {
            checks.problem("server.tls", "give cert_file and key_file, or neither for listeners without TLS");
        } else if role == Role::Api
            && let Err(error) = serve::Tls::from_config(self)
        {
            checks.said(error.to_string());
        }
    }
}
