//! The start and the end that all roles share.
//!
//! Configuration, logging, signals, ports, the control database (waiting for it, because after a power cut it
//! may come up later than we do), its schema, the bucket; then the role; then the drain.

use std::path::Path;
use std::time::Duration;

use headgate_metrics::lifecycle::BUILD_INFO;
use headgate_objects::{Keys, Objects, S3Config};
use headgate_runtime::config::S3;
use headgate_runtime::serve::{Bounds, Listener};
use headgate_runtime::{Config, Lifecycle, Role, health, lifecycle, telemetry};
use headgate_store::{SUPPORTED_SCHEMA_VERSIONS, Store};
use secrecy::ExposeSecret as _;

use crate::failure::Failure;

/// How long to wait for a database that does not answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to say when a signal comes before anything was begun.
const STOPPED: &str = "stopped while waiting for the control database";

/// First and longest pause between two tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

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

/// What one statement of the API may take: its requests are short, and strangers decide what they ask for.
const API_STATEMENT: Duration = Duration::from_secs(60);

/// Connects to the control database, patiently, until a signal.
pub async fn store(config: &Config, life: &Lifecycle) -> Result<Store, Failure> {
    connect(config, life, None).await
}

/// The same for the API, whose statements are bounded.
pub async fn api_store(config: &Config, life: &Lifecycle) -> Result<Store, Failure> {
    connect(config, life, Some(API_STATEMENT)).await
}

async fn connect(config: &Config, life: &Lifecycle, statement: Option<Duration>) -> Result<Store, Failure> {
    let (mut pause, longest) = PAUSES;
    let started = tokio::time::Instant::now();
    let url = config.database.url.expose_secret();
    loop {
        let (most, patience) = (config.database.max_connections, config.database.acquire_timeout());
        let connecting = async {
            match statement {
                Some(bound) => Store::connect_bounded(url, most, patience, bound).await,
                None => Store::connect(url, most, patience).await,
            }
        };
        let connected = tokio::select! {
            connected = connecting => connected,
            () = life.soft().cancelled_owned() => return Err(Failure::failed(STOPPED)),
        };
        let error = match connected {
            Ok(store) => return Ok(store),
            Err(error) => error,
        };
        if !error.is_transient() || started.elapsed() > PATIENCE {
            return Err(error.into());
        }
        tracing::warn!(%error, "the control database does not answer yet");
        tokio::select! {
            () = tokio::time::sleep(pause.mul_f64(rand::random_range(0.75..1.25))) => {}
            () = life.soft().cancelled_owned() => return Err(Failure::failed(STOPPED)),
        }
        pause = (pause * 2).min(longest);
    }
}

/// The bucket's client. A bucket that does not answer is only a warning: the role says so by itself when it
/// needs it, and may start before it.
pub async fn objects(config: &Config) -> Result<Objects, Failure> {
    let objects = Objects::connect(s3_config(&config.s3)).await?;
    if let Err(error) = objects.check().await {
        tracing::warn!(%error, "the bucket cannot be used yet");
    }
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
    }
}

/// Serves the private listener: ready while the control database answers.
pub fn serve_health(config: &Config, life: &Lifecycle, store: &Store, private: Listener) {
    let store = store.clone();
    let ready = move || {
        let store = store.clone();
        async move { store.ping().await.map_err(|error| error.to_string()) }
    };
    let router = health::router(ready, life.soft()).merge(telemetry::routes());
    private.spawn("private listener", router, Bounds::from(&config.server), life);
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
