//! The one Headgate that all tests share, and what they need of it.
//!
//! Tests are functions without `async`: [`play`] runs each on one runtime of the whole process, because
//! connections that a test leaves in a pool would die with a runtime of its own.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Context as _, Result, anyhow, ensure};
use headgate_testkit::serde_json::Value;
use headgate_testkit::{Answer, AppHandle, BulkClient, Download, Level, Practice, TestApp, sqlx};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::OnceCell;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime can be built")
});

/// A failed start is kept, so that the other tests need not wait for theirs.
static STAGE: OnceCell<Result<Stage, String>> = OnceCell::const_new();

/// Every scope there is.
pub const ALL: &str = "system/*.rs";

/// The types of the product's USCDI set, as its scopes list them.
pub const USCDI: [&str; 20] = [
    "AllergyIntolerance",
    "CarePlan",
    "CareTeam",
    "DocumentReference",
    "DiagnosticReport",
    "Goal",
    "Condition",
    "Immunization",
    "Observation",
    "Medication",
    "MedicationRequest",
    "Patient",
    "Procedure",
    "Provenance",
    "Device",
    "Encounter",
    "Organization",
    "Practitioner",
    "PractitionerRole",
    "Location",
];

/// Those of them that belong to no patient.
pub const DIRECTORY: [&str; 5] =
    ["Medication", "Organization", "Practitioner", "PractitionerRole", "Location"];

/// The patients of a practice made by [`Stage::practice`]. No error text may ever hold one of them.
pub const PATIENTS: [&str; 3] = ["phi-4711", "phi-4712", "phi-4713"];

/// The group of [`Stage::clinic`], with the first and the last of its patients.
pub const GROUP: &str = "1.105681.22.0.1";

/// SQL for the rows that [`GROUP`] covers.
pub const OF_GROUP: &str = "patient_id IS NULL OR patient_id IN ('phi-4711', 'phi-4713')";

/// What is there when a test begins.
#[derive(Debug)]
pub struct Stage {
    pub app: TestApp,
    /// Has a resource of each type for each patient and of each directory type, and [`GROUP`]. Only read.
    pub clinic: Practice,
    /// The same, but every request here is one that is refused.
    pub quiet: Practice,
    next_number: AtomicI64,
}

