//! The practices' databases.

use std::time::Duration;

use crate::definition::{Label, Role};
use crate::fading::{FLEET, FadingGauge};
use crate::instrument::{Counter, Histogram};

/// How long the last plan of a practice's exports counts: long enough that alerts, which wait for a quarter of an hour, see
/// it; not so long that they ring for what another worker has seen mended since.
const LAST_PLAN: Duration = Duration::from_secs(3600);

/// See its description.
pub static QUERY_DURATION: Histogram = Histogram::seconds_in(
    Role::Worker,
    "export.source.query.duration",
    &[Label::known("operation", &["catalog", "horizon", "plan", "page", "deleted", "attachments", "groups"])],
    &[0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0],
    "Time that a piece of work at a practice's database took.",
);

/// See its description.
pub static ERRORS: Counter = Counter::new(
    Role::Worker,
    "export.source.errors",
    "{error}",
    &[Label::known("class", &["connection", "timeout", "contract", "horizon", "server", "other"])],
    "Failures at practices' databases.",
);

/// See its description.
pub static TRANSACTION_TIME_LAG: FadingGauge = FadingGauge::new(
    Role::Worker,
    "export.transaction_time.lag",
    "s",
    &[Label::practice()],
    LAST_PLAN,
    "How far the transactionTime of the last export planned within the hour lay in the past: how long the source's oldest transaction was open.",
);

/// See its description.
pub static REPLICA_LAG: FadingGauge = FadingGauge::new(
    Role::Worker,
    "export.source.replica_lag",
    "s",
    &[Label::practice()],
    LAST_PLAN,
    "How far a practice's replica was behind when an export was last planned within the hour; practices with a replica alone have it.",
);

/// See its description.
pub static CATALOG_AGE: FadingGauge = FadingGauge::new(
    Role::Worker,
    "source.catalog.age",
    "s",
    &[],
    FLEET,
    "Time since the catalogue that was read longest ago was read, of the whole fleet.",
);
