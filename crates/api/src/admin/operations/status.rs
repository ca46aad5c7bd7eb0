//! The fleet at a glance, and its pause.

use axum::extract::State;
use headgate_store::{ExportsInState, FleetStatus, PausedPractice, Queue, WorkerSeen};
use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::admin::Answer;
use crate::admin::caller::Caller;
use crate::admin::input::{Input, text};
use crate::admin::pause::{Pause, PauseRequest, ResumeRequest};
use crate::respond;
use crate::state::ApiState;

/// The fleet at one moment.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct Status {
    /// The pause of the whole fleet; null: it goes on.
    paused: Option<Pause>,
    /// Practices that are paused themselves, 200 at most.
    paused_practices: Vec<PausedOne>,
    paused_practices_total: u64,
    /// What could be taken now, by kind of step.
    queue: Vec<QueuedSteps>,
    /// Exports of which something is kept, by state.
    exports: Vec<StateCount>,
    /// Workers that were heard of in the last minute or hold a lease, 200 of either at most.
    workers: Vec<Worker>,
}

/// A practice that is paused itself.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct PausedOne {
    practice: i64,
    #[serde(flatten)]
    pause: Pause,
}

/// Steps of one kind that are runnable.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct QueuedSteps {
    /// `plan`, `shard`, `finish`, `purge` or `refresh`.
    step: String,
    waiting: u64,
    /// How long the oldest of them has waited, in seconds.
    oldest_s: u64,
}

/// Exports in one state.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct StateCount {
    /// `accepted`, `planning`, `running`, `finishing` or `completed`.
    state: String,
    exports: u64,
    /// Seconds since the oldest of them was kicked off.
    oldest_s: u64,
}

/// A worker.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct Worker {
    worker: Uuid,
    /// Seconds since it was heard of; null: it holds leases, and does not listen to the queue.
    seen_s: Option<u64>,
    /// Shards that it holds.
    shards: u64,
    /// Steps and refreshes that it holds.
    steps: u64,
}

/// The pause of the fleet after a deed.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct FleetPause {
    paused: Option<Pause>,
    /// What it was before.
    before: Option<Pause>,
}

impl From<&PausedPractice> for PausedOne {
    fn from(paused: &PausedPractice) -> Self {
        Self { practice: paused.practice.get(), pause: Pause::from(&paused.pause) }
    }
}

impl From<Queue> for QueuedSteps {
    fn from(queue: Queue) -> Self {
        Self { step: queue.step, waiting: queue.waiting, oldest_s: queue.oldest.as_secs() }
    }
}

impl From<ExportsInState> for StateCount {
    fn from(count: ExportsInState) -> Self {
        Self { state: count.state, exports: count.exports, oldest_s: count.oldest.as_secs() }
    }
}

impl From<WorkerSeen> for Worker {
    fn from(worker: WorkerSeen) -> Self {
        Self {
            worker: worker.worker,
            seen_s: worker.silent_for.map(|silent| silent.as_secs()),
            shards: worker.shards,
            steps: worker.steps,
        }
    }
}

impl From<FleetStatus> for Status {
    fn from(status: FleetStatus) -> Self {
        Self {
            paused: status.paused.as_ref().map(Pause::from),
            paused_practices: status.paused_practices.iter().map(PausedOne::from).collect(),
            paused_practices_total: status.paused_practices_total,
            queue: status.queues.into_iter().map(QueuedSteps::from).collect(),
            exports: status.exports.into_iter().map(StateCount::from).collect(),
            workers: status.workers.into_iter().map(Worker::from).collect(),
        }
    }
}

/// Shows the fleet: pauses, what is runnable, exports by state, workers.
#[utoipa::path(get, path = "/operations/status", tag = "operations",
    responses((status = 200, body = Status)))]
pub(in crate::admin) async fn status(State(state): State<ApiState>) -> Answer {
    let status = state.store().fleet_status().await?;
    Ok(respond::json(StatusCode::OK, &Status::from(status)))
}

/// Pauses all practices: workers take up nothing new, kick-offs wait, purging goes on.
#[utoipa::path(post, path = "/operations/pause", tag = "operations", request_body = PauseRequest,
    responses((status = 200, body = FleetPause)))]
pub(in crate::admin) async fn pause(
    State(state): State<ApiState>,
    caller: Caller,
    Input(body): Input<PauseRequest>,
) -> Answer {
    let reason = text("reason", &body.reason)?;
    let audit = caller.audit("fleet.paused").and(json!({ "reason": reason, "drain": body.drain }));
    let change = state.store().pause_fleet(caller.subject(), &reason, body.drain, &audit).await?;
    Ok(respond::json(StatusCode::OK, &fleet_pause(&change)))
}

/// Ends the pause of the fleet. Practices that are paused themselves stay so.
#[utoipa::path(post, path = "/operations/resume", tag = "operations", request_body = ResumeRequest,
    responses((status = 200, body = FleetPause)))]
pub(in crate::admin) async fn resume(
    State(state): State<ApiState>,
    caller: Caller,
    Input(body): Input<ResumeRequest>,
) -> Answer {
    let reason = body.reason.as_deref().map(|reason| text("reason", reason)).transpose()?;
    let audit = caller.audit("fleet.resumed").and(json!({ "reason": reason }));
    let change = state.store().resume_fleet(&audit).await?;
    Ok(respond::json(StatusCode::OK, &fleet_pause(&change)))
}

fn fleet_pause(change: &headgate_store::PauseChange) -> FleetPause {
    let shown = |pause: &Option<headgate_store::Pause>| pause.as_ref().map(Pause::from);
    FleetPause { paused: shown(&change.now), before: shown(&change.before) }
}
