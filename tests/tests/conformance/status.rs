//! Bulk Data Status Request, the manifest, and Bulk Data Delete Request.

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::reqwest::Method;
use headgate_testkit::serde_json::json;
use headgate_testkit::sqlx::types::chrono::{DateTime, Utc};
use headgate_testkit::{Answer, BulkClient, Level, Practice};

use crate::requests::{
    ACCEPT, PAUSE, SEPARATE, absolute, entries, export, export_by_post, finish, first_poll, refusal,
    status_url, string, url_of,
};
use crate::stage::{ALL, Lock, Stage, eventually, play, sql};

#[test]
fn a_poll_of_a_running_export_is_202_with_progress_and_whole_seconds_to_wait() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for level in [Level::System, Level::Patient] {
            // However small an export is, it is not complete at once.
            let kick_off = async || client.kick_off(&level, &[("_type", "Location")]).await;
            let (url, answer) = first_poll(&client, kick_off).await?;
            let answer = answer.expect(202)?;
            ensure!(answer.body.is_empty(), "{}", answer.text());
            let seconds: u64 = answer.header("retry-after").context("no Retry-After")?.parse()?;
            ensure!((1..=60).contains(&seconds), "{seconds}");
            let progress = answer.header("x-progress").context("no X-Progress")?;
            ensure!(!progress.is_empty() && progress.len() < 100, "{progress}");
            client.wait_complete(&url).await?;
        }
        Ok(())
    })
}

#[test]
fn a_completed_export_is_200_with_json_and_an_expiry_to_come() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let url = client.start(&Level::Patient, &[]).await?;
        client.wait_complete(&url).await?;
        let answer = client.poll(&url).await?.expect(200)?;
        ensure!(answer.header("content-type") == Some("application/json"), "{:?}", answer.headers);
        let expires = DateTime::parse_from_rfc2822(answer.header("expires").context("no Expires")?)?;
        ensure!(expires > Utc::now(), "{expires}");
        Ok(())
    })
}

#[test]
fn the_manifest_has_every_member_that_it_must_have_and_no_other() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let got = export(&client, &Level::Patient, &[("_type", "Patient,Observation")]).await?;
        let manifest = got.manifest.as_object().context("not an object")?;
        let mut names: Vec<&str> = manifest.keys().map(String::as_str).collect();
        names.sort_unstable();
        ensure!(
            names == ["deleted", "error", "output", "request", "requiresAccessToken", "transactionTime"],
            "{names:?}"
        );
        ensure!(manifest["requiresAccessToken"].is_boolean());
        let time = manifest["transactionTime"].as_str().context("no transactionTime")?;
        ensure!(DateTime::parse_from_rfc3339(time).is_ok() && time.ends_with('Z'), "{time}");
        for entry in entries(&got.manifest, "output")? {
            absolute(&entry["url"])?;
            ensure!(["Patient", "Observation"].contains(&entry["type"].as_str().unwrap_or_default()));
            // One that says how many lines there are says the truth: the download compared it.
            ensure!(entry["count"].as_u64().is_some_and(|count| count > 0), "{entry}");
            ensure!(entry["extension"].is_object(), "{entry}");
        }
        Ok(())
    })
}

#[test]
fn an_export_of_nothing_completes_with_empty_lists_and_no_file() -> Result<()> {
    play(async |stage| {
        let practice = stage.empty().await?;
        let client = stage.client(&practice).await?;
        let got = export(&client, &Level::System, &[]).await?;
        for list in ["output", "deleted", "error"] {
            ensure!(got.manifest[list] == json!([]), "{list}: {}", got.manifest[list]);
        }
        ensure!(stage.app.s3_keys(&format!("{}/", practice.s3_prefix))?.is_empty());
        Ok(())
    })
}

#[test]
fn request_is_the_kick_off_url_with_its_query_and_of_a_post_without_parameters() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let path = "Patient/$export?_type=Patient&_since=2020-01-01T00:00:00%2B00:00";
        let request = client.request(Method::GET, path).header(ACCEPT.0, ACCEPT.1);
        let answer = Answer::to(request.header("Prefer", "respond-async")).await?;
        let got = finish(&client, answer).await?;
        let url = format!("{}/{path}", stage.clinic.base_url);
        ensure!(got.manifest["request"] == url.as_str(), "{}", got.manifest["request"]);
        let got = export_by_post(&client, &Level::Patient, &[string("_type", "Patient")]).await?;
        let url = format!("{}/Patient/$export", stage.clinic.base_url);
        ensure!(got.manifest["request"] == url.as_str(), "{}", got.manifest["request"]);
        Ok(())
    })
}

