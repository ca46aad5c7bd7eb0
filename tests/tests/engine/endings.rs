//! However an export ends, its files go and its status URL with them.

use anyhow::Result;
use headgate_testkit::{Answer, Level, sqlx};
use serde_json::Value;

use crate::gate::Gate;
use crate::world::{World, small_files};

/// A world with 100 Observations, whose worker stands before the 51st with some files published.
async fn mid_shard() -> Result<(World, Gate, String)> {
    let world = World::of(small_files()).await?;
    world.practice.insert("Patient", "p1", Some("p1")).await?;
    world.source(OBSERVATIONS).await?;
    let mut gate = Gate::before_bodies(&world, "observation", "o-051").await?;
    let status_url = world.start(&Level::System, &[]).await?;
    gate.until_reached(1).await?;
    world.until("files are published", "SELECT count(*) >= 5 FROM headgate.file").await?;
    assert!(world.keys()?.len() >= 5);
    Ok((world, gate, status_url))
}

/// 100 Observations `o-001` to `o-100`.
pub(crate) const OBSERVATIONS: &str = "INSERT INTO fhir_export.observation
    SELECT 'o-' || lpad(n::text, 3, '0'), 'p1', clock_timestamp(),
           '{\"resourceType\":\"Observation\",\"id\":\"o-' || lpad(n::text, 3, '0') || '\"}'
    FROM generate_series(1, 100) n";

/// Nothing is left in the bucket, nor is anything leased.
async fn assert_gone(world: &World) -> Result<()> {
    world.until_purged().await?;
    assert_eq!(world.keys()?, [""; 0]);
    assert_eq!(world.number("SELECT count(*) FROM headgate.shard WHERE state = 'leased'").await?, 0);
    Ok(())
}

/// The answer for an export that is not there: the same for each that is not.
async fn assert_unknown(world: &World, answer: Answer) -> Result<()> {
    let nowhere = format!("fhir-services/$export-status/{}", "0".repeat(32));
    let unknown = world.client.poll(&nowhere).await?.expect(404)?;
    assert_eq!(answer.expect(404)?.body, unknown.body);
    Ok(())
}

#[tokio::test]
async fn a_running_export_that_is_deleted_is_unknown_at_once_and_its_files_go() -> Result<()> {
    let (world, gate, status_url) = mid_shard().await?;
    let deleted = world.client.delete(&status_url).await?.expect(202)?;
    assert_eq!(deleted.json()?["resourceType"], "OperationOutcome");
    assert_unknown(&world, world.client.poll(&status_url).await?).await?;
    assert_unknown(&world, world.client.delete(&status_url).await?).await?;
    // The source still does not answer: the worker stops all the same.
    assert_gone(&world).await?;
    gate.open().await?;
    let published = world.number("SELECT count(*) FROM headgate.file").await?;
    world.until("the worker has nothing to do", IDLE).await?;
    assert_eq!(world.number("SELECT count(*) FROM headgate.file").await?, published);
    assert_eq!(world.keys()?, [""; 0]);
    Ok(())
}

const IDLE: &str = "SELECT NOT EXISTS (SELECT FROM headgate.shard WHERE state = 'leased')
                       AND NOT EXISTS (SELECT FROM headgate.export WHERE lease_token IS NOT NULL)";

#[tokio::test]
async fn a_completed_export_that_is_deleted_loses_its_files_and_its_links() -> Result<()> {
    let world = World::of(small_files()).await?;
    world.practice.insert_many("Patient", "p", 35, None, 0).await?;
    let status_url = world.start(&Level::System, &[]).await?;
    let export = world.complete(&status_url).await?;
    assert_eq!(world.keys()?.len(), 4);
    world.client.delete(&status_url).await?.expect(202)?;
    assert_unknown(&world, world.client.poll(&status_url).await?).await?;
    assert_unknown(&world, world.client.delete(&status_url).await?).await?;
    assert_gone(&world).await?;
    let link = export.manifest["output"][0]["url"].as_str().expect("a link");
    Answer::to(world.app.http().get(link)).await?.expect(404)?;
    Ok(())
}

#[tokio::test]
async fn revoking_the_consent_stops_a_running_export_and_deletes_its_files() -> Result<()> {
    let (world, gate, status_url) = mid_shard().await?;
    let revoked = world.app.revoke(&world.practice, &world.vendor).await?;
    assert_eq!(revoked["ended_exports"], 1);
    assert_unknown_without_consent(&world, &status_url).await?;
    let form = world.vendor.form("system/*.rs", &world.vendor.assertion(&world.practice.token_url)?);
    let refused = world.app.request_token(&world.practice.token_url, &form).await?.expect(400)?;
    assert_eq!(refused.json()?["error"], "unauthorized_client");
    assert_gone(&world).await?;
    assert_eq!(world.number("SELECT count(*) FROM headgate.export WHERE state = 'revoked'").await?, 1);
    gate.open().await
}

