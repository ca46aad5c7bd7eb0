//! A Headgate with one practice, one app that it consents to, and a client of that app.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, anyhow, bail};
use headgate_testkit::sqlx::types::chrono::{DateTime, Utc};
use headgate_testkit::sqlx::{self, AssertSqlSafe, Connection as _, PgConnection};
use headgate_testkit::{
    AppHandle, BulkClient, Download, Level, Practice, PracticeBuilder, TestApp, TestAppBuilder,
};
use serde_json::Value;

/// The types whose rows belong to no patient.
pub const DIRECTORY: [&str; 5] =
    ["Location", "Medication", "Organization", "Practitioner", "PractitionerRole"];

/// The types whose rows belong to patients, as far as the sources of these tests have them.
pub const OF_PATIENTS: [&str; 15] = [
    "AllergyIntolerance",
    "CarePlan",
    "CareTeam",
    "Condition",
    "Device",
    "DiagnosticReport",
    "DocumentReference",
    "Encounter",
    "Goal",
    "Immunization",
    "MedicationRequest",
    "Observation",
    "Patient",
    "Procedure",
    "Provenance",
];

/// How long anything may take that a test waits for.
const WITHIN: Duration = Duration::from_secs(40);

/// A Headgate, a practice, an app and its client.
pub struct World {
    pub app: TestApp,
    pub practice: Practice,
    pub vendor: AppHandle,
    pub client: BulkClient,
}

/// The usual options of this suite: leases end soon, and transactionTime is as late as it may be, so that no
/// margin hides a mistake.
pub fn options() -> TestAppBuilder {
    TestApp::builder()
        .set("lease.duration_s", 3)
        .set("source.margin_ms", 0)
        // Longer than any gate is closed.
        .set("source.lock_timeout_ms", 60_000)
}

/// Options with which a few rows make many files, each published as soon as it is full.
pub fn small_files() -> TestAppBuilder {
    options()
        .set("export.file_resources", 10)
        .set("export.page_rows", 10)
        .set("worker.publish_files", 1)
        .set("worker.publish_interval_ms", 10)
}

impl World {
    /// With the usual options.
    pub async fn new() -> Result<Self> {
        Self::of(options()).await
    }

    pub async fn of(builder: TestAppBuilder) -> Result<Self> {
        Self::with(builder, |practice| practice).await
    }

