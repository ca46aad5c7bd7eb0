use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn started(answer: Result<(), String>, asked: &Arc<AtomicUsize>) -> Health {
    let health = Health::new(CancellationToken::new());
    let asked = Arc::clone(asked);
    health.started(move || {
        asked.fetch_add(1, Ordering::Relaxed);
        let answer = answer.clone();
        async move { answer }
    });
    health
}

fn unavailable(text: &str) -> Answer {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{text}\n"))
}

#[tokio::test]
async fn the_question_is_asked_once_a_second_at_most() {
    let asked = Arc::default();
    let health = started(Ok(()), &asked);
    for _ in 0..5 {
        assert_eq!(health.ready().await.0, StatusCode::OK);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_question_without_an_answer_is_given_up() {
    let health = Health::new(CancellationToken::new());
    health.started(std::future::pending);
    assert_eq!(health.ready().await, unavailable("not ready: no answer in time"));
}

#[tokio::test]
async fn a_process_that_drains_is_alive_and_started_but_not_ready() {
    let asked = Arc::default();
    let health = started(Ok(()), &asked);
    health.0.draining.cancel();
    assert_eq!(health.ready().await, unavailable("not ready: draining"));
    assert_eq!((health.startup().0, health.live().0), (StatusCode::OK, StatusCode::OK));
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn the_reason_is_told() {
    let health = started(Err("the database is away".to_owned()), &Arc::default());
    assert_eq!(health.ready().await, unavailable("not ready: the database is away"));
}

#[tokio::test]
async fn a_process_that_starts_is_alive_and_tells_what_it_waits_for() {
    let health = Health::new(CancellationToken::new());
    health.waits_for("the control database");
    assert_eq!(health.startup(), unavailable("waiting for the control database"));
    assert_eq!(health.ready().await, unavailable("not ready: waiting for the control database"));
    assert_eq!(health.live().0, StatusCode::OK);
    health.started(async || Ok(()));
    assert_eq!((health.startup().0, health.ready().await.0), (StatusCode::OK, StatusCode::OK));
}

#[tokio::test]
async fn a_process_without_a_pulse_is_not_alive() {
    let health = started(Ok(()), &Arc::default());
    health.lives_while(|| Err("the thread is stuck".to_owned()));
    assert_eq!(health.live(), unavailable("not alive: the thread is stuck"));
    assert_eq!(health.ready().await.0, StatusCode::OK, "being alive is another question");
}
