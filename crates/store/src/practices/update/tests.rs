use uuid::Uuid;

use super::*;
use crate::scene::Scene;

#[tokio::test]
async fn another_source_fails_the_exports_that_have_begun_and_no_others() {
    let mut scene = Scene::new().await;
    for state in ["planning", "running", "finishing", "completed", "revoked"] {
        scene.export(state).await;
    }
    scene.export("accepted").await;
    scene
        .run(
            "UPDATE headgate.export SET lease_step = 'plan', lease_token = gen_random_uuid(), lease_expires_at = now()
             WHERE state = 'accepted'",
        )
        .await;
    scene.export("accepted").await;
    let states = async || {
        let states = "SELECT string_agg(state || coalesce(': ' || failure, ''), '; ' ORDER BY export_id)
                        FROM headgate.export";
        scene.ask(states).await
    };
    let change = async |change: PracticeChange| {
        scene
            .store
            .update_practice(Scene::practice(), &change, None, &Scene::audit("test"))
            .await
            .unwrap()
            .unwrap();
    };
    let before = states().await;
    // What stays as it is, and what is not of the source.
    change(PracticeChange { source_dsn_ref: Some("env:X".to_owned()), ..PracticeChange::default() }).await;
    change(PracticeChange {
        source_settings: Some(Vec::new()),
        name: Some("N".to_owned()),
        ..PracticeChange::default()
    })
    .await;
    assert_eq!(states().await, before);
    // Nobody begins one with the source of before while the change is not there yet.
    let mut changing = scene.store.pool.begin().await.unwrap();
    fail_begun(&mut changing, Scene::practice()).await.unwrap();
    let (limits, besides) = (Scene::limits(), crate::Besides { refresh: false, purge: false });
    let taken = scene.store.acquire_step(Uuid::new_v4(), &limits, besides).await.unwrap();
    assert!(taken.is_none(), "{taken:?}");
    changing.rollback().await.unwrap();
    let settings = vec![("app.practice".to_owned(), "2".to_owned())];
    change(PracticeChange { source_settings: Some(settings), ..PracticeChange::default() }).await;
    let failed = format!("failed: {ELSEWHERE}");
    let expected = [&failed, &failed, &failed, "completed", "revoked", &failed, "accepted"].join("; ");
    assert_eq!(states().await, expected);
    assert_eq!(
        scene.ask("SELECT count(*) FROM headgate.audit_event WHERE action = 'export.failed'").await,
        "4"
    );
    scene.end().await;
}
