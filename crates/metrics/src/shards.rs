//! Shards and what they give.

use crate::definition::{Label, Role};
use crate::exports::WAITS;
use crate::fading::{FLEET, FadingGauge};
use crate::instrument::{Counter, Histogram};

const RESOURCE_TYPE: Label = Label::bounded("resource_type", "FHIR's resource types, and attachments");

/// See its description.
pub static DURATION: Histogram = Histogram::seconds_in(
    Role::Worker,
    "export.shard.duration",
    &[RESOURCE_TYPE, Label::known("outcome", &["done", "drained", "left", "retried", "quarantined"])],
    &[0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0],
    "Time that a worker held a shard, by how it put it down.",
);

/// See its description.
pub static START_DELAY: Histogram = Histogram::seconds_in(
    Role::Worker,
    "export.shard.start_delay",
    &[],
    WAITS,
    "Time that a shard was runnable before a worker took it.",
);

/// See its description.
pub static ATTEMPTS: Counter = Counter::new(
    Role::Worker,
    "export.shard.attempts",
    "{attempt}",
    &[Label::known("kind", &["first", "again"])],
    "Shards that this worker took; again: a worker had it before and published nothing since.",
);

/// See its description.
pub static LEASE_LOST: Counter = Counter::new(
    Role::Worker,
    "export.shard.lease_lost",
    "{lease}",
    &[],
    "Leases that this worker could not renew, or that were not its own any more.",
);

/// See its description.
pub static RESCUED: Counter = Counter::new(
    Role::Worker,
    "export.shard.rescued",
    "{shard}",
    &[],
    "Shards that this worker took over from one whose lease had expired.",
);

/// See its description.
pub static QUARANTINED: Counter = Counter::new(
    Role::Worker,
    "export.shard.quarantined",
    "{shard}",
    &[],
    "Shards that were given up; their exports have failed.",
);

/// See its description.
pub static CHECKPOINT_AGE: FadingGauge = FadingGauge::new(
    Role::Worker,
    "export.checkpoint.age",
    "s",
    &[],
    FLEET,
    "Longest time that a shard under a live lease has published nothing, of the whole fleet.",
);

/// See its description.
pub static RESOURCES: Counter = Counter::new(
    Role::Worker,
    "export.resources",
    "{resource}",
    &[RESOURCE_TYPE],
    "Resources that were published in files.",
);

/// See its description.
pub static FILES: Counter =
    Counter::new(Role::Worker, "export.files", "{file}", &[], "Files that were published.");

/// See its description.
pub static BYTES: Counter = Counter::new(
    Role::Worker,
    "export.data",
    "By",
    &[Label::known("stage", &["read", "written"])],
    "Bytes of resources: as the practices' databases gave them, and as they were published, uncompressed.",
);

/// See its description.
pub static ROWS_REJECTED: Counter = Counter::new(
    Role::Worker,
    "export.rows_rejected",
    "{row}",
    &[Label::bounded("reason", "the reasons of the error file")],
    "Rows that could not be exported and are told in an error file.",
);

/// See its description.
pub static ATTACHMENTS_UNSERVED: Counter = Counter::new(
    Role::Worker,
    "export.attachments_unserved",
    "{resource}",
    &[Label::known("reason", &["attachments_need_token", "attachments_not_in_source"])],
    "Resources that were exported and lead by URL to attachments that were not, as the error file tells.",
);

/// See its description.
pub static PAGE_DURATION: Histogram = Histogram::seconds(
    Role::Worker,
    "export.page.duration",
    &[],
    "Time from asking for a page of rows until its last row was framed, waiting for a place in memory included.",
);