#[tokio::test]
async fn revoking_the_consent_ends_a_completed_export_for_good() -> Result<()> {
    let world = World::of(small_files()).await?;
    world.practice.insert_many("Patient", "p", 15, None, 0).await?;
    let status_url = world.start(&Level::System, &[]).await?;
    world.complete(&status_url).await?;
    world.app.revoke(&world.practice, &world.vendor).await?;
    assert_unknown_without_consent(&world, &status_url).await?;
    assert_gone(&world).await?;
    // A new consent does not bring it back.
    world.app.consent(&world.practice, &world.vendor).await?;
    assert_unknown(&world, world.client.poll(&status_url).await?).await
}

/// Without a consent every export is unknown, with a token that is otherwise good.
async fn assert_unknown_without_consent(world: &World, status_url: &str) -> Result<()> {
    let answer = world.client.poll(status_url).await?.expect(404)?;
    assert_eq!(answer.json()?["resourceType"], "OperationOutcome");
    Ok(())
}

#[tokio::test]
async fn a_consent_that_ends_by_time_ends_its_running_export() -> Result<()> {
    let (world, gate, status_url) = mid_shard().await?;
    world.control("UPDATE headgate.consent SET expires_at = clock_timestamp()").await?;
    assert_unknown_without_consent(&world, &status_url).await?;
    assert_gone(&world).await?;
    assert_eq!(world.number("SELECT count(*) FROM headgate.export WHERE state = 'revoked'").await?, 1);
    gate.open().await
}

#[tokio::test]
async fn an_export_past_its_retention_is_unknown_and_its_files_go() -> Result<()> {
    let world = World::of(small_files().set("export.retention_s", 3600)).await?;
    world.practice.insert_many("Patient", "p", 15, None, 0).await?;
    let status_url = world.start(&Level::System, &[]).await?;
    world.complete(&status_url).await?;
    let kept: i64 = world
        .number("SELECT extract(epoch FROM expires_at - completed_at)::bigint FROM headgate.export")
        .await?;
    assert_eq!(kept, 3600);
    // An hour later …
    world.control("UPDATE headgate.export SET expires_at = clock_timestamp()").await?;
    assert_unknown(&world, world.client.poll(&status_url).await?).await?;
    assert_eq!(world.keys()?.len(), 2, "nobody has cleaned up yet");
    world.control("UPDATE headgate.maintenance SET due_at = clock_timestamp() WHERE task = 'expire'").await?;
    assert_gone(&world).await?;
    assert_eq!(world.number("SELECT count(*) FROM headgate.export WHERE state = 'expired'").await?, 1);
    assert_unknown(&world, world.client.poll(&status_url).await?).await
}

#[tokio::test]
async fn an_export_that_cannot_be_done_answers_500_with_the_reason_and_leaves_no_files() -> Result<()> {
    let world = World::of(small_files()).await?;
    world.practice.insert_many("Patient", "p", 35, None, 0).await?;
    world.source(OBSERVATIONS).await?;
    // Two rows with one id: one of them would be lost or doubled, so nothing is called complete.
    world
        .source(
            "DROP INDEX fhir_export.observation_id_key;
             INSERT INTO fhir_export.observation SELECT * FROM fhir_export.observation WHERE id = 'o-066'",
        )
        .await?;
    let status_url = world.start(&Level::System, &[]).await?;
    // Not found out by polling: who polls that often is told to wait.
    world.until("the export has failed", "SELECT bool_and(state = 'failed') FROM headgate.export").await?;
    let outcome: Value = world.client.poll(&status_url).await?.expect(500)?.json()?;
    assert_eq!(outcome["resourceType"], "OperationOutcome");
    let text = outcome.to_string();
    assert!(text.contains("same page_key and id") && !text.contains("o-066"), "{text}");
    assert_gone(&world).await?;
    world.client.poll(&status_url).await?.expect(500)?;
    let audited: i64 =
        sqlx::query_scalar("SELECT count(*) FROM headgate.audit_event WHERE action = 'export.failed'")
            .fetch_one(world.app.control())
            .await?;
    assert_eq!(audited, 1);
    Ok(())
}
