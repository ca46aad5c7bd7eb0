//! Every metric of Headgate, defined once: name, unit, kind, description and labels.
//!
//! A metric is a static beside its area's others. Where something happens, the static is told:
//! `shards::QUARANTINED.add(1, &[])`. [`definitions`] lists them all; `docs/METRICS.md` is written from that list, and the
//! dashboards and alerts are checked against it.
//!
//! The crate only knows OpenTelemetry's API: until a process sets up a meter provider, recording does nothing. That is why
//! every crate but the vocabulary may use it, as it may use `tracing`.
//!
//! Labels are bounded: either their values are listed here, or they are names of this program (operations, statements,
//! FHIR resource types), or the number of a practice, where that is worth a series a practice. Never an id of an export,
//! a patient, a group or an app.

mod all;
pub mod api;
pub mod auth;
pub mod database;
mod definition;
pub mod exports;
mod fading;
pub mod http;
mod instrument;
pub mod lifecycle;
pub mod process;
pub mod queue;
pub mod shards;
pub mod source;
pub mod storage;

pub use all::{definitions, start};
pub use definition::{Definition, Kind, Label, PRACTICE, Role, Values};
pub use fading::FadingGauge;
pub use instrument::{Counter, Gauge, Histogram, Total, UpDownCounter};
pub use opentelemetry::Value;
