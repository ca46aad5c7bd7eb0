//! The worker: steps and the pipeline of a shard.
//!
//! ```text
//! doorbells ─► acquire_loop ─► plan · finish · purge · refresh     (steps: short)
//!        poll ─┘      │      └► shard: read ─► frame ─► upload ─► publish
//!                     │
//!               lease_keeper (own thread, own connection): stop flags every second, renewals
//! ```
//!
//! A worker owns nothing. What it does is written in the control database: it takes a lease, does a piece
//! of work, and publishes under that lease. Killed at any moment, it leaves a lease that expires and
//! perhaps objects that no row names; whoever takes the shard next goes on behind the last published file.
//!
//! Stopping has three forms. A *drain* checkpoints: nothing new is acquired, what is uploaded is published, leases are given
//! back; of the whole process (SIGTERM), or of a practice that an operator drains. A *stop* of one export (deleted, revoked,
//! failed) or a *lost lease* ends its work, and the control database refuses what it would publish. All are tokens that the
//! pipeline looks at between rows.

mod acquire_loop;
mod ask;
mod associated;
mod attachments;
mod budget;
mod config;
mod context;
mod doorbells;
mod error;
mod finish;
mod frame;
mod gauges;
mod housekeeping;
mod lease_keeper;
mod line;
pub mod mappings;
mod plan;
mod purge;
mod read;
mod references;
mod refresh;
mod select;
mod shard;
mod sources;
mod trace;
mod upload;

pub use config::{SourceDefaults, WorkerConfig};
pub use error::Error;
pub use lease_keeper::Heartbeat;
pub use sources::{DsnError, open as open_source};

use std::sync::Arc;

use headgate_objects::Objects;
use headgate_store::Store;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use context::Context;
use lease_keeper::LeaseKeeper;

/// What a worker works with.
#[derive(Debug, Clone)]
pub struct Deps {
    /// The control database.
    pub store: Store,
    /// The bucket.
    pub objects: Objects,
    /// Bounds and pace.
    pub config: WorkerConfig,
    /// Beats while the lease keeper's thread goes round.
    pub heartbeat: Heartbeat,
}

/// Runs a worker until `soft` is cancelled and its leases are given back, or `hard` is cancelled.
///
/// # Errors
/// When the lease keeper cannot be started.
pub async fn run(deps: Deps, soft: CancellationToken, hard: CancellationToken) -> Result<(), Error> {
    // Fresh at each start: a restarted process must never pass for the one that died.
    let worker = Uuid::new_v4();
    let keeper = LeaseKeeper::start(deps.store.clone(), deps.config.lease, deps.heartbeat)?;
    let context = Arc::new(Context::new(worker, deps.store, deps.objects, deps.config, keeper, soft.clone()));
    tracing::info!(%worker, shards = context.config.shards, "worker started");
    let listener = tokio::spawn(doorbells::listen(
        context.store.clone(),
        worker,
        Arc::clone(&context.wake),
        soft.clone(),
    ));
    let measurer = tokio::spawn(gauges::run(Arc::clone(&context)));
    let housekeeper = tokio::spawn(housekeeping::run(Arc::clone(&context)));
    tokio::select! {
        () = acquire_loop::run(&context) => tracing::info!(%worker, "worker drained"),
        () = hard.cancelled() => tracing::warn!(%worker, "worker stopped before it was drained; its leases will expire"),
    }
    listener.abort();
    measurer.abort();
    housekeeper.abort();
    context.keeper.stop();
    context.sources.close().await;
    Ok(())
}
