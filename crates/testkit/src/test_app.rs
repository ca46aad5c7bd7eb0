//! A Headgate of its own: control database, bucket, API and workers.

mod registration;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use headgate_auth::admin_token::AdminRole;
use headgate_auth::{Algorithm, Jwks, Keyring, PrivateKey, SigningKey};
use sqlx::postgres::{PgPool, PgPoolOptions};

use crate::headgate::read_log;
use crate::{Admin, Installation, PracticeBuilder, Process, Settings, answer, ports};

/// The role that the API connects to the control database as: row-level security binds it.
pub const API_ROLE: &str = "headgate_api";

/// The role that workers connect to the control database as.
pub const WORKER_ROLE: &str = "headgate_worker";

/// Draws of ports before an API or worker that cannot bind them is given up.
const PORT_DRAWS: usize = 4;

/// What a [`TestApp`] differs in from the usual one.
#[derive(Debug)]
pub struct TestAppBuilder {
    usual: Settings,
    settings: Settings,
    workers: usize,
    installation: Option<Arc<Installation>>,
}

impl TestAppBuilder {
    /// Sets an option of `config/default.toml`, for the API and the workers.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.settings.set(key, value);
        self
    }

    /// Leaves every option that is not set at the product's default; without this, tests poll faster and
    /// hold shorter leases.
    #[must_use]
    pub fn defaults(mut self) -> Self {
        self.usual = Settings::new();
        self
    }

    /// Sets all of these.
    #[must_use]
    pub fn settings(mut self, settings: &Settings) -> Self {
        self.settings.extend(settings);
        self
    }

    /// How many workers are started; one where nothing is said.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Uses this cluster and S3 server instead of the shared ones.
    #[must_use]
    pub fn on(mut self, installation: Arc<Installation>) -> Self {
        self.installation = Some(installation);
        self
    }

    /// Starts everything and waits until it is ready.
    ///
    /// # Errors
    /// When a process does not get ready; the error has the end of its log.
    pub async fn start(self) -> Result<TestApp> {
        let installation = match self.installation {
            Some(installation) => installation,
            None => Installation::shared().await?,
        };
        let database = installation.new_control_database().await?;
        let bucket = installation.new_bucket()?;
        let folder = installation.new_folder("app")?;
        let encryption_key: [u8; 32] = rand::random();
        let admin_key = PrivateKey::generate(Algorithm::Es384)?;
        let admin_keys = folder.join("admin.jwks");
        std::fs::write(&admin_keys, Jwks::new(vec![admin_key.public_jwk().clone()])?.to_json().to_string())?;
        let control_url = installation.database_url(&database);
        let mut settings = self.usual;
        settings
            .set("database.url", installation.database_url_as(WORKER_ROLE, &database))
            .set("admin.builtin_jwks_file", admin_keys.display())
            .set("keys.encryption_key", hex::encode(encryption_key))
            .set("jwks.allow_insecure", true)
            // Tests ask for more tokens in a minute than anybody should.
            .set("token.requests_per_minute", 10_000);
        installation.s3_settings(&bucket, &mut settings);
        settings.extend(&self.settings);
        let api_url = installation.database_url_as(API_ROLE, &database);
        let (api, ports) = start_api(&settings, &api_url, &folder.join("api.log")).await?;
        let http = answer::http()?;
        let mut app = TestApp {
            public_url: ports.url(ports.public),
            admin: Admin::new(http.clone(), &ports.url(ports.admin), admin_key.into(), &AdminRole::Operator)?,
            control: PgPoolOptions::new().max_connections(4).connect_lazy(&control_url)?,
            databases: Mutex::new(vec![database]),
            installation: Some(installation),
            http,
            control_url,
            api_url,
            encryption_key,
            bucket,
            folder,
            settings,
            ports,
            api,
            workers: Vec::new(),
            names: AtomicU32::new(0),
        };
        for _ in 0..self.workers {
            app.start_worker().await?;
        }
        Ok(app)
    }
}

/// The ports of an API. Its public one is part of every URL it hands out, so a restarted API gets the same.
#[derive(Debug, Clone, Copy)]
struct Ports {
    public: u16,
    admin: u16,
    private: u16,
}

impl Ports {
    fn draw() -> Result<Self> {
        Ok(Self { public: ports::free()?, admin: ports::free()?, private: ports::free()? })
    }

