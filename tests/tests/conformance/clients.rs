//! Habits of real clients and of public test suites (Inferno's Bulk Data kit, the Bulk Data Tester), as far as they go
//! beyond the words of the guide.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::reqwest::{Client, Method};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::sqlx::types::chrono::Utc;
use headgate_testkit::{Answer, Level};

use crate::requests::{
    ACCEPT, PREFER, accepted, bare, entries, export, finish, first_poll, get_lenient, get_raw, levels,
    parameters, post_with, refusal, status_url, url_of,
};
use crate::stage::{ALL, eventually, play};

#[test]
fn commas_of_a_filter_may_be_encoded_once_twice_or_not_at_all() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for filter in [
            "Observation?code=8867-4,2345-7",
            "Observation%3Fcode%3D8867-4%2C2345-7",
            "Observation%3Fcode%3D8867-4%252C2345-7",
            "Observation%3Fcode%3Dhttp%253A%252F%252Floinc.org%257C8867-4%252C2345-7",
        ] {
            let query = format!("_type=Observation&_typeFilter={filter}");
            let got = finish(&client, get_raw(&client, &Level::Patient, &query).await?).await?;
            ensure!(got.ids("Observation").len() == 6, "{filter}: {:?}", got.ids("Observation"));
        }
        Ok(())
    })
}

#[test]
fn a_plus_that_was_not_encoded_is_understood() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for query in [
            "_outputFormat=application/fhir+ndjson",
            "_outputFormat=application%2Ffhir%2Bndjson",
            "_since=2026-01-01T00:00:00+05:00",
            "_until=2026-01-01T00:00:00+05:00",
        ] {
            let answer = get_raw(&client, &Level::Patient, query).await?;
            accepted(&client, answer).await.with_context(|| query.to_owned())?;
        }
        Ok(())
    })
}

#[test]
fn the_dollar_of_export_may_be_encoded_and_so_may_that_of_the_polling_url() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for path in ["%24export", "Patient/%24export"] {
            let request =
                client.request(Method::GET, path).header(ACCEPT.0, ACCEPT.1).header(PREFER.0, PREFER.1);
            let url = status_url(Answer::to(request).await?)?;
            let polled = client.poll(&url.replace('$', "%24")).await?;
            // 200 where the machine stalled so long that the export is complete.
            ensure!([200, 202].contains(&polled.status), "{}: {}", polled.status, polled.text());
            client.delete(&url.replace('$', "%24")).await?.expect(202)?;
        }
        Ok(())
    })
}

#[test]
fn of_many_scopes_those_are_granted_and_exported_that_the_practice_has() -> Result<()> {
    play(async |stage| {
        let types = [
            "AllergyIntolerance",
            "CarePlan",
            "CareTeam",
            "Condition",
            "Coverage",
            "Device",
            "DiagnosticReport",
            "DocumentReference",
            "Encounter",
            "Goal",
            "Immunization",
            "Location",
            "Medication",
            "MedicationRequest",
            "Observation",
            "Organization",
            "Patient",
            "Practitioner",
            "PractitionerRole",
            "Procedure",
            "Provenance",
        ];
        for form in ["read", "rs"] {
            let scopes: Vec<String> = types.iter().map(|t| format!("system/{t}.{form}")).collect();
            let client = stage.client_for(&stage.clinic, &scopes.join(" ")).await?;
            let got = export(&client, &Level::Patient, &[]).await?;
            ensure!(got.types() == crate::stage::TYPES, "{form}: {:?}", got.types());
        }
        Ok(())
    })
}

#[test]
fn each_poll_may_come_with_a_new_token() -> Result<()> {
    play(async |stage| {
        let (app, client) = stage.app_and_client(&stage.clinic).await?;
        let url = client.start(&Level::Patient, &[]).await?;
        let mut manifest = None;
        eventually("the export is complete", async || {
            let token = stage.app.token(&stage.clinic, &app, ALL).await?;
            let answer = client.with_token(token).poll(&url).await?;
            if answer.status == 200 {
                manifest = Some(answer.json()?);
            }
            Ok(manifest.is_some())
        })
        .await?;
        client.download_all(&manifest.context("no manifest")?).await?;
        Ok(())
    })
}

#[test]
fn a_client_without_accept_encoding_gets_a_plain_file_of_a_practice_that_does_not_pack() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let url = url_of(&export(&client, &Level::Patient, &[]).await?.manifest, "Patient")?;
        let (status, body) = bare("GET", &url, &[], "").await?;
        ensure!(status == 200 && body.starts_with('{'), "{status}");
        Ok(())
    })
}

