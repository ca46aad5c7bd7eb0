//! `make revocation`: takes authority away while an export runs, in five ways, and measures how soon
//! that is felt everywhere: by who asks for a token, polls, follows a link that was handed out before, by the workers
//! and in the bucket.
//!
//! The time runs from the moment before the request to the admin API is sent. It fails when something takes longer
//! than [`SOON`], or the bucket longer than [`EMPTY`].
#![expect(clippy::print_stdout, reason = "the report is the output of the program")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::trial::{self, DataArgs, Trial};
use headgate_testkit::{Answer, AppHandle, BulkClient, Level, Practice, Settings, TestApp, sqlx};

/// What is generated where nothing is said.
const RESOURCES: u64 = 150_000;

/// How soon everything but the bucket has to be over.
const SOON: Duration = Duration::from_secs(5);

/// How soon the bucket has to be empty.
const EMPTY: Duration = Duration::from_secs(30);

/// When a measurement is given up.
const GIVE_UP: Duration = Duration::from_secs(60);

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Files that are published before the authority goes.
const FILES: i64 = 12;

/// Take authority away from a running export.
#[derive(Debug, Parser)]
struct Args {
    /// Only this way; may be repeated. All of them where none is named.
    #[arg(long, value_enum)]
    how: Vec<How>,
    #[command(flatten)]
    data: DataArgs,
    /// Give up after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1200)]
    timeout: u64,
}

/// A way to take authority away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum How {
    /// The practice revokes its consent.
    Revoke,
    /// An operator suspends the app.
    SuspendApp,
    /// An operator suspends its vendor.
    SuspendVendor,
    /// An operator suspends the practice.
    SuspendPractice,
    /// The practice leaves the export's types out of its consent.
    NarrowScopes,
}

fn main() -> ExitCode {
    let args = Args::parse();
    trial::main(Duration::from_secs(args.timeout), run(args))
}

async fn run(args: Args) -> Result<bool> {
    let settings = Settings::new().with("token.requests_per_minute", 1_000_000);
    let trial = Trial::prepare(&args.data.data_or(RESOURCES), &settings).await?;
    let hows = if args.how.is_empty() { How::value_variants().to_vec() } else { args.how };
    let mut rows = Vec::new();
    for how in hows {
        rows.push(Row::measure(&trial, how).await?);
    }
    trial.stop().await?;
    println!("\nseconds until     {}", Row::HEADS.map(|head| format!("{head:>17}")).join(""));
    rows.iter().for_each(Row::print);
    let right = rows.iter().all(Row::is_right);
    let (soon, empty) = (SOON.as_secs(), EMPTY.as_secs());
    let verdict = if right { "revocation: everything was over in time" } else { "revocation: FAILED" };
    println!("{verdict} ({soon} s; the bucket: {empty} s)");
    Ok(right)
}

/// What became of one way.
struct Row {
    how: How,
    /// As [`Row::HEADS`]; none where it was given up.
    after: [Option<Duration>; 5],
    /// Files that were published when the authority had been gone for a second. What is being published in the very
    /// moment goes through, is shown to nobody, and is deleted with the rest.
    late_files: i64,
}

impl Row {
    const HEADS: [&'static str; 5] =
        ["token refused", "poll refused", "link refused", "workers stopped", "bucket empty"];

    async fn measure(trial: &Trial, how: How) -> Result<Self> {
        let (app, practice) = trial.app_and_practice();
        let running = Running::start(app, practice).await?;
        println!("{}: an export runs, {FILES} files are published, links to them are handed out", how.name());
        let began = Instant::now();
        how.strike(app, practice, &running.vendor).await?;
        let (token, poll, link, workers, bucket) = tokio::join!(
            first(began, async || running.token_is_refused(app, practice).await),
            first(began, async || Ok(matches!(
                running.client.poll(&running.status_url).await?.status,
                403 | 404
            ))),
            first(began, async || Ok(matches!(
                Answer::to(app.http().get(&running.link)).await?.status,
                403 | 404
            ))),
            first(began, async || Ok(running.number(app, LEASES).await? == 0)),
            first(began, async || Ok(app.s3_keys(&format!("{}/", practice.s3_prefix))?.is_empty())),
        );
        let after = [token?, poll?, link?, workers?, bucket?];
        let late_files = running.number(app, LATE_FILES).await?;
        how.undo(app, practice).await?;
        Ok(Self { how, after, late_files })
    }

    fn is_right(&self) -> bool {
        let [others @ .., bucket] = &self.after;
        let within = |after: &Option<Duration>, limit| after.is_some_and(|after| after <= limit);
        self.late_files == 0 && others.iter().all(|after| within(after, SOON)) && within(bucket, EMPTY)
    }

    fn print(&self) {
        let cell = |after: Option<Duration>| match after {
            Some(after) => format!("{:>17.2}", after.as_secs_f64()),
            None => format!("{:>17}", "never"),
        };
        println!("{:<18}{}", self.how.name(), self.after.map(cell).join(""));
        if self.late_files != 0 {
            println!("WRONG: {} files were published more than a second afterwards", self.late_files);
        }
    }
}

impl How {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    async fn strike(self, app: &TestApp, practice: &Practice, vendor: &AppHandle) -> Result<()> {
        let why = json!({ "reason": "measured" });
        let consent = format!("practices/{}/consents/{}", practice.number, vendor.client_id);
        let answer = match self {
            Self::Revoke => app.admin().post(&format!("{consent}/revoke"), &why).await?,
            Self::SuspendApp => app.admin().post(&format!("apps/{}/suspend", vendor.client_id), &why).await?,
            Self::SuspendVendor => {
                app.admin().post(&format!("vendors/{}/suspend", vendor.vendor_id), &why).await?
            }
            Self::SuspendPractice => {
                app.admin().post(&format!("practices/{}/suspend", practice.number), &why).await?
            }
            Self::NarrowScopes => {
                app.admin().put(&consent, &json!({ "scopes": "system/Location.rs" })).await?
            }
        };
        let answer = answer.expect(200)?.json()?;
        ensure!(answer["ended_exports"] == 1, "{}: {answer}", self.name());
        Ok(())
    }

