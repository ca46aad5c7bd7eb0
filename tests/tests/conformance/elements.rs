//! The `_elements` parameter.

use anyhow::{Result, ensure};
use headgate_testkit::Level;
use headgate_testkit::serde_json::{Value, json};

use crate::requests::{
    Export, export, export_by_post, finish, get_lenient, get_raw, levels, refusal, string,
};
use crate::stage::play;

/// The root elements of a resource but `meta`, in their order.
fn members(resource: &Value) -> Vec<&str> {
    let members = resource.as_object().into_iter().flatten();
    members.map(|(name, _)| name.as_str()).filter(|name| *name != "meta").collect()
}

/// Whether a resource says that it is incomplete, exactly as FHIR has it.
fn is_subsetted(resource: &Value) -> bool {
    let tags = resource["meta"]["tag"].as_array().map(Vec::as_slice).unwrap_or_default();
    let coding = ("http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "SUBSETTED");
    tags.iter().any(|tag| tag["system"] == coding.0 && tag["code"] == coding.1)
}

/// Fails unless every resource of a type has these root elements and the tag.
fn only(got: &Export, resource_type: &str, wanted: &[&str]) -> Result<()> {
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    let resources = got.resources(resource_type);
    ensure!(!resources.is_empty(), "no {resource_type}");
    for resource in resources.values() {
        let mut found = members(resource);
        found.sort_unstable();
        ensure!(found == wanted, "{resource_type}: {resource}");
        ensure!(is_subsetted(resource), "not tagged: {resource}");
    }
    Ok(())
}

#[test]
fn elements_that_are_not_listed_are_left_out_and_every_line_is_tagged_subsetted() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for level in levels() {
            let query = [("_elements", "gender,subject"), ("_type", "Patient,Observation")];
            let got = export(&client, &level, &query).await?;
            only(&got, "Patient", &["resourceType", "id", "gender"])?;
            // Status and code are mandatory: without them it would be no Observation.
            only(&got, "Observation", &["resourceType", "id", "status", "code", "subject"])?;
        }
        Ok(())
    })
}

#[test]
fn an_element_with_a_type_is_for_that_type_and_others_stay_whole() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let query = [("_elements", "Patient.birthDate"), ("_type", "Patient,Condition")];
        let got = export(&client, &Level::Patient, &query).await?;
        only(&got, "Patient", &["resourceType", "id", "birthDate"])?;
        let whole = stage.clinic.bodies("Condition", "true").await?;
        ensure!(got.download.lines("Condition") == whole, "an element of Patient touched Condition");
        Ok(())
    })
}

#[test]
fn elements_come_as_a_list_or_repeated_by_get_or_post() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let wanted = ["resourceType", "id", "gender", "birthDate"];
        for query in ["_elements=id,gender,birthDate", "_elements=gender&_elements=Patient.birthDate"] {
            let answer = get_raw(&client, &Level::Patient, &format!("_type=Patient&{query}")).await?;
            only(&finish(&client, answer).await?, "Patient", &wanted)?;
        }
        let list =
            [string("_type", "Patient"), string("_elements", "gender"), string("_elements", "birthDate")];
        only(&export_by_post(&client, &Level::Patient, &list).await?, "Patient", &wanted)
    })
}

#[test]
fn values_are_kept_as_they_are_and_so_is_what_meta_has() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let query = [("_elements", "Observation.value[x]"), ("_type", "Observation")];
        let got = export(&client, &Level::Patient, &query).await?;
        only(&got, "Observation", &["resourceType", "id", "status", "code", "valueQuantity"])?;
        let ada = &got.resources("Observation")["hr-ada"];
        ensure!(ada["valueQuantity"] == json!({ "value": 7, "unit": "1" }), "{ada}");
        ensure!(ada["meta"]["lastUpdated"] == "2026-01-10T10:00:00Z", "{ada}");
        Ok(())
    })
}

#[test]
fn an_unknown_element_is_refused_and_leniently_ignored_without_widening() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for value in ["nothing", "Patient.nothing", "MissingType.id", "Patient.name.family", ""] {
            let told = refusal(&client.kick_off(&Level::Patient, &[("_elements", value)]).await?, 400)?;
            ensure!(told.contains("_elements"), "{value}: {told}");
        }
        let query = [("_elements", "nothing"), ("_type", "Patient")];
        let got = finish(&client, get_lenient(&client, &Level::Patient, &query).await?).await?;
        // The least that is still a resource.
        only(&got, "Patient", &["resourceType", "id"])?;
        ensure!(got.told()?.contains("_elements"), "{}", got.told()?);
        Ok(())
    })
}

#[test]
fn elements_are_taken_from_what_the_filters_let_through() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        // The filter looks at an element that is not handed out.
        let query =
            [("_type", "Patient"), ("_typeFilter", "Patient?gender=female"), ("_elements", "birthDate")];
        let got = export(&client, &Level::Patient, &query).await?;
        ensure!(got.ids("Patient") == ["eve"], "{:?}", got.ids("Patient"));
        only(&got, "Patient", &["resourceType", "id", "birthDate"])
    })
}
