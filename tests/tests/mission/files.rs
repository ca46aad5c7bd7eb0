//! Status, files and deletion as the documentation describes them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::reqwest::Url;
use headgate_testkit::{Answer, Level};

use crate::stage::{Stage, USCDI, export, play, refusal};

/// The export id at the end of a status URL.
fn export_id<'a>(status_url: &'a str, base_url: &str) -> Result<&'a str> {
    let id = status_url
        .strip_prefix(&format!("{base_url}/fhir-services/$export-status/"))
        .with_context(|| format!("another path: {status_url}"))?;
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    ensure!(id.len() == 32 && id.chars().all(hex), "not 32 hex digits: {id}");
    Ok(id)
}

#[test]
fn m20_content_location_is_the_status_url_with_thirty_two_hex_digits() -> Result<()> {
    play(async |stage| {
        let (_, client) = stage.client(&stage.clinic).await?;
        let mut ids = Vec::new();
        for _ in 0..2 {
            let status_url = client.start(&Level::Patient, &[("_type", "Patient")]).await?;
            ids.push(export_id(&status_url, &stage.clinic.base_url)?.to_owned());
            // Clients that encode the dollar find it as well.
            for url in [status_url.clone(), status_url.replace('$', "%24")] {
                ensure!([200, 202].contains(&client.poll(&url).await?.status));
            }
        }
        ensure!(ids[0] != ids[1], "two exports have one id");
        Ok(())
    })
}

#[test]
fn m21_file_urls_have_prefix_practice_export_id_lower_case_type_and_number() -> Result<()> {
    play(async |stage| {
        let (_, client) = stage.client(&stage.clinic).await?;
        let status_url = client.start(&Level::System, &[]).await?;
        let id = export_id(&status_url, &stage.clinic.base_url)?;
        let manifest = client.wait_complete(&status_url).await?;
        let output = manifest["output"].as_array().context("no output")?;
        ensure!(output.len() == USCDI.len());
        for entry in output {
            let url: Url = entry["url"].as_str().context("no url")?.parse()?;
            let name = entry["type"].as_str().context("no type")?.to_lowercase();
            let path = format!("/ema/100491/{id}/{name}_1.ndjson");
            ensure!(url.path().ends_with(&path), "{} does not end with {path}", url.path());
            // The link alone opens the file.
            ensure!(url.query().is_some_and(|query| query.contains("X-Amz-Signature=")));
            Answer::to(stage.app.http().get(url.clone())).await?.expect(200)?;
            let mut bare = url;
            bare.set_query(None);
            Answer::to(stage.app.http().get(bare)).await?.expect(403)?;
        }
        let mut keys = stage.app.s3_keys(&format!("ema/100491/{id}/"))?;
        ensure!(keys.len() == USCDI.len(), "{keys:?}");
        keys.retain(|key| key.ends_with("/encounter_1.ndjson"));
        ensure!(keys == [format!("ema/100491/{id}/encounter_1.ndjson")], "{keys:?}");
        Ok(())
    })
}

#[test]
fn m22_files_are_ndjson_by_type_with_at_most_1000_resources() -> Result<()> {
    play(async |stage| {
        let practice = stage.empty_practice().await?;
        practice.insert_many("Patient", "p", 10, None, 0).await?;
        practice.insert_many("Observation", "o", 2_500, None, 0).await?;
        practice.insert_many("Condition", "c", 1_000, None, 0).await?;
        let (_, client) = stage.client(&practice).await?;
        let (manifest, download) = export(&client, &Level::Patient, &[]).await?;
        let mut files: Vec<(&str, usize)> =
            download.section("output").map(|file| (file.name.as_str(), file.lines.len())).collect();
        files.sort_unstable();
        ensure!(
            files
                == [
                    ("condition_1.ndjson", 1000),
                    ("observation_1.ndjson", 1000),
                    ("observation_2.ndjson", 1000),
                    ("observation_3.ndjson", 500),
                    ("patient_1.ndjson", 10),
                ],
            "{files:?}"
        );
        for (resource_type, lines) in download.by_type() {
            let start = format!("{{\"resourceType\":\"{resource_type}\",");
            ensure!(lines.iter().all(|line| line.starts_with(&start)), "{resource_type}");
            let mut lines = lines;
            lines.sort();
            ensure!(lines == practice.bodies(&resource_type, "true").await?, "{resource_type}");
        }
        let url = manifest["output"][0]["url"].as_str().context("no url")?;
        let file = Answer::to(stage.app.http().get(url)).await?.expect(200)?;
        ensure!(file.header("content-type") == Some("application/fhir+ndjson"), "{:?}", file.headers);
        Ok(())
    })
}

#[test]
fn m23_delete_cancels_a_running_request_and_removes_the_files_of_a_complete_one() -> Result<()> {
    play(async |stage| {
        let practice = stage.empty_practice().await?;
        practice.insert_many("Patient", "p", 100, None, 0).await?;
        practice.insert_many("Observation", "o", 20_000, None, 200).await?;
        let (_, client) = stage.client(&practice).await?;

        let running = client.start(&Level::System, &[]).await?;
        let prefix = format!("{}/{}/", practice.s3_prefix, export_id(&running, &practice.base_url)?);
        wait_for_objects(stage, &prefix, false).await?;
        client.delete(&running).await?.expect(202)?;
        let complete = client.start(&Level::System, &[("_type", "Patient")]).await?;
        let manifest = client.wait_complete(&complete).await?;
        let link = manifest["output"][0]["url"].as_str().context("no url")?.to_owned();
        Answer::to(stage.app.http().get(&link)).await?.expect(200)?;

        let deleted = client.delete(&complete).await?.expect(202)?;
        ensure!(deleted.json()?["resourceType"] == "OperationOutcome");
        for status_url in [&running, &complete] {
            // From that moment it is not there any more, for polls and for a second deletion.
            refusal(&client.poll(status_url).await?, 404, &[client.token()])?;
            refusal(&client.delete(status_url).await?, 404, &[client.token()])?;
        }
        // Objects go as soon as no worker can be writing any more.
        wait_for_objects(stage, &format!("{}/", practice.s3_prefix), true).await?;
        Answer::to(stage.app.http().get(&link)).await?.expect(404)?;
        Ok(())
    })
}

/// Waits until the first object is there, or none is there any more.
async fn wait_for_objects(stage: &Stage, prefix: &str, gone: bool) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let keys = stage.app.s3_keys(prefix)?;
        if keys.is_empty() == gone {
            return Ok(());
        }
        ensure!(Instant::now() < until, "after half a minute: {keys:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
