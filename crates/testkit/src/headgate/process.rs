//! A running `headgate api` or `headgate worker`.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::{command, read_log, tail};
use crate::Settings;
use crate::guardian::Guardian;

/// How long a process may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How long a process may take to end after SIGTERM: a little more than the longest configured drain.
const END_WITHIN: Duration = Duration::from_secs(35);

/// A process of a role that runs until it is ended. It is killed when this value is dropped, and by a guardian
/// when the process that holds it dies.
#[derive(Debug)]
pub struct Process {
    role: &'static str,
    private_port: u16,
    child: Child,
    log: PathBuf,
    guardian: Option<Guardian>,
}

impl Process {
    /// Starts a role and returns at once. Its standard error goes to the end of the file `log`.
    ///
    /// The process has a group of its own: Ctrl-C at the terminal reaches the caller alone.
    pub(crate) fn spawn(
        role: &'static str,
        settings: &Settings,
        log: &Path,
        private_port: u16,
    ) -> Result<Self> {
        let stderr = File::options().create(true).append(true).open(log)?;
        let mut settings = settings.clone();
        settings.set("server.private_listen", format_args!("127.0.0.1:{private_port}"));
        let child = command(&settings)?
            .into_std()
            .arg(role)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .process_group(0)
            .spawn()
            .with_context(|| format!("headgate {role} cannot be started"))?;
        let guardian = Some(Guardian::kills(child.id())?);
        Ok(Self { role, private_port, child, log: log.to_path_buf(), guardian })
    }

    /// Waits until `/readyz` answers 200.
    ///
    /// # Errors
    /// With the end of its log when the process ends instead, or is not ready in half a minute.
    pub async fn ready(&mut self) -> Result<()> {
        let http = crate::answer::http()?;
        let url = format!("http://127.0.0.1:{}/readyz", self.private_port);
        let until = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.exited()? {
                bail!(
                    "headgate {} ended with {status} before it was ready:\n{}",
                    self.role,
                    tail(&self.log())
                );
            }
            if http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if Instant::now() > until {
                let within = READY_WITHIN.as_secs();
                bail!("headgate {} was not ready within {within} s:\n{}", self.role, tail(&self.log()));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The port of `/livez` and `/readyz`.
    #[must_use]
    pub fn private_port(&self) -> u16 {
        self.private_port
    }

    /// Everything it has written to standard error; of a restarted process also what it wrote before.
    #[must_use]
    pub fn log(&self) -> String {
        read_log(&self.log)
    }

    pub(crate) fn log_file(&self) -> &Path {
        &self.log
    }

    /// Sends a signal by its name: `TERM`, `STOP`, `CONT`.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&mut self, name: &str) -> Result<()> {
        if let Some(status) = self.exited()? {
            bail!("headgate {} has ended with {status}:\n{}", self.role, tail(&self.log()));
        }
        // The shell's own `kill`: a bare machine has no other. The process was not waited for, so the id is
        // still its own.
        let sent = Command::new("sh")
            .args(["-c", r#"kill -s "$1" "$2""#, "sh", name, &self.id().to_string()])
            .stderr(Stdio::null())
            .status()?;
        ensure!(sent.success(), "the signal {name} could not be sent to headgate {}", self.role);
        Ok(())
    }

    /// `kill -9`, and waits for the end.
    ///
    /// # Errors
    /// When it cannot be waited for. A process that has ended already is fine.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.dismiss();
        Ok(())
    }

    /// SIGTERM, and waits for the end of the drain.
    ///
    /// # Errors
    /// With the end of its log when it does not end.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal("TERM")?;
        self.wait(END_WITHIN).await
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// With the end of its log when it does not.
    pub async fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let until = Instant::now() + within;
        while Instant::now() < until {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("headgate {} did not end within {} s:\n{}", self.role, within.as_secs(), tail(&self.log()))
    }

    /// How it has ended; `None` while it runs.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        if status.is_some() {
            self.dismiss();
        }
        Ok(status)
    }

    /// The most memory that it has had resident so far, in bytes (`VmHWM` of Linux).
    ///
    /// # Errors
    /// When it has ended, or the system does not say.
    pub fn peak_rss(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak
            .and_then(|text| text.trim().strip_suffix("kB"))
            .and_then(|text| text.trim().parse::<u64>().ok());
        Ok(kib.context("the system does not say how much memory the process had")? * 1024)
    }

    /// The id may be given to another process from now on.
    fn dismiss(&mut self) {
        if let Some(guardian) = self.guardian.take() {
            guardian.dismiss();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What cannot be killed here, the guardian kills.
        if self.child.kill().is_ok() && self.child.wait().is_ok() {
            self.dismiss();
        }
    }
}
