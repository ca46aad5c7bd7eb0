//! A real Prometheus with the shipped rules, which scrapes whatever the page names and says which conditions hold.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Url;
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::guardian::Guardian;
use crate::{answer, ports};

/// The jobs that the rules know. The page writes the addresses of their processes to `targets/JOB.json`.
const JOBS: [&str; 2] = ["headgate-api", "headgate-worker"];

const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    guardian: Guardian,
    url: String,
    http: reqwest::Client,
}

impl Prometheus {
    /// Starts one on a free port, with its data in the folder `data` and its targets in `targets` below `desk`.
    ///
    /// # Errors
    /// When it is not installed or does not get ready.
    pub async fn start(data: &Path, desk: &Path, rules: &Path) -> Result<Self> {
        std::fs::create_dir(desk.join("targets"))?;
        let config = data.join("prometheus.yaml");
        std::fs::write(&config, configuration(desk, rules)?)?;
        let log = data.join("prometheus.log");
        let address = format!("127.0.0.1:{}", ports::free()?);
        let mut child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("prometheus cannot be started")?;
        let guardian = Guardian::kills(child.id().context("prometheus has ended")?)?;
        let (url, http) = (format!("http://{address}"), answer::http()?);
        let until = Instant::now() + READY_WITHIN;
        while !http
            .get(format!("{url}/-/ready"))
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success())
        {
            if child.try_wait()?.is_some() || Instant::now() > until {
                bail!(
                    "prometheus did not get ready:\n{}",
                    crate::headgate::tail(&crate::headgate::read_log(&log))
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(Self { child, guardian, url, http })
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether the condition of an alert held at some time of the last seconds: it was pending or firing.
    ///
    /// # Errors
    /// When the question is not answered.
    pub async fn has_seen(&self, alert: &str, seconds: u64) -> Result<bool> {
        self.finds(format!("count_over_time(ALERTS{{alertname=\"{alert}\"}}[{}s])", seconds.max(1))).await
    }

    async fn finds(&self, query: String) -> Result<bool> {
        let url = Url::parse_with_params(&format!("{}/api/v1/query", self.url), [("query", query)])?;
        let answer: Value = self.http.get(url).send().await?.json().await?;
        ensure!(answer["status"] == "success", "prometheus answers {answer}");
        Ok(answer["data"]["result"].as_array().is_some_and(|found| !found.is_empty()))
    }

    /// Waits until the condition of an alert holds, or, with `false`, until it does not; whether that came in time.
    ///
    /// # Errors
    /// When the question is not answered.
    pub async fn waits(&self, alert: &str, holds: bool, within: Duration) -> Result<bool> {
        let until = Instant::now() + within;
        loop {
            // Of now: Prometheus marks the end of what no longer holds.
            if self.finds(format!("ALERTS{{alertname=\"{alert}\"}}")).await? == holds {
                return Ok(true);
            }
            if Instant::now() > until {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn stop(mut self) -> Result<()> {
        self.child.kill().await?;
        self.guardian.dismiss();
        Ok(())
    }
}

fn configuration(desk: &Path, rules: &Path) -> Result<String> {
    let rules: PathBuf = rules.canonicalize().with_context(|| format!("there is no {}", rules.display()))?;
    let mut text = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\nrule_files: [{rules:?}]\n\
         scrape_configs:\n"
    );
    for job in JOBS {
        let targets = desk.join(format!("targets/{job}.json"));
        text += &format!(
            "  - job_name: {job}\n    file_sd_configs: [{{ files: [{targets:?}], refresh_interval: 1s }}]\n"
        );
    }
    Ok(text)
}

/// Installs Prometheus and what else the commands of the page need, where it is missing, on Debian or its kin, as root or
/// with a sudo that asks for no password. No service is started.
///
/// # Errors
/// When something is missing and cannot be installed; the error says what to type.
pub async fn ensure_tools() -> Result<()> {
    const TOOLS: [(&str, &str); 5] = [
        ("prometheus", "prometheus"),
        ("promtool", "prometheus"),
        ("curl", "curl"),
        ("jq", "jq"),
        ("openssl", "openssl"),
    ];
    let mut packages: Vec<&str> =
        TOOLS.into_iter().filter(|(tool, _)| !is_there(tool)).map(|(_, package)| package).collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let packages = packages.join(" ");
    eprintln!("installing {packages}");
    // Debian's package starts a service, unless `policy-rc.d` forbids that.
    let script = format!(
        "set -e; policy=/usr/sbin/policy-rc.d; if [ ! -e $policy ]; then trap 'rm -f $policy' EXIT; \
         printf '#!/bin/sh\\nexit 101\\n' >$policy; chmod 755 $policy; fi; export DEBIAN_FRONTEND=noninteractive; \
         apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends {packages} >&2 || \
         {{ apt-get update >&2; apt-get install -y --no-install-recommends {packages} >&2; }}"
    );
    let as_root = r#"[ "$(id -u)" = 0 ] || exec sudo -n sh -c "$1"; exec sh -c "$1""#;
    let status =
        Command::new("sh").args(["-c", as_root, "sh", &script]).stdin(Stdio::null()).status().await?;
    ensure!(status.success(), "missing programs; type: apt-get install -y {packages}");
    Ok(())
}

fn is_there(tool: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(tool).is_file()))
}