#[test]
fn transaction_time_is_when_reading_began_and_not_when_the_export_ended() -> Result<()> {
    play(async |stage| {
        let practice = stage.filled(json!({})).await?;
        let client = stage.client(&practice).await?;
        let mut lock = Lock::on(&practice, "patient").await?;
        let url = client.start(&Level::Patient, &[]).await?;
        lock.until_reached().await?;
        let clock = "SELECT clock_timestamp()";
        let during: DateTime<Utc> =
            headgate_testkit::sqlx::query_scalar(clock).fetch_one(practice.ehr()).await?;
        lock.open().await?;
        let manifest = client.wait_complete(&url).await?;
        let time: DateTime<Utc> = manifest["transactionTime"].as_str().context("no time")?.parse()?;
        ensure!(time <= during, "{time} is later than {during}");
        let age = during - time;
        ensure!(age.num_seconds() < 60, "and it is not long ago either: {age}");
        Ok(())
    })
}

#[test]
fn polling_again_gives_the_same_files_by_links_that_work() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let got = export(&client, &Level::Patient, &[]).await?;
        let again = client.poll(&got.status_url).await?.expect(200)?.json()?;
        let download = client.download_all(&again).await?;
        let names = |download: &headgate_testkit::Download| -> Vec<String> {
            download.files.iter().map(|file| file.name.clone()).collect()
        };
        ensure!(names(&download) == names(&got.download));
        ensure!(again["transactionTime"] == got.manifest["transactionTime"]);
        Ok(())
    })
}

#[test]
fn resources_that_cannot_be_exported_are_told_in_error_files_of_a_completed_export() -> Result<()> {
    play(async |stage| {
        let practice = stage.empty().await?;
        practice.insert("Goal", "good", Some("p")).await?;
        practice.insert_body("Goal", "broken", Some("p"), r#"{"resourceType":"Goal","id":"broken""#).await?;
        practice
            .insert_body("Goal", "other", Some("p"), r#"{"resourceType":"Patient","id":"other"}"#)
            .await?;
        let client = stage.client(&practice).await?;
        let got = export(&client, &Level::Patient, &[]).await?;
        ensure!(got.ids("Goal") == ["good"], "{:?}", got.ids("Goal"));
        for entry in entries(&got.manifest, "error")? {
            ensure!(entry["type"] == "OperationOutcome", "{entry}");
        }
        let outcomes = got.download.outcomes()?;
        ensure!(outcomes.len() == 2, "{outcomes:?}");
        ensure!(outcomes.iter().all(|o| o["resourceType"] == "OperationOutcome"), "{outcomes:?}");
        ensure!(got.told()?.contains("Goal"), "{}", got.told()?);
        ensure!(!got.types().contains(&"OperationOutcome".to_owned()), "errors are no output");
        Ok(())
    })
}

/// A practice of which every export fails: two rows of a relation have one key.
async fn broken(stage: &Stage) -> Result<(Practice, BulkClient)> {
    let practice = stage.empty().await?;
    practice.insert("Goal", "twice", Some("p")).await?;
    sql(
        &practice,
        "ALTER TABLE fhir_export.goal RENAME TO goal_rows;
         CREATE VIEW fhir_export.goal AS
             SELECT * FROM fhir_export.goal_rows UNION ALL SELECT * FROM fhir_export.goal_rows;
         GRANT SELECT ON fhir_export.goal TO PUBLIC",
    )
    .await?;
    let client = stage.client(&practice).await?;
    Ok((practice, client))
}

/// The first poll that is not an export in progress.
async fn until(client: &BulkClient, url: &str, done: impl Fn(&Answer) -> bool) -> Result<Answer> {
    let mut last = client.poll(url).await?;
    eventually("the export has ended", async || {
        tokio::time::sleep(PAUSE).await;
        last = client.poll(url).await?;
        Ok(last.status != 429 && done(&last))
    })
    .await?;
    Ok(last)
}

#[test]
fn a_failed_export_is_a_5xx_with_an_operation_outcome() -> Result<()> {
    play(async |stage| {
        let (_practice, client) = broken(stage).await?;
        let url = client.start(&Level::Patient, &[]).await?;
        let answer = until(&client, &url, |answer| answer.status != 202).await?;
        refusal(&answer, 500)?;
        // It goes on saying so.
        refusal(&client.poll(&url).await?, 500)?;
        Ok(())
    })
}

#[test]
fn a_failed_export_can_be_deleted_like_any_other() -> Result<()> {
    play(async |stage| {
        let (_practice, client) = broken(stage).await?;
        let url = client.start(&Level::Patient, &[]).await?;
        until(&client, &url, |answer| answer.status == 500).await?;
        client.delete(&url).await?.expect(202)?;
        refusal(&client.poll(&url).await?, 404)?;
        Ok(())
    })
}

#[test]
fn with_separate_export_status_polls_are_200_and_the_status_stands_in_a_header() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let headers = [ACCEPT, SEPARATE];
        let kick_off = async || client.kick_off_with(&Level::Patient, &[], &headers).await;
        let (url, running) = first_poll(&client, kick_off).await?;
        let running = running.expect(200)?;
        ensure!(running.header("x-export-status") == Some("202"), "{:?}", running.headers);
        ensure!(running.body.is_empty() && running.header("retry-after").is_some(), "{}", running.text());
        let over = |answer: &Answer| answer.header("x-export-status") != Some("202");
        let complete = until(&client, &url, over).await?.expect(200)?;
        ensure!(complete.header("x-export-status") == Some("200"), "{:?}", complete.headers);
        ensure!(complete.header("content-type") == Some("application/json"), "{:?}", complete.headers);
        let manifest = complete.json()?;
        ensure!(client.download_all(&manifest).await?.by_type().len() == 12, "{manifest}");

        let (_practice, unlucky) = broken(stage).await?;
        let url = status_url(unlucky.kick_off_with(&Level::Patient, &[], &headers).await?)?;
        let failed = until(&unlucky, &url, over).await?.expect(200)?;
        let status = failed.header("x-export-status").context("no X-Export-Status")?;
        ensure!(status.starts_with('5'), "{status}");
        ensure!(failed.json()?["resourceType"] == "OperationOutcome", "{}", failed.text());

        // Others are not told apart: the poll itself tells.
        let (_, plain) = first_poll(&client, async || client.kick_off(&Level::Patient, &[]).await).await?;
        let plain = plain.expect(202)?;
        ensure!(plain.header("x-export-status").is_none(), "{:?}", plain.headers);
        Ok(())
    })
}

