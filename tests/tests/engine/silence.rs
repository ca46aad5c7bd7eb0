//! A worker whose connections to the control database are all dead, and say nothing of it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::{Level, Process, Settings, sqlx};

use crate::relay::Relay;
use crate::world::{World, eventually, options};

/// What a worker tells of itself now: the value of a series whose name and labels begin so, if it is there.
async fn told(world: &World, worker: &Process, series: &str) -> Result<Option<f64>> {
    let url = format!("http://127.0.0.1:{}/metrics", worker.private_port());
    let text = world.app.http().get(url).send().await?.text().await?;
    let line = text.lines().find(|line| line.starts_with(series));
    let value = line.and_then(|line| line.rsplit_once(' ')).map(|(_, value)| value.parse());
    Ok(value.transpose()?)
}

const HEARTBEAT: &str = "worker_heartbeat_age_seconds";
const OF_FLEET: &str = "export_checkpoint_age_seconds";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_connections_are_dead_says_so_and_works_again_on_new_ones() -> Result<()> {
    // Longer than the keeper of leases needs to find that a connection is dead, and to make a new one.
    let mut world = World::of(options().set("lease.duration_s", 10)).await?;
    assert!(world.app.worker(0).terminate().await?.success(), "only one worker is to be there");
    for n in 1..=3 {
        let id = format!("p{n}");
        world.practice.insert("Patient", &id, Some(&id)).await?;
    }
    let mut relay = Relay::new(world.app.control_url(), world.app.folder())?;
    relay.open()?;
    let changes = Settings::new().with("database.url", relay.url()).with("database.acquire_timeout_s", 2);
    let mut worker = world.app.spawn("worker", &changes)?;
    assert_eq!(world.export(&Level::System, &[]).await?.ids("Patient").len(), 3);
    eventually("it tells of the fleet", async || Ok(told(&world, &worker, OF_FLEET).await?.is_some()))
        .await?;

    relay.silence(true);
    // It keeps nothing, and hears all the same that nobody answers.
    eventually("its heart does not beat", async || {
        Ok(told(&world, &worker, HEARTBEAT).await?.context("no heartbeat")? > 8.0)
    })
    .await?;
    let buffer = told(&world, &worker, "worker_buffer_bytes").await?;
    ensure!(buffer.is_some(), "it tells nothing of itself");
    let mut gone = false;
    for _ in 0..60 {
        gone = told(&world, &worker, OF_FLEET).await?.is_none();
        if gone {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    ensure!(gone, "what it saw of the fleet last is told for ever");

    relay.silence(false);
    let export = world.export(&Level::System, &[]).await?;
    assert_eq!(export.ids("Patient").len(), 3);
    eventually("it tells of the fleet again", async || Ok(told(&world, &worker, OF_FLEET).await?.is_some()))
        .await?;
    eventually("its heart beats again", async || {
        Ok(told(&world, &worker, HEARTBEAT).await?.context("no heartbeat")? < 5.0)
    })
    .await?;
    // What it could not say then, the database found out: no lease of it is left, and no attempt was wasted.
    let attempts: i64 =
        world.app.control_scalar("SELECT coalesce(max(acquisitions), 0)::bigint FROM headgate.shard").await?;
    assert_eq!(attempts, 1, "{}", worker.log());

    // Told to end while it waits for the answer to an acquisition, which will not come, it gives up sooner than usual.
    let mut held = world.app.control().acquire().await?;
    sqlx::query("SELECT pg_advisory_lock(x'6865616467617465'::bigint)").execute(&mut *held).await?;
    eventually("it waits for the scheduler's lock", async || {
        let waiting: i64 = world
            .app
            .control_scalar(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            )
            .await?;
        Ok(waiting > 0)
    })
    .await?;
    relay.silence(true);
    let told_at = Instant::now();
    assert!(worker.terminate().await?.success(), "{}", worker.log());
    ensure!(told_at.elapsed() < Duration::from_secs(10), "the end took {:?}", told_at.elapsed());
    ensure!(worker.log().contains("worker drained"), "{}", worker.log());
    Ok(())
}
