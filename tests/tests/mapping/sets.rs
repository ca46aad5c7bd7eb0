//! Mapping sets as operators handle them: stored by the admin API, refused when wrong, replaced while exports run.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use headgate_testkit::ehr::MAPPING_FILES;
use headgate_testkit::indicatif::ProgressBar;
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Level, TestApp};

/// The set of the reference EHR with this file replaced, or left out.
fn with_file(name: &'static str, text: Option<&'static str>) -> Vec<(&'static str, &'static str)> {
    let others = MAPPING_FILES.iter().copied().filter(|(file, _)| *file != name);
    others.chain(text.map(|text| (name, text))).collect()
}

/// A Goal mapping that says nothing but whose it is.
const SHORT_GOAL: &str = r#"{
  "resourceType": "Goal",
  "streams": [{ "relation": "goal", "resources": [{
    "resourceType": "Goal", "id": "{{id}}", "meta": { "lastUpdated": "{{last_updated | instant}}" },
    "zz": "order is kept", "subject": { "reference": "Patient/{{patient_id}}" }
  }] }]
}"#;

#[tokio::test]
async fn a_set_in_which_anything_is_wrong_is_refused_with_every_place() -> Result<()> {
    let app = TestApp::start().await?;
    let wrong = json!({ "files": {
        "Goal.json": { "resourceType": "Goal", "streams": [{ "relation": "goal", "resources": [
            { "resourceType": "Goal", "id": "{{id}}", "meta": { "lastUpdated": "{{last_updated | instant}}" },
              "status": "{{status | upper}}", "note": [] }] }] },
        "Goals.json": {},
    }});
    let answer = app.admin().put("mappings/mine", &wrong).await?.expect(400)?;
    for place in [
        "Goal.json: streams[0].resources[0].status: there is no filter",
        "Goal.json: streams[0].resources[0].note: an empty array",
        "Goals.json: the name of a mapping file",
    ] {
        assert!(answer.text().contains(place), "{}", answer.text());
    }
    app.admin().put("mappings/Not%20A%20Name", &json!({ "files": {} })).await?.expect(400)?;
    app.admin().get("mappings/mine").await?.expect(404)?;
    assert_eq!(app.admin().get("mappings").await?.expect(200)?.json()?["mappings"], json!([]));
    Ok(())
}

#[tokio::test]
async fn a_stored_set_keeps_the_order_of_its_members() -> Result<()> {
    let app = TestApp::start().await?;
    app.put_mapping("mine", &[("Goal.json", SHORT_GOAL)]).await?;
    let text = app.admin().get("mappings/mine").await?.expect(200)?.text();
    let places =
        ["\"resourceType\"", "\"id\"", "\"meta\"", "\"zz\"", "\"subject\""].map(|name| text.rfind(name));
    assert!(places.is_sorted() && places.iter().all(Option::is_some), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_changed_mapping_is_noted_and_an_older_since_is_warned() -> Result<()> {
    let app = TestApp::start().await?;
    let database = app.reference_ehr(5, 1, ProgressBar::hidden()).await?;
    let mapping = app.reference_mapping().await?;
    let practice = app.practice(100_491, "pod").in_database(&database).mapping(mapping).create().await?;
    let vendor = app.vendor_app(&["system/*.rs"]).await?;
    app.consent(&practice, &vendor).await?;
    let client = app.client(&practice, &vendor).await?;
    let since = [("_since", "2026-01-01T00:00:00Z")];
    let told = |answer: &headgate_testkit::Answer| answer.text().contains("a full export is needed");
    let before = client.kick_off(&Level::System, &since).await?.expect(202)?;
    assert!(!told(&before), "{}", before.text());

    app.put_mapping(mapping, &with_file("Goal.json", Some(SHORT_GOAL))).await?;
    let changed = wait_for_change(&app, practice.number).await?;
    let after = client.kick_off(&Level::System, &since).await?.expect(202)?;
    assert!(told(&after) && after.text().contains(&changed[..10]), "{}", after.text());
    let full = client.kick_off(&Level::System, &[]).await?.expect(202)?;
    assert!(!told(&full), "{}", full.text());
    let manifest = client.wait_complete(&client.start(&Level::System, &[("_type", "Goal")]).await?).await?;
    let goals = client.download_all(&manifest).await?.lines("Goal");
    assert!(!goals.is_empty() && goals.iter().all(|line| line.contains("order is kept")));
    Ok(())
}

#[tokio::test]
async fn a_set_that_does_not_fit_the_source_makes_its_type_unsupported_and_harms_no_other() -> Result<()> {
    const UNFIT: &str = r#"{ "resourceType": "Goal", "streams": [{ "relation": "goal", "resources": [{
        "resourceType": "Goal", "id": "{{id}}", "meta": { "lastUpdated": "{{last_updated | instant}}" },
        "note": [{ "text": "{{no_such_column}}" }] }] }] }"#;
    let app = TestApp::start().await?;
    let database = app.reference_ehr(3, 1, ProgressBar::hidden()).await?;
    app.put_mapping("unfit", &with_file("Goal.json", Some(UNFIT))).await?;
    let practice = app.practice(100_491, "pod").in_database(&database).mapping("unfit").create().await?;
    let source = app.admin().get(&format!("practices/{}/source", practice.number)).await?.json()?;
    let types: Vec<&str> =
        source["types"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert!(!types.contains(&"Goal") && types.contains(&"Condition"), "{types:?}");
    let unusable = &source["unusable"][0];
    assert_eq!(unusable["relation"], "goal");
    let problem = unusable["problem"].as_str().unwrap_or_default();
    assert!(problem.contains("Goal.json: streams[0].resources[0].note[0].text: "), "{source}");
    assert!(problem.contains("there is no column no_such_column"), "{source}");

    // Nor is the type missing from an export without a word.
    let vendor = app.vendor_app(&["system/*.rs"]).await?;
    app.consent(&practice, &vendor).await?;
    let client = app.client(&practice, &vendor).await?;
    let manifest = client.wait_complete(&client.start(&Level::System, &[]).await?).await?;
    let told = client.download_all(&manifest).await?.outcomes()?;
    assert!(told.iter().any(|outcome| outcome.to_string().contains("mend them: goal")), "{told:?}");
    Ok(())
}

#[tokio::test]
async fn a_practice_whose_set_is_unknown_says_so() -> Result<()> {
    let app = TestApp::start().await?;
    let database = app.reference_ehr(0, 1, ProgressBar::hidden()).await?;
    let practice = app.practice(100_491, "pod").in_database(&database).mapping("nowhere");
    let practice = practice.without_refresh().create().await?;
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let source = app.admin().get(&format!("practices/{}/source", practice.number)).await?.json()?;
        if let Some(failure) = source["failure"].as_str() {
            assert!(
                failure.contains("nowhere") && failure.contains("headgate admin mapping put"),
                "{failure}"
            );
            return Ok(());
        }
        if Instant::now() > until {
            bail!("no failure is told: {source}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until a worker has found the source's mapping changed; returns when that was.
async fn wait_for_change(app: &TestApp, number: i64) -> Result<String> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let source = app.admin().get(&format!("practices/{number}/source")).await?.json()?;
        if let Some(changed) = source["changed_at"].as_str() {
            return Ok(changed.to_owned());
        }
        if Instant::now() > until {
            bail!("the change is not noted: {source}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
