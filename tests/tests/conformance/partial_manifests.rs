//! The `allowPartialManifests` parameter (version 3).

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Answer, BulkClient, Level};

use crate::requests::{PAUSE, absolute, entries, refusal};
use crate::stage::{Lock, eventually, play};

const PARTIAL: (&str, &str) = ("allowPartialManifests", "true");

/// What stays the same on every page. (`error` grows with the output: what is wrong with a file is not known before.)
fn common(manifest: &Value) -> Vec<&Value> {
    ["transactionTime", "request", "requiresAccessToken"].map(|member| &manifest[member]).to_vec()
}

/// The paths of the files of a manifest; their signatures differ from poll to poll.
fn paths(manifest: &Value) -> Result<Vec<String>> {
    let lists = ["output", "deleted", "error"];
    let all = lists.iter().map(|list| entries(manifest, list)).collect::<Result<Vec<_>>>()?;
    all.into_iter().flatten().map(|entry| Ok(absolute(&entry["url"])?.path().to_owned())).collect()
}

/// The URL of the next manifest. There is one link at most, and it says what it is.
fn next(manifest: &Value) -> Result<Option<String>> {
    let Some(links) = manifest.get("link") else { return Ok(None) };
    let [link] = links.as_array().context("link is no list")?.as_slice() else {
        anyhow::bail!("not one link: {links}");
    };
    ensure!(link["relation"] == "next", "{link}");
    Ok(Some(absolute(&link["url"])?.to_string()))
}

/// A poll that must have a manifest by and by; 202 without one means that there is nothing new yet.
async fn page(client: &BulkClient, url: &str) -> Result<(Answer, Value)> {
    let mut found = None;
    eventually("there is a manifest", async || {
        let answer = client.poll(url).await?;
        if answer.status == 429 {
            return Ok(false);
        }
        ensure!([200, 202].contains(&answer.status), "{}: {}", answer.status, answer.text());
        if !answer.body.is_empty() {
            ensure!(answer.header("content-type") == Some("application/json"), "{:?}", answer.headers);
            let manifest = answer.json()?;
            found = Some((answer, manifest));
            return Ok(true);
        }
        tokio::time::sleep(PAUSE).await;
        Ok(false)
    })
    .await?;
    found.context("no manifest")
}

/// Follows the links from the first page to the last.
async fn pages(client: &BulkClient, status_url: &str) -> Result<Vec<Value>> {
    let (mut url, mut pages) = (status_url.to_owned(), Vec::new());
    loop {
        let (answer, manifest) = page(client, &url).await?;
        let next = next(&manifest)?;
        pages.push(manifest);
        match next {
            Some(next) => url = next,
            None => {
                ensure!(answer.status == 200, "the last page is not complete");
                return Ok(pages);
            }
        }
    }
}

#[test]
fn a_client_that_did_not_allow_it_gets_one_whole_manifest_without_a_link() -> Result<()> {
    play(async |stage| {
        let practice = stage.filled(json!({})).await?;
        let client = stage.client(&practice).await?;
        for query in [&[][..], &[("allowPartialManifests", "false")]] {
            let lock = Lock::on(&practice, "patient").await?;
            let url = client.start(&Level::Patient, query).await?;
            for _ in 0..3 {
                let answer = client.poll(&url).await?.expect(202)?;
                ensure!(answer.body.is_empty(), "{}", answer.text());
            }
            lock.open().await?;
            let manifest = client.wait_complete(&url).await?;
            ensure!(manifest.get("link").is_none(), "{manifest}");
            ensure!(client.download_all(&manifest).await?.by_type().len() == 12);
            refusal(&client.poll(&format!("{url}?page=2")).await?, 404)?;
        }
        Ok(())
    })
}

