//! Housekeeping: whichever worker finds a task due runs it.

use std::sync::Arc;
use std::time::Duration;

use headgate_metrics::{lifecycle, queue, shards};
use headgate_store::{DueTask, Task, within};

use crate::context::Context;

/// How often a worker looks for due tasks.
const LOOK: Duration = Duration::from_secs(2);

/// How long it waits to hear which task is due, and to note how it went.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a long task may take: longer than the server lets any of its statements take.
const TASK: Duration = Duration::from_secs(30 * 60);

/// An export with work to do that was not rung for in this time is rung for again.
const QUIET: Duration = Duration::from_secs(30);

/// Looks for due tasks until the worker drains.
pub async fn run(context: Arc<Context>) {
    loop {
        tokio::select! {
            () = context.drain.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        loop {
            match within(PATIENCE, context.store.due_task(context.config.lease, TASK + 2 * PATIENCE)).await {
                Ok(Some(due)) => run_task(&context, &due).await,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "no housekeeping can be done");
                    break;
                }
            }
        }
    }
}

async fn run_task(context: &Context, due: &DueTask) {
    // Not longer than it is this worker's: two that do the same wait for each other.
    let bound = if due.task.is_long() { TASK } else { context.config.lease };
    let result = within(bound, do_task(context, due.task)).await;
    let ended = if result.is_ok() { "ok" } else { "failed" };
    lifecycle::MAINTENANCE_RUNS.add(1, &[("task", due.task.name().into()), ("result", ended.into())]);
    let text = match &result {
        Ok(count) => count.to_string(),
        Err(error) => {
            tracing::warn!(task = ?due.task, %error, "housekeeping failed, will be retried");
            error.to_string()
        }
    };
    if let Err(error) = within(PATIENCE, context.store.task_done(due, &text)).await {
        tracing::warn!(task = ?due.task, %error, "housekeeping could not be noted");
    }
}

async fn do_task(context: &Context, task: Task) -> headgate_store::Result<u64> {
    match task {
        Task::Expire => context.store.expire_exports().await,
        Task::Reconcile => reconcile(context).await,
        Task::Replay => context.store.forget_assertions().await,
        Task::Queue => context.store.clean_queue().await,
        Task::Refresh => context.store.request_refreshes().await,
        Task::Sweep => context.store.sweep_again().await,
        Task::Forget => context.store.forget_old().await,
    }
}

/// Heals what was missed: authority that ended by time, hopeless work, lost doorbells.
async fn reconcile(context: &Context) -> headgate_store::Result<u64> {
    let revoked = context.store.revoke_unauthorized().await?;
    let failed = context.store.fail_exhausted(context.config.max_attempts).await?;
    // Whoever held them could not count them.
    shards::QUARANTINED.add(failed.shards, &[]);
    let rung = context.store.ring_again(QUIET).await?;
    queue::DOORBELL_MISSING.add(rung, &[]);
    Ok(revoked + failed.shards + failed.steps + rung)
}
