use sqlx::{Postgres, Transaction};

use super::*;
use crate::scene::Scene;

/// A transaction elsewhere that holds a row.
async fn holding(scene: &Scene, row: &'static str) -> Transaction<'static, Postgres> {
    let mut elsewhere = scene.store.pool.begin().await.unwrap();
    sqlx::query(row).execute(&mut *elsewhere).await.unwrap();
    elsewhere
}

#[tokio::test]
async fn a_row_that_is_held_elsewhere_costs_no_other_lease_its_renewal() {
    let mut scene = Scene::new().await;
    let (lease, limits) = (Duration::from_secs(60), Scene::limits());
    scene.export("accepted").await;
    let plan = scene.take_plan().await;
    let running = scene.export("running").await;
    scene.stream(&running, 1, "all").await;
    let mut leases =
        vec![(plan.token, LeaseKind::Step { practice: plan.practice, export: plan.export.clone() })];
    for shard in 1..=2 {
        scene.shard(&running, shard).await;
        let taken = scene.store.acquire_shard(Uuid::new_v4(), &limits).await.unwrap().unwrap();
        leases
            .push((taken.token, LeaseKind::Shard { practice: taken.practice, export: taken.export.clone() }));
    }
    let strange = Uuid::new_v4();
    leases.push((strange, LeaseKind::Refresh));
    let [plan, first, second] = [leases[0].0, leases[1].0, leases[2].0];
    let mut keeper = Keeper::connect(&scene.store, Duration::from_secs(2)).await.unwrap();
    let mut renewed = async || {
        let Renewed { mut held, mut busy } = keeper.renew(&leases, lease).await.unwrap();
        held.sort_unstable();
        busy.sort_unstable();
        (held, busy)
    };
    let sorted = |mut tokens: Vec<Uuid>| {
        tokens.sort_unstable();
        tokens
    };
    let before = "SELECT min(lease_expires_at) FROM headgate.shard";
    let until = scene.ask(before).await;
    assert_eq!(renewed().await, (sorted(vec![plan, first, second]), vec![]));
    assert!(scene.ask(before).await > until);

    let shard = holding(&scene, "SELECT FROM headgate.shard WHERE shard = 1 FOR UPDATE").await;
    assert_eq!(renewed().await, (sorted(vec![plan, second]), vec![first]));
    let export = holding(&scene, "UPDATE headgate.export SET attempts = 0 WHERE state = 'accepted'").await;
    assert_eq!(renewed().await, (vec![second], sorted(vec![plan, first])));
    shard.rollback().await.unwrap();
    export.rollback().await.unwrap();
    // A publication refers to the export, and holds no lease of a step.
    let refers = holding(&scene, "SELECT FROM headgate.export FOR KEY SHARE").await;
    assert_eq!(renewed().await, (sorted(vec![plan, first, second]), vec![]));
    refers.rollback().await.unwrap();
    scene
        .run("UPDATE headgate.shard SET lease_expires_at = now() - interval '1 second' WHERE shard = 1")
        .await;
    assert_eq!(renewed().await, (sorted(vec![plan, second]), vec![]), "what has expired is lost");
    scene.end().await;
}
