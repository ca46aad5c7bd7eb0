//! The bucket.

use crate::definition::{Label, Role};
use crate::instrument::{Counter, Histogram};

const OPERATION: Label = Label::known("op", &["put", "delete", "list", "head", "check"]);

/// See its description.
pub static REQUESTS: Counter = Counter::new(
    Role::Both,
    "s3.requests",
    "{request}",
    &[
        OPERATION,
        Label::known("status", &["ok", "denied", "missing", "throttled", "checksum", "unavailable", "other"]),
    ],
    "Requests to the bucket, by how they ended; repetitions by the client itself count once.",
);

/// See its description.
pub static REQUEST_DURATION: Histogram = Histogram::seconds(
    Role::Both,
    "s3.request.duration",
    &[OPERATION],
    "Time that a request to the bucket took.",
);

/// See its description.
pub static RETRIES: Counter =
    Counter::new(Role::Worker, "s3.retries", "{retry}", &[], "Uploads that were sent again after a failure.");

/// See its description.
pub static VERIFY_FAILED: Counter = Counter::new(
    Role::Worker,
    "export.files.verify_failed",
    "{file}",
    &[],
    "Uploads whose checksum at the bucket was not ours; such a file is never published.",
);

/// See its description.
pub static ORPHANS: Counter = Counter::new(
    Role::Worker,
    "export.orphans",
    "{object}",
    &[],
    "Objects that were found, and deleted, below the prefix of an export that had been purged before.",
);
