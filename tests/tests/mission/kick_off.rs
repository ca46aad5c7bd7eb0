//! Kick-off as the documentation describes it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::reqwest::Method;
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Answer, Level, sqlx};

use crate::curl;
use crate::stage::{
    ALL, GROUP, OF_GROUP, PATIENTS, USCDI, assert_exported, diagnostics, export, play, refusal,
};

#[test]
fn m14_patient_export_gives_the_uscdi_resources_of_all_patients() -> Result<()> {
    play(async |stage| {
        let (_, client) = stage.client(&stage.clinic).await?;
        let url = format!("{}/Patient/$export", stage.clinic.base_url);
        let accepted = curl::kick_off(&client, &url).await?.expect(202)?;
        let status_url = accepted.header("content-location").context("no Content-Location")?;
        let manifest = client.wait_complete(status_url).await?;
        ensure!(manifest["request"] == url.as_str());
        let download = client.download_all(&manifest).await?;
        ensure!(download.by_type().len() == 20, "{:?}", download.by_type().keys());
        ensure!(download.ids("Patient")? == PATIENTS);
        assert_exported(&download, &stage.clinic, "true").await
    })
}

#[test]
fn m15_system_export_takes_the_documented_since_without_a_zone() -> Result<()> {
    play(async |stage| {
        let practice = stage.empty_practice().await?;
        for (id, stamp) in [
            ("before", "2022-09-30T23:59:59Z"),
            ("at", "2022-10-01T00:00:00Z"),
            ("after", "2022-10-01T00:00:01Z"),
        ] {
            practice.insert("Patient", id, Some(id)).await?;
            sqlx::query("UPDATE fhir_export.patient SET last_updated = $2::timestamptz WHERE id = $1")
                .bind(id)
                .bind(stamp)
                .execute(practice.ehr())
                .await?;
        }
        practice.insert("Organization", "now", None).await?;
        let (_, client) = stage.client(&practice).await?;
        for operation in ["$export", "%24export"] {
            let url =
                format!("{}/{operation}?_since=2022-10-01T00:00:00&_outputFormat=ndjson", practice.base_url);
            let accepted = curl::kick_off(&client, &url).await?.expect(202)?;
            let outcome = accepted.json()?;
            ensure!(outcome["resourceType"] == "OperationOutcome", "{outcome}");
            ensure!(outcome["issue"][0]["severity"] == "warning", "{outcome}");
            let told = outcome["issue"][0]["diagnostics"].as_str().unwrap_or_default();
            ensure!(told.contains("UTC") && told.contains("2022-10-01T00:00:00.000Z"), "{told}");
            let status_url = accepted.header("content-location").context("no Content-Location")?;
            let manifest = client.wait_complete(status_url).await?;
            ensure!(manifest["request"] == url.as_str(), "{}", manifest["request"]);
            let download = client.download_all(&manifest).await?;
            ensure!(download.ids("Patient")? == ["after"], "only what changed after it");
            ensure!(download.ids("Organization")? == ["now"]);
        }
        Ok(())
    })
}

#[test]
fn m15_a_practice_may_refuse_a_since_without_a_zone() -> Result<()> {
    play(async |stage| {
        let number = stage.number();
        let strict = stage
            .app
            .practice(number, &format!("strict{number}"))
            .options(json!({ "since_without_zone": false }))
            .create()
            .await?;
        let (app, client) = stage.client(&strict).await?;
        let kick_off = async |since: &str| {
            let query = format!("_since={since}&_outputFormat=ndjson");
            curl::kick_off(&client, &format!("{}/$export?{query}", strict.base_url)).await
        };
        let issues = refusal(&kick_off("2022-10-01T00:00:00").await?, 400, &[client.token()])?;
        ensure!(diagnostics(&issues).contains("2022-10-01T00:00:00Z"), "it says how to write it");
        ensure!(stage.exports_of(&app).await? == 0);
        kick_off("2022-10-01T00:00:00Z").await?.expect(202)?;
        Ok(())
    })
}

#[test]
fn m16_group_export_gives_the_members_of_a_group_named_by_digits_and_dots() -> Result<()> {
    play(async |stage| {
        let (_, client) = stage.client(&stage.clinic).await?;
        let url = format!("{}/Group/{GROUP}/$export", stage.clinic.base_url);
        ensure!(url.ends_with("/Group/1.105681.22.0.1/$export"));
        let accepted = curl::kick_off(&client, &url).await?.expect(202)?;
        let status_url = accepted.header("content-location").context("no Content-Location")?;
        let manifest = client.wait_complete(status_url).await?;
        let download = client.download_all(&manifest).await?;
        ensure!(download.ids("Patient")? == [PATIENTS[0], PATIENTS[2]]);
        assert_exported(&download, &stage.clinic, OF_GROUP).await
    })
}

