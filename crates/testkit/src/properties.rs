//! Properties of kick-offs and filters: whatever a client sends, the answer is a refusal that says why, or an
//! export of exactly the resources that a slow oracle selects; never an error of the server, and never more than
//! scopes, consent, group, types and filters allow.
//!
//! Three practices hold the data: plain tables of text, the same as jsonb, and the reference EHR with its templates.
//! Requests are drawn from a seed, right ones and wrong ones; each is sent as GET and as POST, which must come to the
//! same. Beside them, every search parameter of every type is tried alone.

mod ask;
mod broken;
mod data;
mod elements;
mod expect;
mod generate;
mod junk;
mod odd;
mod perform;
mod sites;
mod sweep;
mod values;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use futures_util::{StreamExt as _, stream};

use crate::{AppHandle, Installation, Settings, TestApp};
use ask::Case;
use perform::Wrong;
use sites::Site;

/// What is tried.
#[derive(Debug, Clone)]
pub struct Options {
    /// NDJSON of the two practices on plain tables.
    pub folder: PathBuf,
    /// Patients of the practice on the reference EHR.
    pub patients: u64,
    /// What is drawn.
    pub seed: u64,
    /// So many kick-offs.
    pub cases: u64,
    /// Only the kick-off of this number, and no filters.
    pub only: Option<u64>,
    /// Filters of each search parameter.
    pub filters: usize,
    /// Kick-offs side by side.
    pub side_by_side: usize,
    /// Mismatches after which it ends.
    pub mismatches: usize,
}

/// The practices, ready to be exported.
#[derive(Debug)]
pub struct Trials {
    app: TestApp,
    apps: Vec<AppHandle>,
    sites: Vec<Site>,
    options: Options,
    counts: BTreeMap<(&'static str, &'static str), Count>,
    wrong: Vec<String>,
}

/// What came of the cases of one kind.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    cases: u64,
    filters: u64,
    refused: u64,
    exports: u64,
    empty: u64,
    resources: u64,
}

impl Trials {
    /// Starts the processes, loads the practices and registers the apps.
    ///
    /// # Errors
    /// When any of it fails.
    pub async fn prepare(
        installation: Arc<Installation>,
        options: Options,
        settings: &Settings,
    ) -> Result<Self> {
        let app = TestApp::builder()
            .on(installation)
            // More than one page and one shard of the large types.
            .set("export.page_rows", 200)
            .set("export.shard_rows", 5000)
            .settings(settings)
            .start()
            .await?;
        let apps = sites::apps(&app).await?;
        let sites = vec![
            sites::tables(&app, &apps, "text", 100_491, &options.folder).await?,
            sites::tables(&app, &apps, "jsonb", 100_492, &options.folder).await?,
            sites::reference(&app, &apps, 100_493, options.patients, options.seed).await?,
        ];
        for site in &sites {
            eprintln!(
                "practice {}: {} resources, {} patients",
                site.name,
                site.data.count(),
                site.data.patients().len()
            );
        }
        Ok(Self { app, apps, sites, options, counts: BTreeMap::new(), wrong: Vec::new() })
    }

    /// Tries kick-offs, and then every search parameter; whether everything was right.
    ///
    /// # Errors
    /// When something fails that is not tried.
    pub async fn run(&mut self) -> Result<bool> {
        let Options { seed, cases, only, filters, .. } = self.options;
        if let Some(only) = only {
            let case = generate::case(seed, only, &self.sites);
            self.run_all("kick-offs", vec![case]).await?;
            return Ok(self.wrong.is_empty());
        }
        let drawn = (0..cases).map(|number| generate::case(seed, number, &self.sites)).collect();
        self.run_all("kick-offs", drawn).await?;
        for at in 0..self.sites.len() {
            match sweep::cases(seed, at, &self.sites[at], filters) {
                Ok(cases) => self.run_all("filters", cases).await?,
                Err(unknown) => self.wrong.push(unknown),
            }
        }
        Ok(self.wrong.is_empty())
    }

    async fn run_all(&mut self, kind: &'static str, cases: Vec<Case>) -> Result<()> {
        if self.is_over() {
            return Ok(());
        }
        let (sites, app, apps) = (&self.sites, &self.app, &self.apps);
        let total = cases.len();
        let mut results = stream::iter(cases)
            .map(|case| async move {
                let site = &sites[case.site];
                let bulk = site.bulk(app, apps, case.client).await?;
                anyhow::Ok((perform::case(&bulk, site, &case).await?, case))
            })
            .buffered(self.options.side_by_side.max(1));
        let mut done = 0;
        let mut wrong = Vec::new();
        while let Some(result) = results.next().await {
            let (result, case) = result?;
            done += 1;
            if done % 50 == 0 || done == total {
                eprintln!("{kind}: {done} of {total}, {} wrong", self.wrong.len() + wrong.len());
            }
            let count = self.counts.entry((kind, sites[case.site].name)).or_default();
            count.add(&case, &result);
            if let Err(text) = result {
                let text = described(sites, self.options.seed, &case, &text);
                eprintln!("{text}");
                wrong.push(text);
                if self.wrong.len() + wrong.len() >= self.options.mismatches {
                    break;
                }
            }
        }
        drop(results);
        self.wrong.append(&mut wrong);
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.wrong.len() >= self.options.mismatches
    }

    /// What was wrong, with seed and request.
    #[must_use]
    pub fn wrong(&self) -> &[String] {
        &self.wrong
    }

    /// A table of what was tried.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = format!(
            "{:<24}{:>8}{:>9}{:>9}{:>9}{:>9}{:>12}\n",
            "practice", "cases", "filters", "refused", "exports", "empty", "resources"
        );
        for ((kind, site), count) in &self.counts {
            let Count { cases, filters, refused, exports, empty, resources } = count;
            let name = format!("{site}, {kind}");
            // Writing to a text cannot fail.
            let _written = writeln!(
                table,
                "{name:<24}{cases:>8}{filters:>9}{refused:>9}{exports:>9}{empty:>9}{resources:>12}"
            );
        }
        table
    }

    /// What the processes have written to standard error.
    #[must_use]
    pub fn logs(&self) -> String {
        self.app.logs()
    }

    /// Ends everything.
    pub async fn stop(self) {
        for site in &self.sites {
            site.practice.ehr().close().await;
        }
        self.app.stop().await;
    }
}

impl Count {
    fn add(&mut self, case: &Case, result: &Result<Vec<Option<u64>>, Wrong>) {
        self.cases += 1;
        self.filters += case.ask.filters.len() as u64;
        for resources in result.iter().flatten() {
            match resources {
                None => self.refused += 1,
                Some(resources) => {
                    self.exports += 1;
                    self.empty += u64::from(*resources == 0);
                    self.resources += resources;
                }
            }
        }
    }
}

fn described(sites: &[Site], seed: u64, case: &Case, wrong: &str) -> String {
    let names: Vec<&str> = sites.iter().map(|site| site.name).collect();
    format!("WRONG (seed {seed}): {wrong}\n{}", case.describe(&names, &sites::CLIENTS))
}
