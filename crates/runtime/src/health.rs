//! What a process says of itself on its private listener, for whoever starts, kills and routes to it.
//!
//! | path | 200 means | else |
//! |---|---|---|
//! | `/startupz` | the role has begun to serve | what the start waits for |
//! | `/livez` | the process is of use: its event loop answers, and what must go on by itself does | restart it |
//! | `/readyz` | it can do its work now, and has not been told to stop | send it nothing |
//!
//! `/livez` depends on nothing outside the process: a database that is away must not have processes killed that
//! will be needed when it is back. `/readyz` asks the role's own question, at most once a second however often it
//! is asked itself. (Kubernetes, "Configure Liveness, Readiness and Startup Probes".)

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use headgate_metrics::process::READY;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// How long an answer is repeated.
const FRESH: Duration = Duration::from_secs(1);

/// How often it is measured whether the process is ready.
const MEASURED_EVERY: Duration = Duration::from_secs(5);

/// How long the question may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// A status and why. A problem is told in words without secrets.
type Answer = (StatusCode, String);

type Question = dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync;

type Pulse = dyn Fn() -> Result<(), String> + Send + Sync;

/// The health of this process. Clones share it.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    draining: CancellationToken,
    waits_for: RwLock<String>,
    started: OnceLock<Box<Question>>,
    pulse: OnceLock<Box<Pulse>>,
    last: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Health {
    /// Of a process that has only begun to start. `draining` is the soft stop.
    #[must_use]
    pub fn new(draining: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            draining,
            waits_for: RwLock::new("its configuration".to_owned()),
            started: OnceLock::new(),
            pulse: OnceLock::new(),
            last: Mutex::default(),
        }))
    }

    /// The start waits for this now, in words that go on behind "waiting for".
    pub fn waits_for(&self, what: impl Into<String>) {
        *self.0.waits_for.write().unwrap_or_else(PoisonError::into_inner) = what.into();
    }

    /// From now on the process is alive only while `pulse` finds it so; else it says why not. It is asked on the
    /// event loop and must not wait.
    pub fn lives_while(&self, pulse: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        let _first = self.0.pulse.set(Box::new(pulse));
    }

    /// The role serves. From now on it is ready when `ready` says so; else that says why not.
    pub fn started<F>(&self, ready: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let _first = self.0.started.set(Box::new(move || Box::pin(ready())));
    }

    /// Measures for the rest of the process's life whether it is ready.
    pub async fn measure(self) {
        loop {
            let (status, _) = self.ready().await;
            READY.set(if status == StatusCode::OK { 1.0 } else { 0.0 }, &[]);
            tokio::time::sleep(MEASURED_EVERY).await;
        }
    }

    fn startup(&self) -> Answer {
        match self.0.started.get() {
            Some(_) => (StatusCode::OK, "started\n".to_owned()),
            None => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", self.waiting())),
        }
    }

    fn live(&self) -> Answer {
        match self.0.pulse.get().map_or(Ok(()), |pulse| pulse()) {
            Ok(()) => (StatusCode::OK, format!("alive {}\n", crate::build_info::VERSION)),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not alive: {why}\n")),
        }
    }

    async fn ready(&self) -> Answer {
        let answer = if self.0.draining.is_cancelled() {
            Err("draining".to_owned())
        } else if let Some(question) = self.0.started.get() {
            self.ask(question).await
        } else {
            Err(self.waiting())
        };
        match answer {
            Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
        }
    }

    fn waiting(&self) -> String {
        format!("waiting for {}", self.0.waits_for.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn ask(&self, question: &Question) -> Result<(), String> {
        let mut last = self.0.last.lock().await;
        if let Some((_, answer)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return answer.clone();
        }
        let answer = tokio::time::timeout(PATIENCE, question())
            .await
            .unwrap_or_else(|_| Err("no answer in time".to_owned()));
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").field("started", &self.0.started.get().is_some()).finish_non_exhaustive()
    }
}

/// The routes of the private listener that tell of this health.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/startupz", get(async |State(health): State<Health>| health.startup()))
        .route("/livez", get(async |State(health): State<Health>| health.live()))
        .route("/readyz", get(async |State(health): State<Health>| health.ready().await))
        .with_state(health)
}

#[cfg(test)]
mod tests;
