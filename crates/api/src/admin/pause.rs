//! Pausing and draining a practice or the fleet: the shapes that the two share.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// By whom and why something is paused.
#[derive(Serialize, ToSchema)]
pub(super) struct Pause {
    at: DateTime<Utc>,
    by: String,
    reason: String,
    /// Whether what runs is given back too.
    drain: bool,
}

impl From<&headgate_store::Pause> for Pause {
    fn from(pause: &headgate_store::Pause) -> Self {
        Self { at: pause.at, by: pause.by.clone(), reason: pause.reason.clone(), drain: pause.drains }
    }
}

/// Why something is to be paused, and how.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PauseRequest {
    pub(super) reason: String,
    /// Also have what runs checkpoint and be given back. What drains already goes on doing so.
    #[serde(default)]
    pub(super) drain: bool,
}

/// Why a pause ends.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResumeRequest {
    pub(super) reason: Option<String>,
}
