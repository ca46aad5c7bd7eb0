//! The `patient` parameter.

use anyhow::{Result, ensure};
use headgate_testkit::Level;
use headgate_testkit::serde_json::json;

use crate::requests::{
    ACCEPT, LENIENT, export_by_post, group, levels, parameters, patient, post, post_with, refusal, string,
};
use crate::stage::play;

#[test]
fn only_data_of_the_named_patients_come_out() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let got = export_by_post(&client, &Level::Patient, &[patient("ada"), patient("bob")]).await?;
        ensure!(got.ids("Patient") == ["ada", "bob"], "{:?}", got.ids("Patient"));
        for resource_type in
            ["Condition", "Device", "DocumentReference", "Encounter", "Observation", "Provenance"]
        {
            let rows = stage.clinic.bodies(resource_type, "patient_id IN ('ada', 'bob')").await?;
            ensure!(got.download.lines(resource_type) == rows, "{resource_type}");
        }
        // The context of what came out.
        ensure!(got.ids("Medication") == ["med-used"], "{:?}", got.ids("Medication"));
        Ok(())
    })
}

#[test]
fn in_a_group_the_named_members_come_out_and_nobody_else() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let got = export_by_post(&client, &group(), &[patient("ada"), patient("bob")]).await?;
        ensure!(got.ids("Patient") == ["ada"], "{:?}", got.ids("Patient"));
        ensure!(got.ids("Observation") == ["bt-ada", "hr-ada", "lab-ada"], "{:?}", got.ids("Observation"));
        ensure!(got.told()?.contains("Patient/bob"), "{}", got.told()?);
        Ok(())
    })
}

#[test]
fn each_patient_that_is_not_there_is_told_in_the_error_file() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let list = [patient("ada"), patient("123"), patient("456"), string("_type", "Patient")];
        let got = export_by_post(&client, &Level::Patient, &list).await?;
        ensure!(got.ids("Patient") == ["ada"], "{:?}", got.ids("Patient"));
        let outcomes = got.download.outcomes()?;
        ensure!(outcomes.len() == 2, "{outcomes:?}");
        for id in ["Patient/123", "Patient/456"] {
            ensure!(outcomes.iter().any(|o| o.to_string().contains(id)), "{id}: {outcomes:?}");
        }
        ensure!(outcomes.iter().all(|o| o["issue"][0]["code"] == "not-found"), "{outcomes:?}");
        // Nobody of those who were named: an empty export, not everybody's.
        let list = [patient("123"), patient("456")];
        let got = export_by_post(&client, &Level::Patient, &list).await?;
        ensure!(got.ids("Patient").is_empty() && got.ids("Observation").is_empty(), "{:?}", got.all());
        Ok(())
    })
}

#[test]
fn patient_is_refused_at_system_level_and_in_a_query_even_leniently() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let told = refusal(&post(&client, &Level::System, &[patient("ada")]).await?, 400)?;
        ensure!(told.contains("patient"), "{told}");
        let headers = [ACCEPT, LENIENT, ("Content-Type", "application/fhir+json")];
        let body = parameters(&[patient("ada")]);
        refusal(&post_with(&client, &Level::System, body, &headers).await?, 400)?;
        for level in levels() {
            let query = [("patient", "Patient/ada")];
            ensure!(refusal(&client.kick_off(&level, &query).await?, 400)?.contains("patient"));
            refusal(&client.kick_off_with(&level, &query, &[ACCEPT, LENIENT]).await?, 400)?;
        }
        Ok(())
    })
}

#[test]
fn a_patient_that_is_no_reference_is_refused_even_leniently() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let headers = [ACCEPT, LENIENT, ("Content-Type", "application/fhir+json")];
        for wrong in [
            json!({ "name": "patient", "valueString": "Patient/ada" }),
            json!({ "name": "patient", "valueReference": { "reference": "ada" } }),
            json!({ "name": "patient", "valueReference": { "reference": "Group/ada" } }),
            json!({ "name": "patient", "valueReference": { "reference": "Patient/a b" } }),
            json!({ "name": "patient", "valueReference": { "display": "Ada" } }),
            json!({ "name": "patient" }),
        ] {
            let body = parameters(std::slice::from_ref(&wrong));
            let answer = post_with(&client, &Level::Patient, body, &headers).await?;
            ensure!(refusal(&answer, 400)?.contains("patient"), "{wrong}: {}", answer.text());
        }
        Ok(())
    })
}
