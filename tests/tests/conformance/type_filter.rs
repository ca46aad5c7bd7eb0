//! The `_typeFilter` parameter.

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::{BulkClient, Level};

use crate::requests::{
    Export, export, export_by_post, finish, get_lenient, get_raw, group, levels, post, refusal, string,
};
use crate::stage::{TYPES, play, stamp};

async fn filtered(client: &BulkClient, filters: &[&str]) -> Result<Export> {
    let query: Vec<(&str, &str)> = filters.iter().map(|filter| ("_typeFilter", *filter)).collect();
    export(client, &Level::Patient, &query).await
}

#[test]
fn a_filter_restricts_its_own_type_and_no_other() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for level in levels() {
            let whole = export(&client, &level, &[]).await?;
            let got = export(&client, &level, &[("_typeFilter", "Patient?active=true")]).await?;
            ensure!(got.ids("Patient") == ["ada", "eve"], "{:?}", got.ids("Patient"));
            // Not even what belongs to a patient that is left out.
            for other in TYPES.iter().filter(|t| **t != "Patient") {
                ensure!(got.ids(other) == whole.ids(other), "{other}: {:?}", got.ids(other));
            }
        }
        Ok(())
    })
}

#[test]
fn filters_of_one_type_are_alternatives_and_types_are_filtered_each_on_its_own() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let got = filtered(
            &client,
            &[
                "Observation?code=8867-4&patient=ada",
                "Observation?status=amended&patient=Patient/bob",
                "Condition?clinical-status=resolved",
            ],
        )
        .await?;
        ensure!(got.ids("Observation") == ["bt-bob", "hr-ada"], "{:?}", got.ids("Observation"));
        ensure!(got.ids("Condition") == ["cond-eve"], "{:?}", got.ids("Condition"));
        ensure!(got.ids("Encounter").len() == 3);
        Ok(())
    })
}

#[test]
fn criteria_of_one_filter_must_all_be_met() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let both = "Observation?category=vital-signs&status=final&date=ge2026-02-01";
        let got = filtered(&client, &[both]).await?;
        ensure!(got.ids("Observation") == ["hr-bob", "hr-eve"], "{:?}", got.ids("Observation"));
        let window = "Observation?date=gt2026-01-31&date=lt2026-03-01&code=8867-4";
        let got = filtered(&client, &[window]).await?;
        ensure!(got.ids("Observation") == ["hr-bob"], "{:?}", got.ids("Observation"));
        Ok(())
    })
}

#[test]
fn a_comma_is_or_within_a_query_and_separates_queries_before_a_type() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        // Version 3: one query, commas are the OR of FHIR search.
        let got = filtered(&client, &["Observation?code=8867-4,2345-7"]).await?;
        ensure!(got.ids("Observation").len() == 6, "{:?}", got.ids("Observation"));
        // Versions 1 and 2: a list of queries.
        let got = filtered(&client, &["Observation?code=8867-4,2345-7,Patient?gender=female"]).await?;
        ensure!(got.ids("Observation").len() == 6 && got.ids("Patient") == ["eve"], "{:?}", got.all());
        let got = filtered(&client, &["Observation?code=8867-4,Observation?code=2345-7"]).await?;
        ensure!(got.ids("Observation").len() == 6, "{:?}", got.ids("Observation"));
        let list =
            [string("_typeFilter", "Observation?code=8867-4"), string("_typeFilter", "Patient?_id=bob,eve")];
        let got = export_by_post(&client, &Level::Patient, &list).await?;
        ensure!(got.ids("Observation") == ["hr-ada", "hr-bob", "hr-eve"], "{:?}", got.ids("Observation"));
        ensure!(got.ids("Patient") == ["bob", "eve"], "{:?}", got.ids("Patient"));
        Ok(())
    })
}

#[test]
fn tokens_match_by_code_by_system_and_by_both() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for (filter, count) in [
            ("Observation?code=http://loinc.org|8867-4", 3),
            ("Observation?code=http://loinc.org|", 9),
            ("Observation?code=http://snomed.info/sct|8867-4", 0),
            ("Observation?code=|8867-4", 0),
            ("Observation?code=8867", 0),
            ("Observation?status=FINAL", 0),
        ] {
            let got = filtered(&client, &[filter]).await?;
            ensure!(got.ids("Observation").len() == count, "{filter}: {:?}", got.ids("Observation"));
        }
        Ok(())
    })
}

