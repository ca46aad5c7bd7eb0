use uuid::Uuid;

use crate::scene::Scene;
use crate::{Acquired, Besides};

/// The next refresh that is due.
async fn take(scene: &Scene) -> Option<crate::RefreshLease> {
    match scene.store.acquire_step(Uuid::new_v4(), &Scene::limits(), Besides::ALL).await.unwrap() {
        Some(Acquired::Refresh(lease)) => Some(lease),
        None => None,
        Some(other) => panic!("nothing else is to be done: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_asked_for_while_a_source_is_looked_at_is_looked_at_again() {
    let scene = Scene::new().await;
    let ask = "UPDATE headgate.source_catalog SET requested_at = clock_timestamp() WHERE practice_number = 1";
    scene.run(ask).await;
    let first = take(&scene).await.expect("it was asked for");
    scene.run(ask).await;
    scene.store.refreshed(&first, &serde_json::json!({}), &[]).await.unwrap();
    let second = take(&scene).await.expect("it was asked for meanwhile");
    scene.store.refreshed(&second, &serde_json::json!({}), &[]).await.unwrap();
    assert!(take(&scene).await.is_none());
}
