//! Suspending a vendor, an app or a practice: the shapes that the three share.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// By whom and why something was suspended.
#[derive(Serialize, ToSchema)]
pub(super) struct Suspension {
    at: DateTime<Utc>,
    by: String,
    reason: String,
}

impl From<&headgate_store::Suspension> for Suspension {
    fn from(suspension: &headgate_store::Suspension) -> Self {
        Self { at: suspension.at, by: suspension.by.clone(), reason: suspension.reason.clone() }
    }
}

/// Why something is to be suspended.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Suspend {
    pub(super) reason: String,
}
