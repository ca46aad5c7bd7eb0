//! Starting, using and stopping a cluster.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::process::Command;

use super::guardian::Guardian;
use super::installation::{Installation, find_installation};
use super::place::{self, Data};
use super::user::ServerUser;
use super::{Error, at, shell_word};

/// The superuser `initdb` creates. Local connections need no password.
const SUPERUSER: &str = "postgres";

/// Only part of the socket's name (`.s.PGSQL.5432`): the server listens on no port.
const PORT: u16 = 5432;

/// What is percent-encoded in a URL: all but letters, digits and the usual characters of a path.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

/// Settings of every cluster. Values and rows of clinical data stay out of the log: no statement, no
/// parameter, no `DETAIL` is written to it. Prepared transactions are allowed because tests need some.
const SETTINGS: &[&str] = &[
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "max_connections=300",
    "max_prepared_transactions=10",
    "jit=off",
    "timezone=UTC",
    "log_timezone=UTC",
    "log_statement=none",
    "log_min_error_statement=panic",
    "log_parameter_max_length_on_error=0",
    "log_error_verbosity=terse",
    "max_wal_size=4GB",
    "checkpoint_timeout=15min",
];

/// Settings of a cluster that need not survive a crash of the machine.
const THROWAWAY: &[&str] = &["fsync=off", "synchronous_commit=off", "full_page_writes=off"];

/// How to start a cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data folder. `None`: a temporary one, deleted with the cluster. A named folder is made if
    /// missing, outlives the cluster, and is used again when it holds a cluster from an earlier run. For
    /// root, a folder the server's user cannot enter becomes a link to one below `/var/tmp`.
    pub data: Option<PathBuf>,
    /// Whether committed data survive a crash of the machine. `false` is several times faster, and still
    /// safe against the end of any process.
    pub durable: bool,
    /// PostgreSQL's `shared_buffers`, MiB.
    pub shared_buffers_mib: u32,
}

impl Default for Options {
    /// A temporary folder, not durable, 256 MiB.
    fn default() -> Self {
        Self { data: None, durable: false, shared_buffers_mib: 256 }
    }
}

/// A running PostgreSQL server on a folder of its own, reachable by a Unix socket.
///
/// # Life
/// The server runs until [`Cluster::stop`], until this value is dropped, or until the process ends in
/// whatever way, `kill -9` included; [`Cluster::keep`] leaves it running. In the second and third case a
/// small shell, the guardian, stops it a moment later. Temporary folders are deleted; a data folder that
/// the caller named stays.
pub struct Cluster {
    pg_ctl: PathBuf,
    data: Data,
    socket_folder: PathBuf,
    guardian: Guardian,
}

impl Cluster {
    /// Makes the cluster where needed, and starts the server. A new one takes a few seconds.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] without a PostgreSQL; [`Error::AlreadyRunning`] or [`Error::NotOurs`] for a
    /// data folder in use; [`Error::Failed`] with the end of the server's log if it does not start.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let installation = find_installation()?;
        let user = ServerUser::choose().await?;
        let data = match &options.data {
            Some(named) => Some(Data::named(named, user).await?),
            None => None,
        };
        let user = data.as_ref().map_or(user, |data| data.user);
        let pg_ctl = installation.program("pg_ctl");
        if let Some(data) = data.as_ref().filter(|data| data.complete) {
            refuse_running(&pg_ctl, data).await?;
        }
        let temporary = place::temporary(user).await?;
        let data = match data {
            Some(data) => data,
            None => Data::temporary(temporary.path(), user)?,
        };
        // The guardian first: whatever happens from here on, it cleans up.
        let shell = user.command("sh").into_std();
        let guardian = Guardian::start(shell, &pg_ctl, &data.folder, temporary.path())
            .map_err(|source| Error::CannotRun { program: "sh".to_owned(), source })?;
        let socket_folder = temporary.keep();
        if !data.complete {
            init(&installation, &data).await?;
        }
        start_server(&pg_ctl, &data, &socket_folder, &options).await?;
        Ok(Self { pg_ctl, data, socket_folder, guardian })
    }

    /// The URL of a database, as the superuser: `postgres://postgres@localhost:5432/NAME?host=FOLDER`, where
    /// FOLDER is that of the socket. `psql` understands it too.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let encode = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
        let host = encode(&self.socket_folder.to_string_lossy());
        format!("postgres://{SUPERUSER}@localhost:{PORT}/{}?host={host}", encode(database))
    }

    /// The data folder, links followed.
    #[must_use]
    pub fn data_folder(&self) -> &Path {
        &self.data.folder
    }

    /// Creates an empty database.
    ///
    /// # Errors
    /// [`Error::DatabaseName`], or [`Error::Database`] for example if it exists.
    pub async fn create_database(&self, name: &str) -> Result<(), Error> {
        let name = quoted(name)?;
        self.execute("create a database", format!("CREATE DATABASE {name} TEMPLATE template0")).await
    }

    /// Creates a database as a copy of another, to which nobody may be connected meanwhile.
    ///
    /// # Errors
    /// [`Error::DatabaseName`], or [`Error::Database`] for example if the template is in use.
    pub async fn create_database_from_template(&self, name: &str, template: &str) -> Result<(), Error> {
        let (name, template) = (quoted(name)?, quoted(template)?);
        self.execute("copy a database", format!("CREATE DATABASE {name} TEMPLATE {template}")).await
    }

    /// Drops a database if it exists, cutting the connections to it.
    ///
    /// # Errors
    /// [`Error::DatabaseName`] or [`Error::Database`].
    pub async fn drop_database(&self, name: &str) -> Result<(), Error> {
        let name = quoted(name)?;
        self.execute("drop a database", format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await
    }

    /// Stops the server, cutting its connections, and deletes the temporary folders.
    ///
    /// # Errors
    /// [`Error::Failed`] if it does not stop; the guardian then stops it the hard way.
    pub async fn stop(self) -> Result<(), Error> {
        let mut command = self.data.user.command(&self.pg_ctl);
        command.args(["stop", "--wait", "--mode=fast"]).arg("--pgdata").arg(&self.data.folder);
        run("pg_ctl stop", command).await?;
        self.guardian.stopped().map_err(at(&self.socket_folder))
    }

    /// Leaves the server running after the end of this process, and everything in place.
    ///
    /// Returns the shell command that stops it. Temporary data stay where they are.
    ///
    /// # Errors
    /// [`Error::File`] if the guardian cannot be told.
    pub fn keep(self) -> Result<String, Error> {
        let mut stop = stop_command(&self.pg_ctl, &self.data);
        if !self.data.folder.starts_with(&self.socket_folder) {
            stop = format!("{stop} && rmdir {}", shell_word(&self.socket_folder.to_string_lossy()));
        }
        self.guardian.keep().map_err(at(&self.socket_folder))?;
        Ok(stop)
    }

    async fn execute(&self, what: &'static str, sql: String) -> Result<(), Error> {
        let run = async {
            let mut connection = PgConnection::connect(&self.url("postgres")).await?;
            sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await?;
            connection.close().await
        };
        run.await.map_err(|source| Error::Database { what, source })
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("data", &self.data.folder)
            .field("socket_folder", &self.socket_folder)
            .finish_non_exhaustive()
    }
}

