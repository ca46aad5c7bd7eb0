use super::*;
use crate::scene::Scene;

#[tokio::test]
async fn an_export_that_waits_for_an_upload_of_its_group_is_not_held_meanwhile() {
    let mut scene = Scene::new().await;
    scene
        .run("INSERT INTO headgate.patient_group (practice_number, group_id, name) VALUES (1, 'g', 'G')")
        .await;
    scene.export("accepted").await;
    scene.run("UPDATE headgate.export SET transaction_time = NULL, level = 'group', group_id = 'g'").await;
    let lease = scene.take_plan().await;
    let mut upload = scene.store.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM headgate.patient_group FOR UPDATE").execute(&mut *upload).await.unwrap();
    let (store, planned) = (scene.store.clone(), lease.clone());
    let planning = tokio::spawn(async move {
        let group = Level::Group("g".parse().unwrap());
        let cohort = Cohort {
            horizon: Utc::now(),
            replica: false,
            lsn: "0/0".to_owned(),
            margin: Duration::ZERO,
            tombstones: true,
            members: Members::OfGroup,
        };
        store.fix_horizon(&planned, &group, &cohort, &[]).await
    });
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    while scene.ask(waiting).await == "0" {
        assert!(!planning.is_finished(), "it waits for nobody");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    scene.run("SELECT FROM headgate.export FOR UPDATE NOWAIT").await;
    assert!(!planning.is_finished());
    upload.rollback().await.unwrap();
    planning.await.unwrap().unwrap();
    assert_eq!(scene.ask("SELECT state || source_tombstones FROM headgate.export").await, "planningtrue");
    scene.end().await;
}
