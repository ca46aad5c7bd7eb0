//! Processes die, stall and are restarted, connections break, messages are lost: nothing is lost or doubled.

use std::time::Duration;

use anyhow::{Result, ensure};
use headgate_testkit::sqlx::{self, AssertSqlSafe};
use headgate_testkit::{Level, TestAppBuilder};

use crate::endings::OBSERVATIONS;
use crate::gate::Gate;
use crate::world::{Export, World, eventually, small_files};

/// Shards of 40 rows, of which one worker holds two at a time.
fn settings() -> TestAppBuilder {
    small_files().set("export.shard_rows", 40).set("worker.shards", 2)
}

/// The same where the lease of a worker that is gone is waited for, and no other is to end.
fn unhurried() -> TestAppBuilder {
    settings().set("lease.duration_s", 10)
}

/// The same where no lease is to end, however busy the machine is.
fn patient() -> TestAppBuilder {
    settings().set("lease.duration_s", 60)
}

/// A world with 100 Observations in three shards, and a gate before the 61st: in the middle of the second.
async fn world_with_gate(builder: TestAppBuilder) -> Result<(World, Gate)> {
    let world = World::of(builder).await?;
    world.practice.insert_many("Patient", "p", 12, None, 0).await?;
    world.source(OBSERVATIONS).await?;
    let gate = Gate::before_bodies(&world, "observation", "o-061").await?;
    Ok((world, gate))
}

/// The second and third shard have been begun; what lies before the gate is published.
const BEFORE_GATE: &str =
    "SELECT coalesce(sum(resources), 0) = 60 FROM headgate.file WHERE resource_type = 'Observation'";

/// Everything is there, once, and the rows of the files say so.
async fn assert_complete(world: &World, export: &Export) -> Result<()> {
    for resource_type in ["Patient", "Observation"] {
        world.assert_rows(export, resource_type, "true").await?;
    }
    assert_eq!(export.ids("Observation").len(), 100);
    let shards = "SELECT count(*) FROM headgate.shard s WHERE state <> 'done' OR resources <> planned_rows";
    assert_eq!(world.number(shards).await?, 0);
    Ok(())
}

async fn keys_of_fence(world: &World, fence: i64) -> Result<Vec<String>> {
    let sql = "SELECT object_key FROM headgate.file WHERE fence = $1 AND resource_type = 'Observation' ORDER BY object_key";
    Ok(sqlx::query_scalar(sql).bind(fence).fetch_all(world.app.control()).await?)
}

#[tokio::test]
async fn a_worker_killed_in_a_shard_is_replaced_and_the_shard_goes_on_behind_its_last_published_file()
-> Result<()> {
    let (mut world, mut gate) = world_with_gate(unhurried()).await?;
    let status_url = world.start(&Level::System, &[]).await?;
    gate.until_reached(2).await?;
    world.until("what lies before the gate is published", BEFORE_GATE).await?;
    world.app.worker(0).kill()?;
    let before = keys_of_fence(&world, 1).await?;
    gate.open().await?;
    world.app.restart_worker(0)?;

    let export = world.complete(&status_url).await?;
    assert_complete(&world, &export).await?;
    assert_eq!(keys_of_fence(&world, 1).await?, before, "files that were published are not made again");
    let again = keys_of_fence(&world, 2).await?;
    assert_eq!(again.len(), 4, "the rest of two shards, and nothing else, was made by the second worker");
    assert!(again.iter().all(|key| key.contains("/r2/")), "{again:?}");
    let names: Vec<String> = (1..=10).map(|n| format!("observation_{n}.ndjson")).collect();
    assert_eq!(export.names("Observation"), names, "the numbers go on where the published files end");
    Ok(())
}

