//! Endpoint - Group of Patients: what a Group export holds, and how a client finds its group.

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::reqwest::Method;
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Answer, BulkClient, Level};

use crate::requests::{export, group, refusal};
use crate::stage::{ALL, GROUP, play, sql};

#[test]
fn a_group_export_has_everything_of_its_members_and_nothing_of_others() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let got = export(&client, &group(), &[]).await?;
        ensure!(got.ids("Patient") == ["ada", "eve"], "the patients themselves: {:?}", got.ids("Patient"));
        for resource_type in [
            "Condition",
            // Not in the compartment by FHIR's definition, and yet of the patient.
            "Device",
            "DocumentReference",
            "Encounter",
            "MedicationRequest",
            "Observation",
            "Provenance",
        ] {
            let rows = stage.clinic.bodies(resource_type, "patient_id IN ('ada', 'eve')").await?;
            ensure!(got.download.lines(resource_type) == rows, "{resource_type}");
        }
        let text = got.download.files.iter().flat_map(|file| &file.lines).any(|line| line.contains("bob"));
        ensure!(!text, "something of another patient came out");
        Ok(())
    })
}

#[test]
fn context_outside_of_the_compartment_comes_with_a_group() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let got = export(&client, &group(), &[]).await?;
        ensure!(got.ids("Practitioner") == ["prac-unused", "prac-used"], "{:?}", got.ids("Practitioner"));
        ensure!(got.ids("Organization") == ["org-unused", "org-used"], "{:?}", got.ids("Organization"));
        ensure!(got.ids("Location") == ["loc-unused"], "{:?}", got.ids("Location"));
        // Of the medications those that exported resources refer to: others would tell of other patients.
        ensure!(got.ids("Medication") == ["med-used"], "{:?}", got.ids("Medication"));
        Ok(())
    })
}

#[test]
fn a_medication_that_a_changed_resource_refers_to_comes_however_old_it_is() -> Result<()> {
    play(async |stage| {
        let practice = stage.filled(json!({})).await?;
        stage.app.group(&practice, GROUP, &["ada"]).await?;
        // Before every `_since` of this test, and the membership too.
        sql(
            &practice,
            "UPDATE fhir_export.medication SET last_updated = '2020-01-01T00:00:00Z';
             UPDATE fhir_export.medication_request SET last_updated = '2020-01-01T00:00:00Z'",
        )
        .await?;
        let client = stage.client(&practice).await?;
        let first = export(&client, &group(), &[]).await?;
        let time = first.manifest["transactionTime"].as_str().context("no transactionTime")?.to_owned();
        let query = [("_since", time.as_str())];
        ensure!(export(&client, &group(), &query).await?.all().is_empty());
        let request = practice.bodies("MedicationRequest", "id = 'mr-ada'").await?;
        practice.update("MedicationRequest", "mr-ada", &request[0]).await?;
        let got = export(&client, &group(), &query).await?;
        ensure!(got.all() == ["Medication/med-used", "MedicationRequest/mr-ada"], "{:?}", got.all());
        Ok(())
    })
}

#[test]
fn a_medication_that_changed_comes_although_nothing_that_refers_to_it_did() -> Result<()> {
    play(async |stage| {
        let practice = stage.filled(json!({})).await?;
        stage.app.group(&practice, GROUP, &["ada"]).await?;
        sql(&practice, "UPDATE fhir_export.medication SET last_updated = '2020-01-01T00:00:00Z'").await?;
        let client = stage.client(&practice).await?;
        let first = export(&client, &group(), &[]).await?;
        let time = first.manifest["transactionTime"].as_str().context("no transactionTime")?.to_owned();
        let medication = practice.bodies("Medication", "id = 'med-used'").await?;
        practice.update("Medication", "med-used", &medication[0]).await?;
        let got = export(&client, &group(), &[("_since", &time)]).await?;
        ensure!(got.all() == ["Medication/med-used"], "{:?}", got.all());
        Ok(())
    })
}

#[test]
fn a_practice_may_give_only_those_of_its_directory_that_are_referred_to() -> Result<()> {
    play(async |stage| {
        let practice = stage.filled(json!({ "directory_by_reference": true })).await?;
        stage.app.group(&practice, GROUP, &["ada"]).await?;
        let client = stage.client(&practice).await?;
        let got = export(&client, &group(), &[]).await?;
        ensure!(got.ids("Practitioner") == ["prac-used"], "{:?}", got.ids("Practitioner"));
        ensure!(got.ids("Organization") == ["org-used"], "{:?}", got.ids("Organization"));
        ensure!(got.ids("Location").is_empty(), "{:?}", got.ids("Location"));
        let whole = export(&client, &Level::System, &[]).await?;
        ensure!(whole.ids("Practitioner").len() == 2, "{:?}", whole.ids("Practitioner"));
        Ok(())
    })
}

#[test]
fn who_joined_after_since_comes_with_everything_and_who_stayed_with_what_changed() -> Result<()> {
    play(async |stage| {
        let practice = stage.filled(json!({})).await?;
        stage.app.group(&practice, GROUP, &["ada", "eve"]).await?;
        let client = stage.client(&practice).await?;
        let first = export(&client, &group(), &[]).await?;
        let time = first.manifest["transactionTime"].as_str().context("no transactionTime")?.to_owned();
        stage.app.group(&practice, GROUP, &["ada", "bob"]).await?;
        practice.insert("Condition", "new-of-ada", Some("ada")).await?;
        practice.insert("Condition", "new-of-eve", Some("eve")).await?;
        let got = export(&client, &group(), &[("_since", &time)]).await?;
        ensure!(got.ids("Patient") == ["bob"], "{:?}", got.ids("Patient"));
        ensure!(got.ids("Condition") == ["cond-bob", "new-of-ada"], "{:?}", got.ids("Condition"));
        ensure!(got.ids("Observation") == ["bt-bob", "hr-bob", "lab-bob"], "{:?}", got.ids("Observation"));
        Ok(())
    })
}