    /// Each way has an app of its own, but there is one practice.
    async fn undo(self, app: &TestApp, practice: &Practice) -> Result<()> {
        if self == Self::SuspendPractice {
            app.admin()
                .post(&format!("practices/{}/resume", practice.number), &json!({}))
                .await?
                .expect(200)?;
        }
        Ok(())
    }
}

/// An export that runs and has handed out a link.
struct Running {
    vendor: AppHandle,
    client: BulkClient,
    status_url: String,
    link: String,
}

const LEASES: &str = "SELECT (SELECT count(*) FROM headgate.shard
                              WHERE export_id = $1 AND lease_expires_at > clock_timestamp())
                           + (SELECT count(*) FROM headgate.export
                               WHERE export_id = $1 AND lease_step <> 'purge' AND lease_expires_at > clock_timestamp())";

const LATE_FILES: &str =
    "SELECT count(*) FROM headgate.file f JOIN headgate.export e USING (practice_number, export_id)
                           WHERE export_id = $1 AND f.published_at > e.ended_at + interval '1 second'";

impl Running {
    async fn start(app: &TestApp, practice: &Practice) -> Result<Self> {
        let vendor = app.vendor_app(&["system/*.rs"]).await?;
        app.consent(practice, &vendor).await?;
        let client = app.client(practice, &vendor).await?;
        let status_url = client.start(&Level::System, &[("allowPartialManifests", "true")]).await?;
        let mut running = Self { vendor, client, status_url, link: String::new() };
        let until = Instant::now() + GIVE_UP;
        while running.files(app).await? < FILES {
            ensure!(Instant::now() < until, "no files were published");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let page = running.client.poll(&running.status_url).await?;
        ensure!(page.status == 202, "the export was complete too soon ({}): give it more data", page.status);
        let page: Value = page.json()?;
        page["output"][0]["url"].as_str().context("no link")?.clone_into(&mut running.link);
        Answer::to(app.http().get(&running.link)).await?.expect(200)?;
        Ok(running)
    }

    async fn files(&self, app: &TestApp) -> Result<i64> {
        self.number(app, "SELECT count(*) FROM headgate.file WHERE export_id = $1").await
    }

    async fn number(&self, app: &TestApp, sql: &'static str) -> Result<i64> {
        let export = self.status_url.rsplit('/').next().unwrap_or_default();
        Ok(sqlx::query_scalar(sql).bind(export).fetch_one(app.control()).await?)
    }

    /// Whether no token is to be had that the export could be polled with.
    async fn token_is_refused(&self, app: &TestApp, practice: &Practice) -> Result<bool> {
        let form = self.vendor.form("system/*.rs", &self.vendor.assertion(&practice.token_url)?);
        let answer = app.request_token(&practice.token_url, &form).await?;
        Ok(match answer.status {
            200 => answer.json()?["scope"] == "system/Location.rs",
            400 => true,
            _ => false,
        })
    }
}

/// The time from `began` until something holds for the first time.
async fn first(began: Instant, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<Option<Duration>> {
    loop {
        if holds().await? {
            return Ok(Some(began.elapsed()));
        }
        if began.elapsed() > GIVE_UP {
            return Ok(None);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
