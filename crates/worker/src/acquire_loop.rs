//! Takes work as long as there are free hands, then waits for a doorbell, a free hand, or a while.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_metrics::lifecycle;
use headgate_store::{Acquired, Besides, LeaseKind, ShardLease, StepLease, within};
use rand::Rng;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span};

use crate::context::Context;
use crate::error::{Error, Fate, rest};
use crate::lease_keeper::Kept;
use crate::trace::ShardAttempt;
use crate::{finish, plan, purge, refresh, shard, trace};

/// Runs until the context is drained and every step has ended.
pub async fn run(context: &Arc<Context>) {
    let tasks = TaskTracker::new();
    while !context.drain.is_cancelled() {
        let took = match take(context, &tasks).await {
            Ok(took) => took,
            Err(error) => {
                tracing::warn!(%error, "no shard can be acquired");
                false
            }
        };
        if !took {
            let jitter = rand::rng().random_range(0.7..1.3);
            tokio::select! {
                () = context.wake.notified() => {}
                () = tokio::time::sleep(context.config.poll.mul_f64(jitter)) => {}
                () = context.drain.cancelled() => {}
            }
        }
    }
    tasks.close();
    tasks.wait().await;
}

/// Takes at most one step and one shard; says whether there was any. When steps cannot be acquired, shards still can.
async fn take(context: &Arc<Context>, tasks: &TaskTracker) -> headgate_store::Result<bool> {
    let step = take_step(context, tasks).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "no step can be acquired");
        false
    });
    if context.drain.is_cancelled() {
        return Ok(step);
    }
    Ok(take_shard(context, tasks).await? | step)
}

/// The answer to an acquisition. Whoever drains has little time left, and a lease that nobody took up expires: so it is
/// waited for a third of the usual time then.
async fn acquired<T>(
    context: &Context,
    patience: Duration,
    asked: impl Future<Output = headgate_store::Result<Option<T>>>,
) -> headgate_store::Result<Option<T>> {
    let drained = async {
        context.drain.cancelled().await;
        tokio::time::sleep(patience / 3).await;
    };
    tokio::select! {
        biased;
        answer = within(patience, asked) => answer,
        () = drained => Ok(None),
    }
}

async fn take_step(context: &Arc<Context>, tasks: &TaskTracker) -> headgate_store::Result<bool> {
    let Ok(hand) = Arc::clone(&context.hands.steps).try_acquire_owned() else { return Ok(false) };
    let beside = Arc::clone(&context.hands.besides).try_acquire_owned().ok();
    let purger = Arc::clone(&context.hands.purges).try_acquire_owned().ok();
    let besides = Besides { refresh: beside.is_some(), purge: beside.is_some() && purger.is_some() };
    let (limits, since) = (context.limits(), Instant::now());
    let asked = context.store.acquire_step(context.worker, &limits, besides);
    let Some(step) = acquired(context, limits.patience(), asked).await? else { return Ok(false) };
    let permits = match step {
        Acquired::Plan(_) | Acquired::Finish(_) => vec![hand],
        Acquired::Refresh(_) => [Some(hand), beside].into_iter().flatten().collect(),
        Acquired::Purge(_) => [Some(hand), beside, purger].into_iter().flatten().collect(),
    };
    let hand = Hand { permits, wake: Arc::clone(&context.wake) };
    let context = Arc::clone(context);
    tasks.spawn(async move {
        run_step(&context, step, since).await;
        drop(hand);
    });
    Ok(true)
}

async fn take_shard(context: &Arc<Context>, tasks: &TaskTracker) -> headgate_store::Result<bool> {
    let Ok(hand) = Arc::clone(&context.hands.shards).try_acquire_owned() else { return Ok(false) };
    let (limits, since) = (context.limits(), Instant::now());
    let asked = context.store.acquire_shard(context.worker, &limits);
    let Some(lease) = acquired(context, limits.patience(), asked).await? else { return Ok(false) };
    let hand = Hand { permits: vec![hand], wake: Arc::clone(&context.wake) };
    let context = Arc::clone(context);
    tasks.spawn(async move {
        run_shard(&context, lease, since).await;
        drop(hand);
    });
    Ok(true)
}

/// A free hand that, once put down, looks for work again: what just ended may have made more runnable.
struct Hand {
    permits: Vec<OwnedSemaphorePermit>,
    wake: Arc<Notify>,
}

impl Drop for Hand {
    fn drop(&mut self) {
        // First free, then told: whoever is woken must find it.
        self.permits.clear();
        self.wake.notify_one();
    }
}

