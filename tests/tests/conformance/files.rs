//! Bulk Data Output File Request, and what stands in the files.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use headgate_testkit::reqwest::{self, Client, Url};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Answer, Level};

use crate::requests::{bare, entries, export, group, url_of};
use crate::stage::play;

#[test]
fn a_file_is_ndjson_of_one_type_by_its_content_type_and_by_its_content() -> Result<()> {
    play(async |stage| {
        let practice = stage.filled(json!({})).await?;
        // Over several lines, as a person would write it.
        let body =
            "{\n  \"resourceType\": \"Goal\",\n  \"id\": \"goal\",\n  \"note\": [{\"text\": \"a\\nb\"}]\n}\n";
        practice.insert_body("Goal", "goal", Some("ada"), body).await?;
        let client = stage.client(&practice).await?;
        let manifest = export(&client, &Level::Patient, &[]).await?.manifest;
        for entry in entries(&manifest, "output")? {
            let answer = Answer::to(stage.app.http().get(entry["url"].as_str().context("no url")?)).await?;
            let answer = answer.expect(200)?;
            ensure!(answer.header("content-type") == Some("application/fhir+ndjson"), "{:?}", answer.headers);
            let text = String::from_utf8(answer.body)?;
            // One line feed ends each line, the last one too, and there is no blank line.
            ensure!(text.ends_with('\n') && !text.contains("\n\n") && !text.contains('\r'), "{text}");
            for line in text.lines() {
                let resource: Value = line.parse().with_context(|| line.to_owned())?;
                ensure!(resource["resourceType"] == entry["type"], "{line}");
                ensure!(resource["id"].is_string(), "{line}");
            }
        }
        Ok(())
    })
}

#[test]
fn a_file_is_served_whatever_the_client_accepts() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let url = url_of(&export(&client, &Level::Patient, &[]).await?.manifest, "Patient")?;
        for headers in [
            &[][..],
            &[("Accept", "*/*")],
            &[("Accept", "application/fhir+ndjson")],
            &[("Accept", "text/csv")],
        ] {
            let (status, body) = bare("GET", &url, headers, "").await?;
            ensure!(status == 200 && body.lines().count() == 3, "{headers:?}: {status}");
        }
        Ok(())
    })
}

#[test]
fn a_signed_link_needs_no_token_works_again_and_again_and_is_nothing_without_its_signature() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let manifest = export(&client, &Level::Patient, &[]).await?.manifest;
        ensure!(manifest["requiresAccessToken"] == false, "{manifest}");
        let url = url_of(&manifest, "Patient")?;
        for _ in 0..3 {
            Answer::to(stage.app.http().get(&url)).await?.expect(200)?;
        }
        let parsed: Url = url.parse()?;
        let mut bare = parsed.clone();
        bare.set_query(None);
        let refused = Answer::to(stage.app.http().get(bare)).await?;
        ensure!((400..500).contains(&refused.status), "{}", refused.status);
        // It lives for the time of a token at most.
        let life = parsed.query_pairs().find(|(name, _)| name == "X-Amz-Expires");
        let life: u64 = life.context("a link without end")?.1.parse()?;
        ensure!(life <= 1800, "{life}");
        Ok(())
    })
}

#[test]
fn a_part_of_a_file_can_be_had_and_its_head() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let url = url_of(&export(&client, &Level::Patient, &[]).await?.manifest, "Patient")?;
        let whole = Answer::to(stage.app.http().get(&url)).await?.expect(200)?.body;
        let half = whole.len() / 2;
        let rest = stage.app.http().get(&url).header("Range", format!("bytes={half}-"));
        let rest = Answer::to(rest).await?.expect(206)?;
        ensure!(rest.body == whole[half..], "the rest is another one");
        let range = format!("bytes {half}-{}/{}", whole.len() - 1, whole.len());
        ensure!(rest.header("content-range") == Some(range.as_str()), "{:?}", rest.headers);
        Ok(())
    })
}

