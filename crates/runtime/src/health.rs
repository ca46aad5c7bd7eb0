//! The private listener: whether the process lives, and whether it is ready for work.
//!
//! `/livez` depends on nothing: a database that is away must not have the process killed. `/readyz` asks the
//! role's own question, at most once a second however often it is asked itself, and says no while draining.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// How long an answer is repeated.
const FRESH: Duration = Duration::from_secs(1);

/// How long the question may take.
const PATIENCE: Duration = Duration::from_secs(3);

type Question = dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync;

struct Health {
    question: Box<Question>,
    draining: CancellationToken,
    last: Mutex<Option<(Instant, Result<(), String>)>>,
}

/// The routes of the private listener. `ready` answers why not, in words without secrets; `draining` is the
/// soft stop.
pub fn router<F>(ready: impl Fn() -> F + Send + Sync + 'static, draining: CancellationToken) -> Router
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let question: Box<Question> = Box::new(move || Box::pin(ready()));
    let health = Arc::new(Health { question, draining, last: Mutex::new(None) });
    Router::new()
        .route("/livez", get(|| async { format!("alive {}\n", crate::build_info::VERSION) }))
        .route("/readyz", get(readyz))
        .with_state(health)
}

async fn readyz(State(health): State<Arc<Health>>) -> (StatusCode, String) {
    if health.draining.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
    }
    match health.ask().await {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}

impl Health {
    async fn ask(&self) -> Result<(), String> {
        let mut last = self.last.lock().await;
        if let Some((_, answer)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return answer.clone();
        }
        let answer = tokio::time::timeout(PATIENCE, (self.question)())
            .await
            .unwrap_or_else(|_| Err("no answer in time".to_owned()));
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn health(answer: Result<(), String>, asked: &Arc<AtomicUsize>) -> Arc<Health> {
        let asked = Arc::clone(asked);
        Arc::new(Health {
            question: Box::new(move || {
                asked.fetch_add(1, Ordering::Relaxed);
                let answer = answer.clone();
                Box::pin(async move { answer })
            }),
            draining: CancellationToken::new(),
            last: Mutex::new(None),
        })
    }

    #[tokio::test]
    async fn the_question_is_asked_once_a_second_at_most() {
        let asked = Arc::default();
        let health = health(Ok(()), &asked);
        for _ in 0..5 {
            assert_eq!(readyz(State(Arc::clone(&health))).await.0, StatusCode::OK);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_process_that_drains_is_not_ready() {
        let health = health(Ok(()), &Arc::default());
        health.draining.cancel();
        assert_eq!(readyz(State(health)).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn the_reason_is_told() {
        let answer = readyz(State(health(Err("the database is away".to_owned()), &Arc::default()))).await;
        assert_eq!(answer, (StatusCode::SERVICE_UNAVAILABLE, "not ready: the database is away\n".to_owned()));
    }
}
