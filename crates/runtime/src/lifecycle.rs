//! The life of a process: it runs until a signal, drains, and ends.
//!
//! There are two stops. The *soft* one says: take nothing new, put down what you hold. The *hard* one says:
//! the time for that is over. SIGTERM or SIGINT is soft; a second one, or the end of the grace period, is
//! hard. A task that ends although nobody asked it to drains the whole process too, with an exit status that
//! tells the supervisor: half a process is worse than none.

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long tasks may take to notice the hard stop.
const AFTER_HARD_STOP: Duration = Duration::from_secs(2);

/// The tasks of a process and its two stops. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
    failed: Arc<AtomicBool>,
}

/// How a process came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// A task ended by itself, or with an error.
    pub failed: bool,
    /// All tasks ended within the grace period.
    pub clean: bool,
}

impl Lifecycle {
    /// A process that has not been told to stop.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when nothing new may be taken.
    #[must_use]
    pub fn soft(&self) -> CancellationToken {
        self.soft.clone()
    }

    /// Cancelled when everything must end at once.
    #[must_use]
    pub fn hard(&self) -> CancellationToken {
        self.hard.clone()
    }

    /// Begins to drain, as the first signal does.
    pub fn stop(&self) {
        self.soft.cancel();
    }

    /// Runs a task that is meant to last as long as the process. If it ends earlier, or with an error, the
    /// process drains and has failed. `name` is for the log.
    pub fn spawn<E: Display>(
        &self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let life = self.clone();
        // The inner task turns a panic into an ending like any other.
        self.tasks.spawn(async move {
            let outcome = tokio::spawn(async move { task.await.map_err(|error| error.to_string()) }).await;
            let asked = life.soft.is_cancelled();
            match outcome {
                Ok(Ok(())) if asked => return,
                Ok(Ok(())) => tracing::error!(task = name, "task ended by itself"),
                Ok(Err(error)) => tracing::error!(task = name, error, "task failed"),
                Err(_panic) => tracing::error!(task = name, "task panicked"),
            }
            life.failed.store(true, Ordering::Relaxed);
            life.soft.cancel();
        });
    }

    /// Lets SIGTERM and SIGINT stop the process from now on: the first softly, the second hard.
    ///
    /// # Errors
    /// When the system does not let us listen for signals.
    pub fn listen_for_signals(&self) -> io::Result<()> {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let life = self.clone();
        tokio::spawn(async move {
            for stop in [&life.soft, &life.hard] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                tracing::info!(hard = life.soft.is_cancelled(), "signal received, stopping");
                stop.cancel();
            }
        });
        Ok(())
    }

    /// Waits for the soft stop, then for all tasks, at most `grace` long; then stops hard.
    pub async fn run(&self, grace: Duration) -> End {
        self.soft.cancelled().await;
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => {}
            () = self.hard.cancelled() => {}
            () = tokio::time::sleep(grace) => tracing::warn!(grace_s = grace.as_secs(), "not drained in time"),
        }
        let clean = self.tasks.is_empty() && !self.hard.is_cancelled();
        self.hard.cancel();
        // What is still running after this ends with the process.
        let _noticed = tokio::time::timeout(AFTER_HARD_STOP, self.tasks.wait()).await;
        End { failed: self.failed.load(Ordering::Relaxed), clean }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn tasks_that_drain_when_asked_end_the_process_well() {
        let life = Lifecycle::new();
        let soft = life.soft();
        life.spawn("a", async move {
            soft.cancelled().await;
            Ok::<(), String>(())
        });
        life.stop();
        assert_eq!(life.run(LONG).await, End { failed: false, clean: true });
    }

    #[tokio::test]
    async fn a_task_that_ends_unasked_drains_the_others_and_fails_the_process() {
        let life = Lifecycle::new();
        let soft = life.soft();
        life.spawn("b", async move {
            soft.cancelled().await;
            Ok::<(), String>(())
        });
        life.spawn("a", async { Ok::<(), String>(()) });
        assert_eq!(life.run(LONG).await, End { failed: true, clean: true });
    }

    #[tokio::test]
    async fn a_panicking_task_fails_the_process() {
        let life = Lifecycle::new();
        life.spawn("a", async {
            assert!(std::env::args().next().is_none(), "expected by this test");
            Ok::<(), String>(())
        });
        assert_eq!(life.run(LONG).await, End { failed: true, clean: true });
    }

    #[tokio::test]
    async fn a_task_that_does_not_drain_is_stopped_hard_after_the_grace_period() {
        let life = Lifecycle::new();
        let hard = life.hard();
        life.spawn("a", async move {
            hard.cancelled().await;
            Ok::<(), String>(())
        });
        life.stop();
        assert_eq!(life.run(Duration::from_millis(20)).await, End { failed: false, clean: false });
    }
}
