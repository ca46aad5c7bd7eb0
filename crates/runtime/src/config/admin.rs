//! `[admin]`: who may use the admin API.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::checks::Checks;

/// Shortest operator token: what 120 random bits need in base64.
const SHORTEST_TOKEN: usize = 20;

/// Who may use the admin API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// The operator's bearer token; empty: nobody may. After loading also the content of `operator_token_file`.
    pub operator_token: SecretString,
    /// The file that holds the token; empty when the token is given.
    pub operator_token_file: String,
}

impl Admin {
    pub(super) fn check(&mut self, checks: &mut Checks) {
        checks.secret("admin.operator_token", &mut self.operator_token, &self.operator_token_file);
        let token = self.operator_token.expose_secret();
        let good = token.len() >= SHORTEST_TOKEN && token.bytes().all(|b| b.is_ascii_graphic());
        if !token.is_empty() && !good {
            checks.problem(
                "admin.operator_token",
                "must have at least 20 characters, none of them a space; make one with: openssl rand -hex 20",
            );
        }
    }
}
