//! A chain of `_since` exports misses nothing, however late a writer commits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use headgate_testkit::Level;
use headgate_testkit::sqlx::types::chrono::{DateTime, Utc};
use headgate_testkit::sqlx::{self, Connection as _, PgConnection};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::world::{Export, World, options};

/// Writes an Observation as an EHR does: stamped with the time at which its transaction began.
async fn write(connection: &mut PgConnection, id: &str, text: &str) -> Result<DateTime<Utc>> {
    let body = format!(r#"{{"resourceType":"Observation","id":"{id}","valueString":"{text}"}}"#);
    Ok(sqlx::query_scalar(
        "INSERT INTO fhir_export.observation (id, patient_id, last_updated, resource) VALUES ($1, 'p1', now(), $2)
         ON CONFLICT (id) DO UPDATE SET last_updated = excluded.last_updated, resource = excluded.resource
         RETURNING last_updated",
    )
    .bind(id)
    .bind(body)
    .fetch_one(connection)
    .await?)
}

/// Deletes an Observation and leaves its tombstone, as an EHR does.
async fn delete(connection: &mut PgConnection, id: &str) -> Result<()> {
    sqlx::query(
        "WITH gone AS (DELETE FROM fhir_export.observation WHERE id = $1 RETURNING id, patient_id)
         INSERT INTO fhir_export.tombstone (resource_type, id, patient_id, deleted_at)
         SELECT 'Observation', id, patient_id, now() FROM gone",
    )
    .bind(id)
    .execute(connection)
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_writer_that_commits_after_the_export_is_delivered_by_the_next_since() -> Result<()> {
    let world = World::new().await?;
    world.practice.insert("Observation", "early", Some("p1")).await?;
    let mut writer = world.connection().await?;
    let mut writing = writer.begin().await?;
    let stamp = write(&mut writing, "late", "first seen by the second export").await?;

    let first = world.export(&Level::System, &[]).await?;
    assert_eq!(first.ids("Observation"), ["early"]);
    assert!(first.instant() < stamp, "{} is not before {stamp}, when the open transaction began", first.time);
    writing.commit().await?;

    let second = world.export_since(&Level::System, &first).await?;
    assert!(second.ids("Observation").contains(&"late".to_owned()), "the late commit was lost");
    assert!(second.instant() > stamp, "nothing is open, and still the time stands at {}", second.time);
    let third = world.export_since(&Level::System, &second).await?;
    assert_eq!(third.ids("Observation"), [""; 0], "nothing has changed any more");
    Ok(())
}

#[tokio::test]
async fn a_transaction_that_is_idle_during_the_export_and_writes_later_is_delivered_by_the_next_since()
-> Result<()> {
    let world = World::new().await?;
    world.practice.insert("Patient", "p1", Some("p1")).await?;
    let mut writer = world.connection().await?;
    let mut writing = writer.begin().await?;
    let began: DateTime<Utc> = sqlx::query_scalar("SELECT now()").fetch_one(&mut *writing).await?;

    let first = world.export(&Level::System, &[]).await?;
    assert!(first.instant() < began, "{} is not before {began}", first.time);
    let stamp = write(&mut writing, "late", "written after the export").await?;
    assert_eq!(stamp, began);
    writing.commit().await?;

    let second = world.export_since(&Level::System, &first).await?;
    assert_eq!(second.ids("Observation"), ["late"]);
    Ok(())
}

#[tokio::test]
async fn a_row_that_is_deleted_and_created_again_comes_out_again_even_when_that_commits_late() -> Result<()> {
    let world = World::new().await?;
    let mut writer = world.connection().await?;
    for id in ["between", "late"] {
        write(&mut writer, id, "old").await?;
    }
    let mut writing = writer.begin().await?;
    delete(&mut writing, "late").await?;
    write(&mut writing, "late", "new").await?;

    let first = world.export(&Level::System, &[]).await?;
    assert_eq!(first.ids("Observation"), ["between", "late"]);
    assert!(first.download.lines("Observation").iter().all(|line| line.contains("old")));
    writing.commit().await?;
    delete(&mut writer, "between").await?;
    write(&mut writer, "between", "new").await?;

    let second = world.export_since(&Level::System, &first).await?;
    world.assert_rows(&second, "Observation", "true").await?;
    assert!(second.download.lines("Observation").iter().all(|line| line.contains("new")));
    assert_eq!(second.download.section("deleted").count(), 0, "both exist");
    Ok(())
}

#[tokio::test]
async fn a_join_is_either_in_the_export_or_delivered_with_full_history_by_the_next() -> Result<()> {
    let world = World::new().await?;
    for patient in ["p1", "p2", "p3"] {
        world.practice.insert("Patient", patient, Some(patient)).await?;
        world.practice.insert("Observation", &format!("old-{patient}"), Some(patient)).await?;
    }
    let group = Level::Group("g".to_owned());
    world.app.group(&world.practice, "g", &["p1"]).await?;

    // A join that is stamped and not yet committed: planning waits for it, so it is in.
    let mut joining = world.app.control().begin().await?;
    sqlx::query("SELECT 1 FROM headgate.patient_group WHERE group_id = 'g' FOR UPDATE")
        .execute(&mut *joining)
        .await?;
    sqlx::query(
        "INSERT INTO headgate.patient_group_member VALUES (100491, 'g', 'p2', clock_timestamp(), NULL)",
    )
    .execute(&mut *joining)
    .await?;
    let status_url = world.start(&group, &[]).await?;
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                                   AND wait_event_type = 'Lock' AND query LIKE '%lock_group%')";
    world.until("planning waits for the group", waits).await?;
    joining.commit().await?;
    let first = world.complete(&status_url).await?;
    assert_eq!(first.ids("Observation"), ["old-p1", "old-p2"]);

    // A join after the export: everything that the patient ever had is in the next one.
    world.app.group(&world.practice, "g", &["p1", "p2", "p3"]).await?;
    let second = world.export_since(&group, &first).await?;
    assert!(second.ids("Patient").contains(&"p3".to_owned()), "the join was lost");
    assert!(second.ids("Observation").contains(&"old-p3".to_owned()), "the history was lost");
    assert!(!second.ids("Observation").contains(&"old-p1".to_owned()), "nothing of p1 has changed");
    let third = world.export_since(&group, &second).await?;
    assert_eq!(third.ids("Observation"), [""; 0], "nothing has changed any more");
    Ok(())
}

#[tokio::test]
async fn nothing_is_planned_where_open_transactions_cannot_be_seen_and_no_allowance_is_given() -> Result<()> {
    let world = World::with(options(), |practice| practice.without_stats()).await?;
    world.practice.insert("Patient", "p1", Some("p1")).await?;
    let status_url = world.start(&Level::System, &[]).await?;
    world.until("the export has failed", "SELECT bool_and(state = 'failed') FROM headgate.export").await?;

    let answer = world.client.poll(&status_url).await?.expect(500)?;
    let outcome = answer.json()?;
    assert_eq!(outcome["resourceType"], "OperationOutcome");
    assert!(answer.text().contains("pg_read_all_stats"), "the text does not say what to grant: {outcome}");
    let planned =
        "SELECT (SELECT count(*) FROM headgate.export_stream) + (SELECT count(*) FROM headgate.shard)
                        + (SELECT count(*) FROM headgate.file)";
    assert_eq!(world.number(planned).await?, 0);
    assert_eq!(world.keys()?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn with_an_allowance_the_time_lies_that_far_back_and_a_late_writer_is_delivered() -> Result<()> {
    let world =
        World::with(options(), |practice| practice.without_stats().late_commit_allowance_s(20)).await?;
    world.practice.insert("Patient", "p1", Some("p1")).await?;
    let mut writer = world.connection().await?;
    let mut writing = writer.begin().await?;
    write(&mut writing, "late", "").await?;

    let before = Utc::now();
    let first = world.export(&Level::System, &[]).await?;
    assert!(first.instant() + Duration::from_secs(15) <= before, "{} is too late", first.time);
    assert_eq!(first.ids("Observation"), [""; 0]);
    writing.commit().await?;

    let second = world.export_since(&Level::System, &first).await?;
    assert_eq!(second.ids("Observation"), ["late"]);
    Ok(())
}

const WRITERS: u64 = 20;
const ROWS: u32 = 60;

#[tokio::test]
async fn a_chain_of_since_exports_converges_to_the_source_while_twenty_writers_write() -> Result<()> {
    let world = World::new().await?;
    world.practice.insert("Patient", "p1", Some("p1")).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let commits = Arc::new(AtomicU64::new(0));
    let mut writers = Vec::new();
    for seed in 0..WRITERS {
        let connection = world.connection().await?;
        writers.push(tokio::spawn(scribble(connection, seed, Arc::clone(&stop), Arc::clone(&commits))));
    }

    let mut client = BTreeMap::new();
    let mut last = world.export(&Level::System, &[("_type", "Observation")]).await?;
    take_over(&mut client, &last);
    let mut exports = 1;
    let until = std::time::Instant::now() + Duration::from_secs(8);
    while std::time::Instant::now() < until {
        last = world.export(&Level::System, &[("_type", "Observation"), ("_since", &last.time)]).await?;
        take_over(&mut client, &last);
        exports += 1;
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await??;
    }
    last = world.export(&Level::System, &[("_type", "Observation"), ("_since", &last.time)]).await?;
    take_over(&mut client, &last);
    assert!(exports >= 4, "only {exports} exports were made beside the writers");
    assert!(commits.load(Ordering::Relaxed) > 100, "the writers hardly wrote");

    // Every row that there is, the client has in its last version.
    let rows: Vec<(String, String)> = sqlx::query_as("SELECT id, resource FROM fhir_export.observation")
        .fetch_all(world.practice.ehr())
        .await?;
    let stale: Vec<&String> =
        rows.iter().filter(|(id, body)| client.get(id) != Some(body)).map(|(id, _)| id).collect();
    assert!(stale.is_empty(), "the client has {stale:?} not in the last version");
    // What it has beyond that was deleted.
    let buried: Vec<String> =
        sqlx::query_scalar("SELECT id FROM fhir_export.tombstone").fetch_all(world.practice.ehr()).await?;
    let known: BTreeSet<&String> = rows.iter().map(|(id, _)| id).chain(&buried).collect();
    assert!(client.keys().all(|id| known.contains(id)), "the client has rows that never were committed");
    Ok(())
}

/// What a client does with an export: the newest version of each resource counts.
fn take_over(client: &mut BTreeMap<String, String>, export: &Export) {
    let lines = export.download.lines("Observation");
    assert_eq!(
        lines.len(),
        export.ids("Observation").iter().collect::<BTreeSet<_>>().len(),
        "an id came twice"
    );
    for line in lines {
        let resource: serde_json::Value = serde_json::from_str(&line).expect("a line is a resource");
        client.insert(resource["id"].as_str().expect("it has an id").to_owned(), line);
    }
}

/// Transactions of all kinds: long and short, writing early or late, committed or not.
async fn scribble(
    mut connection: PgConnection,
    seed: u64,
    stop: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
) -> Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut version = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut transaction = connection.begin().await?;
        sqlx::query("SELECT now()").execute(&mut *transaction).await?;
        pause(&mut random, 500).await;
        let id = format!("o-{}", random.random_range(0..ROWS));
        version += 1;
        match random.random_range(0..10) {
            0 => delete(&mut transaction, &id).await?,
            1 => {
                delete(&mut transaction, &id).await?;
                write(&mut transaction, &id, &format!("{seed}.{version} again")).await?;
            }
            _ => {
                write(&mut transaction, &id, &format!("{seed}.{version}")).await?;
            }
        }
        pause(&mut random, 700).await;
        if random.random_range(0..10) == 0 {
            transaction.rollback().await?;
        } else {
            transaction.commit().await?;
            commits.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Mostly short, sometimes up to `longest` milliseconds.
async fn pause(random: &mut StdRng, longest: u64) {
    let milliseconds = if random.random_bool(0.5) { 0 } else { random.random_range(0..longest) };
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}
