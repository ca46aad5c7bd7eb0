//! `/admin/v1/practices/{number}/groups`: cohorts of patients, defined by their ids.

use axum::extract::{Path, State};
use headgate_domain::ids::is_fhir_id;
use headgate_domain::practice::Practice;
use headgate_store::{Audit, GroupMember, GroupRecord, MemberChange};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Answer;
use super::input::{Input, practice, text};
use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;

/// The body of `PUT groups/{id}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PutGroup {
    name: String,
}

/// The body of `POST groups/{id}/members`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeMembers {
    #[serde(default)]
    add: Vec<String>,
    #[serde(default)]
    remove: Vec<String>,
}

/// The body of `PUT groups/{id}/members`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplaceMembers {
    patient_ids: Vec<String>,
}

/// `GET groups`
pub(crate) async fn list(State(state): State<ApiState>, Path(number): Path<String>) -> Answer {
    let practice = practice(&state, &number).await?;
    let groups: Vec<Value> = state.store().groups(practice.number).await?.iter().map(shown).collect();
    Ok(respond::json(StatusCode::OK, &json!({ "groups": groups })))
}

/// `GET groups/{id}`
pub(crate) async fn show(
    State(state): State<ApiState>,
    Path((number, group_id)): Path<(String, String)>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    Ok(respond::json(StatusCode::OK, &detail(&state, &practice, &group_id).await?))
}

/// `PUT groups/{id}`: creates the group or renames it.
pub(crate) async fn put_group(
    State(state): State<ApiState>,
    Path((number, group_id)): Path<(String, String)>,
    Input(body): Input<PutGroup>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    if !is_fhir_id(&group_id) {
        return Err(ApiError::Invalid("a group's id: letters, digits, - and ., at most 64".to_owned()).into());
    }
    let name = text("name", &body.name)?;
    let audit = Audit::new("operator", "group.put").at(practice.number).with(json!({ "group": group_id }));
    let created = state.store().put_group(practice.number, &group_id, &name, &audit).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(respond::json(status, &detail(&state, &practice, &group_id).await?))
}

/// `POST groups/{id}/members`: some join, some leave.
pub(crate) async fn change_members(
    State(state): State<ApiState>,
    Path((number, group_id)): Path<(String, String)>,
    Input(body): Input<ChangeMembers>,
) -> Answer {
    if body.add.iter().any(|patient| body.remove.contains(patient)) {
        return Err(ApiError::Invalid("a patient is in both add and remove".to_owned()).into());
    }
    check_ids(body.add.iter().chain(&body.remove))?;
    change(&state, &number, &group_id, MemberChange::Some { add: body.add, remove: body.remove }).await
}

/// `PUT groups/{id}/members`: exactly these.
pub(crate) async fn replace_members(
    State(state): State<ApiState>,
    Path((number, group_id)): Path<(String, String)>,
    Input(body): Input<ReplaceMembers>,
) -> Answer {
    check_ids(&body.patient_ids)?;
    change(&state, &number, &group_id, MemberChange::Replace(body.patient_ids)).await
}

async fn change(state: &ApiState, number: &str, group_id: &str, change: MemberChange) -> Answer {
    let practice = practice(state, number).await?;
    let audit = Audit::new("operator", "group.members_changed").at(practice.number);
    let counts = state
        .store()
        .change_members(practice.number, group_id, &change, &audit)
        .await?
        .ok_or(ApiError::Missing("group"))?;
    let body = json!({ "joined": counts.joined, "left": counts.left, "member_count": counts.member_count });
    Ok(respond::json(StatusCode::OK, &body))
}

/// Patients' ids are FHIR ids. Which one is wrong is told by its place, not by its text.
fn check_ids<'a>(ids: impl IntoIterator<Item = &'a String>) -> Result<(), ApiError> {
    match ids.into_iter().position(|id| !is_fhir_id(id)) {
        Some(at) => Err(ApiError::Invalid(format!("patient id {at} (counted from 0) is not a FHIR id"))),
        None => Ok(()),
    }
}

async fn detail(state: &ApiState, practice: &Practice, group_id: &str) -> Result<Value, ApiError> {
    let group = state.store().group(practice.number, group_id).await?.ok_or(ApiError::Missing("group"))?;
    let members = state.store().group_members(practice.number, group_id).await?;
    let members: Vec<Value> = members.iter().map(member).collect();
    let mut body = shown(&group);
    body["members"] = Value::Array(members);
    Ok(body)
}

fn shown(group: &GroupRecord) -> Value {
    json!({
        "group_id": group.group_id,
        "name": group.name,
        "member_count": group.member_count,
        "created_at": group.created_at,
        "updated_at": group.updated_at,
    })
}

fn member(member: &GroupMember) -> Value {
    json!({ "patient_id": member.patient_id, "member_since": member.member_since })
}
