//! `headgate doctor`: looks at a deployment end to end, and says what to mend.
//!
//! A check is a file of this folder, looks at one thing and never fails: what goes wrong is its finding. What a check
//! needs that is not there, a database or a bucket, is a finding of that alone; the checks behind it are left out.

mod bucket;
mod clock;
mod collector;
mod configuration;
mod database;
mod finding;
mod housekeeping;
mod issuers;
mod keys;
mod objects;
mod practices;
mod public_url;
mod queue;
mod roles;
mod schema;
mod sources;

use std::path::Path;
use std::time::Duration;

use clap::{Args, ValueEnum};
use futures_util::StreamExt as _;
use futures_util::stream;
use headgate_domain::PracticeNumber;
use headgate_objects::Objects;
use headgate_runtime::Config;
use headgate_store::{PracticeRecord, Store};
use serde_json::json;

use crate::failure::Failure;
use crate::output::{print, print_json, table};
use crate::source::wrapped;
use finding::{Finding, Verdict};

/// Practices that are looked at side by side.
const SIDE_BY_SIDE: usize = 4;

/// What to check.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Check what this role needs.
    #[arg(long, value_enum, default_value_t = Which::All)]
    role: Which,
    /// Check this practice only; may be repeated.
    #[arg(long, value_name = "NUMBER")]
    practice: Vec<PracticeNumber>,
    /// Seconds that each check may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

/// Whose needs are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Those of `headgate api`.
    Api,
    /// Those of `headgate worker`.
    Worker,
    /// Those of both, as far as the configuration is enough for them.
    All,
}

/// The roles that the configuration is to be enough for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Roles {
    api: bool,
    worker: bool,
}

/// Runs all checks, prints what they found, and fails if one of them has.
pub async fn run(file: Option<&Path>, args: &DoctorArgs) -> Result<(), Failure> {
    let (found, usable) = configuration::check(file, args.role);
    let mut doctor = Doctor { patience: Duration::from_secs(args.timeout), findings: vec![found] };
    if let Some((config, roles)) = usable {
        doctor.examine(&config, roles, &args.practice).await;
    }
    let findings = doctor.findings;
    if args.json {
        print_json(&json!({ "verdict": worst(&findings), "checks": findings }));
    } else {
        show(&findings);
    }
    match findings.iter().filter(|finding| finding.verdict == Verdict::Failed).count() {
        0 => Ok(()),
        1 => Err(Failure::failed("one check failed")),
        failed => Err(Failure::failed(format!("{failed} checks failed"))),
    }
}

/// What was found so far, and how patient to be.
struct Doctor {
    patience: Duration,
    findings: Vec<Finding>,
}

impl Doctor {
    async fn examine(&mut self, config: &Config, roles: Roles, wanted: &[PracticeNumber]) {
        let (found, store) = database::check(config, roles, self.patience).await;
        self.findings.extend(found);
        let (mut known, mut migrated) = (Vec::new(), None);
        if let Some(store) = &store {
            self.note("clock of the control database", clock::of_database(store)).await;
            let (found, fits) = schema::check(store).await;
            self.findings.push(found);
            if fits {
                self.control(config, roles, store).await;
                let (found, chosen) = practices::choose(store, wanted).await;
                self.findings.extend(found);
                (known, migrated) = (chosen, Some(store));
            }
        }
        self.bucket(config, roles, &known).await;
        if roles.api {
            self.note("public URL", public_url::check(config)).await;
            self.note("issuers of tokens", issuers::check(config)).await;
        }
        self.note("collector", collector::check(config)).await;
        if let (true, Some(store)) = (roles.worker, migrated) {
            let defaults = sources::defaults(config, self.patience);
            let checks = known.iter().map(|practice| {
                let name = format!("source of practice {}", practice.practice.number);
                in_time(self.patience, name, sources::check(store, practice, &defaults))
            });
            let found = side_by_side(checks).await;
            self.findings.extend(found);
        }
        if let Some(store) = store {
            store.close().await;
        }
    }

    /// What the control database holds besides practices.
    async fn control(&mut self, config: &Config, roles: Roles, store: &Store) {
        self.note("database roles", roles::check(config, store)).await;
        self.note("queue", queue::check(store)).await;
        self.note("housekeeping", housekeeping::check(store)).await;
        if roles.api {
            self.note("keys of access tokens", keys::check(config, store)).await;
        }
    }

    /// The bucket, and each practice's part of it.
    async fn bucket(&mut self, config: &Config, roles: Roles, known: &[PracticeRecord]) {
        let Some(objects) = self.connect_bucket(config).await else { return };
        let http = match bucket::http(config) {
            Ok(http) => http,
            Err(finding) => return self.findings.push(finding),
        };
        self.note("clock of the S3 server", clock::of_bucket(&objects, &http)).await;
        if roles.worker {
            let checks =
                known.iter().map(|practice| objects::check(&objects, &http, practice, self.patience));
            let found = side_by_side(checks).await;
            self.findings.extend(found);
        }
    }

    async fn connect_bucket(&mut self, config: &Config) -> Option<Objects> {
        let check = tokio::time::timeout(self.patience, bucket::check(config)).await;
        let (found, objects) = check.unwrap_or_else(|_| (finding::late("bucket", self.patience), None));
        self.findings.push(found);
        objects
    }

    /// Does a check in time.
    async fn note(&mut self, name: &str, check: impl Future<Output = Vec<Finding>>) {
        let found = in_time(self.patience, name.to_owned(), check).await;
        self.findings.extend(found);
    }
}

async fn in_time(
    patience: Duration,
    name: String,
    check: impl Future<Output = Vec<Finding>>,
) -> Vec<Finding> {
    match tokio::time::timeout(patience, check).await {
        Ok(found) => found,
        Err(_) => vec![finding::late(&name, patience)],
    }
}

/// The findings of checks of practices, in the order of the practices.
async fn side_by_side<F>(checks: impl Iterator<Item = F>) -> Vec<Finding>
where
    F: Future<Output = Vec<Finding>>,
{
    let found: Vec<Vec<Finding>> = stream::iter(checks).buffered(SIDE_BY_SIDE).collect().await;
    found.into_iter().flatten().collect()
}

fn worst(findings: &[Finding]) -> Verdict {
    findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok)
}

fn show(findings: &[Finding]) {
    let mut rows = table(["", "check", "found, and what to mend"]);
    for finding in findings {
        let mut lines = wrapped(&finding.found);
        lines.extend(finding.mend.iter().flat_map(|mend| wrapped(&format!("→ {mend}"))));
        rows.add_row([finding.verdict.as_str(), finding.check.as_str(), lines.join("\n").as_str()]);
    }
    print(rows);
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    print(format_args!(
        "{} ok, {} warnings, {} failed",
        count(Verdict::Ok),
        count(Verdict::Warning),
        count(Verdict::Failed)
    ));
}
