//! `[poll]`: status requests.

use std::time::Duration;

use serde::Deserialize;

use super::checks::Checks;

/// Status requests.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Poll {
    /// Milliseconds before an export is reported complete.
    pub min_age_ms: u64,
}

impl Poll {
    /// Age before which an export is not reported complete.
    #[must_use]
    pub fn min_age(&self) -> Duration {
        Duration::from_millis(self.min_age_ms)
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        checks.range("poll.min_age_ms", self.min_age_ms, 0..=60_000);
    }
}
