//! What operators do to a running fleet: pausing, draining, resuming, and looking at it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::auth::AdminRole;
use headgate_testkit::domain::PracticeNumber;
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{BulkClient, Level, Practice, TestAppBuilder};

use crate::endings::OBSERVATIONS;
use crate::gate::Gate;
use crate::world::{World, eventually, export_id, small_files};

/// Shards of 40 rows, of which one worker holds two at a time; no lease is to end by itself.
fn settings() -> TestAppBuilder {
    small_files().set("export.shard_rows", 40).set("worker.shards", 2).set("lease.duration_s", 60)
}

/// A world with 100 Observations, whose worker stands before the 61st.
async fn mid_shard() -> Result<(World, Gate, String)> {
    let world = World::of(settings()).await?;
    world.practice.insert_many("Patient", "p", 12, None, 0).await?;
    world.source(OBSERVATIONS).await?;
    let mut gate = Gate::before_bodies(&world, "observation", "o-061").await?;
    let status_url = world.start(&Level::System, &[]).await?;
    gate.until_reached(2).await?;
    let before_gate =
        "SELECT coalesce(sum(resources), 0) = 60 FROM headgate.file WHERE resource_type = 'Observation'";
    world.until("what lies before the gate is published", before_gate).await?;
    Ok((world, gate, status_url))
}

async fn post(world: &World, path: &str, body: &Value) -> Result<Value> {
    world.app.admin().post(path, body).await?.expect(200)?.json()
}

async fn get(world: &World, path: &str) -> Result<Value> {
    world.app.admin().get(path).await?.expect(200)?.json()
}

/// The one-line reason, and the facts.
async fn why(world: &World, status_url: &str) -> Result<(Option<String>, String)> {
    let path = format!("practices/{}/exports/{}/waiting", world.practice.number, export_id(status_url));
    let answer = get(world, &path).await?;
    Ok((answer["waiting"].as_str().map(str::to_owned), answer["facts"].to_string()))
}

/// A second practice with one Patient, and a client of it.
async fn another_practice(world: &World) -> Result<(Practice, BulkClient)> {
    let practice = world.app.practice(100_492, "other").create().await?;
    practice.insert("Patient", "q1", Some("q1")).await?;
    world.app.consent(&practice, &world.vendor).await?;
    let client = world.app.client(&practice, &world.vendor).await?;
    Ok((practice, client))
}

