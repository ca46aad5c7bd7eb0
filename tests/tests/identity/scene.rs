//! The Headgates that the tests of tokens and of the admin API share. Each is started by the first test that needs it.
//!
//! Tests are functions without `async`: [`on`] runs each on one runtime of the whole process, because connections
//! that a test leaves in a pool would die with a runtime of its own.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Answer, AppHandle, Practice, TestApp, TestAppBuilder, reqwest, sqlx};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::OnceCell;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime can be built")
});

/// Every scope there is.
pub const ALL: &str = "system/*.rs";

/// A Headgate that several tests share; a failed start is kept, so that the others need not wait for theirs.
pub type Shared = OnceCell<Result<Scene, String>>;

/// One with a worker and the usual options.
pub static USUAL: Shared = Shared::const_new();

/// Where a test plays.
#[derive(Debug)]
pub struct Scene {
    pub app: TestApp,
    /// A practice that is only read.
    pub clinic: Practice,
    /// Another one.
    pub other: Practice,
    next_number: AtomicI64,
}

/// Runs a test on the shared Headgate that has a worker.
pub fn play(test: impl AsyncFnOnce(&'static Scene) -> Result<()>) -> Result<()> {
    on(&USUAL, || TestApp::builder().workers(1), test)
}

/// Runs a test on a shared Headgate, which the first such test builds.
pub fn on(
    shared: &'static Shared,
    builder: impl Fn() -> TestAppBuilder,
    test: impl AsyncFnOnce(&'static Scene) -> Result<()>,
) -> Result<()> {
    RUNTIME.block_on(async {
        let start = async || Scene::build(builder()).await.map_err(|error| format!("{error:#}"));
        let scene = shared.get_or_init(start).await;
        test(scene.as_ref().map_err(|error| anyhow!("nothing could be started: {error}"))?).await
    })
}

/// Runs a test that starts what it needs by itself.
pub fn alone(test: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    RUNTIME.block_on(test())
}

impl Scene {
    /// Starts a Headgate and makes two practices, each with a patient.
    pub async fn build(builder: TestAppBuilder) -> Result<Self> {
        Self::adopt(builder.start().await?).await
    }

    /// The same on one that runs.
    pub async fn adopt(app: TestApp) -> Result<Self> {
        Self::adopt_with(app, 100_491).await
    }

    /// The same where practices up to `first` are there already.
    pub async fn adopt_with(app: TestApp, first: i64) -> Result<Self> {
        let clinic = practice(&app, first, &format!("pod{first}")).await?;
        let other = practice(&app, first + 1, &format!("pod{}", first + 1)).await?;
        Ok(Self { app, clinic, other, next_number: AtomicI64::new(200_000) })
    }

    /// A number that no practice has yet.
    pub fn number(&self) -> i64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// A practice for one test, at which no worker looks.
    pub async fn practice(&self) -> Result<Practice> {
        let number = self.number();
        self.app.practice(number, &format!("practice{number}")).without_refresh().create().await
    }

    /// A new app that the practice consents to with everything.
    pub async fn consented(&self, practice: &Practice) -> Result<AppHandle> {
        let app = self.app.vendor_app(&[ALL]).await?;
        self.app.consent(practice, &app).await?;
        Ok(app)
    }

    /// The token endpoint of the whole installation.
    pub fn shared_token_url(&self) -> String {
        format!("{}/auth/realms/fhir/protocol/openid-connect/token", self.app.public_url())
    }

    /// How many tokens of an app the audit trail knows.
    pub async fn tokens_of(&self, app: &AppHandle) -> Result<i64> {
        let count = sqlx::query_scalar(
            "SELECT count(*) FROM headgate.audit_event WHERE action = 'token.issued' AND client_id = $1",
        );
        Ok(count.bind(&app.client_id).fetch_one(self.app.control()).await?)
    }

    /// Asks for a token with an assertion.
    pub async fn ask(&self, app: &AppHandle, url: &str, assertion: &str) -> Result<Answer> {
        self.app.request_token(url, &app.form(ALL, assertion)).await
    }
}

async fn practice(app: &TestApp, number: i64, slug: &str) -> Result<Practice> {
    let practice = app.practice(number, slug).without_refresh().create().await?;
    practice.insert("Patient", "p1", Some("p1")).await?;
    Ok(practice)
}

/// What a token is good for, without an export: asks for the status of one that does not exist. 404 says that the
/// token was taken.
pub async fn probe(http: &reqwest::Client, base_url: &str, token: &str) -> Result<Answer> {
    // Another one each time: polls of one are counted.
    let url = format!("{base_url}/fhir-services/$export-status/{:032x}", rand::random::<u128>());
    Answer::to(http.get(url).bearer_auth(token).header("Accept", "application/json")).await
}

/// The error of a refusal by the token endpoint (RFC 6749, section 5.2). Fails unless it is one, says something, and
/// repeats nothing of the assertion.
pub fn oauth_error(answer: &Answer, assertion: &str) -> Result<Value> {
    let text = answer.text();
    ensure!(answer.status == 400, "status {}: {text}", answer.status);
    ensure!(answer.header("content-type") == Some("application/json"), "{:?}", answer.headers);
    ensure!(answer.header("cache-control") == Some("no-store"), "{:?}", answer.headers);
    ensure!(answer.header("pragma") == Some("no-cache"), "{:?}", answer.headers);
    let error = answer.json()?;
    ensure!(error["resourceType"].is_null() && error["access_token"].is_null(), "{text}");
    ensure!(error["error_description"].as_str().is_some_and(|d| d.contains(' ')), "{text}");
    for part in assertion.split('.').filter(|part| part.len() > 20) {
        ensure!(!text.contains(part), "a part of the assertion is repeated");
    }
    Ok(error)
}

/// The answer of the admin API to a fault (RFC 9457), with this reason.
pub fn problem(answer: &Answer, status: u16, reason: &str) -> Result<Value> {
    let text = answer.text();
    ensure!(answer.status == status, "expected {status}, got {}: {text}", answer.status);
    ensure!(answer.header("content-type") == Some("application/problem+json"), "{:?}", answer.headers);
    let problem = answer.json()?;
    ensure!(problem["reason"] == reason, "expected {reason}: {text}");
    ensure!(problem["status"] == status, "{text}");
    ensure!(problem["title"].is_string() && problem["detail"].is_string(), "{text}");
    Ok(problem)
}

/// A member that has to be a text.
pub fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str> {
    value[name].as_str().with_context(|| format!("no {name}: {value}"))
}

/// Waits until something holds.
pub async fn eventually(
    what: &str,
    within: Duration,
    mut check: impl AsyncFnMut() -> Result<bool>,
) -> Result<()> {
    let until = Instant::now() + within;
    while !check().await? {
        if Instant::now() > until {
            bail!("not within {} s: {what}", within.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// A set of public keys as it is registered.
pub fn key_set(keys: &[&headgate_testkit::auth::PrivateKey]) -> Value {
    json!({ "keys": keys.iter().map(|key| key.public_jwk().to_json()).collect::<Vec<_>>() })
}
