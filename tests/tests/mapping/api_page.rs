//! `docs/API.md`, which a vendor's developer reads first, is run as it is written: its commands by a shell with `curl` and
//! the built program, its outputs compared, its table of search parameters held against the code.
//!
//! Unlike those of the other page, the commands share their variables, as in the one shell of a reader. A few things
//! that a reader cannot do happen between the blocks: the operator registers the key that was made, assertions are
//! signed anew for each block that sends one, and a relation is kept locked while it is shown what a running export
//! answers.
//!
//! With the variable `API_PAGE_UPDATE` set, what is printed is written into the page instead.

mod parameters;
mod shown;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::auth::PrivateKey;
use headgate_testkit::indicatif::ProgressBar;
use headgate_testkit::serde_json::json;
use headgate_testkit::sqlx::{self, AssertSqlSafe, Connection as _, PgConnection};
use headgate_testkit::{AppHandle, Practice, TestApp, headgate};
use tokio::process::Command;

use crate::page::{self, Block};
use shown::Shown;

const GROUP: &str = "1.105681.22.0.1";

/// The first look at an export, which is to run then still.
const POLL: &str = r#"curl -s -i -H @headers "$STATUS""#;

/// Types of the practice, without Provenance.
const OTHER_TYPES: i64 = 8;

/// Files of the newest export.
const READY: &str = "SELECT count(*) FROM headgate.file WHERE export_id =
    (SELECT export_id FROM headgate.export ORDER BY accepted_at DESC LIMIT 1)";

/// How long an export may take until all is ready that can be.
const WITHIN: Duration = Duration::from_secs(60);

/// How the page shows what is different in each run.
const SERVER: &str = "https://fhir.example";
const BUCKET: &str = "https://headgate-files.s3.us-east-1.amazonaws.com";
const CLIENT_ID: &str = "fhir000623719917a5c0008fa3b07182314edeb0cfc804639cfa5e";

#[tokio::test]
async fn the_page_for_developers_of_apps_runs_as_it_is_written() -> Result<()> {
    let path = root().join("docs/API.md");
    let mut markdown = std::fs::read_to_string(&path)?;
    let update = std::env::var_os("API_PAGE_UPDATE").is_some();
    if update {
        markdown = parameters::with_table(&markdown)?;
    } else {
        parameters::check(&markdown)?;
    }
    let mut desk = Desk::new().await?;
    let mut end = 0;
    for block in page::blocks(&markdown)? {
        let printed = desk.follow(&block).await?;
        let Block::Sh { script, prints: Some(expected) } = &block else { continue };
        if update {
            (markdown, end) = page::with_output(&markdown, end, expected, &printed);
            // What went well stands in the page when a later block fails.
            std::fs::write(&path, &markdown)?;
        } else {
            ensure!(
                printed.trim_end() == expected.trim_end(),
                "the page is not what is:\n{script}\nprints\n{printed}\nand the page says\n{expected}"
            );
        }
    }
    Ok(())
}

/// The reader of the page at work, and those who work behind the scenes.
struct Desk {
    app: TestApp,
    folder: PathBuf,
    environment: Vec<(String, String)>,
    /// One whose files are had by signed links, and one whose files want the token.
    practices: [Practice; 2],
    vendor: Option<AppHandle>,
    lock: Option<PgConnection>,
    shown: Shown,
}