    fn are_free(self) -> bool {
        [self.public, self.admin, self.private].into_iter().all(ports::is_free)
    }

    fn url(self, port: u16) -> String {
        format!("http://127.0.0.1:{port}")
    }

    fn settings(self, common: &Settings, database_url: &str) -> Settings {
        common
            .clone()
            .with("database.url", database_url)
            .with("server.public_listen", format_args!("127.0.0.1:{}", self.public))
            .with("server.admin_listen", format_args!("127.0.0.1:{}", self.admin))
            .with("server.public_base_url", self.url(self.public))
    }
}

async fn start_api(settings: &Settings, database_url: &str, log: &Path) -> Result<(Process, Ports)> {
    let mut draw = 0;
    loop {
        draw += 1;
        let ports = Ports::draw()?;
        let mut api = Process::spawn("api", &ports.settings(settings, database_url), log, ports.private)?;
        match api.ready().await {
            Ok(()) => return Ok((api, ports)),
            // Another program was quicker.
            Err(_) if draw < PORT_DRAWS && api.exited()?.is_some() && !ports.are_free() => {}
            Err(error) => return Err(error),
        }
    }
}

async fn start_worker(settings: &Settings, log: &Path) -> Result<Process> {
    let mut draw = 0;
    loop {
        draw += 1;
        let port = ports::free()?;
        let mut worker = Process::spawn("worker", settings, log, port)?;
        match worker.ready().await {
            Ok(()) => return Ok(worker),
            Err(_) if draw < PORT_DRAWS && worker.exited()?.is_some() && !ports::is_free(port) => {}
            Err(error) => return Err(error),
        }
    }
}

/// A running Headgate. Dropping it kills its processes and drops its databases.
#[derive(Debug)]
pub struct TestApp {
    installation: Option<Arc<Installation>>,
    settings: Settings,
    folder: PathBuf,
    bucket: String,
    control_url: String,
    api_url: String,
    encryption_key: [u8; 32],
    control: PgPool,
    databases: Mutex<Vec<String>>,
    ports: Ports,
    public_url: String,
    admin: Admin,
    http: reqwest::Client,
    api: Process,
    workers: Vec<Process>,
    names: AtomicU32,
}

impl TestApp {
    /// One API and one worker with the usual options.
    ///
    /// # Errors
    /// As [`TestAppBuilder::start`].
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// To be started with other options, or more workers, or none.
    #[must_use]
    pub fn builder() -> TestAppBuilder {
        // Tests are short, and many processes share one cluster.
        let usual = Settings::new()
            .with("poll.min_age_ms", 200)
            .with("worker.poll_ms", 300)
            .with("lease.duration_s", 5)
            .with("database.max_connections", 6);
        TestAppBuilder { usual, settings: Settings::new(), workers: 1, installation: None }
    }

