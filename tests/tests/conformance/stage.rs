//! The one Headgate that all tests share, and the practice that they read.
//!
//! Tests are functions without `async`: [`play`] runs each on one runtime of the whole process, because
//! connections that a test leaves in a pool would die with a runtime of its own.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::sqlx::{self, AssertSqlSafe, Connection as _, PgConnection};
use headgate_testkit::{AppHandle, BulkClient, Practice, PracticeBuilder, TestApp};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::OnceCell;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime can be built")
});

/// A failed start is kept, so that the other tests need not wait for theirs.
static STAGE: OnceCell<Result<Stage, String>> = OnceCell::const_new();

/// Every scope there is.
pub const ALL: &str = "system/*.rs";

/// The patients of [`fill`].
pub const PATIENTS: [&str; 3] = ["ada", "bob", "eve"];

/// The group of [`Stage::clinic`]: ada and eve.
pub const GROUP: &str = "1.105681.22.0.1";

/// The types of which [`fill`] makes resources.
pub const TYPES: [&str; 12] = [
    "Condition",
    "Device",
    "DocumentReference",
    "Encounter",
    "Location",
    "Medication",
    "MedicationRequest",
    "Observation",
    "Organization",
    "Patient",
    "Practitioner",
    "Provenance",
];

/// How long a test waits for what should happen soon.
const SOON: Duration = Duration::from_secs(30);

/// What is there when a test begins.
#[derive(Debug)]
pub struct Stage {
    pub app: TestApp,
    /// What [`fill`] makes, and [`GROUP`]. Only read.
    pub clinic: Practice,
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
        let app = TestApp::builder()
            // A first poll is a 202 all the same.
            .set("poll.min_age_ms", 400)
            // transactionTime is as late as it may be, so that no margin hides a mistake.
            .set("source.margin_ms", 0)
            // Longer than any lock of a test is held; tests that hold one must not keep others waiting.
            .set("source.lock_timeout_ms", 60_000)
            .set("worker.steps", 12)
            .set("worker.shards", 8)
            .set("worker.publish_interval_ms", 50)
            .set("database.max_connections", 12)
            .start()
            .await?;
        let clinic = app.practice(100_491, "pod21test").create().await?;
        fill(&clinic).await?;
        app.group(&clinic, GROUP, &["ada", "eve"]).await?;
        Ok(Self { app, clinic, next_number: AtomicI64::new(200_000) })
    }

    /// A practice for one test, with no rows.
    pub async fn empty(&self) -> Result<Practice> {
        self.practice(|practice| practice).await
    }

    /// A practice for one test, with no rows, that differs from the usual.
    pub async fn practice(
        &self,
        change: impl for<'a> FnOnce(PracticeBuilder<'a>) -> PracticeBuilder<'a>,
    ) -> Result<Practice> {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        change(self.app.practice(number, &format!("practice{number}"))).create().await
    }

    /// The same with options of the admin API, and with what [`fill`] makes.
    pub async fn filled(&self, options: Value) -> Result<Practice> {
        let practice = self.practice(|practice| practice.options(options)).await?;
        fill(&practice).await?;
        Ok(practice)
    }

    /// A new app that the practice consents to, and a client with a token for everything.
    pub async fn client(&self, practice: &Practice) -> Result<BulkClient> {
        Ok(self.app_and_client(practice).await?.1)
    }

    /// The same with the app, for more tokens.
    pub async fn app_and_client(&self, practice: &Practice) -> Result<(AppHandle, BulkClient)> {
        let app = self.app.vendor_app(&[ALL]).await?;
        self.app.consent(practice, &app).await?;
        let client = self.app.client(practice, &app).await?;
        Ok((app, client))
    }

    /// A client with a token for some scopes only.
    pub async fn client_for(&self, practice: &Practice, scopes: &str) -> Result<BulkClient> {
        let (app, client) = self.app_and_client(practice).await?;
        Ok(client.with_token(self.app.token(practice, &app, scopes).await?))
    }

    /// Has a worker look at the practice's source again, and waits until it did.
    pub async fn refresh(&self, practice: &Practice) -> Result<()> {
        let path = format!("practices/{}/source", practice.number);
        let before = self.app.admin().get(&path).await?.expect(200)?.json()?["refreshed_at"].clone();
        let refresh = format!("practices/{}/refresh", practice.number);
        self.app.admin().post(&refresh, &json!({})).await?.expect(202)?;
        eventually("a worker has looked at the source again", async || {
            let source = self.app.admin().get(&path).await?.expect(200)?.json()?;
            Ok(source["refreshed_at"] != before)
        })
        .await
    }
}

/// Waits until something holds.
pub async fn eventually(what: &str, mut check: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let until = Instant::now() + SOON;
    while !check().await? {
        if Instant::now() > until {
            bail!("not within {} s: {what}", SOON.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// A relation of a practice that nobody can read, so that an export of it stays where it is. Types are planned in
/// the order of their names: those before it come out.
pub struct Lock(PgConnection);

impl Lock {
    pub async fn on(practice: &Practice, relation: &str) -> Result<Self> {
        let mut connection = PgConnection::connect(&practice.ehr_url).await?;
        let lock = format!("BEGIN; LOCK TABLE fhir_export.{relation} IN ACCESS EXCLUSIVE MODE");
        sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut connection).await?;
        Ok(Self(connection))
    }

    /// Waits until an export stands before it: its transactionTime is fixed then.
    pub async fn until_reached(&mut self) -> Result<()> {
        eventually("an export stands before the lock", async || {
            let waiting: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'relation' AND NOT granted
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))",
            )
            .fetch_one(&mut self.0)
            .await?;
            Ok(waiting)
        })
        .await
    }

    pub async fn open(self) -> Result<()> {
        Ok(self.0.close().await?)
    }
}

