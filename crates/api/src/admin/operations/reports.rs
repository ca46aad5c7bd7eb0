//! Lists for whoever is on call: leases, what is stuck, what waits, what it costs.

use axum::extract::State;
use chrono::{DateTime, Duration, Utc};
use headgate_store::{ExportWait, HeldLease, PracticeCost, Stuck as StuckRow, WaitLimits};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::admin::Answer;
use crate::admin::input::instant;
use crate::admin::page::{ListParams, Paging, Params};
use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;

/// Days of which the costs are told where the request does not say.
const COST_DAYS: i64 = 30;

/// Days of which the costs are told at most.
const MAX_COST_DAYS: i64 = 366;

/// A lease that a worker holds.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct Lease {
    /// `shard`, `plan`, `finish`, `purge` or `refresh`.
    kind: String,
    practice: i64,
    export_id: Option<String>,
    stream: Option<i16>,
    shard: Option<i32>,
    resource_type: Option<String>,
    worker: Option<Uuid>,
    /// Since when, of shards.
    since: Option<DateTime<Utc>>,
    /// Until when, unless it is renewed.
    until: DateTime<Utc>,
    /// Whether that is past: whoever is free takes it over.
    expired: bool,
    /// Acquisitions since the last progress, this one included.
    attempts: i32,
    fence: Option<i64>,
    /// Seconds since the shard last published.
    published_s: Option<u64>,
}

/// A page of leases.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct Leases {
    leases: Vec<Lease>,
    next: Option<String>,
}

/// A shard or step that does not get on.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct StuckStep {
    /// `shard`, `plan`, `finish`, `purge` or `refresh`.
    kind: String,
    practice: i64,
    export_id: Option<String>,
    stream: Option<i16>,
    shard: Option<i32>,
    resource_type: Option<String>,
    /// `failed` since it last got on; `lease_expired`; or `silent`: held, and nothing published for five minutes.
    trouble: &'static str,
    failures: u32,
    /// Why it failed last; null where only the log of the workers says.
    failure: Option<String>,
    /// When it is tried again; past or null: as soon as a worker is free.
    retry_at: Option<DateTime<Utc>>,
    worker: Option<Uuid>,
    /// Until when it is or was held.
    until: Option<DateTime<Utc>>,
    /// Seconds that a held shard has published nothing.
    silent_s: Option<u64>,
}

/// A page of what does not get on.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct StuckSteps {
    stuck: Vec<StuckStep>,
    next: Option<String>,
}

/// A live export and what it waits for.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct Wait {
    practice: i64,
    export_id: String,
    client_id: String,
    state: String,
    accepted_at: DateTime<Utc>,
    /// Seconds since it was kicked off, planned or published last.
    waited_s: u64,
    /// In one line; null: it is being worked on.
    waiting: Option<String>,
}

/// A page of live exports.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct Waits {
    waits: Vec<Wait>,
    next: Option<String>,
}

/// What a practice cost.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct Cost {
    practice: i64,
    name: String,
    /// Exports that were kicked off in the span, however they ended.
    exports: u64,
    /// What their shards published.
    resources: u64,
    bytes: u64,
    files: u64,
    /// Seconds that workers held their shards.
    worker_s: f64,
    /// The part of the seconds of all practices, 0 to 1.
    share: f64,
    /// Bytes in the bucket now, of exports of any time.
    stored_bytes: u64,
}

/// A page of costs.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct Costs {
    /// The span that is told of.
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    costs: Vec<Cost>,
    next: Option<String>,
}

/// Parameters of the costs.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct CostParams {
    /// Exports kicked off at or after this instant; 30 days before `to` by default.
    from: Option<DateTime<Utc>>,
    /// Exports kicked off before this instant; now by default. At most 366 days after `from`.
    to: Option<DateTime<Utc>>,
    /// Items of the page, 1 to 1000; 100 by default.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

impl From<HeldLease> for Lease {
    fn from(lease: HeldLease) -> Self {
        let (stream, shard) = lease.shard.unzip();
        Self {
            kind: lease.kind,
            practice: lease.practice.get(),
            export_id: lease.export.map(|export| export.to_string()),
            stream,
            shard,
            resource_type: lease.resource_type,
            worker: lease.worker,
            since: lease.since,
            until: lease.until,
            expired: lease.expired,
            attempts: lease.attempts,
            fence: lease.fence,
            published_s: lease.published_ago.map(|ago| ago.as_secs()),
        }
    }
}

