//! `[database]`: the control database.

use std::io;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::Role;
use super::checks::Checks;

/// The control database.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Its URL, which usually holds a password. After loading also what `url_file` held then.
    pub url: SecretString,
    /// The file that holds the URL; empty when the URL is given. A role that serves reads it again when it changes.
    pub url_file: String,
    /// Connections of this process.
    pub max_connections: u32,
    /// Seconds to wait for a free connection.
    pub acquire_timeout_s: u64,
    /// Seconds that a role waits at its start for the schema.
    pub schema_wait_s: u64,
    /// The database role that `headgate migrate` lets do what the role `api` does.
    pub api_role: String,
    /// The database role that `headgate migrate` lets do what the role `worker` does.
    pub worker_role: String,
    /// The database role that `headgate migrate` lets see how much is runnable, and nothing else.
    pub observer_role: String,
}

impl Database {
    /// The URL as it is in `url_file` now; none when it was given without a file.
    ///
    /// # Errors
    /// When the file cannot be read, or is empty.
    pub fn url_in_file(&self) -> io::Result<Option<SecretString>> {
        if self.url_file.is_empty() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&self.url_file)?;
        match text.trim() {
            "" => Err(io::Error::new(io::ErrorKind::InvalidData, "it is empty")),
            url => Ok(Some(SecretString::from(url.to_owned()))),
        }
    }

    /// Time to wait for a free connection.
    #[must_use]
    pub fn acquire_timeout(&self) -> Duration {
        Duration::from_secs(self.acquire_timeout_s)
    }

    /// Time that a role waits at its start for the schema.
    #[must_use]
    pub fn schema_wait(&self) -> Duration {
        Duration::from_secs(self.schema_wait_s)
    }

    pub(super) fn check(&mut self, role: Role, checks: &mut Checks) {
        checks.secret("database.url", &mut self.url, &self.url_file);
        let url = self.url.expose_secret();
        let is_postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
        if url.is_empty() {
            if role != Role::Tool {
                checks.problem(
                    "database.url",
                    "give the control database as postgres://user:password@host/name",
                );
            }
        } else if !is_postgres {
            checks.problem("database.url", "must begin with postgres://");
        }
        checks.range("database.max_connections", self.max_connections, 2..=1000);
        checks.range("database.acquire_timeout_s", self.acquire_timeout_s, 1..=300);
        checks.range("database.schema_wait_s", self.schema_wait_s, 0..=86_400);
        for (key, name) in [
            ("database.api_role", &self.api_role),
            ("database.worker_role", &self.worker_role),
            ("database.observer_role", &self.observer_role),
        ] {
            if !is_role_name(name) {
                checks.problem(key, "must be a role's name: a-z, 0-9 and _, at most 63, no digit first");
            }
        }
        if self.api_role == self.worker_role {
            checks.problem("database.worker_role", "must be another role than database.api_role");
        }
        if [&self.api_role, &self.worker_role].contains(&&self.observer_role) {
            checks.problem("database.observer_role", "must be another role than the other two");
        }
    }
}

/// Whether the name needs no quotes in SQL and fits into PostgreSQL's 63 bytes.
fn is_role_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=63).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with(|c: char| c.is_ascii_digit())
}
