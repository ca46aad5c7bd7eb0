//! What a worker found in the practice's database.

use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use headgate_domain::PracticeNumber;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::Answer;
use super::super::caller::Caller;
use super::super::input::practice;
use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;

/// The source of a practice, as a worker last found it.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct Source {
    practice: i64,
    /// The resource types that it has.
    types: Vec<&'static str>,
    /// Relations that cannot be used, with what is wrong with each: their types are unsupported until it is mended.
    #[schema(value_type = Vec<UnusableRelation>)]
    unusable: Value,
    /// Null until it was looked at once with success.
    refreshed_at: Option<DateTime<Utc>>,
    requested_at: DateTime<Utc>,
    /// When types, columns or mapping were last found to be others than before.
    changed_at: Option<DateTime<Utc>>,
    /// Why the last look failed.
    failure: Option<String>,
}

/// A relation that cannot be used.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape in the document; the values are the catalogue's own")]
pub(in crate::admin) struct UnusableRelation {
    relation: String,
    problem: String,
}

/// Asks a worker to look at the practice's source again.
#[utoipa::path(post, path = "/practices/{number}/refresh", tag = "practices",
    operation_id = "refresh_source",
    responses((status = 202, body = Source)))]
pub(in crate::admin) async fn refresh(
    State(state): State<ApiState>,
    caller: Caller,
    Path(number): Path<String>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let audit = caller.audit("source.refresh_requested").at(practice.number);
    state.store().request_refresh(practice.number, &audit).await?;
    Ok(respond::json(StatusCode::ACCEPTED, &read(&state, practice.number).await?))
}

/// Shows what a worker found in the practice's source.
#[utoipa::path(get, path = "/practices/{number}/source", tag = "practices",
    operation_id = "show_source",
    responses((status = 200, body = Source)))]
pub(in crate::admin) async fn show(State(state): State<ApiState>, Path(number): Path<String>) -> Answer {
    let practice = practice(&state, &number).await?;
    Ok(respond::json(StatusCode::OK, &read(&state, practice.number).await?))
}

async fn read(state: &ApiState, number: PracticeNumber) -> Result<Source, ApiError> {
    let entry = state.store().catalog(number).await?.ok_or(ApiError::Missing("source"))?;
    Ok(Source {
        practice: number.get(),
        types: entry.types.iter().flatten().map(|t| t.name()).collect(),
        unusable: entry.unusable,
        refreshed_at: entry.refreshed_at,
        requested_at: entry.requested_at,
        changed_at: entry.changed_at,
        failure: entry.failure,
    })
}
