//! `/admin/v1/practices/{number}/groups`: cohorts of patients, defined by their ids.

use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use headgate_domain::ids::is_fhir_id;
use headgate_domain::practice::Practice;
use headgate_store::GroupRecord;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::Answer;
use super::caller::Caller;
use super::input::{Input, practice, text};
use super::page::{ListParams, Paging, Params};
use super::revision::{IfMatch, tagged};
use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;

/// A group.
#[derive(Serialize, ToSchema)]
pub(super) struct Group {
    group_id: String,
    name: String,
    member_count: u64,
    /// How many of the members the practice's source has; null until they were counted.
    matched: Option<MatchedMembers>,
    revision: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// How many of a group's members the practice's source has.
#[derive(Serialize, ToSchema)]
pub(super) struct MatchedMembers {
    members_known: u64,
    of: u64,
    at: DateTime<Utc>,
}

impl From<&GroupRecord> for Group {
    fn from(group: &GroupRecord) -> Self {
        Self {
            group_id: group.group_id.clone(),
            name: group.name.clone(),
            member_count: group.member_count,
            matched: group.matched.as_ref().map(|matched| MatchedMembers {
                members_known: matched.known,
                of: matched.of,
                at: matched.at,
            }),
            revision: group.revision,
            created_at: group.created_at,
            updated_at: group.updated_at,
        }
    }
}

/// A page of groups.
#[derive(Serialize, ToSchema)]
pub(super) struct Groups {
    groups: Vec<Group>,
    next: Option<String>,
}

/// A group to be created or renamed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PutGroup {
    name: String,
}

/// Lists the practice's groups.
#[utoipa::path(get, path = "/practices/{number}/groups", tag = "groups", params(ListParams),
    responses((status = 200, body = Groups)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Path(number): Path<String>,
    paging: Paging,
    Params(params): Params<ListParams>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let page = paging.page(params.limit, params.cursor)?;
    let found = state.store().groups_page(practice.number, &page).await?;
    let groups =
        Groups { groups: found.items.iter().map(Group::from).collect(), next: paging.next(found.next)? };
    Ok(respond::json(StatusCode::OK, &groups))
}

/// Shows a group.
#[utoipa::path(get, path = "/practices/{number}/groups/{group_id}", tag = "groups",
    responses((status = 200, body = Group)))]
pub(super) async fn show(
    State(state): State<ApiState>,
    Path((number, group_id)): Path<(String, String)>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let group = find(&state, &practice, &group_id).await?;
    Ok(tagged(StatusCode::OK, group.revision, &Group::from(&group)))
}

/// Creates a group, or gives it another name.
#[utoipa::path(put, path = "/practices/{number}/groups/{group_id}", tag = "groups", request_body = PutGroup,
    responses((status = 200, body = Group), (status = 201, body = Group)))]
pub(super) async fn put(
    State(state): State<ApiState>,
    caller: Caller,
    Path((number, group_id)): Path<(String, String)>,
    if_match: IfMatch,
    Input(body): Input<PutGroup>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    if !is_fhir_id(&group_id) {
        return Err(ApiError::Invalid("a group's id: letters, digits, - and ., at most 64".to_owned()).into());
    }
    let name = text("name", &body.name)?;
    if if_match != IfMatch::Absent && state.store().group(practice.number, &group_id).await?.is_none() {
        return Err(ApiError::PreconditionFailed.into());
    }
    let audit = caller.audit("group.put").at(practice.number).and(json!({ "group": group_id }));
    let if_match = if_match.of_existing()?;
    let created = state.store().put_group(practice.number, &group_id, &name, if_match, &audit).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let group = find(&state, &practice, &group_id).await?;
    Ok(tagged(status, group.revision, &Group::from(&group)))
}

pub(super) async fn find(
    state: &ApiState,
    practice: &Practice,
    group_id: &str,
) -> Result<GroupRecord, ApiError> {
    if !is_fhir_id(group_id) {
        return Err(ApiError::Missing("group"));
    }
    state.store().group(practice.number, group_id).await?.ok_or(ApiError::Missing("group"))
}
