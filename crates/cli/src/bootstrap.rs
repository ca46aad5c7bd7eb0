//! The start and the end that all roles share.
//!
//! Configuration, logging, signals, ports, of which the private one is served at once; the control database and its
//! schema, which may come up later than we do; the bucket; then the role; then the drain.

mod database;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use headgate_metrics::lifecycle::BUILD_INFO;
use headgate_objects::{Keys, Objects, S3Config};
use headgate_runtime::config::S3;
use headgate_runtime::health::{self, Health};
use headgate_runtime::serve::{Bounds, Listener};
use headgate_runtime::{Config, Lifecycle, Role, lifecycle, telemetry};
use headgate_store::{SUPPORTED_SCHEMA_VERSIONS, Store};

use crate::failure::Failure;

pub use database::{Bound, migrated_store, store};

/// Reads the configuration, begins to log, and listens for signals.
pub fn begin(file: Option<&Path>, role: Role) -> Result<(Config, Lifecycle), Failure> {
    let config = Config::load(file, role)?;
    begin_telemetry(&config, role)?;
    let life = Lifecycle::new();
    life.listen_for_signals().map_err(|error| Failure::software(format!("no signals: {error}")))?;
    tracing::info!(role = ?role, version = headgate_runtime::build_info::VERSION, "starting");
    Ok((config, life))
}

/// Begins to log, and for servers to measure and to trace.
fn begin_telemetry(config: &Config, role: Role) -> Result<(), Failure> {
    let (service, measures) = match role {
        Role::Api => ("headgate-api", telemetry::Role::Api),
        Role::Worker => ("headgate-worker", telemetry::Role::Worker),
        Role::Migrate | Role::Tool => return Ok(telemetry::init_log(&config.log)?),
    };
    let start = telemetry::Start { log: &config.log, telemetry: &config.telemetry, service, role: measures };
    telemetry::init(&start)?;
    tell_build(if role == Role::Api { "api" } else { "worker" });
    Ok(())
}

/// Tells in the metrics what runs.
pub fn tell_build(role: &'static str) {
    let schema = SUPPORTED_SCHEMA_VERSIONS[SUPPORTED_SCHEMA_VERSIONS.len() - 1];
    let version = headgate_runtime::build_info::VERSION;
    BUILD_INFO.set(1.0, &[("version", version.into()), ("schema", schema.into()), ("role", role.into())]);
}

/// The bucket's client. A bucket that does not answer is only a warning, which the start does not wait for: the role
/// says so by itself when it needs it, and may start before it.
pub async fn objects(config: &Config) -> Result<Objects, Failure> {
    let links = config.files.url_ttl(config.token.lifetime());
    let objects = Objects::connect(S3Config { links, ..s3_config(&config.s3) }).await?;
    let asked = objects.clone();
    tokio::spawn(async move {
        if let Err(error) = asked.check().await {
            tracing::warn!(%error, "the bucket cannot be used yet");
        }
    });
    Ok(objects)
}

/// The bucket as the adapter wants it described.
pub fn s3_config(config: &S3) -> S3Config {
    let keys = (!config.access_key_id.is_empty()).then(|| Keys {
        access_key_id: config.access_key_id.clone(),
        secret_access_key: config.secret_access_key.clone(),
    });
    S3Config {
        endpoint: (!config.endpoint.is_empty()).then(|| config.endpoint.clone()),
        region: config.region.clone(),
        bucket: config.bucket.clone(),
        path_style: config.path_style,
        sign_payload: config.signs_payload(),
        keys,
        links: Duration::ZERO,
    }
}

/// Serves the private listener from now on until the process ends.
pub fn serve_health(config: &Config, life: &Lifecycle, private: Listener) -> Health {
    tracing::info!(private = %private.address(), "listening");
    let health = Health::new(life.soft());
    tokio::spawn(health.clone().measure());
    let router = health::router(health.clone()).merge(telemetry::routes());
    private.spawn_beside(router, Bounds::from(&config.server), life);
    health
}

/// How long the control database may be away, or all connections to it in use, before the process says that it is not ready.
/// A shorter time would take every process out of service at once, and with them the answers that say when to try again.
const BLINK: Duration = Duration::from_secs(15);

/// How long the control database has for an answer, which is less than whoever asks for readiness waits.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// The role has begun to serve: it is ready while the control database answers and its schema is still one that we know.
pub fn started(health: &Health, store: &Store) {
    let (store, good) = (store.clone(), Arc::new(Mutex::new(Instant::now())));
    health.started(move || {
        let (store, good) = (store.clone(), Arc::clone(&good));
        async move {
            let answer = tokio::time::timeout(ANSWERS_WITHIN, store.check_schema()).await;
            let why = match answer {
                Ok(Ok(_)) => {
                    *good.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                    return Ok(());
                }
                Ok(Err(error)) if !error.is_transient() => return Err(error.to_string()),
                Ok(Err(error)) => error.to_string(),
                Err(_late) => "the control database does not answer".to_owned(),
            };
            let away = good.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
            if away < BLINK { Ok(()) } else { Err(why) }
        }
    });
}

/// Waits for a signal, drains, and says how it went.
pub async fn end(config: &Config, life: &Lifecycle) -> Result<(), Failure> {
    let lifecycle::End { failed, clean } = life.run(config.drain.grace()).await;
    tracing::info!(failed, clean, "stopped");
    if failed {
        return Err(Failure::software("a part of the process ended by itself; the log says why"));
    }
    Ok(())
}
