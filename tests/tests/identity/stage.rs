//! The one Headgate that most tests share, and what tests do with it.
//!
//! Tests are functions without `async`: [`play`] and [`alone`] run them on one runtime of the whole process, because
//! connections that a test leaves in a pool would die with a runtime of its own.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::sqlx::{self, AssertSqlSafe};
use headgate_testkit::{AppHandle, BulkClient, Practice, PracticeBuilder, TestApp, TestAppBuilder};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::OnceCell;
use tokio::task::{JoinSet, LocalSet};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime can be built")
});

/// A failed start is kept, so that the other tests need not wait for theirs.
static STAGE: OnceCell<Result<TestApp, String>> = OnceCell::const_new();

/// Every practice of this process has a number of its own.
static NEXT_NUMBER: AtomicI64 = AtomicI64::new(300_000);

/// Every scope there is.
pub const ALL: &str = "system/*.rs";

/// How long a test waits for what should happen soon.
pub const SOON: Duration = Duration::from_secs(30);

/// The options that the tests of this suite start from.
pub fn options() -> TestAppBuilder {
    TestApp::builder()
        .set("token.requests_per_minute", 1_000_000)
        .set("poll.min_age_ms", 0)
        .set("lease.duration_s", 3)
        .set("source.margin_ms", 0)
        .set("source.lock_timeout_ms", 60_000)
        .set("worker.steps", 16)
        .set("worker.shards", 16)
        .set("worker.publish_interval_ms", 50)
        .set("database.max_connections", 12)
}

/// Runs a test with the Headgate that all share.
pub fn play(test: impl AsyncFnOnce(&'static TestApp) -> Result<()>) -> Result<()> {
    RUNTIME.block_on(async {
        let start = async || {
            // A few rows make many files, each published as soon as it is full.
            let small = options()
                .set("export.shard_rows", 100)
                .set("export.page_rows", 10)
                .set("export.file_resources", 10)
                .set("worker.publish_files", 1)
                .set("worker.publish_interval_ms", 10);
            small.start().await.map_err(|e| format!("{e:#}"))
        };
        let app = STAGE.get_or_init(start).await;
        test(app.as_ref().map_err(|error| anyhow!("nothing could be started: {error}"))?).await
    })
}

/// Runs a test with a Headgate of its own.
pub fn alone(builder: TestAppBuilder, test: impl AsyncFnOnce(&mut TestApp) -> Result<()>) -> Result<()> {
    RUNTIME.block_on(async {
        let mut app = builder.start().await?;
        let tested = test(&mut app).await;
        app.stop().await;
        tested
    })
}

/// Does something with each of several things, all at once. The errors of all are told.
pub async fn each<T: 'static>(
    things: impl IntoIterator<Item = T>,
    deed: impl AsyncFn(T) -> Result<()> + Copy + 'static,
) -> Result<()> {
    let run = async {
        let mut all = JoinSet::new();
        for thing in things {
            all.spawn_local(async move { deed(thing).await });
        }
        let mut wrong = Vec::new();
        while let Some(done) = all.join_next().await {
            wrong.extend(done?.err().map(|error| format!("{error:#}")));
        }
        if wrong.is_empty() { Ok(()) } else { Err(anyhow!(wrong.join("\n"))) }
    };
    LocalSet::new().run_until(run).await
}

/// A practice with no rows.
pub async fn practice(app: &TestApp) -> Result<Practice> {
    practice_with(app, |practice| practice).await
}

/// A practice with no rows that differs from the usual.
pub async fn practice_with(
    app: &TestApp,
    change: impl for<'a> FnOnce(PracticeBuilder<'a>) -> PracticeBuilder<'a>,
) -> Result<Practice> {
    let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
    change(app.practice(number, &format!("practice{number}"))).create().await
}

/// A new app that the practice consents to, and a client with a token for everything.
pub async fn client(app: &TestApp, practice: &Practice) -> Result<(AppHandle, BulkClient)> {
    let vendor = app.vendor_app(&[ALL]).await?;
    app.consent(practice, &vendor).await?;
    let client = app.client(practice, &vendor).await?;
    Ok((vendor, client))
}

/// Asks a practice's token endpoint for a token: `Ok` with the answer's body, or the code of the OAuth error.
pub async fn ask_token(
    app: &TestApp,
    practice: &Practice,
    vendor: &AppHandle,
    scope: &str,
) -> Result<Result<Value, String>> {
    let form = vendor.form(scope, &vendor.assertion(&practice.token_url)?);
    let answer = app.request_token(&practice.token_url, &form).await?;
    let body = answer.json()?;
    match answer.status {
        200 => Ok(Ok(body)),
        400 | 401 => Ok(Err(body["error"].as_str().context("an error without a code")?.to_owned())),
        _ => bail!("status {}: {body}", answer.status),
    }
}

/// The export's id: the last segment of its status URL.
pub fn export_id(status_url: &str) -> &str {
    status_url.rsplit('/').next().unwrap_or_default()
}

/// A value that a statement on the control database gives, with an export's id as `$1`.
pub async fn of_export<T>(app: &TestApp, sql: &'static str, export: &str) -> Result<T>
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    Ok(sqlx::query_scalar(sql).bind(export).fetch_one(app.control()).await?)
}

/// The state of an export.
pub async fn state(app: &TestApp, export: &str) -> Result<String> {
    of_export(app, "SELECT state FROM headgate.export WHERE export_id = $1", export).await
}

/// The keys of an export's objects.
pub fn keys(app: &TestApp, practice: &Practice, export: &str) -> Result<Vec<String>> {
    app.s3_keys(&format!("{}/{export}/", practice.s3_prefix))
}

/// Runs statements in a practice's database.
pub async fn source(practice: &Practice, statements: &str) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(practice.ehr()).await?;
    Ok(())
}

/// Runs statements in the control database, as superuser.
pub async fn control(app: &TestApp, statements: &str) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(app.control()).await?;
    Ok(())
}

/// Waits until something holds.
pub async fn eventually(what: &str, check: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    within(SOON, what, check).await
}

/// Waits until something holds, for so long at most.
pub async fn within(time: Duration, what: &str, mut check: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let until = Instant::now() + time;
    while !check().await? {
        if Instant::now() > until {
            bail!("not within {} s: {what}", time.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// The body of a patient, named after the id.
pub fn patient(id: &str) -> String {
    json!({ "resourceType": "Patient", "id": id, "name": [{ "family": id }] }).to_string()
}
