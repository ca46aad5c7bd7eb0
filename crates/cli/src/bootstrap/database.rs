//! Connecting to the control database, patiently: after a power cut it may come up later than we do, and while a new
//! version is installed its schema is migrated beside us.

use std::convert::Infallible;
use std::time::Duration;

use headgate_runtime::config::Database;
use headgate_runtime::health::Health;
use headgate_runtime::{Config, Lifecycle};
use headgate_store::{Bounds, Error, NEWEST_SCHEMA_VERSION, Store};
use secrecy::ExposeSecret as _;
use tokio::time::Instant;

use crate::failure::Failure;

/// How long to wait for a database that does not answer, at least.
const PATIENCE: Duration = Duration::from_secs(60);

/// First and longest pause between two tries to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Pause between two looks at the schema.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the file of the URL is read.
const READ_EVERY: Duration = Duration::from_secs(5);

/// How often it is logged what is waited for.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How soon a connection that is given back must answer. Where the other end has vanished, its place is free again by then;
/// and the server ends what a request that was given up has asked for.
const RETURNED: Option<Duration> = Some(Duration::from_secs(5));

/// What one statement of the API may take: its requests are short, and strangers decide what they ask for.
const API: Bounds =
    Bounds { statement: Duration::from_secs(60), idle: Duration::from_secs(60), returned: RETURNED };

/// The same of a worker: housekeeping after a long rest deletes many rows at once. What holds others up is shorter; between
/// two statements of a transaction it does nothing.
const WORKER: Bounds =
    Bounds { statement: Duration::from_secs(15 * 60), idle: Duration::from_secs(60), returned: RETURNED };

/// What bounds the statements of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Nothing.
    None,
    /// What those of the API may take.
    Api,
    /// What those of a worker may take.
    Worker,
}

/// Connects to the control database, for a minute at most, or until a signal.
pub async fn store(config: &Config, life: &Lifecycle) -> Result<Store, Failure> {
    connect(config, life, Bound::None, PATIENCE).await
}

/// Connects to the control database for a role that serves, and waits for a schema that this program knows. `health`
/// tells what is waited for.
pub async fn migrated_store(
    config: &Config,
    life: &Lifecycle,
    health: &Health,
    bound: Bound,
) -> Result<Store, Failure> {
    health.waits_for("the control database");
    let store = connect(config, life, bound, config.database.schema_wait().max(PATIENCE)).await?;
    health.waits_for(format!("schema version {NEWEST_SCHEMA_VERSION}: run `headgate migrate`"));
    wait_for_schema(&store, config.database.schema_wait(), life).await?;
    follow_url(&config.database, &store, life);
    Ok(store)
}

/// Reads the file of the URL again from now on, so that a password is changed without a restart.
fn follow_url(database: &Database, store: &Store, life: &Lifecycle) {
    if database.url_file.is_empty() {
        return;
    }
    let (database, store, soft) = (database.clone(), store.clone(), life.soft());
    life.spawn("url of the control database", async move {
        let mut last = Ok(database.url.expose_secret().to_owned());
        loop {
            tokio::select! {
                () = soft.cancelled() => return Ok::<(), Infallible>(()),
                () = tokio::time::sleep(READ_EVERY) => {}
            }
            let found = match database.url_in_file() {
                Ok(url) => Ok(url.unwrap_or_default().expose_secret().to_owned()),
                Err(error) => Err(error.to_string()),
            };
            if found == last {
                continue;
            }
            match found.clone().and_then(|url| store.connect_by(&url).map_err(|error| error.to_string())) {
                Ok(()) => tracing::info!(
                    "database.url_file was read again; connections are opened by it from now on"
                ),
                Err(error) => tracing::warn!(
                    error,
                    "what is in database.url_file now cannot be used; the former URL stays"
                ),
            }
            last = found;
        }
    });
}

async fn connect(
    config: &Config,
    life: &Lifecycle,
    bound: Bound,
    patience: Duration,
) -> Result<Store, Failure> {
    let (mut pause, longest) = PAUSES;
    let started = Instant::now();
    let url = config.database.url.expose_secret();
    loop {
        let (most, acquire) = (config.database.max_connections, config.database.acquire_timeout());
        let connecting = async {
            match bound {
                Bound::Api => Store::connect_bounded(url, most, acquire, API).await,
                Bound::Worker => Store::connect_bounded(url, most, acquire, WORKER).await,
                Bound::None => Store::connect(url, most, acquire).await,
            }
        };
        let error = match unless_stopped(life, connecting).await? {
            Ok(store) => return Ok(store),
            Err(error) => error,
        };
        if !error.is_transient() || started.elapsed() > patience {
            return Err(error.into());
        }
        tracing::warn!(%error, "the control database does not answer yet");
        unless_stopped(life, tokio::time::sleep(pause.mul_f64(rand::random_range(0.75..1.25)))).await?;
        pause = (pause * 2).min(longest);
    }
}

/// Waits until the schema is one that this program knows. One that is newer cannot become so.
async fn wait_for_schema(store: &Store, patience: Duration, life: &Lifecycle) -> Result<(), Failure> {
    let started = Instant::now();
    let mut told: Option<Instant> = None;
    loop {
        let error = match unless_stopped(life, store.check_schema()).await? {
            Ok(version) => {
                if told.is_some() {
                    tracing::info!(version, "the schema is there");
                    // The grants of our role follow the schema, in a transaction of their own.
                    unless_stopped(life, tokio::time::sleep(LOOK_EVERY)).await?;
                }
                return Ok(());
            }
            Err(error) => error,
        };
        let may_change = matches!(error, Error::Unmigrated(_)) || error.is_transient();
        if !may_change || started.elapsed() >= patience {
            return Err(error.into());
        }
        if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            told = Some(Instant::now());
            tracing::warn!(%error, patience_s = patience.as_secs(), "waiting for the schema");
        }
        unless_stopped(life, tokio::time::sleep(LOOK_EVERY)).await?;
    }
}

/// What comes of it, unless a signal comes first: nothing was begun yet, so there is nothing to drain.
async fn unless_stopped<T>(life: &Lifecycle, what: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::select! {
        result = what => Ok(result),
        () = life.soft().cancelled_owned() => {
            Err(Failure::failed("stopped while waiting for the control database"))
        }
    }
}
