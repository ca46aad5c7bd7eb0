//! Follows the operations page: runs its console blocks in order, and its runbooks while their alerts' conditions hold.
//!
//! A *scene* is a shell script that brings about the condition of one alert, by its real cause where that is quick: the
//! runbook is begun when Prometheus, with the shipped rules, sees the condition. Alerts without a scene have their
//! runbooks' commands run in a healthy system.

mod alike;
mod desk;
mod page;
mod prometheus;
mod report;
mod shell;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use desk::Desk;
use page::Block;
pub use report::Report;

/// How every alert's name begins, and so a runbook's heading.
const ALERT: &str = "Headgate";

/// How long a condition may take to be seen: workers look at the whole fleet every quarter of a minute.
const SEEN_WITHIN: Duration = Duration::from_secs(45);

/// What is to be done.
#[derive(Debug)]
pub struct Script {
    markdown: String,
    blocks: Vec<Block>,
    /// In the order of the rules.
    alerts: Vec<String>,
    scenes: BTreeMap<String, Scene>,
    rules: std::path::PathBuf,
}

#[derive(Debug, Default)]
struct Scene {
    begin: Option<String>,
    end: Option<String>,
}

impl Script {
    /// Reads the page, the rules and the scenes.
    ///
    /// # Errors
    /// When one is missing, or an alert has no runbook, or a runbook no alert.
    pub fn read(page: &Path, rules: &Path, scenes: &Path) -> Result<Self> {
        let markdown =
            std::fs::read_to_string(page).with_context(|| format!("no page {}", page.display()))?;
        let text = std::fs::read_to_string(rules).with_context(|| format!("no rules {}", rules.display()))?;
        let mut alerts: Vec<String> = Vec::new();
        for name in text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
            if !alerts.iter().any(|known| known == name) {
                alerts.push(name.to_owned());
            }
        }
        let runbooks = page::headings(&markdown, ALERT);
        let missing: Vec<&str> =
            alerts.iter().map(String::as_str).filter(|a| !runbooks.contains(a)).collect();
        ensure!(missing.is_empty(), "alerts without a runbook: {}", missing.join(", "));
        let known = |name: &str| alerts.iter().any(|alert| alert == name);
        let idle: Vec<&str> = runbooks.into_iter().filter(|runbook| !known(runbook)).collect();
        ensure!(idle.is_empty(), "runbooks without an alert: {}", idle.join(", "));
        let scenes = read_scenes(scenes, &alerts)?;
        Ok(Self { blocks: page::blocks(&markdown)?, markdown, alerts, scenes, rules: rules.to_path_buf() })
    }
}

fn read_scenes(folder: &Path, alerts: &[String]) -> Result<BTreeMap<String, Scene>> {
    let mut scenes: BTreeMap<String, Scene> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("no scenes in {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(name) = name.strip_suffix(".sh") else { continue };
        let (alert, is_end) = name.strip_suffix(".after").map_or((name, false), |alert| (alert, true));
        ensure!(alerts.iter().any(|known| known == alert), "a scene for an alert that is not there: {alert}");
        let scene = scenes.entry(alert.to_owned()).or_default();
        let text = Some(std::fs::read_to_string(&path)?);
        if is_end { scene.end = text } else { scene.begin = text }
    }
    Ok(scenes)
}

/// A page being followed.
#[derive(Debug)]
pub struct Rehearsal {
    script: Script,
    desk: Desk,
    keep_going: bool,
    begun: Instant,
    report: Report,
    /// By block, by command.
    printed: Vec<Vec<String>>,
}

