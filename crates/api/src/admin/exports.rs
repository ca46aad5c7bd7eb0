//! `/admin/v1/practices/{number}/exports`: what runs and ran. No object keys, no links.

mod shapes;

use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use headgate_domain::export::ExportState;
use headgate_domain::practice::Practice;
use headgate_domain::{ClientId, ExportId};
use headgate_store::{ExportDetail, ExportFilter, ListedFile, WaitLimits};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Answer;
use super::caller::Caller;
use super::input::{id, practice};
use super::page::{ListParams, Paging, Params};
use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;
use shapes::{DetailedExport, Export};

/// A page of exports.
#[derive(Serialize, ToSchema)]
pub(super) struct Exports {
    exports: Vec<Export>,
    next: Option<String>,
}

/// A published file.
#[derive(Serialize, ToSchema)]
pub(super) struct File {
    /// `output`, `deleted`, `error` or `attachment`.
    kind: String,
    resource_type: String,
    number: i64,
    part: i64,
    resources: u64,
    bytes: u64,
    /// In hexadecimal digits.
    sha256: String,
    published_at: DateTime<Utc>,
}

impl From<ListedFile> for File {
    fn from(file: ListedFile) -> Self {
        Self {
            kind: file.kind,
            resource_type: file.resource_type,
            number: i64::from(file.number),
            part: i64::from(file.part),
            resources: file.resources,
            bytes: file.bytes,
            sha256: file.sha256,
            published_at: file.published_at,
        }
    }
}

/// A page of files.
#[derive(Serialize, ToSchema)]
pub(super) struct Files {
    files: Vec<File>,
    next: Option<String>,
}

/// Where an export is.
#[derive(Serialize, ToSchema)]
pub(super) struct Located {
    export_id: String,
    practice: i64,
}

/// Why an export is waiting.
#[derive(Serialize, ToSchema)]
pub(super) struct Waiting {
    /// In one line; null when it is not waiting.
    waiting: Option<String>,
    /// What that was concluded from.
    facts: Vec<String>,
}

/// Parameters of the list of exports.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportParams {
    /// `accepted`, `planning`, `running`, `finishing`, `completed`, `expired`, `cancelled`, `revoked` or `failed`.
    #[param(value_type = Option<String>)]
    state: Option<ExportState>,
    /// Only exports of this app.
    #[param(value_type = Option<String>)]
    client_id: Option<ClientId>,
    /// Items of the page, 1 to 1000; 100 by default.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists the practice's exports, newest first.
#[utoipa::path(get, path = "/practices/{number}/exports", tag = "exports", params(ExportParams),
    responses((status = 200, body = Exports)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Path(number): Path<String>,
    paging: Paging,
    Params(params): Params<ExportParams>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let page = paging.page(params.limit, params.cursor)?;
    let filter = ExportFilter { state: params.state, client: params.client_id };
    let found = state.store().list_exports(practice.number, &filter, &page).await?;
    let exports = found.items.iter().map(|export| Export::of(&practice, export)).collect();
    Ok(respond::json(StatusCode::OK, &Exports { exports, next: paging.next(found.next)? }))
}

/// Shows an export with its streams, shards and problems.
#[utoipa::path(get, path = "/practices/{number}/exports/{export_id}", tag = "exports",
    responses((status = 200, body = DetailedExport)))]
pub(super) async fn show(
    State(state): State<ApiState>,
    Path((number, export_id)): Path<(String, String)>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let detail = find(&state, &practice, &id("export", &export_id)?).await?;
    Ok(respond::json(StatusCode::OK, &DetailedExport::of(&practice, &detail)))
}

/// Lists the published files of an export.
#[utoipa::path(get, path = "/practices/{number}/exports/{export_id}/files", tag = "exports",
    params(ListParams), responses((status = 200, body = Files)))]
pub(super) async fn files(
    State(state): State<ApiState>,
    Path((number, export_id)): Path<(String, String)>,
    paging: Paging,
    Params(params): Params<ListParams>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let export: ExportId = id("export", &export_id)?;
    let page = paging.page(params.limit, params.cursor)?;
    find(&state, &practice, &export).await?;
    let found = state.store().export_files(practice.number, &export, &page).await?;
    let files = found.items.into_iter().map(File::from).collect();
    Ok(respond::json(StatusCode::OK, &Files { files, next: paging.next(found.next)? }))
}

/// Tells at which practice an export is, of which only the id is known.
#[utoipa::path(get, path = "/exports/{export_id}", tag = "exports", responses((status = 200, body = Located)))]
pub(super) async fn locate(State(state): State<ApiState>, Path(export_id): Path<String>) -> Answer {
    let export: ExportId = id("export", &export_id)?;
    let practice = state.store().practice_of(&export).await?.ok_or(ApiError::Missing("export"))?;
    Ok(respond::json(StatusCode::OK, &Located { export_id: export.to_string(), practice: practice.get() }))
}

/// Tells why an export is waiting.
#[utoipa::path(get, path = "/practices/{number}/exports/{export_id}/waiting", tag = "exports",
    responses((status = 200, body = Waiting)))]
pub(super) async fn waiting(
    State(state): State<ApiState>,
    caller: Caller,
    Path((number, export_id)): Path<(String, String)>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let export: ExportId = id("export", &export_id)?;
    let limits = WaitLimits { tell_app: caller.practice().is_none(), ..state.config().wait_limits };
    let found = state.store().export_waiting(practice.number, &export, limits).await?;
    let found = found.ok_or(ApiError::Missing("export"))?;
    Ok(respond::json(StatusCode::OK, &Waiting { waiting: found.line, facts: found.facts }))
}

/// Cancels an export; its files are deleted.
#[utoipa::path(post, path = "/practices/{number}/exports/{export_id}/cancel", tag = "exports",
    responses((status = 202, body = Export)))]
pub(super) async fn cancel(
    State(state): State<ApiState>,
    caller: Caller,
    Path((number, export_id)): Path<(String, String)>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let export: ExportId = id("export", &export_id)?;
    let found = find(&state, &practice, &export).await?;
    let audit = caller
        .audit("export.cancelled")
        .at(practice.number)
        .about_client(&found.summary.client)
        .about_export(&export);
    let done = state.store().cancel_export(practice.number, &export, None, &audit).await?;
    accepted(&state, &practice, &export, done).await
}

/// Tries the waiting steps and shards of a live export again at once; their attempts start anew.
#[utoipa::path(post, path = "/practices/{number}/exports/{export_id}/requeue", tag = "exports",
    responses((status = 202, body = Export)))]
pub(super) async fn requeue(
    State(state): State<ApiState>,
    caller: Caller,
    Path((number, export_id)): Path<(String, String)>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let export: ExportId = id("export", &export_id)?;
    let found = find(&state, &practice, &export).await?;
    let audit = caller
        .audit("export.requeued")
        .at(practice.number)
        .about_client(&found.summary.client)
        .about_export(&export);
    let done = state.store().requeue_export(practice.number, &export, &audit).await?;
    accepted(&state, &practice, &export, done).await
}

async fn accepted(state: &ApiState, practice: &Practice, export: &ExportId, done: bool) -> Answer {
    if !done {
        return Err(ApiError::Conflict { reason: "ended", detail: "the export has ended already" }.into());
    }
    let detail = find(state, practice, export).await?;
    Ok(respond::json(StatusCode::ACCEPTED, &Export::of(practice, &detail.summary)))
}

async fn find(state: &ApiState, practice: &Practice, export: &ExportId) -> Result<ExportDetail, ApiError> {
    state.store().export_detail(practice.number, export).await?.ok_or(ApiError::Missing("export"))
}
