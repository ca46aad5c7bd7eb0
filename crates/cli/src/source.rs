//! `headgate source …`: looks at a practice's EHR database, as a worker would.

use std::path::Path;

use clap::{ArgGroup, Args, Subcommand};
use headgate_domain::PracticeNumber;
use headgate_runtime::{Config, Lifecycle, Role};
use headgate_source::{CheckReport, Source, SourceConfig, Verdict};
use headgate_worker::SourceDefaults;

use crate::failure::Failure;
use crate::output::{print, print_json, table};
use crate::{bootstrap, worker};

/// Look at a practice's EHR database.
#[derive(Debug, Subcommand)]
pub enum SourceCommand {
    /// Check whether a database keeps the source contract. Ends with status 1 if it does not.
    Check(CheckArgs),
}

/// Which database to check.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["practice", "dsn"]))]
pub struct CheckArgs {
    /// A practice of the control database, which is configured as for a worker. Its DSN reference is followed
    /// on this machine.
    #[arg(long, value_name = "NUMBER")]
    practice: Option<PracticeNumber>,
    /// The database itself: postgres://….
    #[arg(long, value_name = "DSN", env = "HEADGATE_SOURCE_DSN", hide_env_values = true)]
    dsn: Option<String>,
    /// Schema of the source contract, with --dsn.
    #[arg(long, value_name = "NAME", default_value = "fhir_export", conflicts_with = "practice")]
    schema: String,
    /// Session setting, with --dsn; may be repeated.
    #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = setting, conflicts_with = "practice")]
    settings: Vec<(String, String)>,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

/// Reads `NAME=VALUE`.
pub fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, such as app.practice=100491")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Runs the subcommand.
pub async fn run(file: Option<&Path>, command: SourceCommand) -> Result<(), Failure> {
    let SourceCommand::Check(args) = command;
    let source = open(file, &args).await?;
    let report = source.check().await;
    source.close().await;
    if args.json {
        print_json(&report)
    } else {
        show(&report)
    }
    match report.worst() {
        Verdict::Fail => Err(Failure::failed("the source contract is not kept")),
        Verdict::Ok | Verdict::Warn => Ok(()),
    }
}

async fn open(file: Option<&Path>, args: &CheckArgs) -> Result<Source, Failure> {
    let role = if args.practice.is_some() { Role::Migrate } else { Role::Tool };
    let config = Config::load(file, role)?;
    let defaults = worker::source_defaults(&config.source, &config.limits);
    let Some(practice) = args.practice else {
        let dsn = args.dsn.clone().unwrap_or_default();
        return Source::connect(with_dsn(dsn, args, &defaults))
            .map_err(|error| Failure::config(error.to_string()));
    };
    let store = bootstrap::store(&config, &Lifecycle::new()).await?;
    store.check_schema().await?;
    let binding = store.source_binding(practice).await?;
    store.close().await;
    let binding = binding.ok_or_else(|| Failure::failed(format!("there is no practice {practice}")))?;
    headgate_worker::open_source(&binding, &defaults).map_err(|error| Failure::unavailable(&error))
}

fn with_dsn(dsn: String, args: &CheckArgs, defaults: &SourceDefaults) -> SourceConfig {
    SourceConfig {
        settings: args.settings.clone(),
        statement_timeout: defaults.statement_timeout,
        lock_timeout: defaults.lock_timeout,
        connect_timeout: defaults.connect_timeout,
        max_connections: defaults.max_connections,
        margin: defaults.margin,
        prepared_allowance: defaults.prepared_allowance,
        resource_bytes: defaults.resource_bytes,
        ..SourceConfig::new(dsn, &args.schema)
    }
}

fn show(report: &CheckReport) {
    let mut findings = table(["", "what", "found"]);
    for row in &report.rows {
        let verdict = match row.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        findings.add_row([verdict, row.what.as_str(), row.detail.as_str()]);
    }
    print(findings);
    let count = |verdict| report.rows.iter().filter(|row| row.verdict == verdict).count();
    print(format_args!(
        "{} ok, {} to look at, {} to be changed",
        count(Verdict::Ok),
        count(Verdict::Warn),
        count(Verdict::Fail)
    ));
}