#[test]
fn dates_match_by_their_precision_and_prefix_and_references_and_ids_exactly() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for (filter, resource_type, ids) in [
            ("Encounter?date=2026-02", "Encounter", &["enc-bob"][..]),
            ("Encounter?date=2026-02-10T10:15:00Z", "Encounter", &[]),
            ("Encounter?date=sa2026-02-10", "Encounter", &["enc-eve"]),
            ("Encounter?date=eb2026-02-10", "Encounter", &["enc-ada"]),
            ("Encounter?date=ne2026-02", "Encounter", &["enc-ada", "enc-eve"]),
            ("Encounter?date=le2026-02-10", "Encounter", &["enc-ada", "enc-bob"]),
            ("Encounter?date=gt2026-02-10T12:15:00%2B02:00", "Encounter", &["enc-bob", "enc-eve"]),
            ("Patient?birthdate=1980-03-01", "Patient", &["eve"]),
            ("Encounter?patient=ada", "Encounter", &["enc-ada"]),
            ("Encounter?subject=Patient/eve,Patient/nobody", "Encounter", &["enc-eve"]),
            ("Encounter?_id=enc-bob,enc-nobody", "Encounter", &["enc-bob"]),
        ] {
            let query = [("_typeFilter", filter), ("_type", resource_type)];
            let got = export(&client, &Level::Patient, &query).await?;
            ensure!(got.ids(resource_type) == ids, "{filter}: {:?}", got.ids(resource_type));
        }
        let got = filtered(&client, &["Observation?_lastUpdated=ge2026-03-01T00:00:00Z"]).await?;
        ensure!(got.ids("Observation") == ["bt-eve", "hr-eve", "lab-eve"], "{:?}", got.ids("Observation"));
        Ok(())
    })
}

#[test]
fn what_a_filter_cannot_be_is_refused() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for filter in [
            "Observation",
            "?code=8867-4",
            "code=8867-4",
            "Observation?",
            "MissingType?code=x",
            "Patient/ada/Observation?code=x",
            "Observation?_include=Observation:subject",
            "Observation?_revinclude=Provenance:target",
            "Observation?_sort=date",
            "Observation?_count=10",
            "Observation?_elements=id",
            "Observation?_summary=true",
            "Observation?unknown=x",
            "Observation?code:in=http://example.org/ValueSet/x",
            "Observation?code:not=x",
            "Observation?subject.name=x",
            "Observation?_has:Provenance:target:recorded=x",
            "Observation?code=",
            "Observation?date=yesterday",
            "Observation?date=ap2026",
        ] {
            for level in levels() {
                let told = refusal(&client.kick_off(&level, &[("_typeFilter", filter)]).await?, 400)
                    .with_context(|| filter.to_owned())?;
                ensure!(told.contains("_typeFilter"), "{filter}: {told}");
            }
            refusal(&post(&client, &Level::Patient, &[string("_typeFilter", filter)]).await?, 400)?;
        }
        Ok(())
    })
}

#[test]
fn a_filter_that_is_leniently_ignored_never_lets_its_type_out_unfiltered() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let query = [("_typeFilter", "Observation?unknown=x"), ("_type", "Observation,Patient")];
        let got = finish(&client, get_lenient(&client, &Level::Patient, &query).await?).await?;
        ensure!(got.ids("Observation").is_empty() && got.ids("Patient").len() == 3, "{:?}", got.all());
        ensure!(got.told()?.contains("_typeFilter"), "{}", got.told()?);
        // What another filter of the type asks for comes out.
        let query = [("_typeFilter", "Observation?unknown=x"), ("_typeFilter", "Observation?code=2345-7")];
        let got = finish(&client, get_lenient(&client, &Level::Patient, &query).await?).await?;
        ensure!(got.ids("Observation") == ["lab-ada", "lab-bob", "lab-eve"], "{:?}", got.ids("Observation"));
        Ok(())
    })
}

#[test]
fn filters_apply_within_group_type_and_since() -> Result<()> {
    play(async |stage| {
        let practice = stage.filled(headgate_testkit::serde_json::json!({})).await?;
        stage.app.group(&practice, crate::stage::GROUP, &["ada", "bob"]).await?;
        stamp(&practice, "observation", "hr-ada", "2025-01-01T00:00:00Z").await?;
        let client = stage.client(&practice).await?;
        let query = [
            ("_typeFilter", "Observation?code=8867-4"),
            ("_type", "Observation"),
            ("_since", "2025-06-01T00:00:00Z"),
        ];
        let got = export(&client, &Level::Patient, &query).await?;
        ensure!(got.all() == ["Observation/hr-bob", "Observation/hr-eve"], "{:?}", got.all());
        let without_since = &query[..2];
        let got = export(&client, &group(), without_since).await?;
        ensure!(got.all() == ["Observation/hr-ada", "Observation/hr-bob"], "{:?}", got.all());
        Ok(())
    })
}

#[test]
fn a_filter_of_a_type_that_is_not_asked_for_adds_nothing() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let query = "_type=Patient&_typeFilter=Observation%3Fcode%3D8867-4";
        let got = finish(&client, get_raw(&client, &Level::Patient, query).await?).await?;
        ensure!(got.types() == ["Patient"], "{:?}", got.types());
        Ok(())
    })
}
