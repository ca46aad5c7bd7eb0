//! Bulk Data Output File Request where `requiresAccessToken` is true.

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::reqwest::{Client, Method, redirect};
use headgate_testkit::serde_json::json;
use headgate_testkit::{Answer, AppHandle, BulkClient, Level, Practice};

use crate::requests::{Export, entries, export, finish, get_lenient, refusal, url_of};
use crate::stage::{Stage, play};

/// A practice whose files need the token, and an export of it.
async fn exported(stage: &Stage) -> Result<(Practice, AppHandle, BulkClient, Export)> {
    let practice = stage.filled(json!({ "file_access": "token" })).await?;
    let (app, client) = stage.app_and_client(&practice).await?;
    let got = export(&client, &Level::Patient, &[]).await?;
    Ok((practice, app, client, got))
}

#[test]
fn the_manifest_says_that_files_need_the_token_and_names_urls_of_this_server() -> Result<()> {
    play(async |stage| {
        let (practice, _, _, got) = exported(stage).await?;
        ensure!(got.manifest["requiresAccessToken"] == true, "{}", got.manifest);
        for entry in entries(&got.manifest, "output")? {
            let url = entry["url"].as_str().context("no url")?;
            ensure!(url.starts_with(&format!("{}/", practice.base_url)), "{url}");
        }
        ensure!(got.download.lines("Patient") == practice.bodies("Patient", "true").await?);
        Ok(())
    })
}

#[test]
fn a_file_is_refused_without_a_good_token_and_with_one_that_does_not_cover_its_type() -> Result<()> {
    play(async |stage| {
        let (practice, app, client, got) = exported(stage).await?;
        let url = url_of(&got.manifest, "Patient")?;
        for method in [Method::GET, Method::HEAD] {
            let nobody = Answer::to(stage.app.http().request(method.clone(), &url)).await?.expect(401)?;
            ensure!(nobody.header("www-authenticate").is_some(), "{:?}", nobody.headers);
            let bad = client.with_token("not-a-token");
            Answer::to(bad.request(method.clone(), &url)).await?.expect(401)?;
            let narrow = stage.app.token(&practice, &app, "system/Observation.rs").await?;
            Answer::to(client.with_token(narrow).request(method, &url)).await?.expect(403)?;
        }
        // A token for the type alone opens files of the type alone.
        let narrow = client.with_token(stage.app.token(&practice, &app, "system/Patient.rs").await?);
        Answer::to(narrow.request(Method::GET, &url)).await?.expect(307)?;
        let other = url_of(&got.manifest, "Observation")?;
        refusal(&Answer::to(narrow.request(Method::GET, &other)).await?, 403)?;
        Ok(())
    })
}

#[test]
fn a_file_is_there_for_the_client_of_its_export_and_for_nobody_else() -> Result<()> {
    play(async |stage| {
        let (practice, _, client, got) = exported(stage).await?;
        let url = url_of(&got.manifest, "Patient")?;
        let other = stage.client(&practice).await?;
        refusal(&Answer::to(other.request(Method::GET, &url)).await?, 404)?;
        for wrong in [url.replace("patient_1", "patient_9"), url.replace("patient_1", "..%2F..%2Fx")] {
            refusal(&Answer::to(client.request(Method::GET, &wrong)).await?, 404)?;
        }
        Ok(())
    })
}

#[test]
fn a_good_token_is_sent_on_to_a_link_of_a_few_minutes_for_its_own_method() -> Result<()> {
    play(async |stage| {
        let (_, _, client, got) = exported(stage).await?;
        let url = url_of(&got.manifest, "Patient")?;
        for method in [Method::GET, Method::HEAD] {
            let answer = Answer::to(client.request(method.clone(), &url)).await?.expect(307)?;
            ensure!(answer.body.is_empty(), "{}", answer.text());
            ensure!(answer.header("cache-control") == Some("no-store"), "{:?}", answer.headers);
            let link = answer.header("location").context("no Location")?;
            let life = link.split("X-Amz-Expires=").nth(1).and_then(|rest| rest.split('&').next());
            let life: u64 = life.context("a link without end")?.parse()?;
            ensure!(life <= 300, "{life}");
            let file = Answer::to(stage.app.http().request(method.clone(), link)).await?.expect(200)?;
            ensure!(file.header("content-type") == Some("application/fhir+ndjson"), "{:?}", file.headers);
            ensure!(file.body.is_empty() == (method == Method::HEAD));
        }
        Ok(())
    })
}

