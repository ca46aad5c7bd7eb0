//! What it is for.

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::Level;

use crate::stage::{GROUP, OF_GROUP, assert_exported, export, play};

#[test]
fn m01_bulk_gives_all_patients_or_a_group_or_everything_of_a_practice() -> Result<()> {
    play(async |stage| {
        let (_, client) = stage.client(&stage.clinic).await?;
        for (level, condition) in
            [(Level::Patient, "true"), (Level::Group(GROUP.to_owned()), OF_GROUP), (Level::System, "true")]
        {
            let (_, download) = export(&client, &level, &[]).await?;
            assert_exported(&download, &stage.clinic, condition)
                .await
                .with_context(|| format!("level {}", level.path()))?;
        }
        Ok(())
    })
}

#[test]
fn m02_kick_off_then_poll_then_a_manifest_lists_all_ndjson_files() -> Result<()> {
    play(async |stage| {
        let (_, client) = stage.client(&stage.clinic).await?;
        // 1 and 2: the answer says where the status is.
        let accepted = client.kick_off(&Level::Patient, &[]).await?.expect(202)?;
        let status_url = accepted.header("content-location").context("no Content-Location")?;
        // 3: poll.
        let running = client.poll(status_url).await?.expect(202)?;
        ensure!(running.body.is_empty(), "a partial manifest that nobody asked for");
        ensure!(running.header("x-progress").is_some_and(|text| !text.is_empty() && text.len() < 100));
        let pause: u64 = running.header("retry-after").context("no Retry-After")?.parse()?;
        ensure!((1..=30).contains(&pause), "Retry-After: {pause}");
        // 4: the manifest.
        client.wait_complete(status_url).await?;
        let complete = client.poll(status_url).await?.expect(200)?;
        ensure!(complete.header("content-type") == Some("application/json"));
        ensure!(complete.header("expires").is_some_and(|date| date.ends_with(" GMT")));
        let manifest = complete.json()?;
        ensure!(manifest["request"] == format!("{}/Patient/$export", stage.clinic.base_url));
        ensure!(manifest["requiresAccessToken"] == false);
        ensure!(manifest["transactionTime"].as_str().is_some_and(|time| time.ends_with('Z')));
        ensure!(manifest["error"].as_array().is_some_and(Vec::is_empty), "{}", manifest["error"]);
        ensure!(manifest["deleted"].as_array().is_some_and(Vec::is_empty), "{}", manifest["deleted"]);
        let download = client.download_all(&manifest).await?;
        assert_exported(&download, &stage.clinic, "true").await
    })
}
