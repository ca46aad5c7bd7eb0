//! Databases: the OpenTelemetry semantic conventions for database clients and their pools, and the doorbells.

use crate::definition::{Label, Role};
use crate::instrument::{Counter, Gauge, Histogram};

const POOL: Label = Label::known("db.client.connection.pool.name", &["control"]);

/// See its description.
pub static OPERATION_DURATION: Histogram = Histogram::seconds_in(
    Role::Both,
    "db.client.operation.duration",
    &[
        Label::known("db.system.name", &["postgresql"]),
        Label::bounded("db.query.summary", "the statements' names in this program"),
    ],
    &[0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0],
    "Time that a statement took, by its name; never by its text.",
);

/// See its description.
pub static CONNECTION_COUNT: Gauge = Gauge::new(
    Role::Both,
    "db.client.connection.count",
    "{connection}",
    &[POOL, Label::known("db.client.connection.state", &["idle", "used"])],
    "Connections of the pool on the control database, by state.",
);

/// See its description.
pub static CONNECTION_MAX: Gauge = Gauge::new(
    Role::Both,
    "db.client.connection.max",
    "{connection}",
    &[POOL],
    "Connections that the pool on the control database may have.",
);

/// See its description.
pub static CONNECTION_TIMEOUTS: Counter = Counter::new(
    Role::Both,
    "db.client.connection.timeouts",
    "{timeout}",
    &[POOL],
    "Times that no connection to the control database became free in time.",
);

/// See its description.
pub static DOORBELLS: Counter = Counter::new(
    Role::Worker,
    "messaging.client.consumed.messages",
    "{message}",
    &[],
    "Doorbells that this worker heard: messages that say that there may be work.",
);
