//! Consent: a practice's permission for one app to read its data in bulk.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::scope::ScopeSet;

/// Which groups a consent lets the app export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupAccess {
    /// Every group of the practice, and the Patient and system levels.
    All,
    /// Only these groups; the Patient and system levels are refused.
    Only(BTreeSet<String>),
}

impl GroupAccess {
    /// Whether the group may be exported.
    #[must_use]
    pub fn permits(&self, group_id: &str) -> bool {
        match self {
            GroupAccess::All => true,
            GroupAccess::Only(groups) => groups.contains(group_id),
        }
    }
}

/// A consent in force, as token endpoint, kick-off and polls need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// The consent's id; each export records it.
    pub id: uuid::Uuid,
    /// What the practice lets the app read.
    pub scopes: ScopeSet,
    /// Which groups.
    pub groups: GroupAccess,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
}
