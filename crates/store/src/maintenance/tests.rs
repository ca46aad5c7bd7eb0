use super::*;
use crate::Acquired;
use crate::scene::Scene;

const QUIET: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_shard_that_stopped_every_worker_is_counted_and_so_is_the_time_that_it_was_held() {
    let mut scene = Scene::new().await;
    let export = scene.export("running").await;
    scene.stream(&export, 1, "all").await;
    scene.shard(&export, 1).await;
    scene.abandon_shards(&export, 5).await;
    scene.run("UPDATE headgate.shard SET busy_s = 40").await;
    let plan = scene.export("accepted").await;
    scene.run(&format!("UPDATE headgate.export SET attempts = 5 WHERE export_id = '{plan}'")).await;
    let failed = scene.store.fail_exhausted(5).await.unwrap();
    assert_eq!(failed, Exhausted { shards: 1, steps: 1 });
    assert_eq!(scene.ask("SELECT state || ' ' || busy_s FROM headgate.shard").await, "quarantined 100");
    assert_eq!(scene.ask("SELECT string_agg(DISTINCT state, ' ') FROM headgate.export").await, "failed");
    assert_eq!(scene.store.fail_exhausted(5).await.unwrap(), Exhausted { shards: 0, steps: 0 });
    scene.end().await;
}

#[tokio::test]
async fn an_export_that_is_requeued_does_not_fail_for_workers_that_stopped_before() {
    let mut scene = Scene::new().await;
    let export = scene.export("running").await;
    scene.stream(&export, 1, "all").await;
    scene.shard(&export, 1).await;
    scene.abandon_shards(&export, 5).await;
    scene.shard(&export, 2).await;
    // Somebody works on this one, and goes on.
    scene
        .run(
            "UPDATE headgate.shard SET state = 'leased', lease_token = gen_random_uuid(), attempts = 2,
                      lease_expires_at = clock_timestamp() + interval '1 hour' WHERE shard = 2",
        )
        .await;
    assert!(
        scene
            .store
            .requeue_export(Scene::practice(), &export, &Scene::audit("export.requeued"))
            .await
            .unwrap()
    );
    assert_eq!(scene.store.fail_exhausted(5).await.unwrap(), Exhausted { shards: 0, steps: 0 });
    assert_eq!(
        scene.ask("SELECT string_agg(attempts::text, ' ' ORDER BY shard) FROM headgate.shard").await,
        "0 2"
    );
    let taken = scene.store.acquire_shard(Uuid::new_v4(), &Scene::limits()).await.unwrap().unwrap();
    assert_eq!((taken.shard, taken.attempts, taken.rescued), (1, 1, true));
    scene.end().await;
}

#[tokio::test]
async fn a_prefix_is_swept_when_nothing_else_is_due_and_the_export_stays_purged() {
    let mut scene = Scene::new().await;
    scene.export("revoked").await;
    let purged = "SELECT purged_at FROM headgate.export WHERE state = 'revoked'";
    let told = "SELECT count(*) FROM headgate.audit_event WHERE action = 'export.purged'";
    let lease = scene.take_purge().await;
    assert_eq!(scene.store.sweep_again().await.unwrap(), 0, "what is not purged needs no sweep");
    assert!(!scene.store.purged(&lease, 7).await.unwrap());
    let at = scene.ask(purged).await;

    for (objects, events) in [(0, "1"), (3, "2")] {
        assert_eq!(scene.store.sweep_again().await.unwrap(), 1);
        assert_eq!(scene.store.sweep_again().await.unwrap(), 0, "it is to be swept already");
        let measures = scene.store.measures().await.unwrap();
        assert_eq!(measures.retention_lag, Duration::ZERO);
        assert_eq!(scene.queue("purge").await, (0, 0));
        assert_eq!(scene.store.ring_again(QUIET).await.unwrap(), 0);
        // Live work goes first.
        let live = scene.export("accepted").await;
        assert_eq!(scene.take_plan().await.export, live);
        let sweep = scene.take_purge().await;
        assert!(scene.take_step().await.is_none(), "once");
        assert!(scene.store.is_quiet(&sweep).await.unwrap());
        assert!(scene.store.purged(&sweep, objects).await.unwrap(), "its objects had been gone");
        assert_eq!((scene.ask(purged).await, scene.ask(told).await), (at.clone(), events.to_owned()));
        assert!(scene.take_step().await.is_none(), "and no more");
    }

    // One that fails is tried again, and seen by operators meanwhile.
    scene.store.sweep_again().await.unwrap();
    let sweep = scene.take_purge().await;
    let held = scene.store.held_leases(&crate::Page::first(10)).await.unwrap().items;
    assert_eq!(held.iter().filter(|lease| lease.kind == "purge").count(), 1);
    scene.store.release_step(&sweep, Duration::ZERO, false).await.unwrap();
    let stuck = scene.store.stuck(&crate::Page::first(10)).await.unwrap().items;
    assert_eq!(stuck.iter().filter(|stuck| stuck.kind == "purge").count(), 1);
    assert_eq!(scene.take_purge().await.attempts, 2);
    scene.end().await;
}

