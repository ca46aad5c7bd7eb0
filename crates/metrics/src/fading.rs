//! A gauge that says nothing rather than something old.
//!
//! What a process sees only as long as it can look, such as the state of the whole fleet in the control database, must not
//! stay at a good value when it cannot look any more. It is not there then, which an alert tells from a good value.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::metrics::ObservableGauge;
use opentelemetry::{KeyValue, Value};

use crate::definition::{Definition, Kind, Label, Role};
use crate::instrument::{attributes, meter};

/// How long a worker's last look at the whole fleet counts: a few times as long as it takes between two.
pub(crate) const FLEET: Duration = Duration::from_secs(45);

/// What was seen of each series, and when.
type Seen = HashMap<Vec<KeyValue>, (f64, Instant)>;

/// What was seen last, unless that was too long ago.
#[derive(Debug)]
pub struct FadingGauge {
    definition: Definition,
    fresh: Duration,
    seen: LazyLock<Mutex<Seen>>,
    instrument: OnceLock<ObservableGauge<f64>>,
}

impl FadingGauge {
    /// One whose series are there for `fresh` after they were set.
    pub(crate) const fn new(
        role: Role,
        name: &'static str,
        unit: &'static str,
        labels: &'static [Label],
        fresh: Duration,
        description: &'static str,
    ) -> Self {
        let definition = Definition { name, unit, kind: Kind::Gauge, description, labels, role };
        Self { definition, fresh, seen: LazyLock::new(Mutex::default), instrument: OnceLock::new() }
    }

    /// Sets the series of the labels.
    pub fn set(&'static self, to: f64, labels: &[(&'static str, Value)]) {
        self.set_at(Instant::now(), to, labels);
        let Definition { name, unit, description, .. } = self.definition;
        self.instrument.get_or_init(|| {
            meter()
                .f64_observable_gauge(name)
                .with_unit(unit)
                .with_description(description)
                .with_callback(|observer| {
                    for (labels, value) in self.fresh_at(Instant::now()) {
                        observer.observe(value, &labels);
                    }
                })
                .build()
        });
    }

    fn set_at(&self, now: Instant, to: f64, labels: &[(&'static str, Value)]) {
        let labels = attributes(&self.definition, labels);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(labels, (to, now));
    }

    /// The series that are there at a moment; the others are forgotten.
    fn fresh_at(&self, now: Instant) -> Vec<(Vec<KeyValue>, f64)> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, (_, at)| now.saturating_duration_since(*at) < self.fresh);
        seen.iter().map(|(labels, (value, _))| (labels.clone(), *value)).collect()
    }

    /// What it is.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        &self.definition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_there_until_it_was_not_set_for_a_while() {
        const LABELS: &[Label] = &[Label::known("step", &["plan", "shard"])];
        let gauge = FadingGauge::new(Role::Worker, "a.test", "s", LABELS, Duration::from_secs(45), "A test.");
        let (begun, second) = (Instant::now(), Duration::from_secs(1));
        gauge.set_at(begun, 1.0, &[("step", "plan".into())]);
        gauge.set_at(begun, 2.0, &[("step", "shard".into())]);
        gauge.set_at(begun + 40 * second, 3.0, &[("step", "shard".into())]);
        let values = |after| {
            let mut values: Vec<f64> =
                gauge.fresh_at(begun + after * second).into_iter().map(|(_, value)| value).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        assert_eq!(values(44), [1.0, 3.0]);
        assert_eq!(values(45), [3.0]);
        assert_eq!(values(85), []);
    }
}
