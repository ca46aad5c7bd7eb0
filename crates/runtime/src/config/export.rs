//! `[export]`: how an export is cut, and how long it is kept.

use std::time::Duration;

use serde::Deserialize;

use super::checks::Checks;

/// How an export is cut, and how long it is kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Rows of a shard.
    pub shard_rows: u32,
    /// Rows of a page.
    pub page_rows: u32,
    /// Resources of a file at most.
    pub file_resources: u32,
    /// Bytes of a file at most.
    pub file_bytes: usize,
    /// Seconds an export is kept after its completion.
    pub retention_s: u64,
    /// Running exports of one app at one practice.
    pub max_per_app: u32,
}

impl Export {
    /// How long an export is kept after its completion.
    #[must_use]
    pub fn retention(&self) -> Duration {
        Duration::from_secs(self.retention_s)
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        checks.range("export.shard_rows", self.shard_rows, 1..=10_000_000);
        checks.range("export.page_rows", self.page_rows, 1..=100_000);
        // More than 1000 would break the promise of the modelled product; a practice may allow it explicitly.
        checks.range("export.file_resources", self.file_resources, 1..=1000);
        checks.range("export.file_bytes", self.file_bytes, 1024..=1 << 30);
        checks.range("export.retention_s", self.retention_s, 60..=31_536_000);
        checks.range("export.max_per_app", self.max_per_app, 1..=1000);
    }
}