#[test]
fn only_the_latest_version_of_a_resource_comes_out_and_once() -> Result<()> {
    play(async |stage| {
        let practice = stage.filled(json!({})).await?;
        let latest = r#"{"resourceType":"Patient","id":"ada","active":false}"#;
        practice.update("Patient", "ada", r#"{"resourceType":"Patient","id":"ada"}"#).await?;
        practice.update("Patient", "ada", latest).await?;
        stage.app.group(&practice, crate::stage::GROUP, &["ada", "bob"]).await?;
        let client = stage.client(&practice).await?;
        for level in [Level::System, Level::Patient, group()] {
            let got = export(&client, &level, &[]).await?;
            let all = got.all();
            let different: BTreeSet<&String> = all.iter().collect();
            ensure!(all.len() == different.len(), "something came out twice: {all:?}");
            ensure!(got.download.lines("Patient").iter().any(|line| line == latest));
        }
        Ok(())
    })
}

#[test]
fn files_of_a_gzip_practice_say_so_and_are_as_long_as_they_say() -> Result<()> {
    play(async |stage| {
        let practice = stage.filled(json!({ "gzip": true })).await?;
        let client = stage.client(&practice).await?;
        // The client of this test unpacks what says that it is packed, and compares it with the manifest.
        let got = export(&client, &Level::Patient, &[]).await?;
        ensure!(got.download.lines("Patient") == practice.bodies("Patient", "true").await?);
        let url = url_of(&got.manifest, "Patient")?;
        let as_it_is = Client::builder().no_proxy().no_gzip().build()?;
        for accepted in ["gzip", "gzip, deflate, br"] {
            let answer =
                Answer::to(as_it_is.get(&url).header("Accept-Encoding", accepted)).await?.expect(200)?;
            ensure!(answer.header("content-encoding") == Some("gzip"), "{:?}", answer.headers);
            ensure!(answer.header("content-type") == Some("application/fhir+ndjson"), "{:?}", answer.headers);
            ensure!(answer.body.starts_with(&[0x1f, 0x8b]), "not gzip");
            let length = answer.header("content-length").context("no Content-Length")?;
            ensure!(length == answer.body.len().to_string(), "{length}");
        }
        Ok(())
    })
}

#[test]
fn files_of_other_practices_are_plain_whatever_the_client_offers() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let url = url_of(&export(&client, &Level::Patient, &[]).await?.manifest, "Patient")?;
        let as_it_is = reqwest::Client::builder().no_proxy().no_gzip().build()?;
        for accepted in ["gzip", "identity", "gzip;q=0, identity"] {
            let answer =
                Answer::to(as_it_is.get(&url).header("Accept-Encoding", accepted)).await?.expect(200)?;
            ensure!(answer.header("content-encoding").is_none(), "{:?}", answer.headers);
            ensure!(answer.body.starts_with(b"{"), "not plain");
        }
        Ok(())
    })
}

#[test]
fn a_document_has_either_its_data_or_an_absolute_url() -> Result<()> {
    play(async |stage| {
        let client = stage.client(&stage.clinic).await?;
        let got = export(&client, &group(), &[("_type", "DocumentReference")]).await?;
        ensure!(got.ids("DocumentReference").len() == 2);
        for document in got.resources("DocumentReference").values() {
            for content in document["content"].as_array().context("no content")? {
                let attachment = &content["attachment"];
                ensure!(attachment["contentType"].is_string(), "{attachment}");
                match (attachment["data"].as_str(), attachment["url"].as_str()) {
                    (Some(data), None) => ensure!(!STANDARD.decode(data)?.is_empty()),
                    (None, Some(url)) => ensure!(url.parse::<Url>().is_ok(), "{url}"),
                    _ => anyhow::bail!("not one of both: {attachment}"),
                }
            }
        }
        Ok(())
    })
}
