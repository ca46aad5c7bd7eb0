//! `/admin/v1/mappings`: mapping sets, which say how the columns of a kind of EHR become resources
//! (`docs/MAPPING.md`).

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use headgate_domain::mapping::{Json, MappingSet as Parsed};
use headgate_domain::practice::UsCore;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::Answer;
use super::caller::Caller;
use super::input::Input;
use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;

/// A mapping set: file names and their documents.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MappingFiles {
    #[schema(value_type = BTreeMap<String, Object>)]
    files: BTreeMap<String, Json>,
}

/// A mapping set as a list shows it.
#[derive(Serialize, ToSchema)]
pub(super) struct MappingSet {
    name: String,
    files: Vec<String>,
    updated_at: DateTime<Utc>,
}

/// All mapping sets.
#[derive(Serialize, ToSchema)]
pub(super) struct MappingSets {
    mappings: Vec<MappingSet>,
}

/// A mapping set that was stored.
#[derive(Serialize, ToSchema)]
pub(super) struct StoredMapping {
    name: String,
    files: Vec<String>,
}

/// Lists the mapping sets.
#[utoipa::path(get, path = "/mappings", tag = "mappings", responses((status = 200, body = MappingSets)))]
pub(super) async fn list(State(state): State<ApiState>) -> Answer {
    let sets = state.store().mapping_sets().await?.into_iter();
    let shown = |set: headgate_store::MappingSetSummary| MappingSet {
        name: set.name,
        files: set.files,
        updated_at: set.updated_at,
    };
    Ok(respond::json(StatusCode::OK, &MappingSets { mappings: sets.map(shown).collect() }))
}

/// Shows the documents of a mapping set, their members in the order in which they were sent.
#[utoipa::path(get, path = "/mappings/{name}", tag = "mappings", responses((status = 200, body = MappingFiles)))]
pub(super) async fn show(State(state): State<ApiState>, Path(name): Path<String>) -> Answer {
    if !is_set_name(&name) {
        return Err(ApiError::Missing("mapping set").into());
    }
    let texts = state.store().mapping_set(&name).await?.ok_or(ApiError::Missing("mapping set"))?;
    let document = |text: &String| serde_json::from_str(text).unwrap_or(Json::Null);
    let files = texts.iter().map(|(file, text)| (file.clone(), document(text))).collect();
    Ok(respond::json(StatusCode::OK, &MappingFiles { files }))
}

/// Stores a mapping set in place of one of the same name.
///
/// Nothing is stored of a set in which anything is wrong; the practices that use it are looked at anew.
#[utoipa::path(put, path = "/mappings/{name}", tag = "mappings", request_body = MappingFiles,
    responses((status = 200, body = StoredMapping), (status = 201, body = StoredMapping)))]
pub(super) async fn put(
    State(state): State<ApiState>,
    caller: Caller,
    Path(name): Path<String>,
    Input(body): Input<MappingFiles>,
) -> Answer {
    if !is_set_name(&name) {
        let text = "a mapping set's name: lower-case letters, digits and hyphens, at most 63";
        return Err(ApiError::Invalid(text.to_owned()).into());
    }
    if body.files.is_empty() {
        return Err(ApiError::Invalid("files: a mapping set has at least one file".to_owned()).into());
    }
    let texts: BTreeMap<String, String> =
        body.files.iter().map(|(file, document)| (file.clone(), document.to_line())).collect();
    if texts.values().any(|text| text.contains("\\u0000")) {
        return Err(ApiError::Invalid("files: a text must not hold the character U+0000".to_owned()).into());
    }
    for version in [UsCore::V6_1_0, UsCore::V7_0_0] {
        let files = texts.iter().map(|(file, text)| (file.as_str(), text.as_str()));
        Parsed::parse(files, version).map_err(|error| ApiError::Invalid(error.to_string()))?;
    }
    let files: Vec<String> = texts.keys().cloned().collect();
    let audit = caller.audit("mapping.put").and(json!({ "mapping": name, "files": files }));
    let created = state.store().put_mapping_set(&name, &texts, &audit).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(respond::json(status, &StoredMapping { name, files }))
}

/// Whether a text can be the name of a mapping set, which is also that of a folder.
pub(super) fn is_set_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_set_cannot_leave_its_folder() {
        assert!(is_set_name("reference-ehr") && is_set_name("7"));
        for wrong in ["", "-a", "a/b", "..", "A", "a b", &"a".repeat(64)] {
            assert!(!is_set_name(wrong), "{wrong}");
        }
    }
}