    /// A practice to be made. Its base URL is `{public_url}/{slug}/fhir/r4`.
    pub fn practice(&self, number: i64, slug: &str) -> PracticeBuilder<'_> {
        PracticeBuilder::new(self, number, slug)
    }

    /// An HTTP client that follows no redirect.
    #[must_use]
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The admin API.
    #[must_use]
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// The public URL of the API, without a slash at the end.
    #[must_use]
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// The control database as superuser. The tables are in the schema `headgate`.
    #[must_use]
    pub fn control(&self) -> &PgPool {
        &self.control
    }

    /// The key that signs access tokens, as only the server has it.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub async fn signing_key(&self) -> Result<SigningKey> {
        let (kid, sealed): (String, Vec<u8>) =
            sqlx::query_as("SELECT kid, sealed FROM headgate.signing_key ORDER BY signs_from LIMIT 1")
                .fetch_one(&self.control)
                .await?;
        let opened =
            Keyring::new(self.encryption_key, Vec::new())?.open(&format!("signing_key {kid}"), &sealed)?;
        Ok(SigningKey::from_pkcs8_der(&kid, &opened.plain)?)
    }

    /// Its URL.
    #[must_use]
    pub fn control_url(&self) -> &str {
        &self.control_url
    }

    /// Its URL as another role, such as [`API_ROLE`].
    #[must_use]
    pub fn control_url_as(&self, role: &str) -> String {
        self.control_url.replacen("postgres://postgres@", &format!("postgres://{role}@"), 1)
    }

    /// The first column of the first row of a statement on the control database.
    ///
    /// # Errors
    /// When there is no row, or it is of another type.
    pub async fn control_scalar<T>(&self, sql: &'static str) -> Result<T>
    where
        T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        Ok(sqlx::query_scalar(sql).fetch_one(&self.control).await?)
    }

    /// The keys in the bucket that begin with a prefix, in order. `""` gives all.
    ///
    /// # Errors
    /// When the bucket's folder cannot be read.
    pub fn s3_keys(&self, prefix: &str) -> Result<Vec<String>> {
        self.installation().keys(&self.bucket, prefix)
    }

    /// Copies an object of the bucket behind everybody's back; it looks as if it had been put that long ago.
    ///
    /// # Errors
    /// When there is none, or it cannot be copied.
    pub fn copy_object(&self, from: &str, to: &str, age: Duration) -> Result<()> {
        self.installation().copy_object(&self.bucket, from, to, age)
    }

    /// A folder for files of the test; deleted at the end of the process.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The options of the processes, such as for [`crate::headgate::run`].
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.ports.settings(&self.settings, &self.api_url)
    }

    /// The API process.
    pub fn api(&mut self) -> &mut Process {
        &mut self.api
    }

    /// Starts the API again, with the same ports, after it was killed or has ended.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn restart_api(&mut self) -> Result<()> {
        self.api.kill()?;
        self.api = Process::spawn("api", &self.settings(), &self.folder.join("api.log"), self.ports.private)?;
        self.api.ready().await
    }

    /// A worker process, counted from 0.
    pub fn worker(&mut self, index: usize) -> &mut Process {
        &mut self.workers[index]
    }

    /// Starts one more worker and returns its index.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start_worker(&mut self) -> Result<usize> {
        let index = self.workers.len();
        let log = self.folder.join(format!("worker-{index}.log"));
        self.workers.push(start_worker(&self.settings, &log).await?);
        Ok(index)
    }

    /// Starts a worker again after it was killed or has ended; returns at once, before it is ready.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart_worker(&mut self, index: usize) -> Result<()> {
        let worker = &mut self.workers[index];
        worker.kill()?;
        *worker = Process::spawn("worker", &self.settings, worker.log_file(), worker.private_port())?;
        Ok(())
    }

    /// Starts one more API or worker, with ports of its own, and returns at once. `changes` are options in which it
    /// differs from the others; its log is its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, role: &'static str, changes: &Settings) -> Result<Process> {
        let ports = Ports::draw()?;
        let mut settings = match role {
            "api" => ports.settings(&self.settings, &self.api_url),
            _ => self.settings.clone(),
        };
        settings.extend(changes);
        let log = self.folder.join(format!("{role}-{}.log", ports.private));
        Process::spawn(role, &settings, &log, ports.private)
    }

    /// What the API and all workers have written to standard error.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut logs = read_log(&self.folder.join("api.log"));
        for worker in &self.workers {
            logs.push_str(&worker.log());
        }
        logs
    }

    /// Kills the processes, drops the databases, and returns when that is done.
    pub async fn stop(mut self) {
        self.workers.clear();
        // One that cannot be killed is left to its guardian.
        let _killed = self.api.kill();
        self.control.close().await;
        if let Some(installation) = self.installation.take() {
            installation.drop_databases(&self.take_databases()).await;
        }
    }

    pub(crate) fn installation(&self) -> &Installation {
        self.installation.as_ref().expect("it is taken only when this value is being ended")
    }

    pub(crate) async fn new_ehr_database(&self) -> Result<String> {
        let name = self.installation().new_ehr_database().await?;
        self.databases.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
        Ok(name)
    }

    /// A new database without anything; returns its name.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn new_empty_database(&self) -> Result<String> {
        let name = self.installation().new_empty_database().await?;
        self.databases.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
        Ok(name)
    }

    /// The URL of a practice's database as superuser.
    #[must_use]
    pub fn ehr_url(&self, database: &str) -> String {
        self.installation().database_url(database)
    }

    fn take_databases(&self) -> Vec<String> {
        std::mem::take(&mut *self.databases.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let Some(installation) = self.installation.take() else { return };
        let databases = self.take_databases();
        // On a thread of its own, because dropping is not async and the test need not wait. Should the process
        // end first, the whole cluster goes.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        std::thread::spawn(move || {
            if let Ok(runtime) = runtime {
                runtime.block_on(installation.drop_databases(&databases));
            }
        });
    }
}
