//! Bulk Data Kick-off Request: endpoints, methods, authority, responses.

use anyhow::{Result, ensure};
use headgate_testkit::reqwest::Method;
use headgate_testkit::serde_json::json;
use headgate_testkit::{Answer, Level};

use crate::requests::{
    ACCEPT, PREFER, accepted, export, export_by_post, get_raw, group, instant, levels, parameters, post,
    post_with, refusal, status_url, string,
};
use crate::stage::{ALL, GROUP, Lock, PATIENTS, TYPES, play};

#[test]
fn each_level_takes_a_get_and_answers_202_with_an_absolute_polling_url() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for level in levels() {
            let answer = client.kick_off(&level, &[]).await?.expect(202)?;
            let outcome = answer.json()?;
            ensure!(outcome["resourceType"] == "OperationOutcome", "{outcome}");
            ensure!(answer.header("content-type") == Some("application/fhir+json"), "{:?}", answer.headers);
            let url = status_url(answer)?;
            let place = format!("{}/fhir-services/$export-status/", stage.clinic.base_url);
            ensure!(url.starts_with(&place), "{url}");
            client.delete(&url).await?.expect(202)?;
        }
        Ok(())
    })
}

#[test]
fn each_level_takes_a_post_with_a_parameters_resource_of_either_content_type() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for level in levels() {
            for content in ["application/fhir+json", "application/json", "application/json; charset=utf-8"] {
                for body in [r#"{"resourceType":"Parameters"}"#.to_owned(), parameters(&[])] {
                    let headers = [ACCEPT, PREFER, ("Content-Type", content)];
                    accepted(&client, post_with(&client, &level, body, &headers).await?).await?;
                }
            }
        }
        Ok(())
    })
}

#[test]
fn a_post_exports_what_the_same_get_exports() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let since = "2020-01-01T00:00:00Z";
        let query = [
            ("_type", "Patient,Observation"),
            ("_typeFilter", "Observation?status=final"),
            ("_since", since),
        ];
        let list = [
            string("_type", "Patient"),
            string("_type", "Observation"),
            string("_typeFilter", "Observation?status=final"),
            instant("_since", since),
            string("_outputFormat", "application/fhir+ndjson"),
        ];
        let by_get = export(&client, &group(), &query).await?;
        let by_post = export_by_post(&client, &group(), &list).await?;
        ensure!(by_get.all() == by_post.all(), "{:?} and {:?}", by_get.all(), by_post.all());
        ensure!(by_get.ids("Observation") == ["hr-ada", "hr-eve", "lab-ada", "lab-eve"]);
        Ok(())
    })
}

#[test]
fn a_post_without_a_parameters_resource_is_refused() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for level in levels() {
            for body in [r#"{"resourceType":"Patient"}"#, "[]", "not json", "null", r#"{"parameter":[]}"#] {
                let headers = [ACCEPT, PREFER, ("Content-Type", "application/fhir+json")];
                let answer = post_with(&client, &level, body.to_owned(), &headers).await?;
                ensure!(refusal(&answer, 400)?.contains("Parameters"), "{body}: {}", answer.text());
            }
            let headers = [ACCEPT, PREFER, ("Content-Type", "application/x-www-form-urlencoded")];
            let answer = post_with(&client, &level, "_type=Patient".to_owned(), &headers).await?;
            refusal(&answer, 415)?;
        }
        Ok(())
    })
}

#[test]
fn the_parameters_of_a_post_stand_in_its_body_alone() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let request = client.request(Method::POST, "Patient/$export?_type=Patient").body(parameters(&[]));
        let request = request
            .header(ACCEPT.0, ACCEPT.1)
            .header(PREFER.0, PREFER.1)
            .header("Content-Type", "application/fhir+json");
        // Passing over them would export more than was asked for.
        refusal(&Answer::to(request).await?, 400)?;
        Ok(())
    })
}

#[test]
fn a_kick_off_without_a_good_token_is_refused_with_401_and_an_operation_outcome() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for level in levels() {
            let url = format!("{}/{}", stage.clinic.base_url, level.path());
            for method in [Method::GET, Method::POST] {
                let request = stage.app.http().request(method.clone(), &url);
                let request = request.header(ACCEPT.0, ACCEPT.1).header(PREFER.0, PREFER.1);
                let answer = Answer::to(request).await?;
                refusal(&answer, 401)?;
                ensure!(answer.header("www-authenticate").is_some_and(|c| c.starts_with("Bearer")));
                let bad = client.with_token("not-a-token").request(method, &level.path());
                refusal(&Answer::to(bad.header(ACCEPT.0, ACCEPT.1).header(PREFER.0, PREFER.1)).await?, 401)?;
            }
        }
        Ok(())
    })
}

#[test]
fn only_what_both_token_and_consent_cover_is_exported() -> Result<()> {
    play(async |stage| {
        let narrow = stage.client_for(&stage.clinic, "system/Patient.rs system/Observation.rs").await?;
        let got = export(&narrow, &Level::Patient, &[]).await?;
        ensure!(got.types() == ["Observation", "Patient"], "{:?}", got.types());

        let app = stage.app.vendor_app(&[ALL]).await?;
        let consent = json!({ "scopes": "system/Patient.rs system/Condition.rs" });
        stage.app.consent_with(&stage.clinic, &app, consent).await?;
        let client = stage.app.client(&stage.clinic, &app).await?;
        let got = export(&client, &Level::Patient, &[]).await?;
        ensure!(got.types() == ["Condition", "Patient"], "{:?}", got.types());
        Ok(())
    })
}

