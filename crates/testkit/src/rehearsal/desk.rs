//! Where the page is followed: a folder, a shell with the variables that the page speaks of, empty databases, a bucket,
//! a Prometheus.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::prometheus::{Prometheus, ensure_tools};
use super::shell::Shell;
use crate::headgate::{binary, read_log, tail};
use crate::{API_ROLE, Installation, READER, Settings, WORKER_ROLE, ports};

/// The engineer's desk.
#[derive(Debug)]
pub struct Desk {
    installation: Arc<Installation>,
    folder: PathBuf,
    /// Where the conditions of alerts are known.
    pub prometheus: Prometheus,
    /// Where commands are typed.
    pub shell: Shell,
}

impl Desk {
    /// Starts the servers. No Headgate: the page does that.
    ///
    /// # Errors
    /// When a program is missing, or a server does not start.
    pub async fn new(rules: &Path) -> Result<Self> {
        ensure_tools().await?;
        let installation = Installation::start().await?;
        let folder = installation.new_folder("desk")?;
        let programs = folder.join(".bin");
        std::fs::create_dir(&programs)?;
        std::os::unix::fs::symlink(binary()?, programs.join("headgate"))?;
        let prometheus = Prometheus::start(&installation.new_folder("prometheus")?, &folder, rules).await?;
        let variables = variables(&installation, &folder, &prometheus).await?;
        let shell = Shell::start(&folder, &variables)?;
        Ok(Self { installation, folder, prometheus, shell })
    }

    /// The ends of the logs that the page's processes write.
    pub fn logs(&self) -> String {
        let mut logs = String::new();
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "log"));
        files.sort();
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            logs += &format!("==> {name}\n{}\n", tail(&read_log(&file)));
        }
        logs
    }

    /// Ends all processes and servers, and removes everything.
    ///
    /// # Errors
    /// When one of them does not end.
    pub async fn clear(self) -> Result<()> {
        let Self { installation, prometheus, shell, .. } = self;
        shell.end().await?;
        prometheus.stop().await?;
        installation.stop().await
    }
}

async fn variables(
    installation: &Installation,
    folder: &Path,
    prometheus: &Prometheus,
) -> Result<Vec<(String, String)>> {
    let control = installation.new_empty_database().await?;
    let restored = installation.new_empty_database().await?;
    let ehr = installation.new_empty_database().await?;
    let path = format!("{}:{}", folder.join(".bin").display(), std::env::var("PATH")?);
    let mut variables: Vec<(String, String)> = [
        ("PATH", path),
        ("HOME", folder.to_str().context("a folder that is no text")?.to_owned()),
        ("NO_PROXY", "127.0.0.1".to_owned()),
        ("no_proxy", "127.0.0.1".to_owned()),
        ("LC_ALL", "C.UTF-8".to_owned()),
        ("OWNER_DSN", installation.database_url(&control)),
        ("API_DSN", installation.database_url_as(API_ROLE, &control)),
        ("WORKER_DSN", installation.database_url_as(WORKER_ROLE, &control)),
        ("RESTORED_DSN", installation.database_url(&restored)),
        ("RESTORED_API_DSN", installation.database_url_as(API_ROLE, &restored)),
        ("RESTORED_WORKER_DSN", installation.database_url_as(WORKER_ROLE, &restored)),
        ("EHR_DSN", installation.database_url(&ehr)),
        ("SHIPPED", shipped()?),
        ("READER_DSN", installation.database_url_as(READER, &ehr)),
        ("PUBLIC", format!("127.0.0.1:{}", ports::free()?)),
        ("PROMETHEUS", prometheus.url().to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let mut bucket = Settings::new();
    installation.s3_settings(&installation.new_bucket()?, &mut bucket);
    let short = |name: &str| name.replacen("HEADGATE__S3__", "S3_", 1);
    variables.extend(bucket.variables().map(|(name, value)| (short(name), value.to_owned())));
    Ok(variables)
}

/// Where the shipped files are: the folder that this was started in.
fn shipped() -> Result<String> {
    let folder = std::env::current_dir()?;
    Ok(folder.to_str().context("a folder that is no text")?.to_owned())
}
