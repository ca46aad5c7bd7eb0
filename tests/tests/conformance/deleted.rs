//! The `deleted` files of the manifest.

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::serde_json::json;
use headgate_testkit::{BulkClient, Level, Practice};

use crate::requests::{
    Export, diagnostics, export, export_by_post, finish, get_lenient, group, instant, patient, refusal,
};
use crate::stage::{GROUP, Stage, play, sql};

/// A practice of which everything was exported already, with that export's transactionTime.
async fn exported(stage: &Stage) -> Result<(Practice, BulkClient, String)> {
    let practice = stage.filled(json!({})).await?;
    stage.app.group(&practice, GROUP, &["ada", "eve"]).await?;
    let client = stage.client(&practice).await?;
    let time = transaction_time(&export(&client, &Level::System, &[]).await?)?;
    Ok((practice, client, time))
}

fn transaction_time(export: &Export) -> Result<String> {
    export.manifest["transactionTime"].as_str().map(str::to_owned).context("no transactionTime")
}

#[test]
fn what_was_deleted_after_since_is_told_in_bundles_and_once() -> Result<()> {
    play(async |stage| {
        let (practice, client, time) = exported(stage).await?;
        practice.delete("Observation", "hr-ada").await?;
        practice.delete("Observation", "hr-bob").await?;
        practice.delete("Practitioner", "prac-unused").await?;
        let query = [("_since", time.as_str())];
        for level in [Level::System, Level::Patient] {
            let got = export(&client, &level, &query).await?;
            let gone = ["Observation/hr-ada", "Observation/hr-bob", "Practitioner/prac-unused"];
            ensure!(got.deleted()? == gone, "{:?}", got.deleted()?);
            ensure!(got.all().is_empty(), "nothing else changed: {:?}", got.all());
            let types: Vec<&str> =
                got.download.section("deleted").map(|file| file.resource_type.as_str()).collect();
            ensure!(types == ["Bundle"], "{types:?}");
        }
        // The next export of the chain does not tell it again.
        let got = export(&client, &Level::System, &query).await?;
        let time = transaction_time(&got)?;
        let got = export(&client, &Level::System, &[("_since", &time)]).await?;
        ensure!(got.deleted()?.is_empty(), "{:?}", got.deleted()?);
        Ok(())
    })
}

#[test]
fn what_is_there_again_is_in_the_output_and_not_called_deleted() -> Result<()> {
    play(async |stage| {
        let (practice, client, time) = exported(stage).await?;
        practice.delete("Condition", "cond-eve").await?;
        practice.insert("Condition", "cond-eve", Some("eve")).await?;
        practice.delete("Condition", "cond-bob").await?;
        let got = export(&client, &Level::Patient, &[("_since", &time)]).await?;
        ensure!(got.deleted()? == ["Condition/cond-bob"], "{:?}", got.deleted()?);
        ensure!(got.all() == ["Condition/cond-eve"], "{:?}", got.all());
        // Nor what is there and did not change since.
        let later = transaction_time(&got)?;
        sql(
            &practice,
            "INSERT INTO fhir_export.tombstone VALUES ('Condition', 'cond-ada', 'ada', clock_timestamp())",
        )
        .await?;
        let got = export(&client, &Level::Patient, &[("_since", &later)]).await?;
        ensure!(got.deleted()?.is_empty(), "{:?}", got.deleted()?);
        Ok(())
    })
}

#[test]
fn what_is_deleted_again_after_the_time_of_an_export_is_told_now_unless_the_next_one_tells_it() -> Result<()>
{
    play(async |stage| {
        let (practice, client, time) = exported(stage).await?;
        // Each was deleted after `time`, and will be once more: hr-ada as ada's, whom both groups of patients below hold,
        // hr-eve as bob's, whom none holds.
        for (id, later) in [("hr-ada", "ada"), ("hr-eve", "bob")] {
            practice.delete("Observation", id).await?;
            let again = format!(
                "INSERT INTO fhir_export.tombstone
                 VALUES ('Observation', '{id}', '{later}', clock_timestamp() + interval '1 hour')"
            );
            sql(&practice, &again).await?;
        }
        let got = export(&client, &group(), &[("_since", &time)]).await?;
        ensure!(got.deleted()? == ["Observation/hr-eve"], "{:?}", got.deleted()?);
        let list = [patient("ada"), patient("eve"), instant("_since", &time)];
        let got = export_by_post(&client, &Level::Patient, &list).await?;
        ensure!(got.deleted()? == ["Observation/hr-eve"], "{:?}", got.deleted()?);
        // Whoever left the group is told of no more, and is in no output.
        stage.app.group(&practice, GROUP, &["ada"]).await?;
        practice.delete("Encounter", "enc-ada").await?;
        let again = "INSERT INTO fhir_export.tombstone
                     VALUES ('Encounter', 'enc-ada', 'eve', clock_timestamp() + interval '1 hour')";
        sql(&practice, again).await?;
        let got = export(&client, &group(), &[("_since", &time)]).await?;
        ensure!(got.deleted()? == ["Encounter/enc-ada", "Observation/hr-eve"], "{:?}", got.deleted()?);
        // Who asks for everybody is told of all by the next export.
        let got = export(&client, &Level::Patient, &[("_since", &time)]).await?;
        ensure!(got.deleted()?.is_empty(), "{:?}", got.deleted()?);
        Ok(())
    })
}

