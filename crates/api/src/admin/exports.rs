//! `/admin/v1/practices/{number}/exports`: what runs and ran. No object keys, no links.

use axum::extract::{Path, State};
use headgate_domain::ExportId;
use headgate_domain::practice::Practice;
use headgate_store::{Audit, ExportDetail, ExportSummary, ProblemSummary, ShardSummary, StreamSummary};
use http::StatusCode;
use serde_json::{Value, json};

use super::Answer;
use super::input::{id, practice};
use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;

/// `GET exports`: the newest.
pub(crate) async fn list(State(state): State<ApiState>, Path(number): Path<String>) -> Answer {
    let practice = practice(&state, &number).await?;
    let exports = state.store().list_exports(practice.number).await?;
    let exports: Vec<Value> = exports.iter().map(|export| shown(&practice, export)).collect();
    Ok(respond::json(StatusCode::OK, &json!({ "exports": exports })))
}

/// `GET exports/{id}`
pub(crate) async fn show(
    State(state): State<ApiState>,
    Path((number, export_id)): Path<(String, String)>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let detail = find(&state, &practice, &id("export", &export_id)?).await?;
    let mut body = shown(&practice, &detail.summary);
    body["streams"] = detail.streams.iter().map(stream).collect();
    body["problems"] = detail.problems.iter().map(problem).collect();
    Ok(respond::json(StatusCode::OK, &body))
}

/// `POST exports/{id}/cancel`
pub(crate) async fn cancel(
    State(state): State<ApiState>,
    Path((number, export_id)): Path<(String, String)>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let export: ExportId = id("export", &export_id)?;
    let audit = Audit::new("operator", "export.cancelled").at(practice.number).about_export(&export);
    let cancelled = state.store().cancel_export(practice.number, &export, None, &audit).await?;
    let detail = find(&state, &practice, &export).await?;
    if !cancelled {
        return Err(ApiError::Conflict { reason: "ended", detail: "the export has ended already" }.into());
    }
    Ok(respond::json(StatusCode::ACCEPTED, &shown(&practice, &detail.summary)))
}

async fn find(state: &ApiState, practice: &Practice, export: &ExportId) -> Result<ExportDetail, ApiError> {
    state.store().export_detail(practice.number, export).await?.ok_or(ApiError::Missing("export"))
}

fn shown(practice: &Practice, export: &ExportSummary) -> Value {
    let types: Vec<&str> = export.types.iter().map(|t| t.name()).collect();
    json!({
        "export_id": export.id,
        "practice": practice.number,
        "client_id": export.client,
        "consent_id": export.consent_id,
        "level": export.level.name(),
        "group_id": export.level.group_id(),
        "since": export.since,
        "types": types,
        "state": export.state.name(),
        "transaction_time": export.transaction_time,
        "accepted_at": export.accepted_at,
        "planned_at": export.planned_at,
        "completed_at": export.completed_at,
        "ended_at": export.ended_at,
        "expires_at": export.expires_at,
        "purged_at": export.purged_at,
        "failure": export.failure,
        "planned_rows": export.planned_rows,
        "resources": export.resources,
        "bytes": export.bytes,
        "files": export.files,
    })
}

fn stream(stream: &StreamSummary) -> Value {
    let sum = |count: fn(&ShardSummary) -> u64| stream.shards.iter().map(count).sum::<u64>();
    json!({
        "stream": stream.stream,
        "resource_type": stream.stream_type.name(),
        "planned_rows": stream.planned_rows,
        "planned": stream.planned,
        "resources": sum(|shard| shard.resources),
        "bytes": sum(|shard| shard.bytes),
        "files": sum(|shard| shard.files),
        "shards": stream.shards.iter().map(shard).collect::<Vec<_>>(),
    })
}

fn shard(shard: &ShardSummary) -> Value {
    json!({
        "shard": shard.shard,
        "state": shard.state,
        "planned_rows": shard.planned_rows,
        "resources": shard.resources,
        "bytes": shard.bytes,
        "files": shard.files,
        "fence": shard.fence,
        "attempts": shard.attempts,
        "acquisitions": shard.acquisitions,
        "leased_until": shard.leased_until,
        "failure": shard.failure,
    })
}

fn problem(problem: &ProblemSummary) -> Value {
    json!({
        "reason": problem.reason,
        "diagnostics": problem.diagnostics,
        "occurrences": problem.occurrences,
    })
}
