//! Exports as operators and practices see them: files, what they wait for, requeue, cancel.

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::serde_json::json;
use headgate_testkit::{Level, TestApp};

use crate::scene::{Scene, alone, problem, text};

fn id_of(status_url: &str) -> Result<&str> {
    status_url.rsplit('/').next().context("a status URL ends with the id")
}

#[test]
fn an_export_is_shown_with_its_files_and_can_be_ended_once() -> Result<()> {
    alone(async || {
        let app = TestApp::builder().workers(1).start().await?;
        let practice = app.practice(100_491, "pod21test").create().await?;
        for n in 0..5 {
            practice.insert("Patient", &format!("phi-{n}"), Some(&format!("phi-{n}"))).await?;
        }
        let vendor = app.vendor_app(&["system/*.rs"]).await?;
        app.consent(&practice, &vendor).await?;
        let client = app.client(&practice, &vendor).await?;
        let list = format!("practices/{}/exports", practice.number);

        let url = client.start(&Level::Patient, &[("_type", "Patient")]).await?;
        let manifest = client.wait_complete(&url).await?;
        let path = format!("{list}/{}", id_of(&url)?);
        let shown = app.admin().get(&path).await?.expect(200)?;
        let export = shown.json()?;
        ensure!(export["state"] == "completed" && export["resources"] == 5, "{export}");
        ensure!(export["streams"].as_array().is_some_and(|streams| !streams.is_empty()), "{export}");
        let files = app.admin().get(&format!("{path}/files")).await?.expect(200)?;
        let listed = files.json()?["files"].as_array().context("no files")?.clone();
        ensure!(listed.len() == 1 && listed[0]["resources"] == 5, "{listed:?}");
        ensure!(listed[0]["sha256"] == manifest["output"][0]["extension"]["sha256"], "{listed:?} {manifest}");
        let waiting = app.admin().get(&format!("{path}/waiting")).await?.expect(200)?;
        ensure!(waiting.json()?["waiting"].is_null(), "{}", waiting.text());
        for answer in [&shown, &files, &waiting] {
            let text = answer.text();
            for secret in ["phi-", "X-Amz", &practice.s3_prefix, "http://", "Signature"] {
                ensure!(!text.contains(secret), "{secret} in {text}");
            }
        }
        problem(&app.admin().post(&format!("{path}/requeue"), &json!({})).await?, 409, "ended")?;

        // With nobody to work, an export waits, and the answer says so.
        app_without_worker(app, practice.number, client, &list).await
    })
}

async fn app_without_worker(
    mut app: TestApp,
    number: i64,
    client: headgate_testkit::BulkClient,
    list: &str,
) -> Result<()> {
    app.worker(0).kill()?;
    let url = client.start(&Level::Patient, &[]).await?;
    let id = id_of(&url)?.to_owned();
    let path = format!("{list}/{id}");
    let waiting = app.admin().get(&format!("{path}/waiting")).await?.expect(200)?.json()?;
    ensure!(text(&waiting, "waiting")?.contains(' '), "{waiting}");
    ensure!(waiting["facts"].as_array().is_some_and(|facts| !facts.is_empty()), "{waiting}");
    let requeued = app.admin().post(&format!("{path}/requeue"), &json!({})).await?.expect(202)?.json()?;
    ensure!(requeued["export_id"] == id.as_str() && requeued["practice"] == number, "{requeued}");

    let states = async |state: &str| {
        let found = app.admin().get(&format!("{list}?state={state}")).await?.expect(200)?.json()?;
        Ok::<_, anyhow::Error>(found["exports"].as_array().context("no exports")?.len())
    };
    ensure!(states("completed").await? == 1 && states("accepted").await? == 1);
    problem(&app.admin().get(&format!("{list}?state=sleeping")).await?, 400, "invalid")?;
    let newest = app.admin().get(list).await?.expect(200)?.json()?;
    ensure!(newest["exports"][0]["export_id"] == id.as_str(), "{newest}");
    let nobody = format!("{list}?client_id=fhir{}", "0".repeat(50));
    ensure!(app.admin().get(&nobody).await?.expect(200)?.json()?["exports"] == json!([]));

    let cancelled = app.admin().post(&format!("{path}/cancel"), &json!({})).await?.expect(202)?.json()?;
    ensure!(cancelled["state"] == "cancelled", "{cancelled}");
    for deed in ["cancel", "requeue"] {
        problem(&app.admin().post(&format!("{path}/{deed}"), &json!({})).await?, 409, "ended")?;
    }
    ensure!(client.poll(&url).await?.status == 404);
    // An export of another practice is none of this one.
    let scene = Scene::adopt_with(app, 100_493).await?;
    let foreign = format!("practices/{}/exports/{id}", scene.other.number);
    for deed in ["cancel", "requeue"] {
        problem(&scene.app.admin().post(&format!("{foreign}/{deed}"), &json!({})).await?, 404, "not_found")?;
    }
    for view in ["", "/files", "/waiting"] {
        problem(&scene.app.admin().get(&format!("{foreign}{view}")).await?, 404, "not_found")?;
    }
    scene.app.stop().await;
    Ok(())
}