#[test]
fn deleting_a_running_export_makes_its_polling_url_a_404_at_once() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        for level in crate::requests::levels() {
            // Milliseconds after the kick-off, when nobody has taken it up yet.
            let url = client.start(&level, &[]).await?;
            let answer = client.delete(&url).await?.expect(202)?;
            ensure!(answer.body.is_empty() || answer.json()?["resourceType"] == "OperationOutcome");
            refusal(&client.poll(&url).await?, 404)?;
            refusal(&client.delete(&url).await?, 404)?;
        }
        Ok(())
    })
}

#[test]
fn deleting_a_completed_export_removes_its_files() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let got = export(&client, &Level::Patient, &[]).await?;
        let link = url_of(&got.manifest, "Patient")?;
        Answer::to(stage.app.http().get(&link)).await?.expect(200)?;
        client.delete(&got.status_url).await?.expect(202)?;
        refusal(&client.poll(&got.status_url).await?, 404)?;
        refusal(&client.delete(&got.status_url).await?, 404)?;
        eventually("the file is not there any more", async || {
            Ok(Answer::to(stage.app.http().get(&link)).await?.status == 404)
        })
        .await
    })
}

#[test]
fn an_export_is_there_for_the_client_that_started_it_and_for_nobody_else() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let other = stage.client(&stage.clinic).await?;
        let url = client.start(&Level::Patient, &[]).await?;
        let unknown = format!("fhir-services/$export-status/{}", "0".repeat(32));
        for url in [url.as_str(), &unknown, "fhir-services/$export-status/nonsense"] {
            refusal(&other.poll(url).await?, 404)?;
            refusal(&other.delete(url).await?, 404)?;
        }
        let nobody = Answer::to(stage.app.http().get(&url).header("Accept", "application/json")).await?;
        refusal(&nobody, 401)?;
        client.wait_complete(&url).await?;
        Ok(())
    })
}