#[tokio::test]
async fn a_purge_goes_first_and_a_sweep_that_a_former_version_asked_for_is_a_purge() {
    let mut scene = Scene::new().await;
    scene.export("revoked").await;
    let lease = scene.take_purge().await;
    scene.store.purged(&lease, 1).await.unwrap();
    scene.store.sweep_again().await.unwrap();
    // As version 6 does it.
    scene.run("UPDATE headgate.export SET purged_at = NULL, retry_at = NULL").await;
    scene.export("accepted").await;
    let again = scene.take_purge().await;
    assert!(scene.store.purged(&again, 0).await.unwrap());
    assert_eq!(scene.ask("SELECT bool_and(sweep_due_at IS NULL) FROM headgate.export").await, "true");
    assert!(matches!(scene.take_step().await, Some(Acquired::Plan(_))));
    assert!(scene.take_step().await.is_none());
    scene.end().await;
}

#[tokio::test]
async fn nobody_rings_for_an_export_that_is_worked_on_or_held_or_rests() {
    let mut scene = Scene::new().await;
    let export = scene.export("running").await;
    scene.stream(&export, 1, "all").await;
    scene.shard(&export, 1).await;
    scene.shard(&export, 2).await;
    let long_ago = "UPDATE headgate.export SET rung_at = now() - interval '1 hour'";
    assert_eq!(scene.store.ring_again(QUIET).await.unwrap(), 1, "nobody has heard of it");
    assert_eq!(scene.store.ring_again(QUIET).await.unwrap(), 0, "it was rung for just now");
    scene.run(long_ago).await;

    // A shard of it is read, and the other waits for a hand.
    let shard = scene.store.acquire_shard(Uuid::new_v4(), &Scene::limits()).await.unwrap().unwrap();
    assert_eq!(scene.store.ring_again(QUIET).await.unwrap(), 0, "it is being read");
    scene.store.release_shard(&shard, Duration::ZERO, None).await.unwrap();
    for (what, sql) in [
        ("paused", "UPDATE headgate.practice SET paused_at = now(), paused_by = 'a', pause_reason = 'b'"),
        ("resumed just now", "UPDATE headgate.practice SET paused_at = NULL, resumed_at = clock_timestamp()"),
        ("it rests", "UPDATE headgate.practice SET resumed_at = NULL;
                      UPDATE headgate.shard SET retry_at = now() + interval '1 hour'"),
        ("it has rested until now", "UPDATE headgate.shard SET retry_at = now()"),
        ("its authority is gone", "UPDATE headgate.shard SET retry_at = NULL; UPDATE headgate.consent SET expires_at = now()"),
        ("a step is done", "UPDATE headgate.consent SET expires_at = NULL;
                            UPDATE headgate.export SET lease_token = gen_random_uuid(), lease_expires_at = 'infinity'"),
    ] {
        scene.run(sql).await;
        assert_eq!(scene.store.ring_again(QUIET).await.unwrap(), 0, "{what}");
    }
    scene.run("UPDATE headgate.export SET lease_token = NULL, lease_expires_at = NULL").await;
    assert_eq!(scene.store.ring_again(QUIET).await.unwrap(), 1, "nobody takes it");

    // The same of an ended one.
    scene.export("revoked").await;
    assert_eq!(scene.store.ring_again(QUIET).await.unwrap(), 1);
    scene.run(long_ago).await;
    scene.take_purge().await;
    assert_eq!(scene.store.ring_again(QUIET).await.unwrap(), 1, "only the other one");
    scene.end().await;
}

#[tokio::test]
async fn a_task_that_may_take_its_time_is_its_workers_for_as_long() {
    let scene = Scene::new().await;
    let (short, long) = (Duration::from_secs(30), Duration::from_secs(3600));
    scene.run("UPDATE headgate.maintenance SET due_at = now()").await;
    while let Some(due) = scene.store.due_task(short, long).await.unwrap() {
        let left = format!(
            "SELECT lease_expires_at > clock_timestamp() + interval '1 minute' FROM headgate.maintenance
              WHERE task = '{}'",
            due.task.name()
        );
        assert_eq!(scene.ask(&left).await, due.task.is_long().to_string(), "{:?}", due.task);
    }
    assert_eq!(scene.ask("SELECT count(*) FROM headgate.maintenance WHERE lease_token IS NULL").await, "0");
    scene.end().await;
}