#[test]
fn a_running_export_lists_files_that_can_be_had_and_what_it_listed_never_changes() -> Result<()> {
    play(async |stage| {
        let practice = stage.filled(json!({})).await?;
        let client = stage.client(&practice).await?;
        // Types that come before it are read and published; the export goes on when it is opened.
        let lock = Lock::on(&practice, "patient").await?;
        let url = client.start(&Level::System, &[PARTIAL]).await?;
        let (answer, first) = page(&client, &url).await?;
        answer.expect(202)?;
        ensure!(!entries(&first, "output")?.is_empty(), "{first}");
        client.download_all(&first).await?;
        let second_url = next(&first)?.context("a running export has no further page")?;

        for _ in 0..2 {
            let (_, again) = page(&client, &url).await?;
            ensure!(paths(&again)? == paths(&first)?, "{again}");
        }
        lock.open().await?;
        let rest = pages(&client, &second_url).await?;
        let (answer, again) = page(&client, &url).await?;
        answer.expect(200)?;
        ensure!(paths(&again)? == paths(&first)?, "it changed when the export was complete: {again}");
        ensure!(common(&again) == common(&first), "{again}");
        ensure!(rest.iter().all(|page| common(page) == common(&first)), "{rest:?}");
        Ok(())
    })
}

#[test]
fn following_the_links_gives_every_file_once() -> Result<()> {
    play(async |stage| {
        // Files of one resource, so that there are many.
        let practice = stage.filled(json!({ "file_resources": 1 })).await?;
        practice.insert_body("Goal", "broken", Some("ada"), "{").await?;
        let client = stage.client(&practice).await?;
        let lock = Lock::on(&practice, "patient").await?;
        let url = client.start(&Level::Patient, &[PARTIAL]).await?;
        let (_, first) = page(&client, &url).await?;
        ensure!(next(&first)?.is_some(), "{first}");
        lock.open().await?;
        let pages = pages(&client, &url).await?;
        ensure!(pages.len() > 1, "{pages:?}");
        let mut seen = BTreeSet::new();
        let mut resources = 0;
        for page in &pages {
            for path in paths(page)? {
                ensure!(seen.insert(path.clone()), "{path} is listed twice");
            }
            let download = client.download_all(page).await?;
            resources += download.section("output").map(|file| file.lines.len()).sum::<usize>();
        }
        let mut rows = 0;
        for resource_type in crate::stage::TYPES {
            rows += practice.count(resource_type).await?;
        }
        ensure!(resources as u64 == rows, "{resources} of {rows} resources");
        let told = pages.iter().map(|page| Ok(entries(page, "error")?.len())).sum::<Result<usize>>()?;
        ensure!(told == 1, "the broken row is told once");
        Ok(())
    })
}

#[test]
fn a_page_holds_a_thousand_files_at_most_and_the_next_one_the_rest() -> Result<()> {
    play(async |stage| {
        let practice = stage.practice(|p| p.options(json!({ "file_resources": 1 }))).await?;
        practice.insert_many("Patient", "p", 3, None, 0).await?;
        practice.insert_many("Observation", "o", 1_001, None, 0).await?;
        let client = stage.client(&practice).await?;
        let query = [PARTIAL, ("_type", "Observation")];
        // Held back until nothing more is to come, so that the first page is as full as it can be.
        let url = client.start(&Level::Patient, &query).await?;
        let list = format!("practices/{}/exports", practice.number);
        eventually("the export is complete", async || {
            let exports = stage.app.admin().get(&list).await?.expect(200)?.json()?;
            Ok(exports["exports"][0]["state"] == "completed")
        })
        .await?;
        let pages = pages(&client, &url).await?;
        let sizes = pages.iter().map(|page| Ok(paths(page)?.len())).collect::<Result<Vec<_>>>()?;
        ensure!(sizes == [1000, 1], "{sizes:?}");
        Ok(())
    })
}

#[test]
fn the_pages_of_an_export_that_was_deleted_are_gone() -> Result<()> {
    play(async |stage| {
        let practice = stage.filled(json!({})).await?;
        let client = stage.client(&practice).await?;
        let lock = Lock::on(&practice, "patient").await?;
        let url = client.start(&Level::Patient, &[PARTIAL]).await?;
        let (_, first) = page(&client, &url).await?;
        let second = next(&first)?.context("no next page")?;
        // Pages are given out in their order.
        refusal(&client.poll(&second.replace("page=2", "page=7")).await?, 404)?;
        refusal(&client.poll(&second.replace("page=2", "page=0")).await?, 404)?;
        client.delete(&url).await?.expect(202)?;
        for url in [&url, &second] {
            refusal(&client.poll(url).await?, 404)?;
        }
        lock.open().await
    })
}
