//! Metrics that can be told something: a definition and, once it was used, OpenTelemetry's instrument.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::metrics::{self, Meter};
use opentelemetry::{KeyValue, Value, global};

use crate::definition::{Definition, Kind, Label, Role, Values};

/// The bounds of the buckets of most durations, in seconds: those that the semantic conventions advise for HTTP.
pub(crate) const SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The name that all instruments are of.
const METER: &str = "headgate";

pub(crate) fn meter() -> Meter {
    global::meter(METER)
}

/// Label values as OpenTelemetry wants them.
pub(crate) fn attributes(definition: &Definition, labels: &[(&'static str, Value)]) -> Vec<KeyValue> {
    debug_assert!(
        labels.iter().all(|(name, value)| definition.labels.iter().any(|label| label.name == *name
            && match label.values {
                Values::Known(known) => known.contains(&value.as_str().as_ref()),
                Values::Bounded(_) => true,
            })),
        "{} has no such label or value: {labels:?}",
        definition.name
    );
    labels.iter().map(|(name, value)| KeyValue::new(*name, value.clone())).collect()
}

/// A number that only grows.
#[derive(Debug)]
pub struct Counter {
    definition: Definition,
    instrument: OnceLock<metrics::Counter<u64>>,
}

impl Counter {
    pub(crate) const fn new(
        role: Role,
        name: &'static str,
        unit: &'static str,
        labels: &'static [Label],
        description: &'static str,
    ) -> Self {
        let definition = Definition { name, unit, kind: Kind::Counter, description, labels, role };
        Self { definition, instrument: OnceLock::new() }
    }

    /// Adds `by` to the series of the labels.
    pub fn add(&self, by: u64, labels: &[(&'static str, Value)]) {
        let Definition { name, unit, description, .. } = self.definition;
        let instrument = self
            .instrument
            .get_or_init(|| meter().u64_counter(name).with_unit(unit).with_description(description).build());
        instrument.add(by, &attributes(&self.definition, labels));
    }

    /// What it is.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        &self.definition
    }
}

/// A number that goes up and down by steps.
#[derive(Debug)]
pub struct UpDownCounter {
    definition: Definition,
    instrument: OnceLock<metrics::UpDownCounter<i64>>,
}

impl UpDownCounter {
    pub(crate) const fn new(
        role: Role,
        name: &'static str,
        unit: &'static str,
        labels: &'static [Label],
        description: &'static str,
    ) -> Self {
        let definition = Definition { name, unit, kind: Kind::UpDownCounter, description, labels, role };
        Self { definition, instrument: OnceLock::new() }
    }

    /// Adds `by` to the series of the labels.
    pub fn add(&self, by: i64, labels: &[(&'static str, Value)]) {
        let Definition { name, unit, description, .. } = self.definition;
        let instrument = self.instrument.get_or_init(|| {
            meter().i64_up_down_counter(name).with_unit(unit).with_description(description).build()
        });
        instrument.add(by, &attributes(&self.definition, labels));
    }

    /// What it is.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        &self.definition
    }
}

/// What was seen last.
#[derive(Debug)]
pub struct Gauge {
    definition: Definition,
    instrument: OnceLock<metrics::Gauge<f64>>,
}

impl Gauge {
    pub(crate) const fn new(
        role: Role,
        name: &'static str,
        unit: &'static str,
        labels: &'static [Label],
        description: &'static str,
    ) -> Self {
        let definition = Definition { name, unit, kind: Kind::Gauge, description, labels, role };
        Self { definition, instrument: OnceLock::new() }
    }

    /// Sets the series of the labels.
    pub fn set(&self, to: f64, labels: &[(&'static str, Value)]) {
        let Definition { name, unit, description, .. } = self.definition;
        let instrument = self
            .instrument
            .get_or_init(|| meter().f64_gauge(name).with_unit(unit).with_description(description).build());
        instrument.record(to, &attributes(&self.definition, labels));
    }

    /// What it is.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        &self.definition
    }
}

/// Observations by size.
#[derive(Debug)]
pub struct Histogram {
    definition: Definition,
    buckets: &'static [f64],
    instrument: OnceLock<metrics::Histogram<f64>>,
}

impl Histogram {
    /// Of durations, with the usual buckets.
    pub(crate) const fn seconds(
        role: Role,
        name: &'static str,
        labels: &'static [Label],
        description: &'static str,
    ) -> Self {
        Self::seconds_in(role, name, labels, SECONDS, description)
    }

    /// Of durations, with buckets of its own.
    pub(crate) const fn seconds_in(
        role: Role,
        name: &'static str,
        labels: &'static [Label],
        buckets: &'static [f64],
        description: &'static str,
    ) -> Self {
        let definition = Definition { name, unit: "s", kind: Kind::Histogram, description, labels, role };
        Self { definition, buckets, instrument: OnceLock::new() }
    }

    /// Counts an observation in the series of the labels.
    pub fn record(&self, took: Duration, labels: &[(&'static str, Value)]) {
        let Definition { name, unit, description, .. } = self.definition;
        let instrument = self.instrument.get_or_init(|| {
            meter()
                .f64_histogram(name)
                .with_unit(unit)
                .with_description(description)
                .with_boundaries(self.buckets.to_vec())
                .build()
        });
        instrument.record(took.as_secs_f64(), &attributes(&self.definition, labels));
    }

    /// What it is.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        &self.definition
    }
}

/// A total that something else counts: it only grows.
#[derive(Debug)]
pub struct Total {
    definition: Definition,
    /// The bits of the last value.
    last: AtomicU64,
    instrument: OnceLock<metrics::Counter<f64>>,
}

impl Total {
    pub(crate) const fn new(
        role: Role,
        name: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Self {
        let definition = Definition { name, unit, kind: Kind::Counter, description, labels: &[], role };
        Self { definition, last: AtomicU64::new(0), instrument: OnceLock::new() }
    }

    /// Notes that the total has come to `to`.
    pub fn advance(&self, to: f64) {
        let Definition { name, unit, description, .. } = self.definition;
        let instrument = self
            .instrument
            .get_or_init(|| meter().f64_counter(name).with_unit(unit).with_description(description).build());
        let last = f64::from_bits(self.last.swap(to.to_bits(), Ordering::Relaxed));
        instrument.add((to - last).max(0.0), &[]);
    }

    /// What it is.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        &self.definition
    }
}