/// Runs statements in a practice's database.
pub async fn sql(practice: &Practice, statements: &str) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(practice.ehr()).await?;
    Ok(())
}

/// Gives a row another stamp.
pub async fn stamp(practice: &Practice, relation: &str, id: &str, time: &str) -> Result<()> {
    let statement = format!("UPDATE fhir_export.{relation} SET last_updated = $2::timestamptz WHERE id = $1");
    let done = sqlx::query(AssertSqlSafe(statement)).bind(id).bind(time).execute(practice.ehr()).await?;
    if done.rows_affected() == 1 { Ok(()) } else { bail!("there is no {relation}/{id}") }
}

/// Gives a practice three patients with a few resources each, and a directory.
pub async fn fill(practice: &Practice) -> Result<()> {
    for (patient, month) in PATIENTS.into_iter().zip(["01", "02", "03"]) {
        for resource in of_patient(patient, month) {
            insert(practice, Some(patient), &resource).await?;
        }
    }
    for resource in directory() {
        insert(practice, None, &resource).await?;
    }
    Ok(())
}

/// Inserts a resource.
pub async fn insert(practice: &Practice, patient: Option<&str>, resource: &Value) -> Result<()> {
    let text = |member: &str| resource[member].as_str().with_context(|| format!("no {member}"));
    let body = resource.to_string();
    practice.insert_body(text("resourceType")?, text("id")?, patient, &body).await
}

/// The resources of a patient; what is dated is of this month of 2026.
fn of_patient(p: &str, month: &str) -> Vec<Value> {
    let subject = json!({ "reference": format!("Patient/{p}") });
    let date = format!("2026-{month}-10T10:00:00Z");
    let (gender, clinical) = if p == "eve" { ("female", "resolved") } else { ("male", "active") };
    let mut resources = vec![
        json!({
            "resourceType": "Patient", "id": p, "active": p != "bob", "gender": gender,
            "birthDate": format!("1980-{month}-01"), "name": [{ "family": "Test", "given": [p] }],
            "managingOrganization": { "reference": "Organization/org-used" },
        }),
        observation(&format!("hr-{p}"), p, ("8867-4", "vital-signs", "final"), &date),
        observation(&format!("bt-{p}"), p, ("8310-5", "vital-signs", "amended"), &date),
        observation(&format!("lab-{p}"), p, ("2345-7", "laboratory", "final"), &date),
        json!({
            "resourceType": "Condition", "id": format!("cond-{p}"), "subject": subject,
            "clinicalStatus": { "coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": clinical,
            }] },
            "code": { "coding": [{ "system": "http://snomed.info/sct", "code": "38341003" }] },
            "onsetDateTime": format!("2026-{month}"),
        }),
        json!({
            "resourceType": "Encounter", "id": format!("enc-{p}"), "status": "finished", "subject": subject,
            "class": { "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB" },
            "period": { "start": date, "end": format!("2026-{month}-10T10:30:00Z") },
        }),
        json!({
            "resourceType": "MedicationRequest", "id": format!("mr-{p}"), "status": "active",
            "intent": "order", "subject": subject, "authoredOn": date,
            "medicationReference": { "reference": "Medication/med-used" },
            "requester": { "reference": "Practitioner/prac-used" },
        }),
        json!({
            "resourceType": "Device", "id": format!("dev-{p}"), "patient": subject,
            "type": { "coding": [{ "system": "http://snomed.info/sct", "code": "53350007" }] },
        }),
        json!({
            "resourceType": "DocumentReference", "id": format!("doc-{p}"), "status": "current",
            "subject": subject,
            "content": [{ "attachment": { "contentType": "text/plain", "data": "aGVhZGdhdGU=" } }],
        }),
    ];
    for (id, target, recorded) in [
        (format!("prov-old-{p}"), format!("Condition/cond-{p}"), "2025-01-01T00:00:00Z"),
        (format!("prov-new-{p}"), format!("Condition/cond-{p}"), "2026-01-01T00:00:00Z"),
        (format!("prov-enc-{p}"), format!("Encounter/enc-{p}"), "2026-01-01T00:00:00Z"),
    ] {
        resources.push(provenance(&id, &target, recorded));
    }
    resources
}

/// An Observation with code, category and status.
pub fn observation(id: &str, patient: &str, is: (&str, &str, &str), date: &str) -> Value {
    json!({
        "resourceType": "Observation", "id": id, "meta": { "lastUpdated": date }, "status": is.2,
        "category": [{ "coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": is.1,
        }] }],
        "code": { "coding": [{ "system": "http://loinc.org", "code": is.0 }] },
        "subject": { "reference": format!("Patient/{patient}") },
        "effectiveDateTime": date,
        "valueQuantity": { "value": 7, "unit": "1" },
    })
}

/// A Provenance of one resource.
pub fn provenance(id: &str, target: &str, recorded: &str) -> Value {
    json!({
        "resourceType": "Provenance", "id": id, "recorded": recorded,
        "target": [{ "reference": target }],
        "agent": [{ "who": { "reference": "Organization/org-used" } }],
    })
}

/// What belongs to no patient: of each kind one that patients' resources refer to, and one that none refers to.
fn directory() -> Vec<Value> {
    let named = |resource_type: &str, id: &str| json!({ "resourceType": resource_type, "id": id });
    vec![
        named("Medication", "med-used"),
        named("Medication", "med-unused"),
        named("Practitioner", "prac-used"),
        named("Practitioner", "prac-unused"),
        named("Organization", "org-used"),
        named("Organization", "org-unused"),
        named("Location", "loc-unused"),
    ]
}
