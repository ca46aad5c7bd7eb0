//! What went to whom (45 CFR 164.528), with the counts that the clients got, for years after the files are gone.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::reqwest::Method;
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Answer, BulkClient, Download, Level, Practice, TestApp};

use super::{paula, until_purged};
use crate::stage::{self, alone, export_id, options, practice};

/// What a client got.
struct Got {
    status_url: String,
    by_type: BTreeMap<String, usize>,
    files: usize,
}

impl Got {
    fn id(&self) -> &str {
        export_id(&self.status_url)
    }
}

async fn got(client: &BulkClient, status_url: String) -> Result<Got> {
    let manifest = client.wait_complete(&status_url).await?;
    let download: Download = client.download_all(&manifest).await?;
    let by_type = download.by_type().into_iter().map(|(t, lines)| (t, lines.len())).collect();
    Ok(Got { status_url, by_type, files: download.files.len() })
}

/// An export of patients that the request names.
async fn of_patient(client: &BulkClient, id: &str) -> Result<String> {
    let body = json!({ "resourceType": "Parameters", "parameter": [
        { "name": "patient", "valueReference": { "reference": format!("Patient/{id}") } } ] });
    let request = client
        .request(Method::POST, "Patient/$export")
        .header("Accept", "application/fhir+json")
        .header("Prefer", "respond-async")
        .header("Content-Type", "application/fhir+json")
        .body(body.to_string());
    let answer = Answer::to(request).await?.expect(202)?;
    answer.header("content-location").map(str::to_owned).context("no Content-Location")
}

/// Export and basis of what a patient was in.
async fn search(app: &TestApp, practice: &Practice, patient: &str) -> Result<BTreeMap<String, String>> {
    let path = format!("practices/{}/disclosures/search", practice.number);
    let answer =
        paula(app, practice)?.post(&path, &json!({ "patient_id": patient })).await?.expect(200)?.json()?;
    let list = answer["disclosures"].as_array().context("no disclosures")?;
    let entry =
        |one: &Value| Some((one["export_id"].as_str()?.to_owned(), one["basis"].as_str()?.to_owned()));
    list.iter().map(|one| entry(one).with_context(|| one.to_string())).collect()
}

#[test]
fn it_is_known_what_went_to_whom_and_which_patients_were_in_it_even_after_the_purge() -> Result<()> {
    alone(options(), async |app| {
        let practice = practice(app).await?;
        practice.insert_many("Patient", "p", 5, None, 0).await?;
        practice.insert_many("Observation", "o", 50, None, 0).await?;
        practice.insert("Organization", "org", None).await?;
        app.group(&practice, "g", &["p-1", "p-2"]).await?;
        let (first, one) = stage::client(app, &practice).await?;
        let (second, two) = stage::client(app, &practice).await?;
        let whole = got(&two, two.start(&Level::System, &[]).await?).await?;
        let group = got(&one, one.start(&Level::Group("g".to_owned()), &[]).await?).await?;
        let named = got(&one, of_patient(&one, "p-3").await?).await?;
        // Nothing of this one left.
        let cancelled = two.start(&Level::Patient, &[]).await?;
        two.delete(&cancelled).await?.expect(202)?;
        ensure!(
            whole.by_type["Patient"] == 5 && group.by_type["Patient"] == 2 && named.by_type["Patient"] == 1
        );

        let exports = [(&whole, &second), (&group, &first), (&named, &first)];
        for round in ["fresh", "purged"] {
            for (got, vendor) in exports {
                let told = disclosure(app, &practice, &vendor.client_id, got.id()).await?;
                let told = told.with_context(|| format!("{round}: not told"))?;
                ensure!(told["resources_by_type"] == json!(got.by_type), "{round}: {told}");
                ensure!(told["links"]["times"] == 1 && told["downloads"].is_null(), "{round}: {told}");
                let others = exports.iter().filter(|(_, other)| other.client_id != vendor.client_id);
                for (_, other) in others {
                    ensure!(
                        disclosure(app, &practice, &other.client_id, got.id()).await?.is_none(),
                        "{round}"
                    );
                }
            }
            for (patient, expected) in [
                ("p-1", vec![(whole.id(), "all_patients"), (group.id(), "member")]),
                ("p-3", vec![(whole.id(), "all_patients"), (named.id(), "member")]),
                ("p-5", vec![(whole.id(), "all_patients")]),
            ] {
                let expected: BTreeMap<String, String> =
                    expected.into_iter().map(|(id, basis)| (id.to_owned(), basis.to_owned())).collect();
                ensure!(search(app, &practice, patient).await? == expected, "{round}: {patient}");
            }
            if round == "fresh" {
                for (got, client) in [(&whole, &two), (&group, &one), (&named, &one)] {
                    client.delete(&got.status_url).await?.expect(202)?;
                    until_purged(app, got.id()).await?;
                }
            }
        }
        until_purged(app, export_id(&cancelled)).await?;
        ensure!(app.s3_keys("")?.is_empty(), "everything is purged");
        Ok(())
    })
}

#[test]
fn files_fetched_with_the_token_are_counted_and_other_practices_know_nothing_of_it() -> Result<()> {
    alone(options(), async |app| {
        let token = json!({ "file_access": "token" });
        let here = stage::practice_with(app, |practice| practice.options(token)).await?;
        let there = practice(app).await?;
        here.insert_many("Patient", "p", 2, None, 0).await?;
        here.insert_many("Observation", "o", 4, None, 0).await?;
        let (vendor, client) = stage::client(app, &here).await?;
        let got = got(&client, client.start(&Level::System, &[]).await?).await?;
        let told = disclosure(app, &here, &vendor.client_id, got.id()).await?.context("not told")?;
        ensure!(told["downloads"]["times"] == got.files, "{} files: {told}", got.files);
        ensure!(told["granted_by"] == "test" && told["level"] == "system", "{told}");
        ensure!(search(app, &there, "p-1").await?.is_empty(), "another practice");
        ensure!(disclosure(app, &there, &vendor.client_id, got.id()).await?.is_none(), "another practice");
        let path = format!("practices/{}/disclosures/search", here.number);
        paula(app, &there)?.post(&path, &json!({ "patient_id": "p-1" })).await?.expect(404)?;
        Ok(())
    })
}

/// What is told of an export, among the disclosures to an app.
async fn disclosure(app: &TestApp, practice: &Practice, client: &str, export: &str) -> Result<Option<Value>> {
    let path = format!("practices/{}/disclosures?client_id={client}&limit=1000", practice.number);
    let answer = paula(app, practice)?.get(&path).await?.expect(200)?.json()?;
    let list = answer["disclosures"].as_array().context("no disclosures")?;
    Ok(list.iter().find(|one| one["export_id"] == export).cloned())
}
