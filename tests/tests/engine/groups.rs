//! A Group export is what SQL says: the rows of the members, and the practice's directory.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Result;
use headgate_testkit::{Level, sqlx};

use crate::gate::Gate;
use crate::world::{DIRECTORY, OF_PATIENTS, World, export_id, options};

fn group() -> Level {
    Level::Group("1.105681.22.0.1".to_owned())
}

/// The types that a Group export holds whole; Medication comes by reference.
const WHOLE: [&str; 4] = ["Location", "Organization", "Practitioner", "PractitionerRole"];

async fn members(world: &World, patients: &[&str]) -> Result<()> {
    world.app.group(&world.practice, "1.105681.22.0.1", patients).await?;
    Ok(())
}

/// 40 patients with rows of every type, and a directory.
async fn populate(world: &World) -> Result<()> {
    world.practice.insert_many("Patient", "p", 40, None, 0).await?;
    for resource_type in OF_PATIENTS.into_iter().filter(|t| *t != "Patient") {
        world.practice.insert_many(resource_type, "r", 90, None, 10).await?;
    }
    for resource_type in DIRECTORY {
        world.practice.insert_many(resource_type, "d", 7, None, 0).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_group_export_has_the_rows_of_the_members_and_the_whole_directory() -> Result<()> {
    let world = World::of(options().set("export.shard_rows", 25).set("export.page_rows", 4)).await?;
    populate(&world).await?;
    world.source("DELETE FROM fhir_export.observation WHERE patient_id = 'p-7'").await?;
    for (patient, medication) in [("p-1", "d-3"), ("p-3", "d-4")] {
        let id = format!("for-{patient}");
        let body = format!(
            r#"{{"resourceType":"MedicationRequest","id":"{id}","medicationReference":{{"reference":"Medication/{medication}"}}}}"#
        );
        world.practice.insert_body("MedicationRequest", &id, Some(patient), &body).await?;
    }
    let cohort = ["p-1", "p-12", "p-2", "p-33", "p-40", "p-7", "unknown-patient"];
    members(&world, &cohort).await?;

    let export = world.export(&group(), &[]).await?;
    let condition = format!("patient_id IN ('{}')", cohort.join("', '"));
    for resource_type in OF_PATIENTS {
        world.assert_rows(&export, resource_type, &condition).await?;
        assert!(!export.ids(resource_type).is_empty(), "{resource_type} proves nothing");
    }
    for resource_type in WHOLE {
        world.assert_rows(&export, resource_type, "true").await?;
        assert_eq!(export.ids(resource_type).len(), 7);
    }
    assert_eq!(export.ids("Medication"), ["d-3"], "what the members' requests refer to, and nothing else");
    assert_eq!(export.download.outcomes()?.len(), 0, "an unknown patient simply has no rows");
    Ok(())
}

#[tokio::test]
async fn with_since_who_joined_gets_everything_who_stayed_what_changed_and_who_left_nothing() -> Result<()> {
    let world = World::new().await?;
    populate(&world).await?;
    members(&world, &["p-1", "p-2", "p-3"]).await?;
    let first = world.export(&group(), &[]).await?;

    // p-1 stays, p-2 leaves and comes back, p-3 leaves, p-4 joins; p-5 never was in it.
    members(&world, &["p-1", "p-4"]).await?;
    members(&world, &["p-1", "p-2", "p-4"]).await?;
    for patient in ["p-1", "p-3", "p-4", "p-5"] {
        world.practice.insert("Observation", &format!("new-{patient}"), Some(patient)).await?;
    }
    let changed = r#"{"resourceType":"Practitioner","id":"d-3","active":true}"#;
    world.practice.update("Practitioner", "d-3", changed).await?;

    let second = world.export_since(&group(), &first).await?;
    let history = "patient_id IN ('p-2', 'p-4')";
    let condition = format!("{history} OR (patient_id = 'p-1' AND last_updated > '{}')", first.time);
    for resource_type in OF_PATIENTS {
        world.assert_rows(&second, resource_type, &condition).await?;
    }
    let observations = second.ids("Observation");
    assert!(observations.contains(&"new-p-1".to_owned()) && observations.contains(&"new-p-4".to_owned()));
    assert!(!observations.contains(&"new-p-3".to_owned()), "p-3 has left");
    for resource_type in WHOLE {
        world.assert_rows(&second, resource_type, &format!("last_updated > '{}'", first.time)).await?;
    }
    assert_eq!(second.ids("Practitioner"), ["d-3"]);
    Ok(())
}

#[tokio::test]
async fn the_cohort_is_fixed_when_planning_begins_and_who_joins_then_is_in_the_next() -> Result<()> {
    let world = World::new().await?;
    populate(&world).await?;
    members(&world, &["p-1", "p-2"]).await?;
    let mut gate = Gate::before_bodies(&world, "observation", "").await?;
    let status_url = world.start(&group(), &[]).await?;
    gate.until_reached(1).await?;
    members(&world, &["p-2", "p-3"]).await?;
    gate.open().await?;

    let first = world.complete(&status_url).await?;
    for resource_type in OF_PATIENTS {
        world.assert_rows(&first, resource_type, "patient_id IN ('p-1', 'p-2')").await?;
    }
    let second = world.export_since(&group(), &first).await?;
    world.assert_rows(&second, "Observation", "patient_id = 'p-3'").await?;
    Ok(())
}

#[tokio::test]
async fn an_empty_group_gives_a_completed_export_of_the_directory_alone() -> Result<()> {
    let world = World::new().await?;
    populate(&world).await?;
    members(&world, &["p-1"]).await?;
    members(&world, &[]).await?;
    let export = world.export(&group(), &[]).await?;
    let types: Vec<String> = export.download.by_type().into_keys().collect();
    assert_eq!(types, WHOLE);
    for resource_type in WHOLE {
        world.assert_rows(&export, resource_type, "true").await?;
    }
    Ok(())
}

/// 3,000 patients, of whom one in six is no member. Most have a few Observations, some none, some very many.
const MANY: &str = "
    INSERT INTO fhir_export.patient (id, patient_id, last_updated, resource)
    SELECT 'p-' || n, 'p-' || n, clock_timestamp(), '{\"resourceType\":\"Patient\",\"id\":\"p-' || n || '\"}'
    FROM generate_series(1, 3000) n;
    INSERT INTO fhir_export.observation (id, patient_id, last_updated, resource)
    SELECT 'o-' || n || '-' || k, 'p-' || n, clock_timestamp(),
           '{\"resourceType\":\"Observation\",\"id\":\"o-' || n || '-' || k || '\"}'
    FROM generate_series(1, 3000) n
    CROSS JOIN LATERAL generate_series(1, CASE WHEN n % 500 = 1 THEN 900 WHEN n % 5 = 0 THEN 0 ELSE n % 3 END) k;
    ANALYZE fhir_export.patient; ANALYZE fhir_export.observation;";

#[tokio::test]
async fn thousands_of_members_with_very_different_numbers_of_rows_come_out_completely() -> Result<()> {
    let settings = options().set("export.shard_rows", 700).set("export.page_rows", 100);
    let world = World::of(settings.set("worker.shards_per_practice", 4)).await?;
    world.source(MANY).await?;
    let cohort: Vec<String> = (1..=3000).filter(|n| n % 6 != 0).map(|n| format!("p-{n}")).collect();
    members(&world, &cohort.iter().map(String::as_str).collect::<Vec<_>>()).await?;

    let export = world.export(&group(), &[]).await?;
    assert_eq!(cohort.len(), 2500);
    let mut condition = "patient_id IN (''".to_owned();
    for patient in &cohort {
        write!(condition, ", '{patient}'")?;
    }
    condition.push(')');
    world.assert_rows(&export, "Patient", &condition).await?;
    world.assert_rows(&export, "Observation", &condition).await?;
    let shards: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM headgate.shard JOIN headgate.export_stream USING (practice_number, export_id, stream)
          WHERE resource_type = 'Observation'",
    )
    .fetch_one(world.app.control())
    .await?;
    assert!(shards >= 5, "{shards} shards prove nothing");
    Ok(())
}

#[tokio::test]
async fn no_members_of_another_group_or_practice_are_exported() -> Result<()> {
    let world = World::new().await?;
    populate(&world).await?;
    members(&world, &["p-1"]).await?;
    world.app.group(&world.practice, "other", &["p-2"]).await?;
    let neighbour = world.app.practice(7, "neighbour").create().await?;
    neighbour.insert_many("Patient", "p", 3, None, 0).await?;
    world.app.group(&neighbour, "1.105681.22.0.1", &["p-3"]).await?;

    let status_url = world.start(&group(), &[("_type", "Patient,Observation")]).await?;
    let export = world.complete(&status_url).await?;
    assert_eq!(export.ids("Patient"), ["p-1"]);
    world.assert_rows(&export, "Observation", "patient_id = 'p-1'").await?;
    assert_eq!(export.id, export_id(&status_url));
    let prefix = format!("{}/{}/", world.practice.s3_prefix, export.id);
    let keys: BTreeSet<String> = world.app.s3_keys("")?.into_iter().collect();
    assert!(keys.iter().all(|key| key.starts_with(&prefix)), "{keys:?}");
    Ok(())
}
