use std::time::Duration;

use crate::scene::Scene;

#[tokio::test]
async fn an_export_is_not_held_while_what_it_knows_of_patients_is_deleted() {
    let mut scene = Scene::new().await;
    let export = scene.export("failed").await;
    scene.stream(&export, 1, "all").await;
    scene.shard(&export, 1).await;
    let lease = scene.take_purge().await;
    let mut elsewhere = scene.store.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM headgate.shard FOR UPDATE").execute(&mut *elsewhere).await.unwrap();
    let (store, purged) = (scene.store.clone(), lease.clone());
    let purging = tokio::spawn(async move { store.purged(&purged, 0).await });
    while scene.ask("SELECT count(*) FROM pg_locks WHERE NOT granted").await == "0" {
        assert!(!purging.is_finished(), "it waits for nobody");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    scene.run("SELECT FROM headgate.export FOR NO KEY UPDATE NOWAIT").await;
    // What a publication writes that hung for longer than its lease.
    sqlx::query(
        "INSERT INTO headgate.export_reference (practice_number, export_id, resource_type, id)
         SELECT practice_number, export_id, 'Medication', 'm' FROM headgate.export",
    )
    .execute(&mut *elsewhere)
    .await
    .unwrap();
    elsewhere.commit().await.unwrap();
    assert!(!purging.await.unwrap().unwrap(), "it was not purged before");
    let kept = "SELECT selection::text || (purged_at IS NOT NULL) || request_url FROM headgate.export";
    assert_eq!(scene.ask(kept).await, "{}truehttps://fhir.example/1/$export");
    assert_eq!(scene.ask("SELECT count(*) FROM headgate.export_reference").await, "0");
    // Under a lease that is lost nothing is forgotten.
    assert!(matches!(scene.store.purged(&lease, 0).await, Err(crate::Error::LeaseLost)));
    scene.end().await;
}
