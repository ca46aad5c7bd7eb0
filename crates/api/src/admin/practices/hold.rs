//! Pausing and draining one practice. It takes no authority away, unlike a suspension: exports wait, and go on.

use axum::extract::{Path, State};
use headgate_domain::PracticeNumber;
use headgate_store::PauseChange;
use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{Practice, find};
use crate::admin::Answer;
use crate::admin::caller::Caller;
use crate::admin::input::{Input, id, text};
use crate::admin::pause::{Pause, PauseRequest, ResumeRequest};
use crate::admin::revision::{IfMatch, tagged};
use crate::error::ApiError;
use crate::state::ApiState;

/// A practice after its pause was changed.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct HeldPractice {
    practice: Practice,
    /// What its pause was before.
    before: Option<Pause>,
}

/// Pauses a practice: workers take up nothing new of it, its kick-offs wait, purging goes on.
#[utoipa::path(post, path = "/practices/{number}/pause", tag = "practices", request_body = PauseRequest,
    responses((status = 200, body = HeldPractice)))]
pub(in crate::admin) async fn pause(
    State(state): State<ApiState>,
    caller: Caller,
    Path(number): Path<String>,
    if_match: IfMatch,
    Input(body): Input<PauseRequest>,
) -> Answer {
    let number = id("practice", &number)?;
    let reason = text("reason", &body.reason)?;
    let audit =
        caller.audit("practice.paused").at(number).and(json!({ "reason": reason, "drain": body.drain }));
    let change = state
        .store()
        .pause_practice(number, caller.subject(), &reason, body.drain, if_match.of_existing()?, &audit)
        .await?;
    answer(&state, number, change).await
}

/// Ends the pause of a practice. It stays paused while the fleet is.
#[utoipa::path(post, path = "/practices/{number}/unpause", tag = "practices", request_body = ResumeRequest,
    responses((status = 200, body = HeldPractice)))]
pub(in crate::admin) async fn unpause(
    State(state): State<ApiState>,
    caller: Caller,
    Path(number): Path<String>,
    if_match: IfMatch,
    Input(body): Input<ResumeRequest>,
) -> Answer {
    let number = id("practice", &number)?;
    let reason = body.reason.as_deref().map(|reason| text("reason", reason)).transpose()?;
    let audit = caller.audit("practice.unpaused").at(number).and(json!({ "reason": reason }));
    let change = state.store().unpause_practice(number, if_match.of_existing()?, &audit).await?;
    answer(&state, number, change).await
}

async fn answer(state: &ApiState, number: PracticeNumber, change: Option<PauseChange>) -> Answer {
    let change = change.ok_or(ApiError::Missing("practice"))?;
    let record = find(state, number).await?;
    let before = change.before.as_ref().map(Pause::from);
    let body = HeldPractice { practice: Practice::of(state, &record), before };
    Ok(tagged(StatusCode::OK, record.revision, &body))
}
