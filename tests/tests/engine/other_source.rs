//! A source that becomes another one while an export reads it.

use anyhow::Result;
use headgate_testkit::Level;
use serde_json::json;

use crate::gate::Gate;
use crate::world::{World, small_files};

#[tokio::test]
async fn an_export_whose_practice_gets_another_source_fails_and_leaves_nothing() -> Result<()> {
    let world = World::of(small_files()).await?;
    for n in 1..=9 {
        let id = format!("p{n}");
        world.practice.insert("Patient", &id, Some(&id)).await?;
    }
    let mut gate = Gate::before_bodies(&world, "patient", "p5").await?;
    let status_url = world.start(&Level::System, &[]).await?;
    gate.until_reached(1).await?;
    let path = format!("practices/{}", world.practice.number);
    let change = async |source: serde_json::Value| -> Result<()> {
        world.app.admin().patch(&path, &json!({ "source": source })).await?.expect(200)?;
        Ok(())
    };
    change(json!({ "late_commit_allowance_s": 60 })).await?;
    world.client.poll(&status_url).await?.expect(202)?;
    change(json!({ "settings": { "app.practice": "7" } })).await?;
    let answer = world.client.poll(&status_url).await?.expect(500)?;
    let told = answer.json()?["issue"][0]["diagnostics"].to_string();
    assert!(told.contains("source was changed"), "{told}");
    gate.open().await?;
    world.until_purged().await?;
    assert_eq!(world.keys()?, [""; 0]);
    // The next one reads the one source that there is now.
    assert_eq!(world.export(&Level::System, &[]).await?.ids("Patient").len(), 9);
    Ok(())
}

#[tokio::test]
async fn tombstones_that_are_gone_when_an_export_is_finished_are_waited_for() -> Result<()> {
    let world = World::of(small_files()).await?;
    for id in ["p1", "p2", "p3"] {
        world.practice.insert("Patient", id, Some(id)).await?;
    }
    let earlier = world.export(&Level::System, &[]).await?;
    world.practice.delete("Patient", "p1").await?;
    world.practice.insert("Patient", "p4", Some("p4")).await?;
    let mut gate = Gate::before_bodies(&world, "patient", "p4").await?;
    let status_url = world.start(&Level::System, &[("_since", &earlier.time)]).await?;
    gate.until_reached(1).await?;
    // As while the practice makes its views anew.
    world.source("ALTER TABLE fhir_export.tombstone RENAME TO later").await?;
    gate.open().await?;
    world
        .until(
            "the end was tried in vain",
            "SELECT coalesce(max(attempts) > 1, false) FROM headgate.export WHERE state = 'finishing'",
        )
        .await?;
    world.source("ALTER TABLE fhir_export.later RENAME TO tombstone").await?;
    let export = world.complete(&status_url).await?;
    assert_eq!(export.ids("Patient"), ["p4"]);
    let deleted = export.download.section("deleted").count();
    assert_eq!(deleted, 1, "{}", export.manifest);
    Ok(())
}
