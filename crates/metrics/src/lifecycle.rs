//! What happens by itself: retention, housekeeping, the audit trail; and what runs.

use crate::definition::{Label, Role};
use crate::fading::{FLEET, FadingGauge};
use crate::instrument::{Counter, Gauge};

const TASK: Label =
    Label::known("task", &["expire", "reconcile", "replay", "queue", "refresh", "sweep", "forget"]);

/// See its description.
pub static SWEEPS: Counter = Counter::new(
    Role::Worker,
    "retention.sweep",
    "{export}",
    &[Label::known("result", &["ok", "failed"])],
    "Exports whose objects were deleted, or could not be.",
);

/// See its description.
pub static RETENTION_LAG: FadingGauge = FadingGauge::new(
    Role::Worker,
    "retention.lag",
    "s",
    &[],
    FLEET,
    "Time since the oldest ended export ended whose objects are still in the bucket, of the whole fleet.",
);

/// See its description.
pub static MAINTENANCE_RUNS: Counter = Counter::new(
    Role::Worker,
    "maintenance.runs",
    "{run}",
    &[TASK, Label::known("result", &["ok", "failed"])],
    "Runs of housekeeping by this worker.",
);

/// See its description.
pub static MAINTENANCE_OVERDUE: FadingGauge = FadingGauge::new(
    Role::Worker,
    "maintenance.overdue",
    "s",
    &[TASK],
    FLEET,
    "By how much a task of housekeeping is overdue, of the whole fleet.",
);

/// See its description.
pub static AUDIT_WRITE_FAILURES: Counter = Counter::new(
    Role::Both,
    "audit.write_failures",
    "{event}",
    &[],
    "Events of the audit trail that could not be written; the deed itself was then undone.",
);

/// See its description.
pub static AUDIT_UNSEALED: FadingGauge = FadingGauge::new(
    Role::Worker,
    "audit.unsealed",
    "{event}",
    &[],
    FLEET,
    "Events of the audit trail that are not sealed yet.",
);

/// See its description.
pub static AUDIT_UNSEALED_AGE: FadingGauge = FadingGauge::new(
    Role::Worker,
    "audit.unsealed.age",
    "s",
    &[],
    FLEET,
    "Age of the oldest event of the audit trail that is not sealed yet.",
);

/// See its description.
pub static PAUSED: FadingGauge = FadingGauge::new(
    Role::Worker,
    "operations.paused",
    "{practice}",
    &[],
    FLEET,
    "Practices of which nothing new is taken up, by their own pause or by that of the fleet.",
);

/// See its description.
pub static BUILD_INFO: Gauge = Gauge::new(
    Role::Both,
    "build_info",
    "{process}",
    &[
        Label::bounded("version", "this program's version"),
        Label::bounded("schema", "the control database's schema version that it needs"),
        Label::known("role", &["api", "worker"]),
    ],
    "Always 1: what runs.",
);

/// See its description.
pub static CERTIFICATE_REMAINING: Gauge = Gauge::new(
    Role::Api,
    "tls.certificate.remaining",
    "s",
    &[],
    "Time until the served certificate ends; not there without one.",
);
