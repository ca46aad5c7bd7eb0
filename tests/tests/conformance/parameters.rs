//! Bulk Data Kick-off Request, Query Parameters: `_outputFormat`, `_since`, `_until`, `_type`, `organizeOutputBy`.

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::serde_json::json;
use headgate_testkit::{BulkClient, Level, Practice};

use crate::requests::{
    accepted, export, export_by_post, finish, get_lenient, get_raw, instant, levels, post, refusal, string,
};
use crate::stage::{Lock, Stage, TYPES, play, stamp};

#[test]
fn the_three_names_of_ndjson_are_accepted_at_every_level() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for level in levels() {
            for format in ["application/fhir+ndjson", "application/ndjson", "ndjson"] {
                accepted(&client, client.kick_off(&level, &[("_outputFormat", format)]).await?).await?;
                accepted(&client, post(&client, &level, &[string("_outputFormat", format)]).await?).await?;
            }
        }
        Ok(())
    })
}

#[test]
fn every_other_output_format_is_refused_even_leniently() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for format in ["application/xml", "text/html", "x-custom", "csv", "application/fhir+json", ""] {
            for level in levels() {
                let query = [("_outputFormat", format)];
                let told = refusal(&client.kick_off(&level, &query).await?, 400)?;
                ensure!(told.contains("_outputFormat"), "{format}: {told}");
                refusal(&get_lenient(&client, &level, &query).await?, 400)?;
                refusal(&post(&client, &level, &[string("_outputFormat", format)]).await?, 400)?;
            }
        }
        Ok(())
    })
}

/// A practice with three patients, changed at one moment, a microsecond before it and a microsecond after it.
async fn around_a_moment(stage: &Stage) -> Result<(Practice, BulkClient)> {
    let practice = stage.empty().await?;
    for (id, fraction) in [("before", "11.999999"), ("at", "12.000000"), ("after", "12.000001")] {
        practice.insert("Patient", id, Some(id)).await?;
        stamp(&practice, "patient", id, &format!("2026-01-01T10:00:{fraction}Z")).await?;
    }
    let client = stage.client(&practice).await?;
    Ok((practice, client))
}

#[test]
fn since_leaves_out_what_changed_at_that_very_instant_or_before() -> Result<()> {
    play(async |stage| {
        let (_practice, client) = around_a_moment(stage).await?;
        for since in ["2026-01-01T10:00:12Z", "2026-01-01T05:00:12.000-05:00"] {
            for level in [Level::System, Level::Patient] {
                let got = export(&client, &level, &[("_since", since)]).await?;
                ensure!(got.ids("Patient") == ["after"], "{:?}", got.ids("Patient"));
                let got = export_by_post(&client, &level, &[instant("_since", since)]).await?;
                ensure!(got.ids("Patient") == ["after"], "{:?}", got.ids("Patient"));
            }
        }
        Ok(())
    })
}

#[test]
fn until_leaves_out_what_changed_at_that_very_instant_or_after() -> Result<()> {
    play(async |stage| {
        let (_practice, client) = around_a_moment(stage).await?;
        let got = export(&client, &Level::Patient, &[("_until", "2026-01-01T10:00:12Z")]).await?;
        ensure!(got.ids("Patient") == ["before"], "{:?}", got.ids("Patient"));
        let window = [("_since", "2026-01-01T10:00:11.999999Z"), ("_until", "2026-01-01T10:00:12.000001Z")];
        let got = export(&client, &Level::System, &window).await?;
        ensure!(got.ids("Patient") == ["at"], "{:?}", got.ids("Patient"));
        let empty = [("_since", "2026-01-01T10:00:12Z"), ("_until", "2026-01-01T10:00:12Z")];
        ensure!(refusal(&client.kick_off(&Level::System, &empty).await?, 400)?.contains("_until"));
        Ok(())
    })
}

#[test]
fn every_valid_instant_is_taken_and_nothing_else() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for valid in [
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00.1Z",
            "2026-01-01T00:00:00.123456789+14:00",
            "2026-01-01T00:00:00-00:30",
            "2024-02-29T23:59:59.999Z",
        ] {
            for name in ["_since", "_until"] {
                let answer = client.kick_off(&Level::Patient, &[(name, valid)]).await?;
                accepted(&client, answer).await.with_context(|| format!("{name}={valid}"))?;
            }
        }
        for wrong in [
            "0000-60-01T30:70:80+05:00",
            "2057-01-01T00:00:00Z",
            "2026-01-01",
            "2026-01",
            "2026-01-01T00:00Z",
            "2025-02-29T00:00:00Z",
            "now",
            "",
        ] {
            for level in levels() {
                let told = refusal(&client.kick_off(&level, &[("_since", wrong)]).await?, 400)?;
                ensure!(told.contains("_since"), "{wrong}: {told}");
                refusal(&post(&client, &level, &[instant("_since", wrong)]).await?, 400)?;
            }
        }
        Ok(())
    })
}