#[tokio::test]
async fn a_worker_killed_while_planning_is_replaced_and_the_plan_goes_on_from_its_last_boundary() -> Result<()>
{
    let world = World::of(settings().set("export.shard_rows", 10)).await?;
    world.practice.insert_many("Patient", "p", 12, None, 0).await?;
    world.source(OBSERVATIONS).await?;
    let mut gate = Gate::before_rows(&world, "observation", "o-061").await?;
    let mut world = world;
    let status_url = world.start(&Level::System, &[]).await?;
    gate.until_reached(1).await?;
    // Five boundaries are known: to find the sixth, the row behind it is read.
    world
        .until(
            "planning stands before the gate",
            "SELECT count(*) = 5 FROM headgate.shard WHERE stream =
        (SELECT stream FROM headgate.export_stream WHERE resource_type = 'Observation')",
        )
        .await?;
    let time = "SELECT extract(epoch FROM transaction_time)::float8 * 1000 FROM headgate.export";
    let first_time: f64 = world.app.control_scalar(time).await?;
    world.app.worker(0).kill()?;
    gate.open().await?;
    world.app.restart_worker(0)?;

    let export = world.complete(&status_url).await?;
    assert_complete(&world, &export).await?;
    assert_eq!(world.app.control_scalar::<f64>(time).await?, first_time, "transactionTime is fixed once");
    let shards = "SELECT count(*) FROM headgate.shard JOIN headgate.export_stream
                    USING (practice_number, export_id, stream) WHERE resource_type = 'Observation'";
    assert_eq!(world.number(shards).await?, 10, "no shard was planned twice");
    assert!(world.number("SELECT fence FROM headgate.export").await? >= 3, "plan, plan, finish");
    Ok(())
}