async fn read(client: &BulkClient, path: &str) -> Result<Answer> {
    Answer::to(client.request(Method::GET, path).header("Accept", "application/fhir+json")).await
}

fn found(bundle: &Value) -> Vec<&str> {
    let entries = bundle["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
    entries.iter().filter_map(|entry| entry["resource"]["id"].as_str()).collect()
}

#[test]
fn groups_are_read_and_found_by_identifier_name_and_id() -> Result<()> {
    play(async |stage| {
        let practice = stage.filled(json!({})).await?;
        stage.app.group(&practice, GROUP, &["ada", "eve"]).await?;
        stage.app.group(&practice, "diabetes", &["bob"]).await?;
        let client = stage.client(&practice).await?;
        let resource = read(&client, &format!("Group/{GROUP}")).await?.expect(200)?.json()?;
        ensure!(resource["resourceType"] == "Group" && resource["id"] == GROUP, "{resource}");
        ensure!(resource["type"] == "person" && resource["actual"] == true, "{resource}");
        ensure!(resource["quantity"] == 2, "{resource}");
        // Who the members are comes with the export, which is recorded.
        ensure!(resource.get("member").is_none(), "{resource}");

        let bundle = read(&client, "Group").await?.expect(200)?.json()?;
        ensure!(bundle["resourceType"] == "Bundle" && bundle["type"] == "searchset", "{bundle}");
        ensure!(bundle["total"] == 2 && found(&bundle) == [GROUP, "diabetes"], "{bundle}");
        for query in ["identifier=diabetes", "_id=diabetes", "name=group%20dia"] {
            let bundle = read(&client, &format!("Group?{query}")).await?.expect(200)?.json()?;
            ensure!(found(&bundle) == ["diabetes"], "{query}: {bundle}");
        }
        let bundle = read(&client, "Group?identifier=nobody").await?.expect(200)?.json()?;
        ensure!(bundle["total"] == 0 && found(&bundle).is_empty(), "{bundle}");
        refusal(&read(&client, "Group?colour=blue").await?, 400)?;
        // What was found can be exported.
        let got = export(&client, &Level::Group("diabetes".into()), &[("_type", "Patient")]).await?;
        ensure!(got.ids("Patient") == ["bob"], "{:?}", got.ids("Patient"));
        Ok(())
    })
}

#[test]
fn groups_that_a_client_may_not_export_are_not_there_for_it() -> Result<()> {
    play(async |stage| {
        let practice = stage.filled(json!({})).await?;
        stage.app.group(&practice, "open", &["ada"]).await?;
        stage.app.group(&practice, "closed", &["bob"]).await?;
        let app = stage.app.vendor_app(&[ALL]).await?;
        stage.app.consent_with(&practice, &app, json!({ "group_ids": ["open"] })).await?;
        let client = stage.app.client(&practice, &app).await?;
        let bundle = read(&client, "Group").await?.expect(200)?.json()?;
        ensure!(found(&bundle) == ["open"] && bundle["total"] == 1, "{bundle}");
        let closed = refusal(&read(&client, "Group/closed").await?, 404)?;
        let unknown = refusal(&read(&client, "Group/unknown").await?, 404)?;
        ensure!(closed == unknown, "a closed group can be told from an unknown one");
        // Without a token, and with one that does not cover patients.
        refusal(&read(&client.with_token("x"), "Group").await?, 401)?;
        let narrow = stage.client_for(&practice, "system/Observation.rs").await?;
        refusal(&read(&narrow, "Group/open").await?, 403)?;
        Ok(())
    })
}

#[test]
fn a_group_of_the_ehr_is_exported_with_nested_members_and_without_former_and_inactive_ones() -> Result<()> {
    play(async |stage| {
        let practice = stage.filled(json!({})).await?;
        sql(
            &practice,
            "ALTER TABLE fhir_export.group_member ALTER COLUMN patient_id DROP NOT NULL,
                 ADD COLUMN member_group_id text, ADD COLUMN inactive boolean;
             INSERT INTO fhir_export.group_member (group_id, patient_id, member_since, member_until, member_group_id, inactive)
             VALUES ('outer', NULL, '2026-01-01', NULL, 'inner', false),
                    ('inner', 'bob', '2026-01-01', NULL, NULL, false),
                    ('outer', 'ada', '2026-01-01', '2026-02-01', NULL, false),
                    ('outer', 'eve', '2026-01-01', NULL, NULL, true)",
        )
        .await?;
        stage.refresh(&practice).await?;
        let client = stage.client(&practice).await?;
        for id in ["outer", "inner"] {
            let got = export(&client, &Level::Group(id.into()), &[]).await?;
            ensure!(got.ids("Patient") == ["bob"], "{id}: {:?}", got.ids("Patient"));
            ensure!(
                got.ids("Observation") == ["bt-bob", "hr-bob", "lab-bob"],
                "{:?}",
                got.ids("Observation")
            );
        }
        let bundle = read(&client, "Group").await?.expect(200)?.json()?;
        ensure!(found(&bundle) == ["inner", "outer"], "{bundle}");
        refusal(&client.kick_off(&Level::Group("nobody".into()), &[]).await?, 404)?;
        Ok(())
    })
}
