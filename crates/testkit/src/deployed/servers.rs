//! The servers that a cluster would have: PostgreSQL with an empty control database and a practice's, and S3.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use headgate_local::postgres::{Cluster, Options};
use headgate_local::s3::{S3Options, S3Server};
use headgate_reference_ehr::load::DEFAULT_SCHEMA;
use headgate_reference_ehr::{LoadOptions, grant_reader, load};
use indicatif::ProgressBar;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _};

use crate::{API_ROLE, READER, WORKER_ROLE};

const CONTROL: &str = "headgate";
const EHR: &str = "ehr";

/// Running servers.
#[derive(Debug)]
pub struct Servers {
    cluster: Cluster,
    s3: S3Server,
    sockets: PathBuf,
}

impl Servers {
    /// Starts them, and fills the practice's database from a folder of NDJSON.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, or one of them does not start.
    pub async fn start(
        folder: &Path,
        input: &Path,
        bucket: &str,
        access_key: &str,
        secret: &str,
    ) -> Result<Self> {
        let s3 = S3Server::start(S3Options {
            root: folder.join("s3"),
            listen: None,
            access_key: access_key.to_owned(),
            secret_key: secret.to_owned(),
            buckets: vec![bucket.to_owned()],
        })
        .await?;
        let cluster = Cluster::start(Options::default()).await?;
        cluster.create_database(CONTROL).await?;
        cluster.create_database(EHR).await?;
        // Whoever writes the secrets makes the roles that they name; what these may do is the migration's.
        let mut connection = PgConnection::connect(&cluster.url(CONTROL)).await?;
        for role in [API_ROLE, WORKER_ROLE] {
            sqlx::query(AssertSqlSafe(format!("CREATE ROLE {role} LOGIN"))).execute(&mut connection).await?;
        }
        connection.close().await?;
        let dsn = cluster.url(EHR);
        load(LoadOptions::new(&dsn, input), ProgressBar::hidden()).await?;
        grant_reader(&dsn, DEFAULT_SCHEMA, READER).await?;
        let options: PgConnectOptions = dsn.parse()?;
        let sockets = options.get_socket().context("the cluster has no socket")?.clone();
        Ok(Self { cluster, s3, sockets })
    }

    /// The folder of PostgreSQL's socket: the network that leads to it.
    #[must_use]
    pub fn sockets(&self) -> &Path {
        &self.sockets
    }

    /// Lets a group connect to PostgreSQL, whose socket is its own user's otherwise.
    ///
    /// # Errors
    /// When this process is not root.
    pub fn admit(&self, gid: u32) -> Result<()> {
        let socket = self.sockets.join(".s.PGSQL.5432");
        chown(&self.sockets, None, Some(gid))?;
        chown(&socket, None, Some(gid))?;
        std::fs::set_permissions(&self.sockets, std::fs::Permissions::from_mode(0o710))?;
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o770))?;
        Ok(())
    }

    /// The S3 server's URL.
    #[must_use]
    pub fn s3_endpoint(&self) -> String {
        self.s3.endpoint()
    }

    /// The URL of the control database as a role; `postgres` is its owner.
    #[must_use]
    pub fn control_url(&self, role: &str) -> String {
        as_role(&self.cluster.url(CONTROL), role)
    }

    /// The URL of the practice's database as its reader.
    #[must_use]
    pub fn source_url(&self) -> String {
        as_role(&self.cluster.url(EHR), READER)
    }

    /// Stops both.
    ///
    /// # Errors
    /// When PostgreSQL does not stop.
    pub async fn stop(self) -> Result<()> {
        self.s3.stop().await;
        Ok(self.cluster.stop().await?)
    }
}

fn as_role(url: &str, role: &str) -> String {
    url.replacen("postgres://postgres@", &format!("postgres://{role}@"), 1)
}