/// What it is said to be stays true for longer than any worker takes to look.
async fn holds(world: &World, what: &str, sql: &'static str) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        ensure!(world.app.control_scalar::<bool>(sql).await?, "{what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

const NOTHING_HELD: &str = "SELECT NOT EXISTS (SELECT FROM headgate.shard WHERE state = 'leased')
                               AND NOT EXISTS (SELECT FROM headgate.export WHERE lease_token IS NOT NULL)";

#[tokio::test]
async fn a_drained_practice_gives_its_shards_back_within_seconds_and_its_export_goes_on_when_it_is_resumed()
-> Result<()> {
    let (world, gate, status_url) = mid_shard().await?;
    let practice = format!("practices/{}", world.practice.number);
    let leases = get(&world, "operations/leases").await?;
    let held = leases["leases"].as_array().context("no leases")?;
    assert!(held.iter().filter(|lease| lease["kind"] == "shard").count() == 2, "{leases}");
    assert!(held.iter().all(|lease| lease["expired"] == false && lease["worker"].is_string()), "{leases}");

    // A pause lets what runs go on.
    let paused = post(&world, &format!("{practice}/pause"), &json!({ "reason": "the EHR is slow" })).await?;
    assert_eq!((&paused["before"], &paused["practice"]["paused"]["drain"]), (&Value::Null, &json!(false)));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.number("SELECT count(*) FROM headgate.shard WHERE state = 'leased'").await?, 2);
    let (line, _) = why(&world, &status_url).await?;
    assert!(line.context("paused")?.ends_with("test: the EHR is slow (what runs goes on to its end)"));

    // A drain does not, and keeps since when. The source still does not answer.
    let drained = Instant::now();
    let body = json!({ "reason": "the EHR is repaired", "drain": true });
    let upgraded = post(&world, &format!("{practice}/pause"), &body).await?;
    assert_eq!(upgraded["before"]["reason"], "the EHR is slow");
    assert_eq!(upgraded["before"]["at"], upgraded["practice"]["paused"]["at"]);
    assert_eq!(upgraded["practice"]["paused"]["drain"], true);
    world.until("everything is given back", NOTHING_HELD).await?;
    assert!(drained.elapsed() < Duration::from_secs(10), "{:?}", drained.elapsed());
    assert_eq!(
        world.number("SELECT max(attempts)::bigint FROM headgate.shard").await?,
        0,
        "a drain is no attempt"
    );
    holds(&world, "something was taken up", NOTHING_HELD).await?;
    world.client.poll(&status_url).await?.expect(202)?;

    gate.open().await?;
    post(&world, &format!("{practice}/unpause"), &json!({ "reason": "repaired" })).await?;
    let export = world.complete(&status_url).await?;
    for resource_type in ["Patient", "Observation"] {
        world.assert_rows(&export, resource_type, "true").await?;
    }
    assert_eq!(export.ids("Observation").len(), 100);
    let undone = "SELECT count(*) FROM headgate.shard WHERE state <> 'done' OR resources <> planned_rows";
    assert_eq!(world.number(undone).await?, 0);

    // Each deed is in the trail, with what there was before.
    let events = get(&world, "audit?action=practice.paused").await?;
    let details: Vec<&Value> =
        events["events"].as_array().context("events")?.iter().map(|e| &e["detail"]).collect();
    assert_eq!(details.len(), 2, "{events}");
    assert_eq!(details[0]["before"]["reason"], "the EHR is slow");
    let events = get(&world, "audit?action=practice.unpaused").await?;
    assert_eq!(events["events"][0]["detail"]["before"]["drain"], true, "{events}");
    assert_eq!(events["events"][0]["practice"], world.practice.number, "{events}");
    Ok(())
}

#[tokio::test]
async fn a_paused_practice_accepts_kick_offs_and_takes_up_nothing_while_another_goes_on() -> Result<()> {
    let world = World::of(settings()).await?;
    world.practice.insert_many("Patient", "p", 12, None, 0).await?;
    let (other, client) = another_practice(&world).await?;
    let path = format!("practices/{}", world.practice.number);
    post(&world, &format!("{path}/pause"), &json!({ "reason": "billing" })).await?;
    let status_url = world.start(&Level::System, &[]).await?;
    let untouched = "SELECT state = 'accepted' AND attempts = 0 AND fence = 0 FROM headgate.export WHERE practice_number = 100491";
    holds(&world, "the paused practice was worked on", untouched).await?;
    let manifest = client.wait_complete(&client.start(&Level::System, &[]).await?).await?;
    assert_eq!(client.download_all(&manifest).await?.ids("Patient")?, ["q1"]);
    assert!(world.app.control_scalar::<bool>(untouched).await?);

    // It is told to whoever asks: to the practice's administrator too.
    let (line, facts) = why(&world, &status_url).await?;
    let line = line.context("it waits")?;
    assert!(
        line.starts_with("the practice is paused since 2") && line.ends_with(" by test: billing"),
        "{line}"
    );
    assert!(facts.contains("by test: billing"), "{facts}");
    let own = world
        .app
        .admin()
        .acting_as("ann", &AdminRole::PracticeAdmin(PracticeNumber::new(world.practice.number)?))?;
    let waiting = format!("{path}/exports/{}/waiting", export_id(&status_url));
    assert_eq!(own.get(&waiting).await?.expect(200)?.json()?["waiting"], line);
    assert_eq!(own.get(&path).await?.expect(200)?.json()?["paused"]["reason"], "billing");
    own.post(&format!("{path}/unpause"), &json!({})).await?.expect(403)?;
    let waits = get(&world, "operations/waits").await?;
    assert_eq!(waits["waits"][0]["waiting"], line, "{waits}");
    let status = get(&world, "operations/status").await?;
    assert_eq!(status["paused_practices"][0]["practice"], world.practice.number, "{status}");
    assert_eq!(status["paused_practices_total"], 1);
    // What is paused is not runnable: nobody starts workers for it.
    assert!(
        status["queue"].as_array().is_some_and(|q| q.iter().all(|step| step["waiting"] == 0)),
        "{status}"
    );

    post(&world, &format!("{path}/unpause"), &json!({})).await?;
    let export = world.complete(&status_url).await?;
    world.assert_rows(&export, "Patient", "true").await?;
    assert_eq!(get(&world, &path).await?["paused"], Value::Null);
    let _other = other;
    Ok(())
}

