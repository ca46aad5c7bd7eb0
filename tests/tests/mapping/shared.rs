//! The other two ways to keep practices apart in the source: a schema for each, and one database for all with
//! row-level security by a session setting.

use std::collections::BTreeSet;

use anyhow::Result;
use headgate_testkit::ehr::{InstallOptions, PopulateOptions, grant_reader, install, populate};
use headgate_testkit::indicatif::ProgressBar;
use headgate_testkit::{Level, Practice, READER, TestApp};

/// Exports a practice; the ids of all its resources, with their types.
async fn exported(app: &TestApp, practice: &Practice) -> Result<BTreeSet<String>> {
    let vendor = app.vendor_app(&["system/*.rs"]).await?;
    app.consent(practice, &vendor).await?;
    let client = app.client(practice, &vendor).await?;
    let manifest = client.wait_complete(&client.start(&Level::System, &[]).await?).await?;
    let download = client.download_all(&manifest).await?;
    let mut ids = BTreeSet::new();
    for resource_type in download.by_type().keys() {
        ids.extend(download.ids(resource_type)?.iter().map(|id| format!("{resource_type}/{id}")));
    }
    Ok(ids)
}

fn assert_apart(first: &BTreeSet<String>, second: &BTreeSet<String>) {
    assert!(first.len() > 500 && second.len() > 500, "{} and {} resources", first.len(), second.len());
    assert!(first.is_disjoint(second), "a resource is in both practices' exports");
}

#[tokio::test]
async fn each_practice_may_have_a_schema_of_its_own() -> Result<()> {
    let app = TestApp::start().await?;
    let mapping = app.reference_mapping().await?;
    let database = app.new_empty_database().await?;
    let url = app.ehr_url(&database);
    let mut exports = Vec::new();
    for (number, slug) in [(100_491, "north"), (100_492, "south")] {
        let (ehr, export) = (format!("ehr_{number}"), format!("fhir_export_{number}"));
        let options = InstallOptions { ehr_schema: ehr.clone(), export_schema: export.clone(), shared: None };
        install(&url, &options).await?;
        let patients = PopulateOptions { schema: ehr, ..PopulateOptions::new(&url, 12, number) };
        populate(patients, ProgressBar::hidden()).await?;
        grant_reader(&url, &export, READER).await?;
        let practice = app.practice(number.try_into()?, slug).in_database(&database).schema(&export);
        exports.push(exported(&app, &practice.mapping(mapping).create().await?).await?);
    }
    assert_apart(&exports[0], &exports[1]);
    Ok(())
}

#[tokio::test]
async fn practices_may_share_tables_kept_apart_by_row_level_security() -> Result<()> {
    let app = TestApp::start().await?;
    let mapping = app.reference_mapping().await?;
    let database = app.new_empty_database().await?;
    let url = app.ehr_url(&database);
    let numbers = [100_491, 100_492];
    install(&url, &InstallOptions { shared: Some(numbers[0]), ..InstallOptions::default() }).await?;
    for number in numbers {
        let patients = PopulateOptions {
            practice: Some(number),
            ..PopulateOptions::new(&url, 12, number.unsigned_abs())
        };
        populate(patients, ProgressBar::hidden()).await?;
    }
    grant_reader(&url, "fhir_export", READER).await?;
    let mut exports = Vec::new();
    for (number, slug) in numbers.into_iter().zip(["north", "south"]) {
        let practice = app.practice(number, slug).in_database(&database).mapping(mapping);
        let practice = practice.setting("app.practice", &number.to_string()).create().await?;
        exports.push(exported(&app, &practice).await?);
    }
    assert_apart(&exports[0], &exports[1]);
    // Who says nothing sees nothing.
    let nobody = app.practice(100_493, "nobody").in_database(&database).mapping(mapping).create().await?;
    assert_eq!(exported(&app, &nobody).await?, BTreeSet::new());
    Ok(())
}
