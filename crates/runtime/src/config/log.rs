//! `[log]`: what is logged, and how.

use serde::Deserialize;
use tracing_subscriber::filter::Targets;

use super::checks::Checks;

/// What is logged, and how.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// How a line looks.
    pub format: Format,
    /// What is logged: `level` or `target=level,…`.
    pub filter: String,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Log {
    pub(super) fn check(&self, checks: &mut Checks) {
        if self.filter.parse::<Targets>().is_err() {
            checks.problem("log.filter", "must be a level such as info, or target=level,…");
        }
    }
}
