//! What a request asks of the resources themselves, beyond level, types and `_since`; it travels with the export
//! to the workers.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::elements::Elements;
use crate::search::TypeFilters;

/// Which resources of the types are wanted, and what of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Selection {
    /// `_until`: only resources changed before this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// `_typeFilter`: only resources that match.
    #[serde(skip_serializing_if = "TypeFilters::is_empty")]
    pub type_filters: TypeFilters,
    /// `_elements`: only these elements.
    #[serde(skip_serializing_if = "Elements::is_empty")]
    pub elements: Elements,
    /// `includeAssociatedData`: which Provenance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenance: Option<AssociatedProvenance>,
}

/// The Provenance that `includeAssociatedData` asks for. Without it Provenance is a type like any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AssociatedProvenance {
    /// `LatestProvenanceResources`: of each exported resource the latest.
    Latest,
    /// `RelevantProvenanceResources`: all that are about an exported resource, whenever they were recorded.
    Relevant,
}

/// How the client wants the export delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Delivery {
    /// `allowPartialManifests`: files may be listed as soon as they are there, and manifests be paged.
    pub partial_manifests: bool,
    /// `Prefer: separate-export-status`.
    pub separate_status: bool,
}
