//! What a metric is.

/// A metric as it is documented and exported.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Its OpenTelemetry name: words with dots.
    pub name: &'static str,
    /// Its unit in UCUM: `s`, `By`, or what is counted in braces, `{export}`.
    pub unit: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// One sentence: what a number of it means.
    pub description: &'static str,
    /// What its series are told apart by.
    pub labels: &'static [Label],
    /// Which processes export it.
    pub role: Role,
}

impl Definition {
    /// The name that Prometheus knows it by: unit and, for counters, `_total` at its end.
    #[must_use]
    pub fn prometheus_name(&self) -> String {
        let unit = match self.unit {
            "s" => "_seconds",
            "By" => "_bytes",
            _ => "",
        };
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("{}{unit}{total}", self.name.replace('.', "_"))
    }
}

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down by steps.
    UpDownCounter,
    /// It is what was seen last.
    Gauge,
    /// It counts observations by size.
    Histogram,
}

impl Kind {
    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::UpDownCounter => "up-down counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// Which processes export a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The API.
    Api,
    /// Workers.
    Worker,
    /// Both.
    Both,
}

impl Role {
    /// Whether a process of the role `other` exports what is of this role.
    #[must_use]
    pub fn includes(self, other: Role) -> bool {
        self == other || self == Role::Both || other == Role::Both
    }

    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Api => "api",
            Role::Worker => "worker",
            Role::Both => "api, worker",
        }
    }
}

/// The label by which practices are told apart: an instrument with it may have many series.
pub const PRACTICE: &str = "practice";

/// What series of a metric are told apart by.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// The values that it takes.
    pub values: Values,
}

/// The values of a label.
#[derive(Debug, Clone, Copy)]
pub enum Values {
    /// These and no others: their series are there from the start, with 0.
    Known(&'static [&'static str]),
    /// As many as the program has of what is named here.
    Bounded(&'static str),
}

impl Label {
    /// A label with known values.
    #[must_use]
    pub const fn known(name: &'static str, values: &'static [&'static str]) -> Self {
        Self { name, values: Values::Known(values) }
    }

    /// A label with as many values as there are of something.
    #[must_use]
    pub const fn bounded(name: &'static str, of: &'static str) -> Self {
        Self { name, values: Values::Bounded(of) }
    }

    /// The number of a practice.
    #[must_use]
    pub const fn practice() -> Self {
        Self::bounded(PRACTICE, "the practices' numbers")
    }
}
