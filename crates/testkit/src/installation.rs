//! What all tests of a process share: a PostgreSQL cluster with two template databases, and an S3 server.
//!
//! The templates are made by the program itself (`headgate migrate`) and by the loader of the reference EHR,
//! so a test's databases are what an installation has; copying them costs a fraction of making them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use headgate_local::postgres::{Cluster, Options};
use headgate_local::s3::{S3Options, S3Server};
use headgate_reference_ehr::load::DEFAULT_SCHEMA;
use headgate_reference_ehr::{LoadOptions, grant_reader, load};
use indicatif::ProgressBar;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tempfile::TempDir;
use tokio::sync::{OnceCell, oneshot};

use crate::guardian::Guardian;
use crate::{Settings, headgate};

/// The role that reads an EHR, with `pg_read_all_stats`.
pub const READER: &str = "headgate_reader";

/// The role that reads an EHR and cannot see when other transactions began.
pub(crate) const READER_WITHOUT_STATS: &str = "headgate_reader_without_stats";

const CONTROL_TEMPLATE: &str = "control_template";
const EHR_TEMPLATE: &str = "ehr_template";
const ACCESS_KEY: &str = "testkit";

static SHARED: OnceCell<Arc<Installation>> = OnceCell::const_new();

/// A private cluster, an S3 server, and a folder for everything else.
pub struct Installation {
    cluster: Cluster,
    s3: S3,
    folder: TempDir,
    guardian: Guardian,
    counter: AtomicU32,
}

impl Installation {
    /// The one of this process, started at the first call.
    ///
    /// # Errors
    /// As [`Installation::start`]; the next call tries again.
    pub async fn shared() -> Result<Arc<Self>> {
        SHARED.get_or_try_init(Self::start).await.map(Arc::clone)
    }

    /// Starts one, and makes the templates.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, the program is not built, or one of them fails.
    pub async fn start() -> Result<Arc<Self>> {
        headgate::binary()?;
        let folder = tempfile::Builder::new().prefix("headgate-test-").tempdir()?;
        let guardian = Guardian::removes(folder.path())?;
        let s3 = S3::start(folder.path().join("s3")).await?;
        let cluster = Cluster::start(Options::default()).await?;
        let installation = Self { cluster, s3, folder, guardian, counter: AtomicU32::new(0) };
        installation.make_control_template().await?;
        installation.make_ehr_template().await?;
        Ok(Arc::new(installation))
    }

    /// Stops the servers and deletes everything, and returns when that is done. Where another part of the
    /// process still holds it, the last one to drop it leaves that to the guardians.
    ///
    /// # Errors
    /// When the cluster does not stop.
    pub async fn stop(self: Arc<Self>) -> Result<()> {
        let Some(installation) = Arc::into_inner(self) else { return Ok(()) };
        let Self { cluster, s3, folder, guardian, .. } = installation;
        cluster.stop().await?;
        s3.stop();
        folder.close()?;
        guardian.dismiss();
        Ok(())
    }

    /// The URL of a database as superuser.
    #[must_use]
    pub fn database_url(&self, database: &str) -> String {
        self.cluster.url(database)
    }

    /// The URL of a database as another role, which needs no password.
    #[must_use]
    pub fn database_url_as(&self, role: &str, database: &str) -> String {
        self.cluster.url(database).replacen("postgres://postgres@", &format!("postgres://{role}@"), 1)
    }

    /// A new control database.
    pub(crate) async fn new_control_database(&self) -> Result<String> {
        self.copy("control", CONTROL_TEMPLATE).await
    }

    /// A new, empty EHR database: the tables of the source contract for the 20 types, both reader roles.
    pub(crate) async fn new_ehr_database(&self) -> Result<String> {
        self.copy("ehr", EHR_TEMPLATE).await
    }

    /// A new database without anything.
    pub(crate) async fn new_empty_database(&self) -> Result<String> {
        let name = format!("empty_{}", self.number());
        self.cluster.create_database(&name).await?;
        Ok(name)
    }

    /// A new bucket.
    pub(crate) fn new_bucket(&self) -> Result<String> {
        let name = format!("bucket-{}", self.number());
        std::fs::create_dir(self.s3.root.join(&name))?;
        Ok(name)
    }