async fn run_step(context: &Arc<Context>, step: Acquired, acquired: Instant) {
    match step {
        Acquired::Plan(lease) => {
            let kept = context.keeper.keep(lease.token, of(&lease), acquired);
            let work = Box::pin(plan::run(Arc::clone(context), lease.clone(), kept.stop.clone()));
            let span = trace::plan(&lease);
            let result = guarded(work, span.clone()).await;
            count_lost(&kept, &result);
            let settled = settle_step(context, "plan", &lease, &kept.stop, result);
            Box::pin(settled).instrument(span).await;
        }
        Acquired::Finish(lease) => {
            let kept = context.keeper.keep(lease.token, of(&lease), acquired);
            let work = Box::pin(finish::run(Arc::clone(context), lease.clone(), kept.stop.clone()));
            let span = trace::later("finish", &lease);
            let result = guarded(work, span.clone()).await;
            count_lost(&kept, &result);
            let settled = settle_step(context, "finish", &lease, &kept.stop, result);
            Box::pin(settled).instrument(span).await;
        }
        Acquired::Purge(lease) => {
            let kept = context.keeper.keep(lease.token, LeaseKind::Purge, acquired);
            let span = trace::later("purge", &lease);
            let work = unless_drained(Arc::clone(context), purge::run(Arc::clone(context), lease.clone()));
            // Purging is never given up: somebody's data are still there.
            match guarded(Box::pin(work), span).await {
                Ok(Ended::Done) => {}
                Ok(Ended::Drained) => release_step(context, &lease, Duration::ZERO, true).await,
                Err(error) => {
                    lifecycle::SWEEPS.add(1, &[("result", "failed".into())]);
                    tracing::warn!(practice = %lease.practice, export = %lease.export, %error, "purge failed, will be retried");
                    release_step(context, &lease, rest(lease.attempts), false).await;
                }
            }
            drop(kept);
        }
        Acquired::Refresh(lease) => {
            let kept = context.keeper.keep(lease.token, LeaseKind::Refresh, acquired);
            let span = trace::refresh(&lease);
            let work = unless_drained(Arc::clone(context), refresh::run(Arc::clone(context), lease.clone()));
            match guarded(Box::pin(work), span).await {
                Ok(Ended::Done) => {}
                Ok(Ended::Drained) => {
                    log_unsettled("refresh", answered(context, context.store.release_refresh(&lease)).await);
                }
                Err(error) => {
                    tracing::warn!(practice = %lease.practice, %error, "the source could not be read, will be retried");
                    let text = error.to_string();
                    let failed = context.store.refresh_failed(&lease, &text, rest(lease.attempts));
                    log_unsettled("refresh", answered(context, failed).await);
                }
            }
            drop(kept);
        }
    }
}

/// Work that can be left at any moment, and is when the worker drains: it may wait for others for long.
async fn unless_drained(
    context: Arc<Context>,
    work: impl Future<Output = Result<Ended, Error>>,
) -> Result<Ended, Error> {
    tokio::select! {
        biased;
        () = context.drain.cancelled() => Ok(Ended::Drained),
        ended = work => ended,
    }
}

fn of(lease: &StepLease) -> LeaseKind {
    LeaseKind::Step { practice: lease.practice, export: lease.export.clone() }
}

/// What follows from the end of a plan or finish step.
async fn settle_step(
    context: &Context,
    step: &'static str,
    lease: &StepLease,
    stop: &CancellationToken,
    result: Result<Ended, Error>,
) {
    let error = match unless_draining(context, result) {
        Ok(Ended::Done) => return,
        Ok(Ended::Drained) => return release_step(context, lease, Duration::ZERO, true).await,
        Err(error) => error,
    };
    let (practice, export) = (lease.practice, &lease.export);
    let fate = if stop.is_cancelled() { Fate::Leave } else { error.fate() };
    let attempts = attempts(context, fate, lease.attempts, context.store.step_attempts(lease)).await;
    match fate {
        Fate::Leave => {
            tracing::info!(%practice, %export, step, "step left: its lease ended");
            release_step(context, lease, Duration::ZERO, true).await;
        }
        Fate::Retry if attempts < context.config.max_attempts => {
            tracing::warn!(%practice, %export, step, attempt = attempts, %error, "step failed, will be retried");
            release_step(context, lease, rest(attempts), false).await;
        }
        Fate::Retry | Fate::Fail => {
            tracing::error!(%practice, %export, step, attempt = attempts, %error, "export failed");
            let text = error.to_string();
            log_unsettled(step, answered(context, context.store.fail_step(lease, &text)).await);
        }
    }
}

async fn run_shard(context: &Arc<Context>, lease: ShardLease, acquired: Instant) {
    let kind = LeaseKind::Shard { practice: lease.practice, export: lease.export.clone() };
    let kept = context.keeper.keep(lease.token, kind, acquired);
    let attempt = ShardAttempt::begin(&lease);
    let work = Box::pin(shard::run(Arc::clone(context), lease.clone(), kept.stop.clone()));
    let result = guarded(work, attempt.span.clone()).await;
    count_lost(&kept, &result);
    let settled = settle_shard(context, &lease, &kept.stop, &attempt, result);
    Box::pin(settled).instrument(attempt.span.clone()).await;
}

/// Counts a lease that was lost before its work was done.
fn count_lost(kept: &Kept, result: &Result<Ended, Error>) {
    if !matches!(result, Ok(Ended::Done)) {
        kept.count_if_lost();
    }
}