#[tokio::test]
async fn a_paused_fleet_takes_up_nothing_and_a_practice_that_is_paused_itself_stays_so() -> Result<()> {
    let world = World::of(settings()).await?;
    world.practice.insert_many("Patient", "p", 12, None, 0).await?;
    let (other, client) = another_practice(&world).await?;
    let admin = world.app.admin().acting_as("bo", &AdminRole::Operator)?;
    let body = json!({ "reason": "the bucket moves", "drain": true });
    let paused = admin.post("operations/pause", &body).await?.expect(200)?.json()?;
    assert_eq!((&paused["before"], &paused["paused"]["by"]), (&Value::Null, &json!("bo")));
    // Again, without a drain: it stays one.
    let again = post(&world, "operations/pause", &json!({ "reason": "it moves still" })).await?;
    assert_eq!((&again["before"]["by"], &again["paused"]["drain"]), (&json!("bo"), &json!(true)));
    post(&world, &format!("practices/{}/pause", other.number), &json!({ "reason": "its own" })).await?;

    let (first, second) = (world.start(&Level::System, &[]).await?, client.start(&Level::System, &[]).await?);
    holds(
        &world,
        "a paused fleet works",
        "SELECT bool_and(state = 'accepted' AND fence = 0) FROM headgate.export",
    )
    .await?;
    let (line, _) = why(&world, &first).await?;
    let line = line.context("it waits")?;
    assert!(
        line.starts_with("the fleet is paused since") && line.ends_with("by test: it moves still"),
        "{line}"
    );
    let status = get(&world, "operations/status").await?;
    assert_eq!(status["paused"]["reason"], "it moves still", "{status}");
    let workers = status["workers"].as_array().context("workers")?;
    assert_eq!(workers.len(), 1, "an idle worker is seen: {status}");

    let resumed = post(&world, "operations/resume", &json!({ "reason": "it has moved" })).await?;
    assert_eq!((&resumed["paused"], &resumed["before"]["reason"]), (&Value::Null, &json!("it moves still")));
    world.complete(&first).await?;
    let others = "SELECT state = 'accepted' FROM headgate.export WHERE practice_number = 100492";
    assert!(world.app.control_scalar::<bool>(others).await?, "its own pause was lifted");
    post(&world, &format!("practices/{}/unpause", other.number), &json!({})).await?;
    client.wait_complete(&second).await?;
    for (action, times) in [("fleet.paused", 2), ("fleet.resumed", 1)] {
        let events = get(&world, &format!("audit?action={action}")).await?;
        assert_eq!(events["events"].as_array().map(Vec::len), Some(times), "{events}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_revoked_while_everything_is_drained_is_purged_all_the_same() -> Result<()> {
    let (world, gate, status_url) = mid_shard().await?;
    assert!(!world.keys()?.is_empty());
    post(&world, "operations/pause", &json!({ "reason": "an incident", "drain": true })).await?;
    world.until("everything is given back", NOTHING_HELD).await?;
    assert_eq!(world.app.revoke(&world.practice, &world.vendor).await?["ended_exports"], 1);
    world.client.poll(&status_url).await?.expect(404)?;
    world.until_purged().await?;
    assert_eq!(world.keys()?, [""; 0]);
    gate.open().await?;
    post(&world, "operations/resume", &json!({})).await?;
    holds(&world, "what was revoked came back", "SELECT state = 'revoked' FROM headgate.export").await?;
    assert_eq!(world.keys()?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_pause_is_a_change_of_the_practice_and_no_suspension() -> Result<()> {
    let world = World::of(settings()).await?;
    let path = format!("practices/{}", world.practice.number);
    let revision = get(&world, &path).await?["revision"].as_i64().context("a revision")?;
    post(&world, &format!("{path}/pause"), &json!({ "reason": "first" })).await?;
    assert_eq!(get(&world, &path).await?["revision"], revision + 1);
    for wrong in [json!({}), json!({ "reason": "" }), json!({ "reason": "x", "drains": true })] {
        world.app.admin().post(&format!("{path}/pause"), &wrong).await?.expect(400)?;
        world.app.admin().post("operations/pause", &wrong).await?.expect(400)?;
    }
    world.app.admin().post("practices/1/pause", &json!({ "reason": "x" })).await?.expect(404)?;
    // A pause is no suspension: `resume` ends the latter and leaves the former.
    post(&world, &format!("{path}/resume"), &json!({})).await?;
    assert_eq!(get(&world, &path).await?["paused"]["reason"], "first");
    post(&world, &format!("{path}/suspend"), &json!({ "reason": "stolen keys" })).await?;
    post(&world, &format!("{path}/unpause"), &json!({})).await?;
    let practice = get(&world, &path).await?;
    assert!(practice["paused"].is_null() && practice["suspended"].is_object(), "{practice}");
    Ok(())
}

#[tokio::test]
async fn costs_add_up_to_what_was_exported() -> Result<()> {
    let world = World::of(settings()).await?;
    world.practice.insert_many("Patient", "p", 12, None, 0).await?;
    world.source(OBSERVATIONS).await?;
    let (other, client) = another_practice(&world).await?;
    let mut expected = (0, 0);
    let mut stored = 0;
    for _ in 0..2 {
        let export = world.export(&Level::System, &[]).await?;
        for file in export.download.section("output") {
            expected = (expected.0 + 1, expected.1 + file.lines.len() as u64);
            stored += file.bytes;
        }
    }
    client.wait_complete(&client.start(&Level::System, &[]).await?).await?;
    let costs = get(&world, "operations/costs").await?;
    let of = |number: i64| {
        let all = costs["costs"].as_array().into_iter().flatten();
        all.clone().find(|cost| cost["practice"] == number).cloned().context("no costs")
    };
    let (first, second) = (of(world.practice.number)?, of(other.number)?);
    assert_eq!((&first["exports"], &second["exports"]), (&json!(2), &json!(1)), "{costs}");
    assert_eq!((&first["files"], &first["resources"]), (&json!(expected.0), &json!(expected.1)), "{costs}");
    assert_eq!((&first["bytes"], &first["stored_bytes"]), (&json!(stored), &json!(stored)), "{costs}");
    assert_eq!(second["resources"], 1, "{costs}");
    let number = |value: &Value| value.as_f64().unwrap_or(-1.0);
    assert!(number(&first["worker_s"]) > 0.0 && number(&second["worker_s"]) > 0.0, "{costs}");
    assert!((number(&first["share"]) + number(&second["share"]) - 1.0).abs() < 0.001, "{costs}");
    assert!(
        number(&first["worker_s"]) >= number(&costs["costs"][1]["worker_s"]),
        "sorted by seconds: {costs}"
    );

    // Page by page it is the same; a span without exports has only what is stored.
    let page = get(&world, "operations/costs?limit=1").await?;
    let next = page["next"].as_str().context("a second page")?;
    let rest = get(&world, &format!("operations/costs?limit=1&cursor={next}")).await?;
    assert_eq!(
        json!([page["costs"][0]["practice"], rest["costs"][0]["practice"]]),
        json!([costs["costs"][0]["practice"], costs["costs"][1]["practice"]])
    );
    let before = get(&world, "operations/costs?from=2020-01-01T00:00:00Z&to=2020-02-01T00:00:00Z").await?;
    assert_eq!(before["costs"][0]["worker_s"], 0.0, "{before}");
    assert_eq!(before["costs"][0]["exports"], 0, "{before}");
    for wrong in ["from=2020-01-01T00:00:00Z&to=2020-01-01T00:00:00Z", "from=2020-01-01T00:00:00Z", "since=1"]
    {
        world.app.admin().get(&format!("operations/costs?{wrong}")).await?.expect(400)?;
    }
    // What is purged is no longer stored, and was exported all the same.
    world.app.revoke(&world.practice, &world.vendor).await?;
    let purged = "SELECT bool_and(purged_at IS NOT NULL) FROM headgate.export WHERE practice_number = 100491";
    world.until("the exports are purged", purged).await?;
    let costs = get(&world, "operations/costs").await?;
    let gone = costs["costs"].as_array().into_iter().flatten().find(|cost| cost["practice"] == 100_491);
    let gone = gone.context("its costs")?;
    assert_eq!((&gone["stored_bytes"], &gone["bytes"]), (&json!(0), &json!(stored)), "{costs}");
    Ok(())
}

/// A shard that has failed, of what is stuck. (A refresh may have met the broken connections too.)
fn failed_shard(stuck: &Value) -> Option<&Value> {
    let failed =
        |row: &&Value| row["kind"] == "shard" && row["trouble"] == "failed" && row["failure"].is_string();
    stuck["stuck"].as_array()?.iter().find(failed)
}

#[tokio::test]
async fn what_is_stuck_is_told_with_its_failure_and_when_it_is_tried_again() -> Result<()> {
    let (mut world, gate, status_url) = mid_shard().await?;
    assert_eq!(get(&world, "operations/stuck").await?["stuck"], json!([]));
    // Nothing was published for long, as far as the tables know.
    world
        .control("UPDATE headgate.shard SET leased_at = leased_at - interval '1 hour', published_at = published_at - interval '1 hour'")
        .await?;
    let stuck = get(&world, "operations/stuck").await?;
    assert_eq!(stuck["stuck"][0]["trouble"], "silent", "{stuck}");
    assert!(stuck["stuck"][0]["silent_s"].as_i64().is_some_and(|s| s >= 3600), "{stuck}");

    // The source breaks every connection: the shards fail and are tried again later.
    let broken = async || {
        world
            .source(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'headgate_reader'
                         AND datname = current_database()",
            )
            .await?;
        let stuck = get(&world, "operations/stuck").await?;
        // Looked at in the same answer: it is tried again soon.
        let Some(row) = failed_shard(&stuck) else { return Ok(false) };
        assert!(row["failures"].as_i64().is_some_and(|n| n >= 1) && row["retry_at"].is_string(), "{stuck}");
        assert_eq!(row["resource_type"], "Observation", "{stuck}");
        Ok(true)
    };
    eventually("a shard is told to have failed", broken).await?;

    // A worker that died with a lease in its hand: of shards, and of nothing else. A refresh may have been under way too, and
    // its lease lasts for longer than this test waits.
    world.app.worker(0).kill()?;
    world
        .control("UPDATE headgate.source_catalog SET lease_token = NULL, lease_expires_at = NULL, lease_worker = NULL")
        .await?;
    world
        .control("UPDATE headgate.shard SET state = 'leased', lease_token = gen_random_uuid(), lease_worker = gen_random_uuid(),
                    lease_expires_at = clock_timestamp() - interval '1 second' WHERE state <> 'done'")
        .await?;
    let stuck = get(&world, "operations/stuck").await?;
    let rows = stuck["stuck"].as_array().context("rows")?;
    let mut shards = rows.iter().filter(|row| row["kind"] == "shard").peekable();
    assert!(shards.peek().is_some() && shards.all(|row| row["trouble"] == "lease_expired"), "{stuck}");
    let leases = get(&world, "operations/leases?limit=1").await?;
    assert_eq!(
        (&leases["leases"][0]["expired"], leases["next"].is_string()),
        (&json!(true), true),
        "{leases}"
    );
    gate.open().await?;
    world.app.restart_worker(0)?;
    let export = world.complete(&status_url).await?;
    world.assert_rows(&export, "Observation", "true").await?;
    // The catalogue too is read again, some time after it could not be.
    eventually("nothing is stuck or held", async || {
        let (stuck, leases) =
            (get(&world, "operations/stuck").await?, get(&world, "operations/leases").await?);
        Ok(stuck["stuck"] == json!([]) && leases["leases"] == json!([]))
    })
    .await
}