#[test]
fn m17_from_the_base_url_of_the_practice_a_vendor_finds_everything_else() -> Result<()> {
    play(async |stage| {
        let (base_url, http) = (&stage.clinic.base_url, stage.app.http());
        let app = stage.app.vendor_app(&[ALL]).await?;
        stage.app.consent(&stage.clinic, &app).await?;
        let discovery = format!("{base_url}/.well-known/smart-configuration");
        let discovery = Answer::to(http.get(discovery)).await?.expect(200)?.json()?;
        let token_url = discovery["token_endpoint"].as_str().context("no token_endpoint")?;
        let form = app.form(ALL, &app.assertion(token_url)?);
        let answer = stage.app.request_token(token_url, &form).await?.expect(200)?.json()?;
        ensure!(answer["allowedFhirUrl"] == base_url.as_str(), "{answer}");
        let metadata = Answer::to(http.get(format!("{base_url}/metadata"))).await?.expect(200)?.json()?;
        ensure!(metadata["implementation"]["url"] == base_url.as_str(), "{metadata}");
        // Another base URL is nobody's.
        let elsewhere = base_url.replace("/pod21test/", "/nobody/");
        let answer = Answer::to(http.get(format!("{elsewhere}/metadata"))).await?;
        refusal(&answer, 404, &[])?;
        Ok(())
    })
}

#[test]
fn m18_metadata_shows_the_parameters_and_types_and_ndjson_is_the_only_format() -> Result<()> {
    play(async |stage| {
        let url = format!("{}/metadata", stage.clinic.base_url);
        let statement = Answer::to(stage.app.http().get(url)).await?.expect(200)?;
        ensure!(statement.header("content-type") == Some("application/fhir+json"));
        let statement = statement.json()?;
        ensure!(statement["resourceType"] == "CapabilityStatement");
        let rest = &statement["rest"][0];
        let shown: BTreeSet<&str> = rest["resource"]
            .as_array()
            .context("no resource")?
            .iter()
            .filter_map(|resource| resource["type"].as_str())
            .collect();
        ensure!(shown == USCDI.into_iter().chain(["Group"]).collect(), "{shown:?}");
        let documentation = rest["documentation"].as_str().context("no documentation")?;
        for parameter in ["_since", "_type", "_outputFormat", "ndjson"] {
            ensure!(documentation.contains(parameter), "{parameter} is not documented");
        }
        for (at, definition) in [
            (rest, "export"),
            (resource(rest, "Patient")?, "patient-export"),
            (resource(rest, "Group")?, "group-export"),
        ] {
            let url = format!("http://hl7.org/fhir/uv/bulkdata/OperationDefinition/{definition}");
            let operations = at["operation"].as_array().context("no operation")?;
            ensure!(operations.iter().any(|o| o["name"] == "export" && o["definition"] == url.as_str()));
        }

        let (_, client) = stage.client(&stage.clinic).await?;
        for format in ["ndjson", "application/ndjson", "application/fhir+ndjson"] {
            let query = [("_outputFormat", format), ("_type", "Patient")];
            client.start(&Level::System, &query).await.with_context(|| format.to_owned())?;
        }
        for format in ["csv", "parquet", "application/xml", "json", ""] {
            let answer = client.kick_off(&Level::System, &[("_outputFormat", format)]).await?;
            refusal(&answer, 400, &[client.token()]).with_context(|| format.to_owned())?;
        }
        Ok(())
    })
}

fn resource<'a>(rest: &'a Value, name: &str) -> Result<&'a Value> {
    let mut resources = rest["resource"].as_array().into_iter().flatten();
    resources.find(|resource| resource["type"] == name).with_context(|| format!("no {name}"))
}

#[test]
fn m19_an_operator_defines_a_group_by_patient_ids() -> Result<()> {
    play(async |stage| {
        const STUDY: &str = "1.105681.22.0.7";
        let practice = stage.empty_practice().await?;
        practice.insert_many("Patient", "p", 9, None, 0).await?;
        let (_, client) = stage.client(&practice).await?;
        let level = Level::Group(STUDY.to_owned());
        // It is there once it was made.
        refusal(&client.kick_off(&level, &[]).await?, 404, &[client.token()])?;

        let path = format!("practices/{}/groups/{STUDY}", practice.number);
        let admin = stage.app.admin();
        admin.put(&path, &json!({ "name": "Study cohort" })).await?.expect(201)?;
        let members = format!("{path}/members");
        let body = json!({ "patient_ids": ["p-2", "p-5", "p-7"] });
        let change = admin.put(&members, &body).await?.expect(200)?.json()?;
        ensure!(counts(&change) == [3, 0, 3, 0], "{change}");
        let body = json!({ "add": ["p-9"], "remove": ["p-5"] });
        let change = admin.post(&members, &body).await?.expect(200)?.json()?;
        ensure!(counts(&change) == [1, 1, 3, 0], "{change}");
        let group = admin.get(&members).await?.expect(200)?.json()?;
        let ids: BTreeSet<&str> = group["members"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|m| m["patient_id"].as_str())
            .collect();
        ensure!(ids == BTreeSet::from(["p-2", "p-7", "p-9"]), "{group}");

        let (_, download) = export(&client, &level, &[]).await?;
        ensure!(download.ids("Patient")? == ["p-2", "p-7", "p-9"]);
        // A group is not readable without a token, and its definition is the operator's alone.
        let stranger = stage.app.http().request(Method::GET, format!("{}/{path}", admin.url()));
        Answer::to(stranger.bearer_auth(client.token())).await?.expect(401)?;
        Ok(())
    })
}

/// Who joined, who left, how many there are, and how many were named twice.
fn counts(change: &serde_json::Value) -> [u64; 4] {
    ["joined", "left", "member_count", "duplicates"].map(|name| change[name].as_u64().unwrap_or(u64::MAX))
}