/// What follows from the end of a shard.
async fn settle_shard(
    context: &Context,
    lease: &ShardLease,
    stop: &CancellationToken,
    attempt: &ShardAttempt,
    result: Result<Ended, Error>,
) {
    let (practice, export) = (lease.practice, &lease.export);
    let (stream, shard) = (lease.stream, lease.shard);
    let (outcome, settled) = match unless_draining(context, result) {
        Ok(Ended::Done) => ("done", Ok(())),
        Ok(Ended::Drained) => ("drained", release_shard(context, lease, Duration::ZERO, None).await),
        Err(error) => {
            let fate = if stop.is_cancelled() { Fate::Leave } else { error.fate() };
            let attempts = attempts(context, fate, lease.attempts, context.store.shard_attempts(lease)).await;
            match fate {
                Fate::Leave => {
                    tracing::info!(%practice, %export, stream, shard, "shard left: its lease ended");
                    ("left", release_shard(context, lease, Duration::ZERO, None).await)
                }
                Fate::Retry if attempts < context.config.max_attempts => {
                    tracing::warn!(%practice, %export, stream, shard, attempt = attempts, %error, "shard failed, will be retried");
                    let failure = error.to_string();
                    let rest = rest(attempts);
                    ("retried", release_shard(context, lease, rest, Some(&failure)).await)
                }
                Fate::Retry | Fate::Fail => {
                    tracing::error!(%practice, %export, stream, shard, attempt = attempts, %error, "export failed");
                    let text = format!("{} could not be read: {error}", lease.stream_type);
                    let settled = answered(context, context.store.quarantine_shard(lease, &text)).await;
                    (quarantined(&settled), settled)
                }
            }
        }
    };
    attempt.end(outcome);
    log_unsettled("shard", settled);
}

/// What failed in a worker that drains is as good as drained: it was not tried as often as usual.
fn unless_draining(context: &Context, result: Result<Ended, Error>) -> Result<Ended, Error> {
    match result {
        Err(error) if context.drain.is_cancelled() && error.fate() == Fate::Retry => {
            tracing::info!(%error, "given back while draining");
            Ok(Ended::Drained)
        }
        other => other,
    }
}

/// How often the work was acquired since it last moved. What the lease says holds only while nothing was written under it: a
/// shard that published is not at its last attempt, however many came before.
async fn attempts(
    context: &Context,
    fate: Fate,
    acquired: i32,
    asked: impl Future<Output = headgate_store::Result<i32>>,
) -> i32 {
    match fate {
        Fate::Leave | Fate::Fail => acquired,
        // Unknown: given back rather than given up. What is hopeless is found by housekeeping.
        Fate::Retry => within(context.limits().patience(), asked).await.unwrap_or(1),
    }
}

/// The outcome of a quarantine: one that was not written leaves the shard to whoever takes it next.
fn quarantined(settled: &headgate_store::Result<()>) -> &'static str {
    if settled.is_ok() { "quarantined" } else { "left" }
}

/// How a step or shard ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It is done, and its lease with it.
    Done,
    /// The process is draining: what was done is kept, the rest is given back.
    Drained,
}

/// Boxed, because the work of a shard is a deep nest of futures.
type Work<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// Runs work as a task of its own, so that a panic ends it and not the worker.
async fn guarded<T: Send + 'static>(work: Work<T>, span: Span) -> Result<T, Error> {
    let result = tokio::spawn(work.instrument(span.clone())).await.unwrap_or(Err(Error::Panic));
    if let Err(error) = &result
        && error.fate() != Fate::Leave
    {
        trace::failed(&span);
    }
    result
}

async fn release_step(context: &Context, lease: &StepLease, retry_after: Duration, give_back: bool) {
    let released = context.store.release_step(lease, retry_after, give_back);
    log_unsettled("step", answered(context, released).await);
}

async fn release_shard(
    context: &Context,
    lease: &ShardLease,
    retry_after: Duration,
    failure: Option<&str>,
) -> headgate_store::Result<()> {
    answered(context, context.store.release_shard(lease, retry_after, failure)).await
}

/// What comes of the end of a lease. Until then it is renewed, and holds a hand: so it is not waited for for ever.
async fn answered(
    context: &Context,
    asked: impl Future<Output = headgate_store::Result<()>>,
) -> headgate_store::Result<()> {
    within(context.limits().patience(), asked).await
}

/// A lease that cannot be given back expires by itself; that is only slower.
fn log_unsettled(what: &'static str, result: headgate_store::Result<()>) {
    match result {
        Ok(()) | Err(headgate_store::Error::LeaseLost) => {}
        Err(error) => tracing::warn!(what, %error, "a lease could not be given back; it will expire"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_counts_as_quarantined_when_that_was_written() {
        assert_eq!(quarantined(&Ok(())), "quarantined");
        assert_eq!(quarantined(&Err(headgate_store::Error::LeaseLost)), "left");
    }
}
