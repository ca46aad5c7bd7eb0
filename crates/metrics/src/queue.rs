//! What waits, and the hands of a worker.

use crate::definition::{Label, Role};
use crate::fading::{FLEET, FadingGauge};
use crate::instrument::{Counter, Gauge};

const STEP: Label = Label::known("step", &["plan", "shard", "finish", "purge", "refresh"]);

/// See its description.
pub static DEPTH: FadingGauge = FadingGauge::new(
    Role::Worker,
    "export.queue.depth",
    "{step}",
    &[STEP],
    FLEET,
    "Steps that could be taken now, of the whole fleet: take the maximum over workers.",
);

/// See its description.
pub static OLDEST_AGE: FadingGauge = FadingGauge::new(
    Role::Worker,
    "export.queue.oldest_age",
    "s",
    &[STEP],
    FLEET,
    "Time that the oldest runnable step has waited, of the whole fleet.",
);

/// See its description.
pub static DOORBELL_MISSING: Counter = Counter::new(
    Role::Worker,
    "export.queue.doorbell_missing",
    "{export}",
    &[],
    "Exports with work to do for which nobody had rung for a while, so that the bell was rung again.",
);

/// See its description.
pub static SLOTS: Gauge = Gauge::new(
    Role::Worker,
    "worker.slots",
    "{slot}",
    &[Label::known("kind", &["step", "shard", "upload"]), Label::known("state", &["busy", "total"])],
    "Hands of this worker, by what for.",
);

/// See its description.
pub static BUFFER: Gauge = Gauge::new(
    Role::Worker,
    "worker.buffer",
    "By",
    &[Label::known("state", &["used", "limit"])],
    "Bytes of files in this worker's memory.",
);

/// See its description.
pub static HEARTBEAT_AGE: Gauge = Gauge::new(
    Role::Worker,
    "worker.heartbeat.age",
    "s",
    &[],
    "Time since this worker's lease keeper last reached the control database.",
);
