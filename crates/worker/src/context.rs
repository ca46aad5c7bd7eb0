//! What every step of a worker needs, built once.

use std::sync::Arc;

use headgate_objects::Objects;
use headgate_store::{Limits, Store};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::WorkerConfig;
use crate::budget::Budget;
use crate::lease_keeper::LeaseKeeper;
use crate::sources::Sources;

/// The free hands of a worker.
#[derive(Debug)]
pub struct Hands {
    pub steps: Arc<Semaphore>,
    /// Those among the steps that may refresh or purge: never all, or practices whose databases do not answer, or a bucket
    /// that refuses to delete, would keep exports from being planned and finished.
    pub besides: Arc<Semaphore>,
    /// Those among them that may purge: half of all steps, so that from three steps on refreshes have some too.
    pub purges: Arc<Semaphore>,
    pub shards: Arc<Semaphore>,
}

impl Hands {
    fn new(steps: usize, shards: usize) -> Self {
        Self {
            steps: Arc::new(Semaphore::new(steps)),
            besides: Arc::new(Semaphore::new(steps.saturating_sub(1).max(1))),
            purges: Arc::new(Semaphore::new((steps / 2).max(1))),
            shards: Arc::new(Semaphore::new(shards)),
        }
    }
}

/// What every step needs.
#[derive(Debug)]
pub struct Context {
    pub worker: Uuid,
    pub store: Store,
    pub objects: Objects,
    pub config: WorkerConfig,
    pub keeper: LeaseKeeper,
    pub sources: Sources,
    pub budget: Budget,
    pub hands: Hands,
    pub uploads: Arc<Semaphore>,
    /// Wakes the acquire loop: something may have become runnable.
    pub wake: Arc<Notify>,
    /// Cancelled when the process is asked to stop: checkpoint and give back.
    pub drain: CancellationToken,
}

impl Context {
    pub fn new(
        worker: Uuid,
        store: Store,
        objects: Objects,
        config: WorkerConfig,
        keeper: LeaseKeeper,
        drain: CancellationToken,
    ) -> Self {
        Self {
            worker,
            store,
            objects,
            keeper,
            sources: Sources::new(config.source.clone()),
            budget: Budget::new(config.buffer_bytes),
            hands: Hands::new(config.steps, config.shards),
            uploads: Arc::new(Semaphore::new(config.uploads)),
            wake: Arc::default(),
            drain,
            config,
        }
    }

    /// What bounds this worker's acquisitions.
    pub fn limits(&self) -> Limits {
        Limits {
            lease: self.config.lease,
            max_attempts: self.config.max_attempts,
            shards_per_practice: self.config.shards_per_practice,
            shards_per_app: self.config.shards_per_app,
        }
    }
}
