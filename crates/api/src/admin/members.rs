//! `/admin/v1/practices/{number}/groups/{group_id}/members`: who is in a group.
//!
//! Ids come as JSON, which is read as a whole, or as NDJSON or CSV, which is passed on to the control database in
//! batches while it arrives. Either way nothing is changed when any id is wrong or the body breaks off.

mod lines;
mod upload;

use std::collections::HashSet;

use axum::extract::{Path, Request, State};
use chrono::{DateTime, Utc};
use headgate_domain::practice::Practice;
use headgate_store::{GroupMember, MemberCounts};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::Answer;
use super::caller::Caller;
use super::groups::{Group, find};
use super::input::{json_body, practice};
use super::page::{ListParams, Paging, Params};
use super::revision::{IfMatch, tagged};
use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;
use lines::Form;
use upload::Side;

/// A patient who is a member now.
#[derive(Serialize, ToSchema)]
pub(super) struct Member {
    patient_id: String,
    member_since: DateTime<Utc>,
}

impl From<GroupMember> for Member {
    fn from(member: GroupMember) -> Self {
        Self { patient_id: member.patient_id, member_since: member.member_since }
    }
}

/// A page of members.
#[derive(Serialize, ToSchema)]
pub(super) struct Members {
    members: Vec<Member>,
    next: Option<String>,
}

/// The patients who are to be the members.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplaceMembers {
    patient_ids: Vec<String>,
}

/// The patients who are to join and to leave.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeMembers {
    #[serde(default)]
    add: Vec<String>,
    #[serde(default)]
    remove: Vec<String>,
}

/// What a change of members did.
#[derive(Serialize, ToSchema)]
pub(super) struct ChangedMembers {
    group: Group,
    joined: u64,
    left: u64,
    member_count: u64,
    /// Ids that came more than once.
    duplicates: u64,
}

/// Whether the lines of a body join or leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum MemberAction {
    Add,
    Remove,
}

/// Parameters of a change of members.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ChangeParams {
    /// What the lines of an NDJSON or CSV body are for. A JSON body says so itself.
    #[param(inline)]
    action: Option<MemberAction>,
}

/// No parameters at all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoParams {}

/// Lists the members of a group.
#[utoipa::path(get, path = "/practices/{number}/groups/{group_id}/members", tag = "groups",
    operation_id = "list_members",
    params(ListParams), responses((status = 200, body = Members)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Path((number, group_id)): Path<(String, String)>,
    paging: Paging,
    Params(params): Params<ListParams>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let page = paging.page(params.limit, params.cursor)?;
    find(&state, &practice, &group_id).await?;
    let found = state.store().members_page(practice.number, &group_id, &page).await?;
    let audit = caller.audit("group.members_read").at(practice.number);
    state.store().record(&audit.and(json!({ "group": group_id }))).await?;
    let members = found.items.into_iter().map(Member::from).collect();
    Ok(respond::json(StatusCode::OK, &Members { members, next: paging.next(found.next)? }))
}

/// Makes exactly these patients the members of a group. Who stays keeps the time of joining.
///
/// As NDJSON a line is `"id"` or `{"patient_id":"id"}`; as CSV the first column counts, and a first line
/// `patient_id` is skipped. At most 500,000 ids.
#[utoipa::path(put, path = "/practices/{number}/groups/{group_id}/members", tag = "groups",
    operation_id = "replace_members",
    request_body(content(
        (ReplaceMembers = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"))),
    responses((status = 200, body = ChangedMembers)))]
pub(super) async fn replace(
    State(state): State<ApiState>,
    caller: Caller,
    Path((number, group_id)): Path<(String, String)>,
    if_match: IfMatch,
    Params(NoParams {}): Params<NoParams>,
    request: Request,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let _place = upload::place(&state).await?;
    let upload = match Form::of(request.headers()) {
        Some(form) => {
            let mut upload = upload::begin(&state, &practice, &group_id, if_match).await?;
            upload::lines(&state, &mut upload, Side::Add, form, request.into_body()).await?;
            upload
        }
        None => {
            let body: ReplaceMembers = json_body(&state, request).await?;
            upload::check("patient_ids", &body.patient_ids)?;
            let mut upload = upload::begin(&state, &practice, &group_id, if_match).await?;
            upload::list(&mut upload, Side::Add, body.patient_ids).await?;
            upload
        }
    };
    let audit = caller.audit("group.members_replaced").at(practice.number);
    let counts = upload.finish_replace(&audit.and(json!({ "group": group_id }))).await?;
    answer(&state, &practice, &group_id, counts).await
}

/// Lets patients join a group and leave it.
///
/// As JSON `{"add":[…],"remove":[…]}`; as NDJSON or CSV with `action`.
#[utoipa::path(post, path = "/practices/{number}/groups/{group_id}/members", tag = "groups",
    operation_id = "change_members",
    params(ChangeParams),
    request_body(content(
        (ChangeMembers = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"))),
    responses((status = 200, body = ChangedMembers)))]
pub(super) async fn change(
    State(state): State<ApiState>,
    caller: Caller,
    Path((number, group_id)): Path<(String, String)>,
    if_match: IfMatch,
    Params(params): Params<ChangeParams>,
    request: Request,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let _place = upload::place(&state).await?;
    let upload = match (Form::of(request.headers()), params.action) {
        (Some(form), Some(action)) => {
            let side = match action {
                MemberAction::Add => Side::Add,
                MemberAction::Remove => Side::Remove,
            };
            let mut upload = upload::begin(&state, &practice, &group_id, if_match).await?;
            upload::lines(&state, &mut upload, side, form, request.into_body()).await?;
            upload
        }
        (None, None) => {
            let body: ChangeMembers = json_body(&state, request).await?;
            check(&body)?;
            let mut upload = upload::begin(&state, &practice, &group_id, if_match).await?;
            upload::list(&mut upload, Side::Add, body.add).await?;
            upload::list(&mut upload, Side::Remove, body.remove).await?;
            upload
        }
        (Some(_), None) => return Err(invalid("say ?action=add or ?action=remove").into()),
        (None, Some(_)) => {
            return Err(invalid("action is for NDJSON and CSV; a JSON body says it itself").into());
        }
    };
    let audit = caller.audit("group.members_changed").at(practice.number);
    let counts = upload.finish_change(&audit.and(json!({ "group": group_id }))).await?;
    answer(&state, &practice, &group_id, counts).await
}

fn check(body: &ChangeMembers) -> Result<(), ApiError> {
    upload::check("add", &body.add)?;
    upload::check("remove", &body.remove)?;
    let leaving: HashSet<&String> = body.remove.iter().collect();
    if body.add.iter().any(|patient| leaving.contains(patient)) {
        return Err(invalid("a patient is in both add and remove"));
    }
    Ok(())
}

fn invalid(text: &str) -> ApiError {
    ApiError::Invalid(text.to_owned())
}

/// Whether a request's body is streamed to the control database.
pub(super) fn is_streamed(headers: &http::HeaderMap) -> bool {
    Form::of(headers).is_some()
}

async fn answer(state: &ApiState, practice: &Practice, group_id: &str, counts: MemberCounts) -> Answer {
    let group = find(state, practice, group_id).await?;
    let body = ChangedMembers {
        joined: counts.joined,
        left: counts.left,
        member_count: counts.member_count,
        duplicates: counts.duplicates,
        group: Group::from(&group),
    };
    Ok(tagged(StatusCode::OK, group.revision, &body))
}