impl Desk {
    async fn new() -> Result<Self> {
        let app = TestApp::builder()
            .set("poll.min_age_ms", 1000)
            // What changes right before a kick-off is part of its export, and not of the next one too.
            .set("source.margin_ms", 0)
            .start()
            .await?;
        let folder = app.folder().join("desk");
        std::fs::create_dir(&folder)?;
        let programs = folder.join(".bin");
        std::fs::create_dir(&programs)?;
        std::os::unix::fs::symlink(headgate::binary()?, programs.join("headgate"))?;
        let records = root().join("tests/fixtures/api/pod21test");
        let pod21 = app.practice(100_491, "pod21test").from_folder(&records, ProgressBar::hidden());
        let lakeside = app.practice(100_492, "lakeside").from_folder(&records, ProgressBar::hidden());
        let lakeside = lakeside.options(json!({ "file_access": "token", "gzip": true }));
        let practices = [pod21.create().await?, lakeside.create().await?];
        app.group(&practices[0], GROUP, &["alder", "birch"]).await?;

        let settings = app.settings();
        let setting = |name: &str| {
            let value =
                settings.variables().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned());
            value.with_context(|| format!("{name} is not set"))
        };
        let mut shown = Shown::new();
        shown.name(app.public_url(), SERVER);
        shown.name(
            &format!("{}/{}", setting("HEADGATE__S3__ENDPOINT")?, setting("HEADGATE__S3__BUCKET")?),
            BUCKET,
        );
        let path = format!("{}:{}", programs.display(), std::env::var("PATH")?);
        let home = folder.to_str().context("a folder that is no text")?.to_owned();
        let environment = [
            ("PATH", path),
            // No settings of whoever runs the tests, and no proxy on the way to this machine.
            ("HOME", home),
            ("NO_PROXY", "127.0.0.1".to_owned()),
            ("no_proxy", "127.0.0.1".to_owned()),
            ("SERVER", app.public_url().to_owned()),
            ("BASE", practices[0].base_url.clone()),
            ("LAKESIDE", practices[1].base_url.clone()),
            ("HEADGATE_ADMIN_URL", format!("http://{}", setting("HEADGATE__SERVER__ADMIN_LISTEN")?)),
            ("HEADGATE_ADMIN_TOKEN", app.admin().token().to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
        std::fs::write(folder.join(".variables"), "")?;
        Ok(Self { app, folder, environment, practices, vendor: None, lock: None, shown })
    }

    /// Does what a block says; returns what the page shows of what is printed.
    async fn follow(&mut self, block: &Block) -> Result<String> {
        match block {
            Block::Sql(statements) => {
                let done = sqlx::raw_sql(AssertSqlSafe(statements.clone())).execute(self.practices[0].ehr());
                done.await.with_context(|| statements.clone())?;
                Ok(String::new())
            }
            Block::Excerpt { file, .. } => anyhow::bail!("this page quotes no files, and not {file}"),
            Block::Sh { script, prints } => {
                if script.contains("| tee answer") {
                    self.lock("patient").await?;
                } else if script.contains("allowPartialManifests=true") {
                    self.lock("provenance").await?;
                } else if script.contains("cat last.json") {
                    self.lock = None;
                }
                let (succeeded, printed) = self.shell(script).await?;
                ensure!(succeeded || prints.is_some(), "{script}\nfails:\n{printed}");
                if script.contains("headgate keygen") {
                    self.register().await?;
                }
                if script.contains("allowPartialManifests=true") {
                    self.until_the_rest_is_ready().await?;
                } else if script.contains(POLL) {
                    self.lock = None;
                }
                Ok(self.shown.text(&printed))
            }
        }
    }

    /// Registers the app with the key that the reader has made, and both practices consent.
    async fn register(&mut self) -> Result<()> {
        let key = PrivateKey::from_jwk(&std::fs::read_to_string(self.folder.join("key.jwk"))?)?;
        let jwk = key.public_jwk().to_json();
        for (name, shown) in [("x", "rcOB…"), ("y", "IAqD…"), ("kid", "Wm2R…")] {
            self.shown.name(jwk[name].as_str().with_context(|| format!("a key without {name}"))?, shown);
        }
        let vendor = self.app.vendor_app_with(&["system/*.rs"], key).await?;
        for practice in &self.practices {
            self.app.consent(practice, &vendor).await?;
        }
        self.shown.name(&vendor.client_id, CLIENT_ID);
        self.environment.push(("CLIENT_ID".to_owned(), vendor.client_id.clone()));
        self.vendor = Some(vendor);
        Ok(())
    }

    /// Keeps exports from reading a type.
    async fn lock(&mut self, relation: &str) -> Result<()> {
        let mut connection = PgConnection::connect(&self.practices[0].ehr_url).await?;
        let statements = format!("BEGIN; LOCK TABLE fhir_export.{relation} IN ACCESS EXCLUSIVE MODE");
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await?;
        self.lock = Some(connection);
        Ok(())
    }

    /// Waits until the newest export has a file of each type but the one that it cannot read.
    async fn until_the_rest_is_ready(&self) -> Result<()> {
        let until = Instant::now() + WITHIN;
        while self.app.control_scalar::<i64>(READY).await? < OTHER_TYPES {
            ensure!(Instant::now() < until, "the export does not go on: {}", self.app.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Whether the script succeeded, and what it printed.
    async fn shell(&self, script: &str) -> Result<(bool, String)> {
        let script = format!(
            "exec 2>&1\nset -a\n. ./.variables\n{}trap 'export -p > .variables' EXIT\n{script}",
            self.assertions()?
        );
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).current_dir(&self.folder).stdin(Stdio::null());
        let foreign = |name: &str| ["HEADGATE", "AWS_"].iter().any(|prefix| name.starts_with(prefix));
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(foreign) {
                command.env_remove(name);
            }
        }
        let output = command.envs(self.environment.iter().cloned()).output().await?;
        Ok((output.status.success(), String::from_utf8(output.stdout)?))
    }

    /// Assertions for the practice's token endpoint and for the shared one; each is good for one use.
    fn assertions(&self) -> Result<String> {
        let Some(vendor) = &self.vendor else { return Ok(String::new()) };
        let shared = format!("{}/auth/realms/fhir/protocol/openid-connect/token", self.app.public_url());
        Ok(format!(
            "ASSERTION={}\nSHARED_ASSERTION={}\n",
            vendor.assertion(&self.practices[0].token_url)?,
            vendor.assertion(&shared)?
        ))
    }
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