impl From<StuckRow> for StuckStep {
    fn from(stuck: StuckRow) -> Self {
        let (stream, shard) = stuck.shard.unzip();
        Self {
            kind: stuck.kind,
            practice: stuck.practice.get(),
            export_id: stuck.export.map(|export| export.to_string()),
            stream,
            shard,
            resource_type: stuck.resource_type,
            trouble: stuck.trouble.name(),
            failures: stuck.failures,
            failure: stuck.failure,
            retry_at: stuck.retry_at,
            worker: stuck.worker,
            until: stuck.until,
            silent_s: stuck.silent_for.map(|silent| silent.as_secs()),
        }
    }
}

impl From<ExportWait> for Wait {
    fn from(wait: ExportWait) -> Self {
        Self {
            practice: wait.practice.get(),
            export_id: wait.export.to_string(),
            client_id: wait.client.to_string(),
            state: wait.state,
            accepted_at: wait.accepted_at,
            waited_s: wait.waited.as_secs(),
            waiting: wait.waiting.line,
        }
    }
}

impl From<PracticeCost> for Cost {
    fn from(cost: PracticeCost) -> Self {
        let rounded = |value: f64, steps: f64| (value * steps).round() / steps;
        Self {
            practice: cost.practice.get(),
            name: cost.name,
            exports: cost.exports,
            resources: cost.resources,
            bytes: cost.bytes,
            files: cost.files,
            worker_s: rounded(cost.worker_s, 1000.0),
            share: rounded(cost.share, 10_000.0),
            stored_bytes: cost.stored_bytes,
        }
    }
}

/// Lists who holds what: steps first, then shards, those that are held longest first.
#[utoipa::path(get, path = "/operations/leases", tag = "operations", params(ListParams),
    responses((status = 200, body = Leases)))]
pub(in crate::admin) async fn leases(
    State(state): State<ApiState>,
    paging: Paging,
    Params(params): Params<ListParams>,
) -> Answer {
    let page = paging.page(params.limit, params.cursor)?;
    let found = state.store().held_leases(&page).await?;
    let leases = found.items.into_iter().map(Lease::from).collect();
    Ok(respond::json(StatusCode::OK, &Leases { leases, next: paging.next(found.next)? }))
}

/// Lists shards and steps that do not get on, what failed most often first.
#[utoipa::path(get, path = "/operations/stuck", tag = "operations", params(ListParams),
    responses((status = 200, body = StuckSteps)))]
pub(in crate::admin) async fn stuck(
    State(state): State<ApiState>,
    paging: Paging,
    Params(params): Params<ListParams>,
) -> Answer {
    let page = paging.page(params.limit, params.cursor)?;
    let found = state.store().stuck(&page).await?;
    let stuck = found.items.into_iter().map(StuckStep::from).collect();
    Ok(respond::json(StatusCode::OK, &StuckSteps { stuck, next: paging.next(found.next)? }))
}

/// Lists live exports and what each waits for, those of which nothing has come for longest first.
#[utoipa::path(get, path = "/operations/waits", tag = "operations", params(ListParams),
    responses((status = 200, body = Waits)))]
pub(in crate::admin) async fn waits(
    State(state): State<ApiState>,
    paging: Paging,
    Params(params): Params<ListParams>,
) -> Answer {
    let page = paging.page(params.limit, params.cursor)?;
    let limits = WaitLimits { tell_app: true, ..state.config().wait_limits };
    let found = state.store().export_waits(limits, &page).await?;
    let waits = found.items.into_iter().map(Wait::from).collect();
    Ok(respond::json(StatusCode::OK, &Waits { waits, next: paging.next(found.next)? }))
}

/// Lists what each practice cost, the most seconds of workers first.
#[utoipa::path(get, path = "/operations/costs", tag = "operations", params(CostParams),
    responses((status = 200, body = Costs)))]
pub(in crate::admin) async fn costs(
    State(state): State<ApiState>,
    paging: Paging,
    Params(params): Params<CostParams>,
) -> Answer {
    let page = paging.page(params.limit, params.cursor)?;
    let to = instant("to", params.to)?.unwrap_or_else(Utc::now);
    let from = instant("from", params.from)?.unwrap_or_else(|| to - Duration::days(COST_DAYS));
    if to <= from || to - from > Duration::days(MAX_COST_DAYS) {
        let text = format!("to must be after from, by {MAX_COST_DAYS} days at most");
        return Err(ApiError::Invalid(text).into());
    }
    let found = state.store().costs(from, to, &page).await?;
    let costs = found.items.into_iter().map(Cost::from).collect();
    Ok(respond::json(StatusCode::OK, &Costs { from, to, costs, next: paging.next(found.next)? }))
}
