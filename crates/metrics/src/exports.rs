//! Exports. In these names an export is a *job*, as in the field.

use crate::definition::{Label, Role};
use crate::fading::{FLEET, FadingGauge};
use crate::instrument::{Counter, Histogram};

/// How long steps wait, in seconds.
pub(crate) const WAITS: &[f64] = &[0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

const STATE: Label = Label::known("state", &["accepted", "planning", "running", "finishing", "completed"]);

/// See its description.
pub static STARTED: Counter = Counter::new(
    Role::Api,
    "export.jobs.started",
    "{export}",
    &[Label::practice(), Label::known("level", &["patient", "group", "system"])],
    "Exports that were kicked off.",
);

/// See its description.
pub static FINISHED: Counter = Counter::new(
    Role::Both,
    "export.jobs.finished",
    "{export}",
    &[
        Label::practice(),
        Label::known("outcome", &["completed", "failed", "cancelled", "revoked", "expired"]),
    ],
    "Exports that ended, by how; completed ones expire later, and count again then.",
);

/// See its description.
pub static LATE: Counter = Counter::new(
    Role::Worker,
    "export.jobs.late",
    "{export}",
    &[Label::practice()],
    "Exports that were completed, and took longer than ten minutes and a second for every 2,000 resources.",
);

/// See its description.
pub static DURATION: Histogram = Histogram::seconds_in(
    Role::Worker,
    "export.job.duration",
    &[Label::known("size_class", &["xs", "s", "m", "l", "xl"])],
    &[1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21_600.0, 86_400.0],
    "Time from kick-off to completion, by size: below 1,000 resources (xs), 10,000 (s), 100,000 (m), a million (l), more.",
);

/// See its description.
pub static START_DELAY: Histogram = Histogram::seconds_in(
    Role::Worker,
    "export.job.start_delay",
    &[],
    WAITS,
    "Time from kick-off until a worker first planned the export.",
);

/// See its description.
pub static IN_STATE: FadingGauge = FadingGauge::new(
    Role::Worker,
    "export.jobs.in_state",
    "{export}",
    &[STATE],
    FLEET,
    "Exports by state, of the whole fleet: take the maximum over workers.",
);

/// See its description.
pub static OLDEST_AGE: FadingGauge = FadingGauge::new(
    Role::Worker,
    "export.job.oldest_age",
    "s",
    &[STATE],
    FLEET,
    "Time since the kick-off of the oldest export in a state, of the whole fleet. Those that have not ended and whose practice is paused are left out.",
);

/// The size class of an export of so many resources.
#[must_use]
pub fn size_class(resources: u64) -> &'static str {
    match resources {
        0..1_000 => "xs",
        1_000..10_000 => "s",
        10_000..100_000 => "m",
        100_000..1_000_000 => "l",
        _ => "xl",
    }
}

/// How long an export of so many resources may take, in seconds.
#[must_use]
pub fn due_s(resources: u64) -> u64 {
    600 + resources / 2_000
}