#[test]
fn a_client_that_follows_redirects_and_keeps_its_token_to_itself_gets_the_file() -> Result<()> {
    play(async |stage| {
        let (practice, _, client, got) = exported(stage).await?;
        let following = Client::builder().no_proxy().redirect(redirect::Policy::limited(5)).build()?;
        let url = url_of(&got.manifest, "Patient")?;
        for _ in 0..2 {
            let file = Answer::to(following.get(&url).bearer_auth(client.token())).await?.expect(200)?;
            ensure!(file.text().lines().count() == practice.count("Patient").await? as usize);
        }
        let part = following.get(&url).bearer_auth(client.token()).header("Range", "bytes=0-9");
        ensure!(Answer::to(part).await?.expect(206)?.body.len() == 10);
        Ok(())
    })
}

#[test]
fn files_of_errors_need_a_token_of_the_client_too() -> Result<()> {
    play(async |stage| {
        let practice = stage.filled(json!({ "file_access": "token" })).await?;
        let client = stage.client(&practice).await?;
        let query = [("_type", "Patient"), ("_unknown", "x")];
        let got = finish(&client, get_lenient(&client, &Level::Patient, &query).await?).await?;
        ensure!(got.told()?.contains("_unknown"));
        let url = got.manifest["error"][0]["url"].as_str().context("no error file")?;
        Answer::to(stage.app.http().get(url)).await?.expect(401)?;
        Ok(())
    })
}

#[test]
fn files_of_deletions_and_errors_need_a_token_that_covers_every_type_of_their_export() -> Result<()> {
    play(async |stage| {
        let (practice, app, client, first) = exported(stage).await?;
        let time = first.manifest["transactionTime"].as_str().context("no transactionTime")?;
        practice.delete("Observation", "hr-ada").await?;
        let query = [("_since", time), ("_type", "Patient,Observation"), ("_unknown", "x")];
        let got = finish(&client, get_lenient(&client, &Level::Patient, &query).await?).await?;
        ensure!(got.deleted()? == ["Observation/hr-ada"], "{:?}", got.deleted()?);
        ensure!(got.told()?.contains("_unknown"), "{}", got.told()?);
        let token = async |scopes: &str| stage.app.token(&practice, &app, scopes).await;
        let enough = client.with_token(token("system/Patient.rs system/Observation.rs").await?);
        for scopes in ["system/Patient.rs", "system/Location.rs"] {
            let narrow = client.with_token(token(scopes).await?);
            let polled = refusal(&narrow.poll(&got.status_url).await?, 403)?;
            for list in ["deleted", "error"] {
                let url =
                    got.manifest[list][0]["url"].as_str().with_context(|| format!("no file: {list}"))?;
                let refused = refusal(&Answer::to(narrow.request(Method::GET, url)).await?, 403)?;
                ensure!(refused == polled, "{scopes}, {list}: {refused}\npoll: {polled}");
                for method in [Method::GET, Method::HEAD] {
                    let refused = Answer::to(narrow.request(method.clone(), url)).await?.expect(403)?;
                    let challenge = refused.header("www-authenticate").context("no challenge")?;
                    ensure!(challenge.contains("system/Observation.rs"), "{scopes}, {list}: {challenge}");
                    Answer::to(enough.request(method, url)).await?.expect(307)?;
                }
            }
        }
        Ok(())
    })
}

#[test]
fn files_of_a_deleted_export_and_of_a_revoked_consent_are_gone_at_once() -> Result<()> {
    play(async |stage| {
        let (practice, app, client, got) = exported(stage).await?;
        let url = url_of(&got.manifest, "Patient")?;
        client.delete(&got.status_url).await?.expect(202)?;
        refusal(&Answer::to(client.request(Method::GET, &url)).await?, 404)?;
        let got = export(&client, &Level::Patient, &[]).await?;
        let url = url_of(&got.manifest, "Patient")?;
        stage.app.revoke(&practice, &app).await?;
        let answer = Answer::to(client.request(Method::GET, &url)).await?;
        ensure!([403, 404].contains(&answer.status), "{}", answer.status);
        Ok(())
    })
}