#[tokio::test]
async fn two_workers_share_the_shards_of_an_export() -> Result<()> {
    let (world, mut gate) = world_with_gate(patient().workers(2).set("export.shard_rows", 5)).await?;
    let status_url = world.start(&Level::System, &[]).await?;
    gate.until_reached(4).await?;
    let holders = "SELECT count(DISTINCT lease_worker) FROM headgate.shard WHERE state = 'leased'";
    assert_eq!(world.number(holders).await?, 2);
    gate.open().await?;
    let export = world.complete(&status_url).await?;
    assert_complete(&world, &export).await?;
    assert_eq!(world.number("SELECT max(acquisitions)::bigint FROM headgate.shard").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_worker_that_is_asked_to_end_gives_its_leases_back_and_the_next_one_finishes() -> Result<()> {
    let (mut world, mut gate) = world_with_gate(patient()).await?;
    let status_url = world.start(&Level::System, &[]).await?;
    gate.until_reached(2).await?;
    world.until("what lies before the gate is published", BEFORE_GATE).await?;
    let asked = std::time::Instant::now();
    let status = world.app.worker(0).terminate().await?;
    assert_eq!(status.code(), Some(0), "{status}");
    // The source does not answer, and the configured grace is 25 s: it is not waited for.
    assert!(asked.elapsed() < Duration::from_secs(10), "the drain took {:?}", asked.elapsed());
    assert_eq!(world.number("SELECT count(*) FROM headgate.shard WHERE state = 'leased'").await?, 0);
    assert_eq!(world.number("SELECT count(*) FROM headgate.export WHERE lease_token IS NOT NULL").await?, 0);
    assert_eq!(
        world.number("SELECT max(attempts)::bigint FROM headgate.shard").await?,
        0,
        "a drain is no attempt"
    );

    gate.open().await?;
    world.app.restart_worker(0)?;
    let export = world.complete(&status_url).await?;
    assert_complete(&world, &export).await?;
    assert_eq!(world.number("SELECT sum(files)::bigint FROM headgate.shard").await?, 12);
    Ok(())
}

#[tokio::test]
async fn a_worker_that_is_asked_to_end_while_planning_gives_the_plan_back() -> Result<()> {
    let world = World::of(patient()).await?;
    world.practice.insert_many("Patient", "p", 12, None, 0).await?;
    world.source(OBSERVATIONS).await?;
    let mut gate = Gate::before_rows(&world, "observation", "o-061").await?;
    let mut world = world;
    let status_url = world.start(&Level::System, &[]).await?;
    gate.until_reached(1).await?;
    let status = world.app.worker(0).terminate().await?;
    assert_eq!(status.code(), Some(0), "{status}");
    assert_eq!(world.number("SELECT count(*) FROM headgate.export WHERE lease_token IS NOT NULL").await?, 0);
    assert_eq!(
        world.number("SELECT attempts::bigint FROM headgate.export").await?,
        0,
        "a drain is no attempt"
    );
    gate.open().await?;
    world.app.restart_worker(0)?;
    let export = world.complete(&status_url).await?;
    assert_complete(&world, &export).await
}

#[tokio::test]
async fn a_worker_that_was_paused_for_longer_than_its_lease_publishes_nothing_more() -> Result<()> {
    let (mut world, mut gate) = world_with_gate(unhurried()).await?;
    let status_url = world.start(&Level::System, &[]).await?;
    gate.until_reached(2).await?;
    world.until("what lies before the gate is published", BEFORE_GATE).await?;
    let before = keys_of_fence(&world, 1).await?;
    world.app.worker(0).signal("STOP")?;
    world.app.start_worker().await?;
    // The second worker has taken the two shards over and stands at the gate beside the connections of the first.
    gate.until_reached(4).await?;
    assert_eq!(world.number("SELECT count(*) FROM headgate.shard WHERE fence = 2").await?, 2);
    gate.open().await?;
    world.app.worker(0).signal("CONT")?;

    let export = world.complete(&status_url).await?;
    assert_complete(&world, &export).await?;
    assert_eq!(keys_of_fence(&world, 1).await?, before, "the paused worker has published");
    // It goes on as a worker like any other.
    assert_eq!(world.app.worker(0).exited()?, None);
    world.app.worker(1).kill()?;
    let next = world.export(&Level::System, &[]).await?;
    world.assert_rows(&next, "Observation", "true").await
}

#[tokio::test]
async fn a_shard_that_stopped_every_worker_fails_its_export_and_is_counted() -> Result<()> {
    let (mut world, mut gate) = world_with_gate(settings()).await?;
    world.start(&Level::System, &[]).await?;
    gate.until_reached(2).await?;
    world.app.worker(0).kill()?;
    // As often as a shard may be taken. The leases end by themselves, and both at once: were only one at its end when
    // somebody looks, the export would fail by it, and the other would not be counted.
    let exhausted = "UPDATE headgate.shard SET attempts = 99, lease_expires_at = now() + interval '1 second'
        WHERE state = 'leased'";
    assert_eq!(world.control(exhausted).await?, 2);
    gate.open().await?;
    world.app.restart_worker(0)?;
    world.until("the export has failed", "SELECT bool_and(state = 'failed') FROM headgate.export").await?;
    let url = format!("http://127.0.0.1:{}/metrics", world.app.worker(0).private_port());
    eventually("both shards are counted", async || {
        let metrics = world.app.http().get(&url).send().await?.text().await?;
        Ok(metrics
            .lines()
            .any(|line| line.starts_with("export_shard_quarantined_total") && line.ends_with(" 2")))
    })
    .await
}

#[tokio::test]
async fn an_export_survives_the_restart_of_the_api() -> Result<()> {
    let (mut world, mut gate) = world_with_gate(patient()).await?;
    let status_url = world.start(&Level::System, &[]).await?;
    gate.until_reached(2).await?;
    world.app.restart_api().await?;
    world.client.poll(&status_url).await?.expect(202)?;
    gate.open().await?;
    let export = world.complete(&status_url).await?;
    assert_complete(&world, &export).await
}

/// Ends every connection to the control database but the one that says it.
const TERMINATE: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

/// Whether the processes have connections to the control database.
const CONNECTED: &str = "SELECT count(*) >= 2 FROM pg_stat_activity
    WHERE datname = current_database() AND usename <> current_user";

#[tokio::test]
async fn an_export_survives_broken_connections_to_the_control_database() -> Result<()> {
    let (world, mut gate) = world_with_gate(settings()).await?;
    let status_url = world.start(&Level::System, &[]).await?;
    gate.until_reached(2).await?;
    for _ in 0..3 {
        world.until("there is something to break", CONNECTED).await?;
        world.number(TERMINATE).await?;
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    gate.open().await?;
    world.number(TERMINATE).await?;
    let export = world.complete(&status_url).await?;
    assert_complete(&world, &export).await
}

#[tokio::test]
async fn an_export_survives_broken_connections_to_the_source() -> Result<()> {
    let (world, mut gate) = world_with_gate(settings()).await?;
    let status_url = world.start(&Level::System, &[]).await?;
    for _ in 0..3 {
        gate.until_reached(2).await?;
        world
            .source(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'headgate_reader'
                         AND datname = current_database()",
            )
            .await?;
    }
    gate.open().await?;
    let export = world.complete(&status_url).await?;
    assert_complete(&world, &export).await
}

#[tokio::test]
async fn an_export_needs_no_message_of_the_queue() -> Result<()> {
    let (world, gate) = world_with_gate(settings()).await?;
    gate.open().await?;
    // Every message is swallowed in the transaction that sends it, and what there was is gone.
    sqlx::raw_sql(AssertSqlSafe(
        "CREATE FUNCTION public.swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER swallow BEFORE INSERT ON apalis.jobs FOR EACH ROW EXECUTE FUNCTION public.swallow();
         DELETE FROM apalis.jobs"
            .to_owned(),
    ))
    .execute(world.app.control())
    .await?;
    let export = world.export(&Level::System, &[]).await?;
    assert_complete(&world, &export).await?;
    assert_eq!(world.number("SELECT count(*) FROM apalis.jobs").await?, 0);
    Ok(())
}

#[tokio::test]
async fn messages_that_come_many_times_change_nothing() -> Result<()> {
    let (mut world, mut gate) = world_with_gate(patient()).await?;
    world.app.worker(0).kill()?;
    let status_url = world.start(&Level::System, &[]).await?;
    let doubled = world
        .control(
            "INSERT INTO apalis.jobs
             SELECT (jsonb_populate_record(j, jsonb_build_object('id', left(id, 24) || lpad(n::text, 2, '0')))).*
               FROM apalis.jobs j, generate_series(10, 30) n
              -- The id may happen to end in one of these numbers.
              WHERE status = 'Pending' AND right(id, 2) <> n::text",
        )
        .await?;
    assert!(doubled >= 20, "no message was waiting");
    world.app.restart_worker(0)?;
    gate.until_reached(2).await?;
    gate.open().await?;
    let export = world.complete(&status_url).await?;
    assert_complete(&world, &export).await?;
    assert_eq!(world.number("SELECT max(acquisitions)::bigint FROM headgate.shard").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_shard_that_has_moved_is_tried_again_even_where_its_first_attempt_is_the_last() -> Result<()> {
    let (world, mut gate) =
        world_with_gate(patient().set("worker.shards", 1).set("lease.max_attempts", 1)).await?;
    let status_url = world.start(&Level::System, &[]).await?;
    gate.until_reached(1).await?;
    world.until("what lies before the gate is published", BEFORE_GATE).await?;
    world.until("all is planned", "SELECT state = 'running' FROM headgate.export").await?;
    // Until the page that stands at the gate was tried as often as it is under one lease.
    let mut connection = world.connection().await?;
    eventually("the shard is given back", async || {
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE usename = 'headgate_reader' AND datname = current_database()",
        )
        .execute(&mut connection)
        .await?;
        let logs = world.app.logs();
        ensure!(!logs.contains("export failed"), "it was given up");
        Ok(logs.contains("shard failed, will be retried"))
    })
    .await?;
    gate.open().await?;
    let export = world.complete(&status_url).await?;
    assert_complete(&world, &export).await?;
    Ok(())
}
