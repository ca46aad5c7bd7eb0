//! What comes out is what the templates say: program and SQL form give the same resource for every row of a
//! generated practice, over the whole way from the columns to the client's files.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use headgate_testkit::domain::practice::UsCore;
use headgate_testkit::indicatif::ProgressBar;
use headgate_testkit::oracle::sql_form::{SqlForm, normal_form};
use headgate_testkit::{Level, Practice, TestApp, serde_json, sqlx};

/// Patients of the generated practice.
const PATIENTS: u64 = 300;

#[tokio::test]
async fn program_and_sql_agree_on_every_row_of_300_patients_in_both_versions_of_us_core() -> Result<()> {
    let app = TestApp::start().await?;
    let database = app.reference_ehr(PATIENTS, 7, ProgressBar::hidden()).await?;
    let mapping = app.reference_mapping().await?;
    let vendor = app.vendor_app(&["system/*.rs"]).await?;
    for (number, slug, us_core) in [(100_491, "six", UsCore::V6_1_0), (100_492, "seven", UsCore::V7_0_0)] {
        let practice = app.practice(number, slug).in_database(&database).mapping(mapping);
        let practice = practice.options(serde_json::json!({ "us_core": us_core })).create().await?;
        app.consent(&practice, &vendor).await?;
        let client = app.client(&practice, &vendor).await?;
        let status_url = client.start(&Level::System, &[]).await?;
        let manifest = client.wait_complete(&status_url).await?;
        assert_eq!(manifest["error"], serde_json::json!([]), "no row is passed over");
        let download = client.download_all(&manifest).await?;
        let form = SqlForm::of(&practice.ehr_url, us_core).await?;
        for resource_type in form.types() {
            let lines = normal_form(practice.ehr(), &download.lines(resource_type.name())).await?;
            let expected = form.resources(practice.ehr(), resource_type).await?;
            assert!(!expected.is_empty(), "{resource_type}: nothing to compare");
            for (line, expected) in lines.iter().zip(&expected) {
                assert_eq!(line, expected, "{resource_type}");
            }
            assert_eq!(lines.len(), expected.len(), "{resource_type}");
        }
        assert_eq!(download.by_type().len(), form.types().len());
    }
    Ok(())
}

#[tokio::test]
async fn a_file_never_splits_a_row_and_never_has_more_than_it_may() -> Result<()> {
    let app = TestApp::builder().set("export.file_resources", 50).set("export.page_rows", 17).start().await?;
    let database = app.reference_ehr(40, 3, ProgressBar::hidden()).await?;
    let mapping = app.reference_mapping().await?;
    let practice = app.practice(100_491, "pod").in_database(&database).mapping(mapping).create().await?;
    let vendor = app.vendor_app(&["system/*.rs"]).await?;
    app.consent(&practice, &vendor).await?;
    let client = app.client(&practice, &vendor).await?;
    let manifest = client.wait_complete(&client.start(&Level::System, &[]).await?).await?;
    let download = client.download_all(&manifest).await?;
    let mut names = BTreeSet::new();
    let mut split = BTreeMap::new();
    for file in download.section("output").filter(|file| file.resource_type == "Observation") {
        assert!(file.lines.len() <= 50, "{}: {}", file.name, file.lines.len());
        assert!(names.insert(file.name.clone()), "{} is listed twice", file.name);
        for line in &file.lines {
            let resource: serde_json::Value = serde_json::from_str(line)?;
            let id = resource["id"].as_str().unwrap_or_default();
            // The derived Observations of a set of vital signs share the row's uuid.
            if let Some(row) = id.get(..36).filter(|_| id.len() > 36) {
                let first = split.entry(row.to_owned()).or_insert_with(|| file.name.clone());
                assert_eq!(*first, file.name, "a row's resources are in two files");
            }
        }
    }
    let vitals: i64 = count(&practice, "SELECT count(*) FROM ehr.vital_set").await?;
    assert!(split.len() as i64 <= vitals && split.len() > 100, "few vital signs: {}", split.len());
    Ok(())
}

async fn count(practice: &Practice, sql: &'static str) -> Result<i64> {
    Ok(sqlx::query_scalar(sql).fetch_one(practice.ehr()).await?)
}
