//! The client process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use indicatif::ProgressBar;
use serde_json::Value;
use sqlx::PgPool;
use tokio::io::AsyncReadExt as _;
use tokio::process::Child;

use super::prepare::bar;
use crate::guardian::Guardian;
use crate::headgate::{command, read_log, tail};
use crate::{AppHandle, Practice, Settings};

const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A running `headgate export`. Dropping it kills it.
#[derive(Debug)]
pub struct RunningExport {
    child: Child,
    guardian: Option<Guardian>,
    out: PathBuf,
    log: PathBuf,
}

impl RunningExport {
    /// Starts the client at system level; what it writes goes to `out`, which must not be there yet.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(practice: &Practice, vendor: &AppHandle, key_file: &Path, out: PathBuf) -> Result<Self> {
        let log = out.with_extension("log");
        let child = command(&Settings::new())?
            .args(["export", "--json", "--quiet", "--level", "system"])
            .args(["--base-url", &practice.base_url, "--client-id", &vendor.client_id])
            .arg("--key")
            .arg(key_file)
            .arg("--out")
            .arg(&out)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .kill_on_drop(true)
            .spawn()
            .context("headgate export cannot be started")?;
        let guardian = child.id().map(Guardian::kills).transpose()?;
        Ok(Self { child, guardian, out, log })
    }

    /// The folder that it writes to.
    #[must_use]
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits for its end, showing a bar of how far the newest export is; returns its summary.
    ///
    /// # Errors
    /// With what it wrote to standard error if it fails.
    pub async fn wait(&mut self, control: &PgPool, expected: u64) -> Result<Value> {
        let bar = bar("exporting", "{human_pos} of {human_len}");
        bar.set_length(expected);
        let mut look = tokio::time::interval(LOOK_EVERY);
        let status = loop {
            tokio::select! {
                status = self.child.wait() => break status?,
                _ = look.tick() => show(control, &bar).await?,
            }
        };
        bar.finish_and_clear();
        // The process id may be given to another one from now on.
        if let Some(guardian) = self.guardian.take() {
            guardian.dismiss();
        }
        if !status.success() {
            bail!("headgate export ended with {status}:\n{}", tail(&read_log(&self.log)));
        }
        let mut summary = String::new();
        let stdout = self.child.stdout.as_mut().context("the summary was read already")?;
        stdout.read_to_string(&mut summary).await?;
        serde_json::from_str(&summary).context("the summary of headgate export is not JSON")
    }
}

async fn show(control: &PgPool, bar: &ProgressBar) -> Result<()> {
    let (resources, state): (i64, Option<String>) = sqlx::query_as(
        "SELECT coalesce(sum(s.resources), 0)::bigint, max(e.state)
         FROM (SELECT * FROM headgate.export ORDER BY accepted_at DESC LIMIT 1) e
         LEFT JOIN headgate.shard s USING (practice_number, export_id)",
    )
    .fetch_one(control)
    .await?;
    bar.set_position(resources.unsigned_abs());
    let downloading = state.as_deref() == Some("completed");
    bar.set_message(if downloading { "downloading" } else { "" });
    Ok(())
}