    /// A new folder, which goes with the installation.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new_folder(&self, what: &str) -> Result<PathBuf> {
        let folder = self.folder.path().join(format!("{what}-{}", self.number()));
        std::fs::create_dir(&folder)?;
        Ok(folder)
    }

    pub(crate) async fn drop_databases(&self, names: &[String]) {
        for name in names {
            // One that stays goes with the cluster.
            let _dropped = self.cluster.drop_database(name).await;
        }
    }

    /// The options of `[s3]` for a bucket.
    pub(crate) fn s3_settings(&self, bucket: &str, settings: &mut Settings) {
        settings
            .set("s3.endpoint", &self.s3.endpoint)
            .set("s3.region", "us-east-1")
            .set("s3.bucket", bucket)
            .set("s3.path_style", true)
            .set("s3.access_key_id", ACCESS_KEY)
            .set("s3.secret_access_key", &self.s3.secret_key);
    }

    /// The keys of a bucket's objects that begin with a prefix, in order; read from the server's folder, where
    /// an object's file is named by its key and `%`.
    pub(crate) fn keys(&self, bucket: &str, prefix: &str) -> Result<Vec<String>> {
        let root = self.s3.root.join(bucket);
        let mut keys = Vec::new();
        list(&root, "", &mut keys).with_context(|| format!("the bucket {bucket} cannot be listed"))?;
        keys.retain(|key| key.starts_with(prefix));
        keys.sort();
        Ok(keys)
    }

    /// Copies an object, and dates the copy back.
    pub(crate) fn copy_object(&self, bucket: &str, from: &str, to: &str, age: Duration) -> Result<()> {
        let file = |key: &str| self.s3.root.join(bucket).join(format!("{key}%"));
        let to = file(to);
        std::fs::create_dir_all(to.parent().context("a key without a folder")?)?;
        std::fs::copy(file(from), &to)?;
        std::fs::File::options().append(true).open(&to)?.set_modified(SystemTime::now() - age)?;
        Ok(())
    }

    fn number(&self) -> u32 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    async fn copy(&self, what: &str, template: &str) -> Result<String> {
        let name = format!("{what}_{}", self.number());
        self.cluster.create_database_from_template(&name, template).await?;
        Ok(name)
    }

    async fn make_control_template(&self) -> Result<()> {
        self.cluster.create_database(CONTROL_TEMPLATE).await?;
        let settings = Settings::new().with("database.url", self.database_url(CONTROL_TEMPLATE));
        headgate::run(&["migrate", "--create-roles"], &settings)
            .await?
            .success()
            .context("the control database was not migrated")?;
        Ok(())
    }

    async fn make_ehr_template(&self) -> Result<()> {
        self.cluster.create_database(EHR_TEMPLATE).await?;
        let dsn = self.database_url(EHR_TEMPLATE);
        // The loader makes all tables with the first row it loads; the row goes again.
        let folder = self.new_folder("template")?;
        std::fs::write(
            folder.join("Patient.ndjson"),
            "{\"resourceType\":\"Patient\",\"id\":\"template\"}\n",
        )?;
        load(LoadOptions::new(&dsn, &folder), ProgressBar::hidden()).await?;
        grant_reader(&dsn, DEFAULT_SCHEMA, READER).await?;
        let mut connection = PgConnection::connect(&dsn).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "TRUNCATE {DEFAULT_SCHEMA}.patient;
             CREATE ROLE {READER_WITHOUT_STATS} LOGIN;
             GRANT USAGE ON SCHEMA {DEFAULT_SCHEMA} TO {READER_WITHOUT_STATS};
             GRANT SELECT ON ALL TABLES IN SCHEMA {DEFAULT_SCHEMA} TO {READER_WITHOUT_STATS}"
        )))
        .execute(&mut connection)
        .await?;
        // A database that somebody is connected to cannot be copied.
        connection.close().await?;
        Ok(())
    }
}

impl fmt::Debug for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installation").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// The S3 server, on a runtime of its own: each test has a runtime that ends with it.
struct S3 {
    root: PathBuf,
    endpoint: String,
    secret_key: String,
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl S3 {
    async fn start(root: PathBuf) -> Result<Self> {
        let secret_key = uuid::Uuid::new_v4().simple().to_string();
        let options = S3Options {
            root: root.clone(),
            listen: None,
            access_key: ACCESS_KEY.to_owned(),
            secret_key: secret_key.clone(),
            buckets: Vec::new(),
        };
        let (started, endpoint) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || serve(options, started, stopped));
        let endpoint = endpoint.await.context("the S3 server did not start")??;
        Ok(Self { root, endpoint, secret_key, stop, thread })
    }

    fn stop(self) {
        drop(self.stop);
        let _ended = self.thread.join();
    }
}

fn serve(options: S3Options, started: oneshot::Sender<Result<String>>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _told = started.send(Err(error.into()));
            return;
        }
    };
    runtime.block_on(async {
        match S3Server::start(options).await {
            Ok(server) => {
                let _told = started.send(Ok(server.endpoint()));
                // Ends when the other side is dropped.
                let _dropped = stopped.await;
                server.stop().await;
            }
            Err(error) => {
                let _told = started.send(Err(error.into()));
            }
        }
    });
}

fn list(folder: &Path, prefix: &str, keys: &mut Vec<String>) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        // Deleted since it was listed.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &format!("{prefix}{name}/"), keys)?;
        } else if let Some(name) = name.strip_suffix('%') {
            keys.push(format!("{prefix}{name}"));
        }
    }
    Ok(())
}
