//! Polls are counted, and a client that hammers is told to wait (Bulk Data IG, Bulk Data Status Request).
//!
//! Each export may be polled [`BURST`] times at once and twice a second in the long run: far more than any client that
//! heeds `Retry-After`, or that sleeps at all, ever comes to.

use std::time::Duration;

use headgate_domain::{ClientId, ExportId, PracticeNumber};

use crate::rate::Rate;

/// Polls at once.
const BURST: u32 = 60;

/// The time that a poll takes to be forgotten.
const INTERVAL: Duration = Duration::from_millis(500);

/// The counts, by export and who polls it.
#[derive(Debug)]
pub(crate) struct Throttle(Rate<(PracticeNumber, ClientId, ExportId)>);

impl Default for Throttle {
    fn default() -> Self {
        Self(Rate::new(BURST, INTERVAL))
    }
}

impl Throttle {
    /// Counts a poll. `false` when it is one too many; such a poll is not counted.
    pub(crate) fn admits(&self, practice: PracticeNumber, client: &ClientId, export: &ExportId) -> bool {
        self.0.admit((practice, client.clone(), export.clone())).is_ok()
    }
}
