//! The gauges: how busy this worker is, and, as every worker does, what waits in the whole fleet.
//!
//! The two are tasks of their own: a database that does not answer must not keep a worker from telling of itself, least
//! of all how long it has not been answered. What was seen of the fleet fades when it cannot be seen any more.

use std::sync::Arc;
use std::time::Duration;

use headgate_metrics::{database, exports, lifecycle, queue, shards, source};
use headgate_store::{Measures, PoolState, Store, within};
use tokio::sync::Semaphore;
use tokio::time::{Interval, MissedTickBehavior};

use crate::context::Context;

/// How often a worker looks at itself.
const SELF: Duration = Duration::from_secs(2);

/// How often it looks at the fleet.
const FLEET: Duration = Duration::from_secs(14);

/// How long a look at the fleet may take.
const LOOK: Duration = Duration::from_secs(10);

/// Measures until the task is aborted.
pub async fn run(context: Arc<Context>) {
    tokio::join!(of_itself(&context), of_fleet(&context.store));
}

/// Waits for nothing but time.
async fn of_itself(context: &Context) {
    let mut turns = turns(SELF);
    loop {
        turns.tick().await;
        of_worker(context);
        of_pool(context.store.pool_state());
    }
}

async fn of_fleet(store: &Store) {
    let mut turns = turns(FLEET);
    loop {
        turns.tick().await;
        match within(LOOK, store.measures()).await {
            Ok(measures) => set(&measures),
            Err(error) => tracing::warn!(%error, "the fleet cannot be measured"),
        }
    }
}

fn turns(every: Duration) -> Interval {
    let mut turns = tokio::time::interval(every);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns
}

fn of_worker(context: &Context) {
    let (hands, config) = (&context.hands, &context.config);
    slots("step", &hands.steps, config.steps);
    slots("shard", &hands.shards, config.shards);
    slots("upload", &context.uploads, config.uploads);
    queue::BUFFER.set(context.budget.used_bytes() as f64, &[("state", "used".into())]);
    queue::BUFFER.set(config.buffer_bytes as f64, &[("state", "limit".into())]);
    queue::HEARTBEAT_AGE.set(context.keeper.silent_for().as_secs_f64(), &[]);
}

fn slots(kind: &'static str, free: &Semaphore, total: usize) {
    let busy = total.saturating_sub(free.available_permits());
    queue::SLOTS.set(busy as f64, &[("kind", kind.into()), ("state", "busy".into())]);
    queue::SLOTS.set(total as f64, &[("kind", kind.into()), ("state", "total".into())]);
}

fn of_pool(pool: PoolState) {
    let name = || ("db.client.connection.pool.name", "control".into());
    let state = |state: &'static str| ("db.client.connection.state", state.into());
    database::CONNECTION_COUNT.set(pool.used.into(), &[name(), state("used")]);
    database::CONNECTION_COUNT.set(pool.idle.into(), &[name(), state("idle")]);
    database::CONNECTION_MAX.set(pool.max.into(), &[name()]);
}

fn set(measures: &Measures) {
    for waiting in &measures.queues {
        let step = || [("step", waiting.step.clone().into())];
        queue::DEPTH.set(waiting.waiting as f64, &step());
        queue::OLDEST_AGE.set(waiting.oldest.as_secs_f64(), &step());
    }
    for of_state in &measures.exports {
        let state = || [("state", of_state.state.clone().into())];
        exports::IN_STATE.set(of_state.exports as f64, &state());
        exports::OLDEST_AGE.set(of_state.oldest.as_secs_f64(), &state());
    }
    for (task, overdue) in &measures.overdue {
        lifecycle::MAINTENANCE_OVERDUE.set(overdue.as_secs_f64(), &[("task", task.clone().into())]);
    }
    shards::CHECKPOINT_AGE.set(measures.checkpoint_age.as_secs_f64(), &[]);
    lifecycle::RETENTION_LAG.set(measures.retention_lag.as_secs_f64(), &[]);
    lifecycle::PAUSED.set(measures.paused as f64, &[]);
    source::CATALOG_AGE.set(measures.catalog_age.as_secs_f64(), &[]);
    lifecycle::AUDIT_UNSEALED.set(measures.unsealed.0 as f64, &[]);
    lifecycle::AUDIT_UNSEALED_AGE.set(measures.unsealed.1.as_secs_f64(), &[]);
}
