//! `[drain]`: ending.

use std::time::Duration;

use serde::Deserialize;

use super::checks::Checks;

/// Ending.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// Seconds between the first signal and the hard stop.
    pub grace_s: u64,
}

impl Drain {
    /// Time between the first signal and the hard stop.
    #[must_use]
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_s)
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        checks.range("drain.grace_s", self.grace_s, 1..=600);
    }
}
