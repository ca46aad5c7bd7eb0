//! `[worker]`: how much one worker, and all of them together, do at a time.

use std::time::Duration;

use serde::Deserialize;

use super::checks::Checks;

/// How much one worker, and all of them together, do at a time.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// Shards of this process.
    pub shards: usize,
    /// Other steps of this process.
    pub steps: usize,
    /// Bytes in memory, of this process.
    pub buffer_bytes: usize,
    /// Uploads of this process.
    pub uploads: usize,
    /// Shards of one practice, over all workers.
    pub shards_per_practice: u32,
    /// Shards of one app, over all workers.
    pub shards_per_app: u32,
    /// Files of a publication.
    pub publish_files: usize,
    /// Milliseconds between publications.
    pub publish_interval_ms: u64,
    /// Milliseconds between looks for work.
    pub poll_ms: u64,
}

impl Worker {
    /// Time between publications.
    #[must_use]
    pub fn publish_interval(&self) -> Duration {
        Duration::from_millis(self.publish_interval_ms)
    }

    /// Time between looks for work.
    #[must_use]
    pub fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }

    pub(super) fn check(&self, file_bytes: usize, checks: &mut Checks) {
        checks.range("worker.shards", self.shards, 1..=256);
        checks.range("worker.steps", self.steps, 1..=64);
        checks.range("worker.uploads", self.uploads, 1..=256);
        checks.range("worker.shards_per_practice", self.shards_per_practice, 1..=10_000);
        checks.range("worker.shards_per_app", self.shards_per_app, 1..=10_000);
        checks.range("worker.publish_files", self.publish_files, 1..=1000);
        checks.range("worker.publish_interval_ms", self.publish_interval_ms, 10..=60_000);
        checks.range("worker.poll_ms", self.poll_ms, 50..=60_000);
        if self.buffer_bytes < file_bytes {
            checks.problem("worker.buffer_bytes", "must be at least export.file_bytes, to hold one file");
        }
    }
}
