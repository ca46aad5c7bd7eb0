//! One shell that keeps its variables, functions and background processes from command to command.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::guardian::Guardian;

/// How long a command may take: some look again and again until something is there, which machines are slow at.
const WITHIN: Duration = Duration::from_secs(300);

const COMMAND: &str = ".command";
const PRINTED: &str = ".printed";

/// The shell. What it has started in the background ends with it.
#[derive(Debug)]
pub struct Shell {
    child: Child,
    to: ChildStdin,
    statuses: Lines<BufReader<ChildStdout>>,
    folder: PathBuf,
    guardian: Option<Guardian>,
}

impl Shell {
    /// Starts it in a folder, with these variables and none of Headgate's, AWS's or PostgreSQL's that the caller has.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(folder: &Path, variables: &[(String, String)]) -> Result<Self> {
        let mut command = Command::new("sh");
        let foreign = |name: &str| ["HEADGATE", "AWS_", "PG", "OTEL_"].iter().any(|p| name.starts_with(p));
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(foreign) {
                command.env_remove(name);
            }
        }
        let mut child = command
            .envs(variables.iter().cloned())
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            // Its background processes are in its group.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("sh cannot be started")?;
        let guardian = child.id().map(Guardian::kills_group).transpose()?;
        let to = child.stdin.take().context("no pipe to the shell")?;
        let from = child.stdout.take().context("no pipe from the shell")?;
        Ok(Self { child, to, statuses: BufReader::new(from).lines(), folder: folder.to_path_buf(), guardian })
    }

    /// Runs a command; whether it succeeded, and what it printed to standard output and standard error.
    ///
    /// # Errors
    /// When it does not end in time, or ends the shell.
    pub async fn run(&mut self, script: &str) -> Result<(bool, String)> {
        std::fs::write(self.folder.join(COMMAND), format!("{script}\n"))?;
        let line = format!(". ./{COMMAND} >{PRINTED} 2>&1 </dev/null; echo $?\n");
        self.to.write_all(line.as_bytes()).await.context("the shell has ended")?;
        let status = match tokio::time::timeout(WITHIN, self.statuses.next_line()).await {
            Err(_) => {
                bail!("it did not end within {} s; so far it printed:\n{}", WITHIN.as_secs(), self.printed())
            }
            Ok(line) => line?,
        };
        match status {
            Some(status) => Ok((status == "0", self.printed())),
            None => bail!("it ended the shell; it printed:\n{}", self.printed()),
        }
    }

    fn printed(&self) -> String {
        let bytes = std::fs::read(self.folder.join(PRINTED)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Kills it and all that it has started, and returns when it is gone.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn end(mut self) -> Result<()> {
        if let Some(guardian) = self.guardian.take() {
            guardian.strike();
        }
        self.child.kill().await?;
        Ok(())
    }
}
