use uuid::Uuid;

use crate::scene::Scene;
use crate::{Besides, Roles};

/// Scans of whole tables by this connection, which is the only one of the store.
async fn scans(store: &crate::Store, table: &str) -> i64 {
    sqlx::query("SELECT pg_stat_force_next_flush()").execute(&store.pool).await.unwrap();
    sqlx::query_scalar(
        "SELECT seq_scan FROM pg_stat_user_tables WHERE schemaname = 'headgate' AND relname = $1",
    )
    .bind(table)
    .fetch_one(&store.pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn an_export_that_waits_because_its_practice_is_paused_is_not_the_oldest_that_does_not_end() {
    let mut scene = Scene::new().await;
    for state in ["accepted", "running", "completed"] {
        scene.export(state).await;
    }
    scene.run("UPDATE headgate.export SET accepted_at = now() - interval '5 hours'").await;
    let measured = async || {
        let measures = scene.store.measures().await.unwrap();
        let of = |state| measures.exports.iter().find(|e| e.state == state).unwrap();
        ["accepted", "running", "completed"]
            .map(|state| (of(state).exports, of(state).oldest.as_secs() / 3600))
    };
    assert_eq!(measured().await, [(1, 5); 3]);
    let (store, practice, audit) = (&scene.store, Scene::practice(), Scene::audit("test"));
    store.pause_practice(practice, "ann", "a test", false, None, &audit).await.unwrap();
    assert_eq!(measured().await, [(1, 0), (1, 0), (1, 5)]);
    store.unpause_practice(practice, None, &audit).await.unwrap();
    assert_eq!(measured().await, [(1, 5); 3]);
    scene.end().await;
}

#[tokio::test]
async fn what_is_asked_all_the_time_reads_no_export_that_is_over_and_no_old_seal() {
    let mut scene = Scene::new().await;
    let [api, worker, observer] =
        ["headgate_api", "headgate_worker", "headgate_observer"].map(|name| name.to_owned());
    scene.store.grant_roles(&Roles { api, worker, observer }, true).await.unwrap();
    for state in ["accepted", "running", "completed", "revoked"] {
        scene.export(state).await;
    }
    scene.run(
        "INSERT INTO headgate.export (practice_number, export_id, client_id, consent_id, accepted_under, level,
             request_url, types, state, transaction_time, accepted_at, ended_at, purged_at)
         SELECT 1, 'f' || lpad(to_hex(n), 31, '0'), client_id, consent_id, consent_id, 'system', request_url, types, 'expired',
                now(), now() - interval '30 days', now() - interval '20 days', now() - interval '20 days'
           FROM headgate.export, generate_series(1, 20000) n WHERE state = 'accepted';
         INSERT INTO headgate.audit_seal (seal_number, first_id, last_id, events, digest, previous, hash, key_id, mac)
         SELECT n, n, n, 1, '', '', '', 'k', '' FROM generate_series(1, 20000) n;
         INSERT INTO headgate.audit_event (actor, action) SELECT 'a', 'b' FROM generate_series(1, 20003);
         ANALYZE headgate.export, headgate.audit_seal, headgate.audit_event",
    )
    .await;
    let worker = scene.connect("headgate_worker", 1).await;
    let before = (scans(&worker, "export").await, scans(&worker, "audit_seal").await);
    let measures = worker.measures().await.unwrap();
    let exports: Vec<u64> = ["accepted", "planning", "running", "finishing", "completed"]
        .iter()
        .map(|state| measures.exports.iter().find(|e| e.state == *state).unwrap().exports)
        .collect();
    assert_eq!((exports, measures.unsealed.0), (vec![1, 0, 1, 0, 1], 3));
    assert_eq!(worker.revoke_unauthorized().await.unwrap(), 0);
    worker.fail_exhausted(5).await.unwrap();
    assert_eq!(worker.ring_again(std::time::Duration::from_secs(30)).await.unwrap(), 3);
    for _ in 0..4 {
        worker.acquire_step(Uuid::new_v4(), &Scene::limits(), Besides::ALL).await.unwrap();
    }
    assert_eq!((scans(&worker, "export").await, scans(&worker, "audit_seal").await), before);
    worker.close().await;
    scene.end().await;
}