impl Rehearsal {
    /// Starts the servers.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn begin(script: Script, keep_going: bool) -> Result<Self> {
        let begun = Instant::now();
        eprintln!("[{:6.1} s] starting PostgreSQL, S3 and Prometheus", 0.0);
        let desk = Desk::new(&script.rules).await?;
        let report = Report::new(&script.alerts);
        let printed = vec![Vec::new(); script.blocks.len()];
        Ok(Self { script, desk, keep_going, begun, report, printed })
    }

    /// Follows the page from the first block to the last.
    ///
    /// # Errors
    /// At the first block that fails, unless it was told to go on.
    pub async fn perform(&mut self) -> Result<()> {
        let mut index = 0;
        while let Some(block) = self.script.blocks.get(index) {
            let heading = block.heading.clone();
            let more =
                self.script.blocks[index..].iter().take_while(|block| block.heading == heading).count();
            let section = index..index + more;
            index = section.end;
            if heading.starts_with(ALERT) && self.script.alerts.contains(&heading) {
                self.runbook(&heading, section).await?;
            } else {
                self.section(section).await?;
            }
        }
        Ok(())
    }

    async fn runbook(&mut self, alert: &str, section: std::ops::Range<usize>) -> Result<()> {
        let begun = Instant::now();
        let scene = self.script.scenes.remove(alert).unwrap_or_default();
        if let Some(begin) = &scene.begin {
            // What another scene left behind would pass for this one's.
            if !self.desk.prometheus.waits(alert, false, SEEN_WITHIN).await? {
                self.fail(anyhow::anyhow!("the condition of {alert} holds before it is produced"))?;
            }
            let seen = match self.play(alert, begin).await {
                Ok(()) => self.desk.prometheus.waits(alert, true, SEEN_WITHIN).await?,
                Err(error) => self.fail(error).map(|()| false)?,
            };
            self.say(&format!("{alert}: {}", if seen { "its condition holds" } else { "NOT SEEN" }));
            if !seen {
                self.fail(anyhow::anyhow!("the condition of {alert} was to be produced and was not seen"))?;
            }
        }
        let executed = section.len();
        self.section(section).await?;
        let seen = self.desk.prometheus.has_seen(alert, begun.elapsed().as_secs() + 1).await?;
        self.report.followed(alert, executed, seen);
        match &scene.end {
            Some(end) => self.play(alert, end).await.or_else(|error| self.fail(error)),
            None => Ok(()),
        }
    }

    async fn play(&mut self, alert: &str, scene: &str) -> Result<()> {
        let (succeeded, printed) = self.desk.shell.run(scene).await?;
        ensure!(succeeded, "the scene of {alert} fails:\n{printed}\n{}", self.desk.logs());
        Ok(())
    }

    async fn section(&mut self, section: std::ops::Range<usize>) -> Result<()> {
        for index in section {
            let block = self.script.blocks[index].clone();
            let from = Instant::now();
            let outcome = self.block(index, &block).await;
            let took = from.elapsed().as_secs_f64();
            let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
            self.say(&format!("line {}, {}: {verdict}, {took:.1} s", block.line, block.heading));
            self.report.blocks += 1;
            if let Err(error) = outcome {
                let logs = self.desk.logs();
                self.fail(error.context(format!("line {}, {}\n{logs}", block.line, block.heading)))?;
            }
        }
        Ok(())
    }

    async fn block(&mut self, index: usize, block: &Block) -> Result<()> {
        let mut differences = Vec::new();
        for command in &block.commands {
            let (succeeded, printed) = self
                .desk
                .shell
                .run(&command.script)
                .await
                .with_context(|| format!("$ {}", command.script))?;
            let same = alike::alike(&printed, &command.prints);
            // What is alike stays as it is, so that a page changes only where it must.
            self.printed[index].push(if same { command.prints.clone() } else { printed.clone() });
            if !succeeded {
                bail!("$ {}\nfails; it printed:\n{printed}", command.script);
            }
            if !same {
                differences.push(format!(
                    "$ {}\nprints\n{printed}\nand the page says\n{}",
                    command.script, command.prints
                ));
            }
        }
        self.report.differences.extend(differences);
        Ok(())
    }

    /// Notes an error; whether to end because of it.
    fn fail(&mut self, error: anyhow::Error) -> Result<()> {
        self.report.failures += 1;
        if !self.keep_going {
            return Err(error);
        }
        eprintln!("{error:#}");
        Ok(())
    }

    fn say(&self, what: &str) {
        eprintln!("[{:6.1} s] {what}", self.begun.elapsed().as_secs_f64());
    }

    /// Ends everything; with a page, writes there what was printed.
    ///
    /// # Errors
    /// When something does not end, or the page cannot be written.
    pub async fn end(self, page: Option<&Path>) -> Result<Report> {
        let Self { script, desk, printed, report, .. } = self;
        desk.clear().await?;
        if let Some(page) = page {
            std::fs::write(page, page::with_outputs(&script.markdown, &script.blocks, &printed))?;
        }
        Ok(report)
    }
}