#[test]
fn a_consent_that_was_narrowed_binds_tokens_that_were_issued_before() -> Result<()> {
    play(async |stage| {
        let (app, client) = stage.app_and_client(&stage.clinic).await?;
        stage.app.revoke(&stage.clinic, &app).await?;
        refusal(&client.kick_off(&Level::Patient, &[]).await?, 403)?;
        stage.app.consent_with(&stage.clinic, &app, json!({ "scopes": "system/Patient.rs" })).await?;
        let got = export(&client, &Level::Patient, &[]).await?;
        ensure!(got.types() == ["Patient"], "{:?}", got.types());
        refusal(&client.kick_off(&Level::Patient, &[("_type", "Condition")]).await?, 403)?;
        Ok(())
    })
}

#[test]
fn a_type_that_the_token_does_not_cover_fails_the_kick_off() -> Result<()> {
    play(async |stage| {
        let client = stage.client_for(&stage.clinic, "system/Patient.rs").await?;
        for level in levels() {
            let query = [("_type", "Patient,Observation")];
            let answer = client.kick_off(&level, &query).await?;
            ensure!(refusal(&answer, 403)?.contains("Observation"), "{}", answer.text());
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            ensure!(challenge.contains("insufficient_scope"), "{challenge}");
            let answer = post(&client, &level, &[string("_type", "Patient,Observation")]).await?;
            refusal(&answer, 403)?;
        }
        Ok(())
    })
}

#[test]
fn a_consent_for_certain_groups_opens_no_other_group_and_no_other_level() -> Result<()> {
    play(async |stage| {
        let practice = stage.filled(json!({})).await?;
        stage.app.group(&practice, "open", &["ada"]).await?;
        stage.app.group(&practice, "closed", &["bob"]).await?;
        let app = stage.app.vendor_app(&[ALL]).await?;
        stage.app.consent_with(&practice, &app, json!({ "group_ids": ["open"] })).await?;
        let client = stage.app.client(&practice, &app).await?;
        let got = export(&client, &Level::Group("open".into()), &[]).await?;
        ensure!(got.ids("Patient") == ["ada"], "{:?}", got.ids("Patient"));
        refusal(&client.kick_off(&Level::Group("closed".into()), &[]).await?, 404)?;
        for level in [Level::Patient, Level::System] {
            refusal(&client.kick_off(&level, &[]).await?, 403)?;
        }
        Ok(())
    })
}

#[test]
fn a_group_that_is_not_there_is_refused_at_the_kick_off() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for id in ["no-such-group", "a%20b"] {
            let level = Level::Group(id.to_owned());
            let answer = client.kick_off(&level, &[]).await?;
            ensure!([400, 404].contains(&answer.status), "{id}: {}", answer.text());
            refusal(&answer, answer.status)?;
            let answer = post(&client, &level, &[]).await?;
            refusal(&answer, answer.status)?;
        }
        Ok(())
    })
}

#[test]
fn one_export_more_than_permitted_is_answered_429_with_a_time_to_come_again() -> Result<()> {
    play(async |stage| {
        let practice = stage.filled(json!({ "max_exports_per_app": 1 })).await?;
        let client = stage.client(&practice).await?;
        let lock = Lock::on(&practice, "patient").await?;
        let running = client.start(&Level::Patient, &[]).await?;
        let answer = client.kick_off(&Level::Patient, &[]).await?;
        refusal(&answer, 429)?;
        let seconds: u64 = answer.header("retry-after").unwrap_or_default().parse()?;
        ensure!(seconds > 0);
        // One app does not stand in another one's way.
        let other = stage.client(&practice).await?;
        let started = other.kick_off(&Level::Patient, &[]).await?;
        accepted(&other, started).await?;
        client.delete(&running).await?.expect(202)?;
        let again = client.start(&Level::Patient, &[]).await?;
        lock.open().await?;
        client.wait_complete(&again).await?;
        Ok(())
    })
}

#[test]
fn a_refused_parameter_is_a_400_with_an_operation_outcome_at_every_level() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for level in levels() {
            // Test suites take 404, 405 and 5xx for an operation that is not there.
            for query in
                ["_type=MissingType", "_since=yesterday", "_typeFilter=x", "_elements=nothing", "x=y"]
            {
                let name = query.split('=').next().unwrap_or_default();
                let told = refusal(&get_raw(&client, &level, query).await?, 400)?;
                ensure!(told.contains(name), "{query}: {told}");
            }
        }
        Ok(())
    })
}

#[test]
fn the_system_level_has_everything_and_the_patient_level_all_patients() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for level in [Level::System, Level::Patient] {
            let got = export(&client, &level, &[]).await?;
            ensure!(got.types() == TYPES, "{:?}", got.types());
            ensure!(got.ids("Patient") == PATIENTS, "{:?}", got.ids("Patient"));
            for resource_type in TYPES {
                let rows = stage.clinic.bodies(resource_type, "true").await?;
                ensure!(got.download.lines(resource_type) == rows, "{resource_type}");
            }
        }
        let got = export(&client, &Level::Group(GROUP.to_owned()), &[]).await?;
        ensure!(got.ids("Patient") == ["ada", "eve"], "{:?}", got.ids("Patient"));
        Ok(())
    })
}
