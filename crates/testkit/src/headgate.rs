//! The built program `headgate`: finding it and running it.

mod process;

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;

use crate::Settings;

pub use process::Process;

/// Names the program where it does not lie next to the tests.
pub const BINARY_VARIABLE: &str = "HEADGATE_BIN";

/// Longest time of a command that should end by itself.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// The program: the one that `HEADGATE_BIN` names, else the one in the folder where cargo put this program
/// (`target/PROFILE`; test programs lie in `deps` below it).
///
/// # Errors
/// When there is none; the error says how to build it.
pub fn binary() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(BINARY_VARIABLE).filter(|name| !name.is_empty()) {
        let named = PathBuf::from(named);
        ensure!(named.is_file(), "{BINARY_VARIABLE} names {}, which is no file", named.display());
        return Ok(named.canonicalize()?);
    }
    let own = std::env::current_exe()?;
    let folder = own.parent().context("this program lies in no folder")?;
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let binary = folder.join("headgate");
    if binary.is_file() {
        return Ok(binary);
    }
    bail!(
        "there is no program {}: run `cargo build` with the same profile first, or name one in {BINARY_VARIABLE}",
        binary.display()
    )
}

/// How a command ended and what it wrote.
#[derive(Debug)]
pub struct Finished {
    /// The exit status.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// The same if the command succeeded.
    ///
    /// # Errors
    /// Shows the end of standard error if it did not.
    pub fn success(self) -> Result<Self> {
        if self.status.success() {
            return Ok(self);
        }
        bail!("headgate ended with {}:\n{}", self.status, tail(&self.stderr))
    }
}

/// Runs a command such as `["migrate"]` to its end, for at most a minute.
///
/// # Errors
/// When it cannot be started or does not end; whatever status it ends with is fine.
pub async fn run(arguments: &[&str], settings: &Settings) -> Result<Finished> {
    let output = command(settings)?
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("headgate cannot be started")?
        .wait_with_output();
    let what = arguments.join(" ");
    let output = tokio::time::timeout(COMMAND_TIMEOUT, output)
        .await
        .with_context(|| format!("headgate {what} did not end within {} s", COMMAND_TIMEOUT.as_secs()))??;
    Ok(Finished {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The program with these settings and none of the caller's own.
pub(crate) fn command(settings: &Settings) -> Result<Command> {
    let mut command = Command::new(binary()?);
    let foreign =
        |name: &str| name.starts_with("HEADGATE_") || name.starts_with("AWS_") || name.starts_with("PG");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(foreign) {
            command.env_remove(name);
        }
    }
    command.envs(settings.variables());
    Ok(command)
}

/// The end of a log, for an error message.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

/// The content of a log file; empty if there is none.
pub(crate) fn read_log(log: &Path) -> String {
    std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