    /// With a practice that differs from the usual.
    pub async fn with(
        builder: TestAppBuilder,
        change: impl for<'a> FnOnce(PracticeBuilder<'a>) -> PracticeBuilder<'a>,
    ) -> Result<Self> {
        let app = builder.start().await?;
        let practice = change(app.practice(100_491, "pod21test")).create().await?;
        let vendor = app.vendor_app(&["system/*.rs"]).await?;
        app.consent(&practice, &vendor).await?;
        let client = app.client(&practice, &vendor).await?;
        Ok(Self { app, practice, vendor, client })
    }

    /// Starts an export; returns its status URL.
    pub async fn start(&self, level: &Level, query: &[(&str, &str)]) -> Result<String> {
        self.client.start(level, query).await
    }

    /// Waits for an export and downloads it.
    pub async fn complete(&self, status_url: &str) -> Result<Export> {
        let manifest = self.client.wait_complete(status_url).await.map_err(|error| self.with_logs(&error))?;
        let download = self.client.download_all(&manifest).await?;
        let time = manifest["transactionTime"].as_str().context("no transactionTime")?.to_owned();
        Ok(Export { id: export_id(status_url).to_owned(), time, manifest, download })
    }

    /// Exports from kick-off to the last file.
    pub async fn export(&self, level: &Level, query: &[(&str, &str)]) -> Result<Export> {
        let status_url = self.start(level, query).await?;
        self.complete(&status_url).await
    }

    /// Exports what changed since an earlier export.
    pub async fn export_since(&self, level: &Level, earlier: &Export) -> Result<Export> {
        self.export(level, &[("_since", &earlier.time)]).await
    }

    /// A connection of its own to the practice's database, as superuser.
    pub async fn connection(&self) -> Result<PgConnection> {
        Ok(PgConnection::connect(&self.practice.ehr_url).await?)
    }

    /// Runs statements in the practice's database.
    pub async fn source(&self, sql: &str) -> Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(self.practice.ehr()).await?;
        Ok(())
    }

    /// Runs a statement in the control database.
    pub async fn control(&self, sql: &'static str) -> Result<u64> {
        Ok(sqlx::query(sql).execute(self.app.control()).await?.rows_affected())
    }

    /// A number from the control database.
    pub async fn number(&self, sql: &'static str) -> Result<i64> {
        self.app.control_scalar(sql).await
    }

    /// Waits until a statement on the control database says true.
    pub async fn until(&self, what: &str, sql: &'static str) -> Result<()> {
        let check = eventually(what, async || self.app.control_scalar::<bool>(sql).await);
        check.await.map_err(|error| self.with_logs(&error))
    }

    /// Waits until an export's objects are gone and the engine knows it.
    pub async fn until_purged(&self) -> Result<()> {
        self.until("the export is purged", "SELECT bool_and(purged_at IS NOT NULL) FROM headgate.export")
            .await
    }

    /// The keys of all objects of the practice.
    pub fn keys(&self) -> Result<Vec<String>> {
        self.app.s3_keys(&format!("{}/", self.practice.s3_prefix))
    }

    /// What is exported must be these rows of the source, byte for byte.
    pub async fn assert_rows(&self, export: &Export, resource_type: &str, condition: &str) -> Result<()> {
        let rows = self.practice.bodies(resource_type, condition).await?;
        assert_same(resource_type, &export.download.lines(resource_type), &rows);
        Ok(())
    }

    /// The error, and what the processes wrote last but for the requests.
    fn with_logs(&self, error: &Error) -> Error {
        let logs = self.app.logs();
        let lines: Vec<&str> = logs.lines().filter(|line| !line.contains(r#""message":"request""#)).collect();
        anyhow!("{error:#}\n{}", lines[lines.len().saturating_sub(40)..].join("\n"))
    }
}

/// A completed export, downloaded.
pub struct Export {
    pub id: String,
    /// `transactionTime`, as the manifest has it.
    pub time: String,
    pub manifest: Value,
    pub download: Download,
}

impl Export {
    /// The ids that came out, in byte order; one that came out twice is there twice.
    pub fn ids(&self, resource_type: &str) -> Vec<String> {
        self.download.ids(resource_type).expect("exported lines are resources")
    }

    /// `transactionTime` as a time.
    pub fn instant(&self) -> DateTime<Utc> {
        self.time.parse().expect("transactionTime is an instant")
    }

    /// The names of a type's output files, in the order of the manifest.
    pub fn names(&self, resource_type: &str) -> Vec<&str> {
        let files = self.download.section("output").filter(|file| file.resource_type == resource_type);
        files.map(|file| file.name.as_str()).collect()
    }
}

/// Two lists of lines must be the same; where they differ, a few of the differences are shown.
#[track_caller]
pub fn assert_same(what: &str, found: &[String], expected: &[String]) {
    let only = |a: &[String], b: &[String]| -> Vec<String> {
        let b: std::collections::HashSet<&String> = b.iter().collect();
        a.iter().filter(|line| !b.contains(line)).take(3).cloned().collect()
    };
    assert!(
        found == expected,
        "{what}: {} lines, expected {}; missing: {:?}; extra: {:?}",
        found.len(),
        expected.len(),
        only(expected, found),
        only(found, expected)
    );
}

/// Waits until something holds.
pub async fn eventually(what: &str, mut check: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let until = Instant::now() + WITHIN;
    while !check().await? {
        if Instant::now() > until {
            bail!("not within {} s: {what}", WITHIN.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    Ok(())
}

/// The export's id: the last segment of its status URL.
pub fn export_id(status_url: &str) -> &str {
    status_url.rsplit('/').next().unwrap_or_default()
}