async fn refuse_running(pg_ctl: &Path, data: &Data) -> Result<(), Error> {
    let mut status = data.user.command(pg_ctl);
    status.arg("status").arg("--pgdata").arg(&data.folder);
    if run("pg_ctl status", status).await.is_err() {
        return Ok(());
    }
    let mut stop = stop_command(pg_ctl, data);
    if let Some(sockets) = data.running_socket_folder() {
        stop = format!("{stop} && rmdir {}", shell_word(&sockets));
    }
    Err(Error::AlreadyRunning { folder: data.folder.clone(), stop })
}

async fn init(installation: &Installation, data: &Data) -> Result<(), Error> {
    let mut initdb = data.user.command(installation.program("initdb"));
    initdb
        .args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"])
        .args(["--username", SUPERUSER])
        .arg("--pgdata")
        .arg(&data.folder);
    run("initdb", initdb).await?;
    data.mark_complete()
}

async fn start_server(pg_ctl: &Path, data: &Data, sockets: &Path, options: &Options) -> Result<(), Error> {
    let mut settings: Vec<String> = SETTINGS.iter().map(|&setting| setting.to_owned()).collect();
    if !options.durable {
        settings.extend(THROWAWAY.iter().map(|&setting| setting.to_owned()));
    }
    settings.push(format!("port={PORT}"));
    settings.push(format!("shared_buffers={}MB", options.shared_buffers_mib));
    settings.push(format!("unix_socket_directories={}", sockets.display()));
    // `pg_ctl` hands these to a shell.
    let settings: Vec<String> =
        settings.iter().map(|setting| format!("-c {}", shell_word(setting))).collect();
    let mut start = data.user.command(pg_ctl);
    start.args(["start", "--wait", "--timeout=60", "--silent"]).arg("--pgdata").arg(&data.folder);
    start.arg("--log").arg(data.log()).arg("--options").arg(settings.join(" "));
    run("pg_ctl start", start).await.map_err(|error| match (error, data.log_tail()) {
        (Error::Failed { program, .. }, Ok(detail)) => Error::Failed { program, detail },
        (error, _) => error,
    })
}

/// Runs a program to its end; what it wrote is told only if it failed.
async fn run(program: &'static str, mut command: Command) -> Result<(), Error> {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|source| Error::CannotRun { program: program.to_owned(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    let detail = if said.is_empty() { output.status.to_string() } else { said };
    Err(Error::Failed { program, detail })
}

fn stop_command(pg_ctl: &Path, data: &Data) -> String {
    let word = |path: &Path| shell_word(&path.to_string_lossy());
    let prefix = data.user.shell_prefix();
    format!("{prefix}{} stop --mode=fast --pgdata={}", word(pg_ctl), word(&data.folder))
}

/// A database name as it stands in a statement.
fn quoted(name: &str) -> Result<String, Error> {
    let good = name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if good { Ok(format!("\"{name}\"")) } else { Err(Error::DatabaseName) }
}

#[cfg(test)]
mod tests;
