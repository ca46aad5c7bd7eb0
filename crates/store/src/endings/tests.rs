use std::time::Duration;

use super::*;
use crate::scene::Scene;

#[tokio::test]
async fn authority_is_taken_away_at_once_although_a_publication_hangs() {
    let mut scene = Scene::new().await;
    scene.export("running").await;
    // What a publication holds: its rows refer to the export, and its worker has vanished.
    let mut elsewhere = scene.store.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM headgate.export FOR KEY SHARE").execute(&mut *elsewhere).await.unwrap();
    let within = Duration::from_secs(5);
    let mut tx = scene.store.pool.begin().await.unwrap();
    let whose = Whose { practice: Some(Scene::practice()), ..Whose::default() };
    let ended = tokio::time::timeout(within, end_exports(&mut tx, whose, "a test")).await.unwrap().unwrap();
    assert_eq!(ended, 1);
    tx.rollback().await.unwrap();

    scene.run("UPDATE headgate.consent SET revoked_at = now(), revoked_by = 'ann'").await;
    let noticed = tokio::time::timeout(within, scene.store.revoke_unauthorized()).await.unwrap().unwrap();
    assert_eq!(noticed, 1);
    elsewhere.rollback().await.unwrap();
    scene.end().await;
}