#[test]
fn only_deletions_that_the_request_is_about_are_told() -> Result<()> {
    play(async |stage| {
        let (practice, client, time) = exported(stage).await?;
        for patient in ["ada", "bob", "eve"] {
            practice.delete("Observation", &format!("hr-{patient}")).await?;
            practice.delete("Encounter", &format!("enc-{patient}")).await?;
        }
        let query = [("_since", time.as_str()), ("_type", "Observation")];
        let got = export(&client, &group(), &query).await?;
        ensure!(got.deleted()? == ["Observation/hr-ada", "Observation/hr-eve"], "{:?}", got.deleted()?);
        let list = [patient("bob"), instant("_since", &time)];
        let got = export_by_post(&client, &Level::Patient, &list).await?;
        ensure!(got.deleted()? == ["Encounter/enc-bob", "Observation/hr-bob"], "{:?}", got.deleted()?);
        // A token for one type is not told of others.
        let narrow = stage.client_for(&practice, "system/Encounter.rs").await?;
        let got = export(&narrow, &Level::Patient, &[("_since", &time)]).await?;
        let encounters = ["Encounter/enc-ada", "Encounter/enc-bob", "Encounter/enc-eve"];
        ensure!(got.deleted()? == encounters, "{:?}", got.deleted()?);
        Ok(())
    })
}

#[test]
fn what_was_deleted_of_a_named_patient_who_is_gone_is_told() -> Result<()> {
    play(async |stage| {
        let (practice, client, time) = exported(stage).await?;
        for (resource_type, id) in [("Patient", "bob"), ("Observation", "hr-bob"), ("Observation", "hr-ada")]
        {
            practice.delete(resource_type, id).await?;
        }
        let list = [patient("bob"), instant("_since", &time)];
        let got = export_by_post(&client, &Level::Patient, &list).await?;
        ensure!(got.deleted()? == ["Observation/hr-bob", "Patient/bob"], "{:?}", got.deleted()?);
        ensure!(got.told()?.contains("Patient/bob"), "{}", got.told()?);
        Ok(())
    })
}

#[test]
fn without_since_nothing_is_told_to_be_deleted() -> Result<()> {
    play(async |stage| {
        let (practice, client, time) = exported(stage).await?;
        practice.delete("Observation", "hr-ada").await?;
        let got = export(&client, &Level::Patient, &[]).await?;
        ensure!(got.manifest["deleted"] == json!([]), "{}", got.manifest["deleted"]);
        // Nor what had gone before it.
        sql(&practice, "UPDATE fhir_export.tombstone SET deleted_at = '2020-01-01T00:00:00Z'").await?;
        let got = export(&client, &Level::Patient, &[("_since", &time)]).await?;
        ensure!(got.manifest["deleted"] == json!([]), "{}", got.manifest["deleted"]);
        Ok(())
    })
}

#[test]
fn a_since_before_the_memory_of_the_source_is_refused_or_leniently_told() -> Result<()> {
    play(async |stage| {
        let practice = stage.practice(|p| p.history_since("2026-01-01T00:00:00Z")).await?;
        practice.insert("Patient", "ada", Some("ada")).await?;
        sql(
            &practice,
            "INSERT INTO fhir_export.tombstone VALUES ('Patient', 'gone', 'gone', clock_timestamp())",
        )
        .await?;
        let client = stage.client(&practice).await?;
        let old = [("_since", "2025-12-31T00:00:00Z")];
        ensure!(refusal(&client.kick_off(&Level::Patient, &old).await?, 400)?.contains("_since"));
        let answer = get_lenient(&client, &Level::Patient, &old).await?.expect(202)?;
        ensure!(diagnostics(&answer.json()?).contains("_since"), "{}", answer.text());
        let got = finish(&client, answer).await?;
        // Some of what was deleted would look like all of it.
        ensure!(got.manifest["deleted"] == json!([]), "{}", got.manifest);
        ensure!(got.ids("Patient") == ["ada"] && got.told()?.contains("_since"), "{}", got.told()?);
        let got = export(&client, &Level::Patient, &[("_since", "2026-01-02T00:00:00Z")]).await?;
        ensure!(got.deleted()? == ["Patient/gone"], "{:?}", got.deleted()?);
        Ok(())
    })
}
