use uuid::Uuid;

use super::*;
use crate::scene::Scene;

async fn take_shard(scene: &Scene) -> ShardLease {
    scene.store.acquire_shard(Uuid::new_v4(), &Scene::limits()).await.unwrap().expect("a shard")
}

/// A pause and its end, of the practice or of the fleet.
async fn pause_and_resume(scene: &Scene, fleet: bool) {
    let (store, audit) = (&scene.store, Scene::audit("test"));
    if fleet {
        store.pause_fleet("ann", "a test", false, &audit).await.unwrap();
        assert_eq!(scene.queue("shard").await.0, 0);
        store.resume_fleet(&audit).await.unwrap();
    } else {
        let practice = Scene::practice();
        store.pause_practice(practice, "ann", "a test", false, None, &audit).await.unwrap();
        assert_eq!(scene.queue("shard").await.0, 0);
        store.unpause_practice(practice, None, &audit).await.unwrap();
    }
}

#[tokio::test]
async fn time_in_which_work_was_held_back_is_no_waiting() {
    for fleet in [false, true] {
        let mut scene = Scene::new().await;
        let running = scene.export("running").await;
        scene.stream(&running, 1, "all").await;
        scene.shard(&running, 1).await;
        scene.shard(&running, 2).await;
        scene.export("accepted").await;
        let finishing = scene.export("running").await;
        scene.run("UPDATE headgate.source_catalog SET refreshed_at = NULL, requested_at = now() - interval '2 hours'
                    WHERE practice_number = 1").await;
        for step in ["shard", "plan", "finish", "refresh"] {
            assert!(scene.queue(step).await.1 >= 7200, "{step}: nobody paused anything");
        }
        pause_and_resume(&scene, fleet).await;
        for step in ["shard", "plan", "finish", "refresh"] {
            let (waiting, oldest) = scene.queue(step).await;
            assert!(waiting >= 1 && oldest < 60, "{step}: {waiting} wait since {oldest} s, fleet: {fleet}");
        }
        assert!(take_shard(&scene).await.waited.unwrap() < Duration::from_secs(60), "fleet: {fleet}");
        // The end of a pause that there was not is none; and a former version does not note it.
        let resumed = "SELECT resumed_at FROM headgate.resumption WHERE practice_number = 1";
        let noted = scene.ask(resumed).await;
        scene.store.unpause_practice(Scene::practice(), None, &Scene::audit("test")).await.unwrap();
        scene.store.resume_fleet(&Scene::audit("test")).await.unwrap();
        assert_eq!(scene.ask(resumed).await, noted);
        scene
            .run(
                "UPDATE headgate.practice SET resumed_at = NULL; UPDATE headgate.fleet SET resumed_at = NULL",
            )
            .await;
        assert!(take_shard(&scene).await.waited.unwrap() >= Duration::from_secs(7200));

        // What is completed after the pause took as long as it took, and is not late for it.
        scene.run("UPDATE headgate.source_catalog SET refreshed_at = clock_timestamp()").await;
        let Some(Acquired::Finish(lease)) = scene.take_step().await else { panic!("no finish step") };
        assert_eq!(lease.export, finishing);
        // The finish step takes its time.
        scene.run("UPDATE headgate.export SET accepted_at = accepted_at - interval '1 hour'").await;
        pause_and_resume(&scene, fleet).await;
        let totals = scene.store.complete(&lease, &[], Duration::from_secs(60)).await.unwrap();
        assert!(totals.took >= Duration::from_secs(3 * 3600), "{totals:?}");
        assert!(totals.took_unpaused < Duration::from_secs(60), "{totals:?}");
        scene.end().await;
    }
}

#[tokio::test]
async fn an_export_that_was_never_paused_took_the_time_until_it_is_completed() {
    let mut scene = Scene::new().await;
    scene.export("running").await;
    let Some(Acquired::Finish(lease)) = scene.take_step().await else { panic!("no finish step") };
    scene.run("UPDATE headgate.export SET accepted_at = accepted_at - interval '1 hour'").await;
    let totals = scene.store.complete(&lease, &[], Duration::from_secs(60)).await.unwrap();
    assert!(totals.took >= Duration::from_secs(3 * 3600), "{totals:?}");
    assert_eq!(totals.took_unpaused, totals.took);
    scene.end().await;
}

#[tokio::test]
async fn a_plan_that_reads_by_reference_waits_since_the_last_shard_was_done() {
    let mut scene = Scene::new().await;
    let export = scene.export("planning").await;
    scene.stream(&export, 1, "all").await;
    scene.stream(&export, 2, "reference").await;
    scene.shard(&export, 1).await;
    scene
        .run(
            "UPDATE headgate.export_stream SET planned_at = NULL WHERE stream = 2;
               UPDATE headgate.export SET retry_at = now() - interval '1 hour'",
        )
        .await;
    assert_eq!(scene.queue("plan").await, (0, 0), "a shard is still to be done that may refer to something");
    scene.run("UPDATE headgate.shard SET state = 'done', done_at = clock_timestamp()").await;
    let (waiting, oldest) = scene.queue("plan").await;
    assert!(waiting == 1 && oldest < 60, "{waiting} since {oldest} s");
    // As long as a relation is to be walked, planning waits for no shard.
    scene.run("UPDATE headgate.export_stream SET planned_at = NULL WHERE stream = 1").await;
    let (waiting, oldest) = scene.queue("plan").await;
    assert!(waiting == 1 && (3600..7200).contains(&oldest), "{waiting} since {oldest} s");
    scene.end().await;
}

#[tokio::test]
async fn a_step_whose_worker_stopped_waits_since_its_lease_ended() {
    let mut scene = Scene::new().await;
    scene.export("accepted").await;
    scene.export("running").await;
    scene.export("revoked").await;
    scene.run("UPDATE headgate.export SET lease_token = gen_random_uuid(), lease_expires_at = clock_timestamp()").await;
    for step in ["plan", "finish", "purge"] {
        let (waiting, oldest) = scene.queue(step).await;
        assert!(waiting == 1 && oldest < 60, "{step}: {waiting} since {oldest} s");
    }
    scene.end().await;
}

#[tokio::test]
async fn the_delay_of_a_start_is_measured_at_the_first_acquisition_of_the_plan_and_at_no_other() {
    let mut scene = Scene::new().await;
    scene.export("accepted").await;
    let first = scene.take_plan().await;
    assert!(first.waited.unwrap() >= Duration::from_secs(7200), "{first:?}");
    // A turn that ended without a failure gives its attempt back: the next one is an attempt like the first.
    scene.store.release_step(&first, Duration::ZERO, true).await.unwrap();
    let second = scene.take_plan().await;
    assert_eq!((second.attempts, second.waited), (1, None));
    scene.run("UPDATE headgate.export SET state = 'planning'").await;
    scene.store.release_step(&second, Duration::ZERO, true).await.unwrap();
    let third = scene.take_plan().await;
    assert_eq!((third.attempts, third.waited), (1, None));
    scene.end().await;
}

#[tokio::test]
async fn an_export_that_was_kicked_off_during_a_pause_waits_since_its_end() {
    let mut scene = Scene::new().await;
    scene.export("accepted").await;
    pause_and_resume(&scene, true).await;
    assert!(scene.take_plan().await.waited.unwrap() < Duration::from_secs(60));
    scene.end().await;
}

#[tokio::test]
async fn a_locked_shard_is_passed_over_and_holds_up_nobody() {
    let mut scene = Scene::new().await;
    let mut exports = Vec::new();
    for _ in 0..2 {
        let export = scene.export("running").await;
        scene.stream(&export, 1, "all").await;
        scene.shard(&export, 1).await;
        exports.push(export);
    }
    let mut elsewhere = scene.store.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM headgate.shard WHERE export_id = $1 FOR UPDATE")
        .bind(exports[0].as_str())
        .execute(&mut *elsewhere)
        .await
        .unwrap();
    assert_eq!(take_shard(&scene).await.export, exports[1], "the first would be the next");
    assert!(scene.store.acquire_shard(Uuid::new_v4(), &Scene::limits()).await.unwrap().is_none());
    elsewhere.rollback().await.unwrap();
    assert_eq!(take_shard(&scene).await.export, exports[0]);
    scene.end().await;
}

#[tokio::test]
async fn a_worker_whose_hands_for_refreshes_are_full_takes_other_steps() {
    let mut scene = Scene::new().await;
    scene.export("accepted").await;
    scene.run("UPDATE headgate.source_catalog SET refreshed_at = NULL").await;
    let taken = scene
        .store
        .acquire_step(Uuid::new_v4(), &Scene::limits(), Besides { refresh: false, purge: true })
        .await
        .unwrap();
    assert!(matches!(taken, Some(Acquired::Plan(_))), "{taken:?}");
    assert!(matches!(scene.take_step().await, Some(Acquired::Refresh(_))));
    scene.end().await;
}

#[tokio::test]
async fn attempts_are_those_since_the_work_last_moved_and_are_told_to_its_holder_alone() {
    let mut scene = Scene::new().await;
    let export = scene.export("running").await;
    scene.stream(&export, 1, "all").await;
    scene.shard(&export, 1).await;
    scene.run("UPDATE headgate.shard SET attempts = 4").await;
    let lease = take_shard(&scene).await;
    assert_eq!((lease.attempts, scene.store.shard_attempts(&lease).await.unwrap()), (5, 5));
    let publication =
        crate::Publication { files: &[], problems: &[], references: &[], cursor: Value::Null, done: false };
    scene.store.publish(&lease, &publication).await.unwrap();
    assert_eq!(scene.store.shard_attempts(&lease).await.unwrap(), 0, "it moved");
    let failed = scene.store.release_shard(&lease, Duration::ZERO, Some("no")).await;
    failed.unwrap();
    assert!(matches!(scene.store.shard_attempts(&lease).await, Err(crate::Error::LeaseLost)));
    assert_eq!(take_shard(&scene).await.attempts, 1);

    scene.export("accepted").await;
    scene.run("UPDATE headgate.export SET attempts = 4 WHERE state = 'accepted'").await;
    let plan = scene.take_plan().await;
    assert_eq!(scene.store.step_attempts(&plan).await.unwrap(), 5);
    scene.store.release_step(&plan, Duration::ZERO, false).await.unwrap();
    assert!(matches!(scene.store.step_attempts(&plan).await, Err(crate::Error::LeaseLost)));
    scene.end().await;
}

#[tokio::test]
async fn a_worker_whose_hands_for_purges_are_full_takes_other_steps() {
    let mut scene = Scene::new().await;
    scene.export("failed").await;
    let swept = scene.export("expired").await;
    scene
        .run(&format!(
            "UPDATE headgate.export SET purged_at = now(), sweep_due_at = now() WHERE export_id = '{swept}'"
        ))
        .await;
    scene.export("accepted").await;
    let besides = Besides { refresh: true, purge: false };
    let taken = scene.store.acquire_step(Uuid::new_v4(), &Scene::limits(), besides).await.unwrap();
    assert!(matches!(taken, Some(Acquired::Plan(_))), "{taken:?}");
    assert!(scene.store.acquire_step(Uuid::new_v4(), &Scene::limits(), besides).await.unwrap().is_none());
    for _ in 0..2 {
        scene.take_purge().await;
    }
    scene.end().await;
}
