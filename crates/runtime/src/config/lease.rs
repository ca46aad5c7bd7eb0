//! `[lease]`: how long a worker may be silent.

use std::time::Duration;

use serde::Deserialize;

use super::checks::Checks;

/// How long a worker may be silent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// Seconds until work is taken from a silent worker.
    pub duration_s: u64,
    /// Acquisitions without progress before work is given up.
    pub max_attempts: u32,
}

impl Lease {
    /// Time until work is taken from a silent worker.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.duration_s)
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        checks.range("lease.duration_s", self.duration_s, 3..=600);
        checks.range("lease.max_attempts", self.max_attempts, 1..=1000);
    }
}