#[test]
fn a_chain_of_since_exports_has_every_change_once_and_none_twice() -> Result<()> {
    play(async |stage| {
        let practice = stage.empty().await?;
        practice.insert_many("Patient", "p", 3, None, 0).await?;
        let client = stage.client(&practice).await?;
        let mut got = export(&client, &Level::Patient, &[]).await?;
        ensure!(got.ids("Patient") == ["p-1", "p-2", "p-3"]);
        for round in 0..3 {
            let id = format!("new-{round}");
            practice.insert("Patient", &id, Some(&id)).await?;
            let time = got.manifest["transactionTime"].as_str().context("no transactionTime")?.to_owned();
            got = export(&client, &Level::Patient, &[("_since", &time)]).await?;
            ensure!(got.ids("Patient") == [id], "{:?}", got.ids("Patient"));
        }
        Ok(())
    })
}

#[test]
fn what_changes_while_an_export_runs_comes_out_in_the_next_one() -> Result<()> {
    play(async |stage| {
        let practice = stage.empty().await?;
        practice.insert("Observation", "o", Some("p")).await?;
        let client = stage.client(&practice).await?;
        let mut lock = Lock::on(&practice, "patient").await?;
        let running = client.start(&Level::Patient, &[]).await?;
        lock.until_reached().await?;
        let changed = r#"{"resourceType":"Observation","id":"o","status":"amended"}"#;
        practice.update("Observation", "o", changed).await?;
        lock.open().await?;
        let first = client.wait_complete(&running).await?;
        let time = first["transactionTime"].as_str().context("no transactionTime")?;
        let next = export(&client, &Level::Patient, &[("_since", time)]).await?;
        ensure!(next.download.lines("Observation") == [changed], "it was lost");
        Ok(())
    })
}

#[test]
fn type_limits_the_export_to_the_listed_types() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for level in levels() {
            let got = export(&client, &level, &[("_type", "Condition,Practitioner")]).await?;
            ensure!(got.types() == ["Condition", "Practitioner"], "{:?}", got.types());
        }
        Ok(())
    })
}

#[test]
fn a_repeated_list_equals_a_joined_one() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let wanted = ["Condition", "Observation", "Patient"];
        for query in [
            "_type=Patient&_type=Condition,Observation",
            "_type=Patient,Condition,Observation",
            "_type=Patient%2CCondition%2CObservation&_type=Patient",
            "_type=Patient,%20Condition%20,Observation",
        ] {
            let answer = get_raw(&client, &Level::Patient, query).await?;
            let got = finish(&client, answer).await?;
            ensure!(got.types() == wanted, "{query}: {:?}", got.types());
        }
        for list in [
            vec![string("_type", "Patient,Condition,Observation")],
            wanted.iter().map(|t| string("_type", t)).collect(),
        ] {
            let got = export_by_post(&client, &Level::Patient, &list).await?;
            ensure!(got.types() == wanted, "{:?}", got.types());
        }
        Ok(())
    })
}

#[test]
fn without_type_every_type_that_is_there_comes_out() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for level in levels() {
            let got = export(&client, &level, &[]).await?;
            ensure!(got.types() == TYPES, "{:?}", got.types());
        }
        Ok(())
    })
}

#[test]
fn an_unknown_type_is_refused_and_leniently_ignored_without_widening() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for value in ["MissingType", "Patient,MissingType", "patient", "Binary", "Group", ""] {
            let told = refusal(&client.kick_off(&Level::System, &[("_type", value)]).await?, 400)?;
            ensure!(told.contains("_type"), "{value}: {told}");
        }
        let answer = get_lenient(&client, &Level::System, &[("_type", "Patient,MissingType")]).await?;
        let got = finish(&client, answer).await?;
        ensure!(got.types() == ["Patient"], "{:?}", got.types());
        ensure!(got.told()?.contains("MissingType"));
        // Ignoring the only type does not mean all types.
        let answer = get_lenient(&client, &Level::System, &[("_type", "MissingType")]).await?;
        if answer.status == 202 {
            let got = finish(&client, answer).await?;
            ensure!(got.types().is_empty(), "{:?}", got.types());
        } else {
            ensure!((400..500).contains(&answer.status), "{}", answer.status);
        }
        Ok(())
    })
}

#[test]
fn a_parameter_with_one_meaning_is_refused_when_it_is_given_twice() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for query in [
            "_since=2026-01-01T00:00:00Z&_since=2025-01-01T00:00:00Z",
            "_until=2026-01-01T00:00:00Z&_until=2025-01-01T00:00:00Z",
            "_outputFormat=ndjson&_outputFormat=application/ndjson",
            "allowPartialManifests=true&allowPartialManifests=false",
        ] {
            refusal(&get_raw(&client, &Level::Patient, query).await?, 400)?;
        }
        Ok(())
    })
}

#[test]
fn organize_output_by_is_refused_in_words_and_leniently_ignored() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let query = [("organizeOutputBy", "Patient"), ("_type", "Patient")];
        ensure!(refusal(&client.kick_off(&Level::Patient, &query).await?, 400)?.contains("organizeOutputBy"));
        let refused = post(&client, &Level::Patient, &[string("organizeOutputBy", "Patient")]).await?;
        refusal(&refused, 400)?;
        let answer = get_lenient(&client, &Level::Patient, &query).await?;
        let got = finish(&client, answer).await?;
        ensure!(got.manifest.get("outputOrganizedBy").is_none(), "{}", got.manifest);
        ensure!(got.manifest["output"][0]["type"] == json!("Patient"), "{}", got.manifest);
        Ok(())
    })
}
