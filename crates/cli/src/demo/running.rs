//! The servers that the demo starts, and their end.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use headgate_local::postgres::{self, Cluster, ensure_installation, find_installation};
use headgate_local::s3::{S3Options, S3Server};
use headgate_runtime::Lifecycle;
use tokio::process::Command;

use super::folder::{Folder, S3};
use super::next::shell_word;
use super::screen::Screen;
use crate::failure::Failure;

const BUCKET: &str = "headgate-demo";
const ACCESS_KEY_ID: &str = "headgate-demo";

/// How long the engine may take to put down its work. A second Ctrl-C ends it at once.
const DRAIN: Duration = Duration::from_secs(10);

/// What has been started so far. Dropping it stops everything too, a moment later.
#[derive(Debug, Default)]
pub(super) struct Running {
    cluster: Option<Cluster>,
    s3: Option<S3Server>,
}

/// The bucket, and how to reach it.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) endpoint: String,
    pub(super) name: &'static str,
    pub(super) access_key_id: &'static str,
    pub(super) secret_access_key: String,
}

impl Running {
    /// Starts PostgreSQL, in the demo's folder if that stays; installs it where it is missing and apt may be used.
    pub(super) async fn start_cluster(&mut self, folder: &Folder, screen: &Screen) -> Result<&Cluster> {
        if matches!(find_installation(), Err(postgres::Error::NotInstalled)) {
            screen.line("PostgreSQL is missing: looking for a way to install it");
            ensure_installation().await?;
        }
        let data = (!folder.is_temporary()).then(|| folder.path().join("postgres"));
        let options = postgres::Options { data, ..postgres::Options::default() };
        let cluster = match Cluster::start(options.clone()).await {
            Err(postgres::Error::AlreadyRunning { stop, .. }) => {
                screen.line("stopping the PostgreSQL that an earlier demo has left running in this folder");
                stop_earlier(&stop).await?;
                Cluster::start(options).await?
            }
            Err(postgres::Error::NotOurs(data)) => {
                // Our folder is marked and locked, so this is what a demo made that was interrupted.
                remove_unfinished(&data, &folder.path().join("postgres"))?;
                Cluster::start(options).await?
            }
            started => started?,
        };
        screen.line(&format!("PostgreSQL is up, in {}", cluster.data_folder().display()));
        Ok(self.cluster.insert(cluster))
    }

    /// Starts the S3 server with an empty bucket.
    pub(super) async fn start_s3(&mut self, folder: &Folder, screen: &Screen) -> Result<Bucket> {
        let secret_access_key = uuid::Uuid::new_v4().simple().to_string();
        let server = S3Server::start(S3Options {
            root: folder.make(S3)?,
            listen: None,
            access_key: ACCESS_KEY_ID.to_owned(),
            secret_key: secret_access_key.clone(),
            buckets: vec![BUCKET.to_owned()],
        });
        let server = self.s3.insert(server.await.context("the S3 server did not start")?);
        let bucket = Bucket {
            endpoint: server.endpoint(),
            name: BUCKET,
            access_key_id: ACCESS_KEY_ID,
            secret_access_key,
        };
        screen.line(&format!("S3 server at {}, bucket {BUCKET}", bucket.endpoint));
        Ok(bucket)
    }

    /// Drains the engine, then stops the servers and removes a temporary folder; with `keep`, PostgreSQL and the
    /// files stay.
    ///
    /// # Errors
    /// When a part of the engine has failed at any time, or PostgreSQL does not stop.
    pub(super) async fn stop(
        self,
        life: &Lifecycle,
        folder: Folder,
        screen: &Screen,
        keep: bool,
    ) -> Result<(), Failure> {
        let started = self.cluster.is_some();
        if started {
            screen.line("stopping");
        }
        life.stop();
        let failed = life.run(DRAIN).await.failed;
        let log = if failed { folder.log_tail() } else { String::new() };
        if let Some(s3) = self.s3 {
            s3.stop().await;
        }
        let stopped = match self.cluster {
            Some(cluster) => stop_cluster(cluster, &folder, screen, keep).await,
            None => Ok(()),
        };
        if keep {
            folder.keep();
        } else if let Err(error) = folder.remove() {
            screen.line(&format!("left behind: {error}"));
        }
        stopped.map_err(|error| Failure::unavailable(&error))?;
        if failed {
            return Err(Failure::software(format!(
                "a part of the engine failed; the end of its log:\n{log}"
            )));
        }
        if started {
            screen.line("stopped");
        }
        Ok(())
    }
}

async fn stop_cluster(
    cluster: Cluster,
    folder: &Folder,
    screen: &Screen,
    keep: bool,
) -> Result<(), postgres::Error> {
    if !keep {
        return cluster.stop().await;
    }
    let data = cluster.data_folder();
    // Temporary data lie in the folder of the socket.
    let data = if folder.is_temporary() { data.parent().unwrap_or(data) } else { data };
    let mut leftovers = vec![shell_word(folder.path())];
    if !data.starts_with(folder.path()) {
        leftovers.push(shell_word(data));
    }
    let stop = cluster.keep()?;
    screen.line(&format!("PostgreSQL stays up and the files stay. To stop it, type:\n{stop}"));
    screen.line(&format!("Then the files may be deleted:\nrm -rf {}", leftovers.join(" ")));
    Ok(())
}

/// Stops the server of an earlier run in our own folder. A guardian may be stopping it too, when that run was killed
/// a moment ago, so a failure tells nothing; the next start does.
async fn stop_earlier(stop: &str) -> Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-c", stop]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _stopped = shell.status().await.context("cannot run sh")?;
    Ok(())
}

/// Deletes data that `initdb` did not finish. `named` is the entry of our folder, which may be a link to them.
fn remove_unfinished(data: &Path, named: &Path) -> Result<()> {
    if named.is_symlink() {
        std::fs::remove_file(named)?;
    }
    std::fs::remove_dir_all(data).with_context(|| format!("cannot remove {}", data.display()))
}