#[test]
fn inferno_kicks_off_polls_with_the_same_token_and_downloads() -> Result<()> {
    play(async |stage| {
        let client = stage.client_for(&stage.clinic, "system/*.read").await?;
        for level in levels() {
            let kick_off = async || client.kick_off_with(&level, &[], &[ACCEPT, PREFER]).await;
            let (url, first) = first_poll(&client, kick_off).await?;
            // It reads Retry-After as a whole number.
            ensure!(
                first.status == 202 && first.header("retry-after").is_some_and(|s| s.parse::<u64>().is_ok())
            );
            let manifest = client.wait_complete(&url).await?;
            for member in ["transactionTime", "request", "requiresAccessToken", "output", "error"] {
                ensure!(manifest.get(member).is_some(), "no {member}");
            }
            let mut patients = 0;
            for entry in entries(&manifest, "output")? {
                let url = entry["url"].as_str().context("no url")?;
                ensure!(url.starts_with("http"), "{url}");
                // Its TLS test fetches a file before the download does.
                let mut file = Answer::to(stage.app.http().get(url)).await?;
                for _ in 0..2 {
                    file = Answer::to(stage.app.http().get(url)).await?.expect(200)?;
                }
                let content_type = file.header("content-type").unwrap_or_default().to_owned();
                ensure!(content_type.starts_with("application/fhir+ndjson"), "{content_type}");
                if entry["type"] == "Patient" {
                    patients += file.text().lines().count();
                }
            }
            ensure!(patients >= 2, "fewer than two patients");
        }
        Ok(())
    })
}

#[test]
fn inferno_cancels_at_once_and_asks_for_formats_and_a_since_of_last_week() -> Result<()> {
    play(async |stage| {
        let client = stage.client_for(&stage.clinic, "system/*.read").await?;
        let week_ago = Utc::now() - Duration::from_secs(7 * 24 * 3600);
        let week_ago = week_ago.format("%Y-%m-%dT%H:%M:%S+00:00").to_string();
        for level in levels() {
            let url = status_url(client.kick_off(&level, &[]).await?)?;
            client.delete(&url).await?.expect(202)?;
            refusal(&client.poll(&url).await?, 404)?;
            for (name, value) in [
                ("_outputFormat", "application/fhir+ndjson"),
                ("_outputFormat", "application/ndjson"),
                ("_outputFormat", "ndjson"),
                ("_since", week_ago.as_str()),
            ] {
                accepted(&client, client.kick_off(&level, &[(name, value)]).await?).await?;
            }
            let url = format!("{}/{}", stage.clinic.base_url, level.path());
            let nobody = stage.app.http().get(url).header(ACCEPT.0, ACCEPT.1).header(PREFER.0, PREFER.1);
            refusal(&Answer::to(nobody).await?, 401)?;
        }
        Ok(())
    })
}

/// Posts as the Bulk Data Tester does: any parameter as `valueString`, the body as `application/json`.
async fn tester_posts(
    client: &headgate_testkit::BulkClient,
    level: &Level,
    list: &[(&str, &str)],
) -> Result<Answer> {
    let list: Vec<Value> =
        list.iter().map(|(name, value)| json!({ "name": name, "valueString": value })).collect();
    let headers = [ACCEPT, PREFER, ("Content-Type", "application/json")];
    post_with(client, level, parameters(&list), &headers).await
}

#[test]
fn the_bulk_data_tester_has_its_parameters_taken_and_its_mistakes_refused() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for level in levels() {
            for (name, value) in [
                ("_outputFormat", "application/xml"),
                ("_outputFormat", "text/html"),
                ("_outputFormat", "x-custom"),
                ("_since", "0000-60-01T30:70:80+05:00"),
                ("_since", "2057-01-01T00:00:00+05:00"),
                ("_type", "MissingType"),
            ] {
                refusal(&client.kick_off(&level, &[(name, value)]).await?, 400)?;
                refusal(&tester_posts(&client, &level, &[(name, value)]).await?, 400)?;
            }
            for list in [
                &[][..],
                &[("_type", "Patient"), ("_type", "Observation")],
                &[("_elements", "id,meta")],
                &[("includeAssociatedData", "LatestProvenanceResources,RelevantProvenanceResources")],
                &[
                    ("includeAssociatedData", "LatestProvenanceResources"),
                    ("includeAssociatedData", "RelevantProvenanceResources"),
                ],
            ] {
                accepted(&client, client.kick_off(&level, list).await?).await?;
                accepted(&client, tester_posts(&client, &level, list).await?).await?;
            }
            for query in [("_typeFilter", "Patient?status=active"), ("includeAssociatedData", "unknown")] {
                accepted(&client, get_lenient(&client, &level, &[query]).await?).await?;
            }
        }
        Ok(())
    })
}

#[test]
fn the_bulk_data_tester_cancels_twice_and_finds_the_files_gone() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let got = export(&client, &Level::Patient, &[("_type", "Patient")]).await?;
        let url = url_of(&got.manifest, "Patient")?;
        client.delete(&got.status_url).await?.expect(202)?;
        refusal(&client.delete(&got.status_url).await?, 404)?;
        let probe = Client::builder().no_proxy().build()?;
        eventually("the file is not there any more", async || {
            Ok(Answer::to(probe.get(&url)).await?.status == 404)
        })
        .await
    })
}

#[test]
fn a_query_that_is_not_utf_8_or_far_too_long_is_refused_and_not_a_failure() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let many = vec!["_type=Patient"; 1_101].join("&");
        for query in
            ["_type=%FF%FE", "%FF=%FE", "_since=%00", "_typeFilter=Patient%3F%00", "&&==&&", many.as_str()]
        {
            let answer = get_raw(&client, &Level::Patient, query).await?;
            ensure!((400..500).contains(&answer.status), "{}: {}", answer.status, answer.text());
            refusal(&answer, answer.status)?;
        }
        Ok(())
    })
}