#[test]
fn a_poll_needs_a_token_that_covers_every_type_of_the_export() -> Result<()> {
    play(async |stage| {
        let (app, client) = stage.app_and_client(&stage.clinic).await?;
        let url = client.start(&Level::Patient, &[("_type", "Patient,Observation")]).await?;
        client.wait_complete(&url).await?;
        let token = async |scopes: &str| stage.app.token(&stage.clinic, &app, scopes).await;
        let narrow = client.with_token(token("system/Patient.rs").await?);
        refusal(&narrow.poll(&url).await?, 403)?;
        // Another token of the same client will do.
        client
            .with_token(token("system/Patient.rs system/Observation.rs").await?)
            .poll(&url)
            .await?
            .expect(200)?;
        client.with_token(token(ALL).await?).poll(&url).await?.expect(200)?;
        Ok(())
    })
}

#[test]
fn a_client_that_hammers_is_told_to_wait_and_its_export_goes_on() -> Result<()> {
    play(async |stage| {
        let practice = stage.filled(json!({})).await?;
        let client = stage.client(&practice).await?;
        let lock = Lock::on(&practice, "patient").await?;
        let url = client.start(&Level::Patient, &[]).await?;
        let mut refused = None;
        for polls in 0..400 {
            let answer = client.poll(&url).await?;
            if answer.status == 429 {
                ensure!(polls >= 10, "an eager client was taken for one that hammers");
                refused = Some(answer);
                break;
            }
            answer.expect(202)?;
        }
        let refused = refused.context("400 polls at once were served")?;
        refusal(&refused, 429)?;
        let seconds: u64 = refused.header("retry-after").context("no Retry-After")?.parse()?;
        ensure!((1..=120).contains(&seconds), "{seconds}");
        // The code says that it will pass.
        ensure!(refused.json()?["issue"][0]["code"] == "throttled", "{}", refused.text());
        lock.open().await?;
        client.wait_complete(&url).await?;
        Ok(())
    })
}

#[test]
fn a_client_finds_the_polling_urls_of_its_own_exports() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let other = stage.client(&stage.clinic).await?;
        let first = client.start(&Level::Patient, &[("_type", "Patient")]).await?;
        client.wait_complete(&first).await?;
        let second = client.start(&Level::System, &[]).await?;
        let list =
            Answer::to(client.request(Method::GET, "fhir-services/$export-status")).await?.expect(200)?;
        ensure!(list.header("content-type") == Some("application/json"), "{:?}", list.headers);
        let list = list.json()?;
        let urls: Vec<&str> =
            entries(&list, "exports")?.iter().filter_map(|e| e["statusUrl"].as_str()).collect();
        ensure!(urls == [second.as_str(), &first], "the newest first: {list}");
        ensure!(list["exports"][1]["state"] == "completed", "{list}");
        let none =
            Answer::to(other.request(Method::GET, "fhir-services/$export-status")).await?.expect(200)?;
        ensure!(entries(&none.json()?, "exports")?.is_empty(), "{}", none.text());
        let nobody = client.with_token("x").request(Method::GET, "fhir-services/$export-status");
        refusal(&Answer::to(nobody).await?, 401)?;
        Ok(())
    })
}

#[test]
fn an_export_is_not_listed_to_a_token_that_does_not_cover_every_type_of_it() -> Result<()> {
    play(async |stage| {
        let (app, client) = stage.app_and_client(&stage.clinic).await?;
        let both = client.start(&Level::Patient, &[("_type", "Patient,Observation")]).await?;
        let one = client.start(&Level::Patient, &[("_type", "Patient")]).await?;
        client.wait_complete(&both).await?;
        client.wait_complete(&one).await?;
        for (scopes, expected) in [
            (ALL, vec![one.as_str(), both.as_str()]),
            ("system/Patient.rs system/Observation.rs", vec![one.as_str(), both.as_str()]),
            ("system/Patient.rs", vec![one.as_str()]),
            ("system/Location.rs", vec![]),
        ] {
            let bearer = client.with_token(stage.app.token(&stage.clinic, &app, scopes).await?);
            let list = Answer::to(bearer.request(Method::GET, "fhir-services/$export-status")).await?;
            let list = list.expect(200)?.json()?;
            let urls: Vec<&str> =
                entries(&list, "exports")?.iter().filter_map(|e| e["statusUrl"].as_str()).collect();
            ensure!(urls == expected, "{scopes}: {list}");
            // What is listed can be polled, and nothing else.
            for url in [&one, &both] {
                let status = if expected.contains(&url.as_str()) { 200 } else { 403 };
                bearer.poll(url).await?.expect(status)?;
            }
        }
        Ok(())
    })
}