/// Runs a test.
pub fn play(test: impl AsyncFnOnce(&'static Stage) -> Result<()>) -> Result<()> {
    RUNTIME.block_on(async {
        let stage = STAGE.get_or_init(async || Stage::build().await.map_err(|e| format!("{e:#}"))).await;
        test(stage.as_ref().map_err(|error| anyhow!("nothing could be started: {error}"))?).await
    })
}

impl Stage {
    async fn build() -> Result<Self> {
        // The time that installations have; a first poll is therefore a 202.
        let app = TestApp::builder().set("poll.min_age_ms", 1000).start().await?;
        let clinic = app.practice(100_491, "pod21test").create().await?;
        fill(&clinic).await?;
        app.group(&clinic, GROUP, &[PATIENTS[0], PATIENTS[2]]).await?;
        let quiet = app.practice(100_492, "quiet").create().await?;
        fill(&quiet).await?;
        Ok(Self { app, clinic, quiet, next_number: AtomicI64::new(200_000) })
    }

    /// A number that no other practice has.
    pub fn number(&self) -> i64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// A practice for one test, with no rows.
    pub async fn empty_practice(&self) -> Result<Practice> {
        let number = self.number();
        self.app.practice(number, &format!("practice{number}")).create().await
    }

    /// A new app with all scopes that the practice consents to, and a client with a token for all of them.
    pub async fn client(&self, practice: &Practice) -> Result<(AppHandle, BulkClient)> {
        let app = self.app.vendor_app(&[ALL]).await?;
        self.app.consent(practice, &app).await?;
        let client = self.app.client(practice, &app).await?;
        Ok((app, client))
    }

    /// The URL of the token endpoint that the whole installation shares.
    pub fn shared_token_url(&self) -> String {
        format!("{}/auth/realms/fhir/protocol/openid-connect/token", self.app.public_url())
    }

    /// Exports of an app that were accepted.
    pub async fn exports_of(&self, app: &AppHandle) -> Result<i64> {
        let count = sqlx::query_scalar("SELECT count(*) FROM headgate.export WHERE client_id = $1")
            .bind(&app.client_id)
            .fetch_one(self.app.control())
            .await?;
        Ok(count)
    }

    /// Tokens that an app got.
    pub async fn tokens_of(&self, app: &AppHandle) -> Result<i64> {
        let count = sqlx::query_scalar(
            "SELECT count(*) FROM headgate.audit_event WHERE client_id = $1 AND action = 'token.issued'",
        )
        .bind(&app.client_id)
        .fetch_one(self.app.control())
        .await?;
        Ok(count)
    }

    /// Fails if the app started an export, or objects lie at [`Stage::quiet`] that are of no other app's export.
    pub async fn assert_quiet(&self, app: &AppHandle) -> Result<()> {
        ensure!(self.exports_of(app).await? == 0, "an export was accepted");
        let others: Vec<String> =
            sqlx::query_scalar("SELECT export_id FROM headgate.export WHERE practice_number = $1")
                .bind(self.quiet.number)
                .fetch_all(self.app.control())
                .await?;
        let mut keys = self.app.s3_keys(&format!("{}/", self.quiet.s3_prefix))?;
        keys.retain(|key| !others.iter().any(|id| key.contains(id.as_str())));
        ensure!(keys.is_empty(), "objects were written: {keys:?}");
        Ok(())
    }
}

/// Kicks off, waits and downloads, holding every file against its entry in the manifest.
pub async fn export(client: &BulkClient, level: &Level, query: &[(&str, &str)]) -> Result<(Value, Download)> {
    let status_url = client.start(level, query).await?;
    let manifest = client.wait_complete(&status_url).await?;
    let download = client.download_all(&manifest).await?;
    Ok((manifest, download))
}

/// Fails unless the output is exactly the practice's rows of all 20 types that fulfil a condition.
pub async fn assert_exported(download: &Download, practice: &Practice, condition: &str) -> Result<()> {
    let mut expected_types = Vec::new();
    for resource_type in USCDI {
        let expected = practice.bodies(resource_type, condition).await?;
        ensure!(
            download.lines(resource_type) == expected,
            "{resource_type}: {:?} instead of {expected:?}",
            download.lines(resource_type)
        );
        expected_types.extend((!expected.is_empty()).then_some(resource_type));
    }
    expected_types.sort_unstable();
    let types: Vec<String> = download.by_type().into_keys().collect();
    ensure!(types == expected_types, "types {types:?} instead of {expected_types:?}");
    Ok(())
}

/// The `issue` of an OperationOutcome with which a request was refused. Fails unless the refusal has this status,
/// says something to a developer, and nothing about patients or tokens.
pub fn refusal(answer: &Answer, status: u16, secrets: &[&str]) -> Result<Vec<Value>> {
    let text = answer.text();
    ensure!(answer.status == status, "status {} instead of {status}: {text}", answer.status);
    ensure!(answer.header("content-type") == Some("application/fhir+json"), "{:?}", answer.headers);
    ensure!(answer.header("content-location").is_none(), "a refusal names a status URL");
    for secret in secrets.iter().chain(&PATIENTS) {
        ensure!(!text.contains(secret), "a refusal repeats what it must not: {text}");
    }
    let outcome = answer.json()?;
    ensure!(outcome["resourceType"] == "OperationOutcome", "{text}");
    let issues = outcome["issue"].as_array().context("no issue")?;
    ensure!(!issues.is_empty(), "no issue: {text}");
    for issue in issues {
        ensure!(issue["severity"] == "error", "{text}");
        ensure!(issue["code"].is_string(), "{text}");
        ensure!(issue["diagnostics"].as_str().is_some_and(|d| d.split(' ').count() > 3), "{text}");
    }
    Ok(issues.clone())
}

/// All diagnostics of the issues, one per line.
pub fn diagnostics(issues: &[Value]) -> String {
    issues.iter().filter_map(|issue| issue["diagnostics"].as_str()).collect::<Vec<_>>().join("\n")
}

/// Gives a practice a resource of each type for each patient, and one of each directory type.
pub async fn fill(practice: &Practice) -> Result<()> {
    for resource_type in USCDI {
        if DIRECTORY.contains(&resource_type) {
            practice.insert(resource_type, &format!("{}-1", resource_type.to_lowercase()), None).await?;
            continue;
        }
        for patient in PATIENTS {
            let id = match resource_type {
                "Patient" => patient.to_owned(),
                other => format!("{}-of-{patient}", other.to_lowercase()),
            };
            if resource_type == "MedicationRequest" {
                // A Group export holds the Medication that its members' requests refer to.
                let body = format!(
                    r#"{{"id":"{id}","medicationReference":{{"reference":"Medication/medication-1"}},"resourceType":"MedicationRequest"}}"#
                );
                practice.insert_body(resource_type, &id, Some(patient), &body).await?;
                continue;
            }
            practice.insert(resource_type, &id, Some(patient)).await?;
        }
    }
    Ok(())
}
