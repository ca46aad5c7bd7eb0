//! `headgate worker`: runs exports.

use std::path::Path;
use std::time::Duration;

use headgate_objects::Objects;
use headgate_runtime::config::{Limits, Source};
use headgate_runtime::health::Health;
use headgate_runtime::serve::Listener;
use headgate_runtime::{Config, Lifecycle, Role};
use headgate_store::Store;
use headgate_worker::{Deps, Heartbeat, SourceDefaults, WorkerConfig};

use crate::bootstrap::{self, Bound};
use crate::failure::Failure;

/// How long the lease keeper's thread may give no sign of life. It gives one a second.
const SILENT: Duration = Duration::from_secs(30);

/// Runs the role until it is told to stop.
pub async fn run(file: Option<&Path>) -> Result<(), Failure> {
    let (config, life) = bootstrap::begin(file, Role::Worker)?;
    let private = Listener::bind(&config.server.private_listen).await?;
    let health = bootstrap::serve_health(&config, &life, private);
    let store = bootstrap::migrated_store(&config, &life, &health, Bound::Worker).await?;
    let objects = bootstrap::objects(&config).await?;
    start(&config, &life, &health, store.clone(), objects);
    bootstrap::started(&health, &store);
    bootstrap::end(&config, &life).await
}

/// Runs a worker as a task of the process, which is alive while the worker's lease keeper is.
pub fn start(config: &Config, life: &Lifecycle, health: &Health, store: Store, objects: Objects) {
    let heartbeat = Heartbeat::default();
    let deps = Deps { store, objects, config: worker_config(config), heartbeat: heartbeat.clone() };
    health.lives_while(move || match heartbeat.age() {
        age if age > SILENT => Err(format!("the lease keeper has been silent for {} s", age.as_secs())),
        _ => Ok(()),
    });
    life.spawn("worker", headgate_worker::run(deps, life.soft(), life.hard()));
}

fn worker_config(config: &Config) -> WorkerConfig {
    WorkerConfig {
        shards: config.worker.shards,
        steps: config.worker.steps,
        buffer_bytes: config.worker.buffer_bytes,
        uploads: config.worker.uploads,
        lease: config.lease.duration(),
        max_attempts: i32::try_from(config.lease.max_attempts).unwrap_or(i32::MAX),
        shards_per_practice: config.worker.shards_per_practice.into(),
        shards_per_app: config.worker.shards_per_app.into(),
        poll: config.worker.poll(),
        shard_rows: config.export.shard_rows.into(),
        page_rows: config.export.page_rows,
        file_resources: config.export.file_resources,
        file_bytes: config.export.file_bytes,
        retention: config.export.retention(),
        publish_files: config.worker.publish_files,
        publish_interval: config.worker.publish_interval(),
        source: source_defaults(&config.source, &config.limits),
    }
}

/// How practices' databases are opened.
pub fn source_defaults(config: &Source, limits: &Limits) -> SourceDefaults {
    SourceDefaults {
        statement_timeout: config.statement_timeout(),
        lock_timeout: config.lock_timeout(),
        connect_timeout: config.connect_timeout(),
        max_connections: config.max_connections,
        margin: config.margin(),
        prepared_allowance: config.prepared_allowance(),
        max_lag: config.max_lag(),
        resource_bytes: limits.resource_bytes,
        mappings: config.mappings_dir(),
    }
}
