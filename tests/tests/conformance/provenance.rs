//! The `includeAssociatedData` parameter, and Provenance without it.

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::Level;
use headgate_testkit::serde_json::{Value, json};

use crate::requests::{
    accepted, export, export_by_post, finish, get_lenient, get_raw, group, levels, post, refusal, string,
};
use crate::stage::{play, stamp};

const LATEST: &str = "LatestProvenanceResources";
const RELEVANT: &str = "RelevantProvenanceResources";

#[test]
fn without_it_all_provenance_of_the_level_comes_out_unless_type_leaves_it_out() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for level in [Level::System, Level::Patient] {
            let got = export(&client, &level, &[]).await?;
            ensure!(got.ids("Provenance").len() == 9, "{:?}", got.ids("Provenance"));
        }
        let of_members = stage.clinic.bodies("Provenance", "patient_id IN ('ada', 'eve')").await?;
        let got = export(&client, &group(), &[]).await?;
        ensure!(got.download.lines("Provenance") == of_members, "{:?}", got.ids("Provenance"));
        let got = export(&client, &group(), &[("_type", "Condition,Patient")]).await?;
        ensure!(got.types() == ["Condition", "Patient"], "{:?}", got.types());
        Ok(())
    })
}

#[test]
fn latest_provenance_is_the_newest_of_each_exported_resource() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let query = [("includeAssociatedData", LATEST)];
        let got = export(&client, &group(), &query).await?;
        let newest = ["prov-enc-ada", "prov-enc-eve", "prov-new-ada", "prov-new-eve"];
        ensure!(got.ids("Provenance") == newest, "{:?}", got.ids("Provenance"));
        // Encounters are not exported, so theirs is not associated with anything.
        let query = [("includeAssociatedData", LATEST), ("_type", "Condition,Provenance")];
        let got = export(&client, &group(), &query).await?;
        ensure!(got.ids("Provenance") == ["prov-new-ada", "prov-new-eve"], "{:?}", got.ids("Provenance"));
        Ok(())
    })
}

#[test]
fn latest_provenance_is_no_more_than_that_at_the_levels_of_all_patients() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for level in [Level::Patient, Level::System] {
            let query = [("includeAssociatedData", LATEST), ("_type", "Condition,Provenance")];
            let got = export(&client, &level, &query).await?;
            let newest = ["prov-new-ada", "prov-new-bob", "prov-new-eve"];
            ensure!(got.ids("Provenance") == newest, "{level:?}: {:?}", got.ids("Provenance"));
        }
        Ok(())
    })
}

#[test]
fn relevant_provenance_is_all_of_each_exported_resource() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let query = [
            ("includeAssociatedData", RELEVANT),
            ("_type", "Condition,Provenance"),
            ("_typeFilter", "Condition?clinical-status=resolved"),
        ];
        let got = export(&client, &Level::Patient, &query).await?;
        ensure!(got.ids("Condition") == ["cond-eve"], "{:?}", got.ids("Condition"));
        ensure!(got.ids("Provenance") == ["prov-new-eve", "prov-old-eve"], "{:?}", got.ids("Provenance"));
        Ok(())
    })
}

#[test]
fn associated_provenance_of_a_change_comes_out_though_it_was_recorded_before_since() -> Result<()> {
    play(async |stage| {
        let practice = stage.filled(json!({})).await?;
        for relation in ["provenance", "condition"] {
            for id in ["prov-old-bob", "prov-new-bob", "cond-ada", "cond-eve"] {
                let _other_relation = stamp(&practice, relation, id, "2024-01-01T00:00:00Z").await;
            }
        }
        let client = stage.client(&practice).await?;
        let query = [
            ("includeAssociatedData", RELEVANT),
            ("_type", "Condition,Provenance"),
            ("_since", "2025-06-01T00:00:00Z"),
        ];
        let got = export(&client, &Level::Patient, &query).await?;
        ensure!(got.ids("Condition") == ["cond-bob"], "{:?}", got.ids("Condition"));
        ensure!(got.ids("Provenance") == ["prov-new-bob", "prov-old-bob"], "{:?}", got.ids("Provenance"));
        Ok(())
    })
}

#[test]
fn both_values_together_mean_the_larger_set_however_they_are_written() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let conditions = "_type=Condition,Provenance&_typeFilter=Condition?clinical-status=resolved";
        for both in [
            format!("includeAssociatedData={LATEST},{RELEVANT}"),
            format!("includeAssociatedData={RELEVANT}&includeAssociatedData={LATEST}"),
        ] {
            let answer = get_raw(&client, &Level::Patient, &format!("{conditions}&{both}")).await?;
            let got = finish(&client, answer).await.with_context(|| both.clone())?;
            ensure!(got.ids("Provenance").len() == 2, "{both}: {:?}", got.ids("Provenance"));
            for level in levels() {
                accepted(&client, get_raw(&client, &level, &both).await?).await?;
            }
        }
        let value = |kind: &str, code: Value| json!({ "name": "includeAssociatedData", kind: code });
        for list in [
            vec![value("valueString", json!(LATEST)), value("valueString", json!(RELEVANT))],
            vec![value("valueCode", json!(RELEVANT)), value("valueCode", json!(LATEST))],
            vec![
                value("valueCoding", json!({ "code": LATEST })),
                value("valueCoding", json!({ "code": RELEVANT })),
            ],
            vec![value("valueString", json!(format!("{LATEST},{RELEVANT}")))],
        ] {
            for level in levels() {
                accepted(&client, post(&client, &level, &list).await?).await?;
            }
            let mut list = list;
            list.push(string("_type", "Condition,Provenance"));
            list.push(string("_typeFilter", "Condition?clinical-status=resolved"));
            let got = export_by_post(&client, &Level::Patient, &list).await?;
            ensure!(got.ids("Provenance").len() == 2, "{:?}", got.ids("Provenance"));
        }
        Ok(())
    })
}

#[test]
fn a_value_that_is_not_supported_is_refused_and_leniently_ignored() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for value in ["_custom", "latestprovenanceresources", ""] {
            for level in levels() {
                let query = [("includeAssociatedData", value)];
                let told = refusal(&client.kick_off(&level, &query).await?, 400)?;
                ensure!(told.contains("includeAssociatedData"), "{value}: {told}");
            }
        }
        let query = [("includeAssociatedData", "_custom"), ("_type", "Provenance")];
        let got = finish(&client, get_lenient(&client, &Level::Patient, &query).await?).await?;
        ensure!(got.ids("Provenance").len() == 9, "{:?}", got.ids("Provenance"));
        ensure!(got.told()?.contains("includeAssociatedData"), "{}", got.told()?);
        Ok(())
    })
}

#[test]
fn it_is_without_effect_and_told_where_type_does_not_name_provenance() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let query = [("includeAssociatedData", RELEVANT), ("_type", "Condition")];
        let got = export(&client, &Level::Patient, &query).await?;
        // `_type` says that only the listed types come out, and it has the last word.
        ensure!(got.types() == ["Condition"], "{:?}", got.types());
        ensure!(got.told()?.contains("includeAssociatedData"), "{}", got.told()?);
        Ok(())
    })
}
