//! `[source]`: how gently the practices' databases are treated, and where their mappings are.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::checks::Checks;

/// How gently the practices' databases are treated.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Milliseconds a statement may take.
    pub statement_timeout_ms: u64,
    /// Milliseconds a statement may wait for a lock.
    pub lock_timeout_ms: u64,
    /// Milliseconds to wait for a connection.
    pub connect_timeout_ms: u64,
    /// Connections of this process to one practice.
    pub max_connections: u32,
    /// Milliseconds between transactionTime and the oldest open transaction.
    pub margin_ms: u64,
    /// Seconds a transaction may be open before it is prepared.
    pub prepared_allowance_s: u64,
    /// Seconds transactionTime may lie behind before it is an alarm.
    pub max_lag_s: u64,
    /// Folder of the mapping sets; empty: none.
    pub mappings_dir: PathBuf,
}

impl Source {
    /// How long a statement may take.
    #[must_use]
    pub fn statement_timeout(&self) -> Duration {
        Duration::from_millis(self.statement_timeout_ms)
    }

    /// How long a statement may wait for a lock.
    #[must_use]
    pub fn lock_timeout(&self) -> Duration {
        Duration::from_millis(self.lock_timeout_ms)
    }

    /// How long to wait for a connection.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// Distance of transactionTime from the oldest open transaction.
    #[must_use]
    pub fn margin(&self) -> Duration {
        Duration::from_millis(self.margin_ms)
    }

    /// How long a transaction may be open before it is prepared.
    #[must_use]
    pub fn prepared_allowance(&self) -> Duration {
        Duration::from_secs(self.prepared_allowance_s)
    }

    /// How far transactionTime may lie behind before it is an alarm.
    #[must_use]
    pub fn max_lag(&self) -> Duration {
        Duration::from_secs(self.max_lag_s)
    }

    /// The folder of the mapping sets, if there is one.
    #[must_use]
    pub fn mappings_dir(&self) -> Option<PathBuf> {
        Some(self.mappings_dir.clone()).filter(|folder| !folder.as_os_str().is_empty())
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        checks.range("source.statement_timeout_ms", self.statement_timeout_ms, 100..=3_600_000);
        checks.range("source.lock_timeout_ms", self.lock_timeout_ms, 10..=600_000);
        checks.range("source.connect_timeout_ms", self.connect_timeout_ms, 100..=120_000);
        checks.range("source.max_connections", self.max_connections, 2..=200);
        checks.range("source.margin_ms", self.margin_ms, 0..=3_600_000);
        checks.range("source.prepared_allowance_s", self.prepared_allowance_s, 0..=2_592_000);
        checks.range("source.max_lag_s", self.max_lag_s, 1..=2_592_000);
    }
}
