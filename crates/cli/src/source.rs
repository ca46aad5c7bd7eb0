//! `headgate source …`: looks at a practice's EHR database, as a worker would.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Subcommand};
use headgate_domain::PracticeNumber;
use headgate_domain::mapping::MappingSet;
use headgate_domain::practice::UsCore;
use headgate_domain::template::{EXAMPLE_BASE_URL, Variables};
use headgate_runtime::{Config, Lifecycle, Role, exit};
use headgate_source::{CheckOptions, CheckReport, Source, SourceConfig, Verdict};
use headgate_worker::SourceDefaults;
use headgate_worker::mappings::{self, MappingsError};

use crate::failure::Failure;
use crate::output::{print, print_json, table};
use crate::{bootstrap, worker};

/// How long a line of a finding may be.
const LINE: usize = 115;

/// Look at a practice's EHR database.
#[derive(Debug, Subcommand)]
pub enum SourceCommand {
    /// Check whether a database keeps the source contract, by its system catalogue, the planner, and the first
    /// 1000 rows of each relation.
    ///
    /// Writes nothing, and prints no id and no value of a row unless --show-sample asks for it. What is missing
    /// is printed as a statement where it can be: CREATE INDEX on the table below a view.
    ///
    /// The exit status is 0 if exports can run (there may be warnings), 1 if the contract is not kept, 64 if the
    /// arguments, the configuration or the mapping are wrong, and 69 if a database cannot be reached.
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
    /// Folder of the mapping set, with --dsn: a file <Type>.json for each resource type. A practice has its own.
    #[arg(long, value_name = "DIR", conflicts_with = "practice")]
    mapping: Option<PathBuf>,
    /// Version of US Core that the mapping is to follow, with --mapping.
    #[arg(long, value_name = "VERSION", default_value = "6.1.0", value_parser = us_core, requires = "mapping")]
    us_core: UsCore,
    /// Base URL that `$base_url` stands for, with --mapping.
    #[arg(long, value_name = "URL", default_value = EXAMPLE_BASE_URL, requires = "mapping")]
    base_url: String,
    /// Print one resource of each template too: a patient's data, which belongs in no log.
    #[arg(long)]
    show_sample: bool,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

/// Reads `NAME=VALUE`.
pub fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, such as app.practice=100491")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Reads a version of US Core.
fn us_core(text: &str) -> Result<UsCore, String> {
    let known = [UsCore::V6_1_0, UsCore::V7_0_0];
    known.into_iter().find(|version| version.as_str() == text).ok_or_else(|| "6.1.0 or 7.0.0".to_owned())
}

/// Runs the subcommand.
pub async fn run(file: Option<&Path>, command: SourceCommand) -> Result<(), Failure> {
    let SourceCommand::Check(args) = command;
    let (source, mappings) = open(file, &args).await?;
    let options = CheckOptions { mappings: mappings.as_ref(), show_sample: args.show_sample };
    let report = source.check(options).await;
    source.close().await;
    if args.json {
        print_json(&report)
    } else {
        show(&report)
    }
    match report.worst() {
        _ if !report.connected => {
            Err(Failure::with_status(exit::UNAVAILABLE, "the database cannot be reached"))
        }
        Verdict::Fail => Err(Failure::failed("the source contract is not kept")),
        Verdict::Ok | Verdict::Warn => Ok(()),
    }
}

/// The database and its mapping set, if its resources are made by one.
async fn open(file: Option<&Path>, args: &CheckArgs) -> Result<(Source, Option<MappingSet>), Failure> {
    let role = if args.practice.is_some() { Role::Migrate } else { Role::Tool };
    let config = Config::load(file, role)?;
    let defaults = worker::source_defaults(&config.source, &config.limits);
    let Some(practice) = args.practice else {
        let mappings = args.mapping.as_deref().map(|folder| read(folder, args)).transpose()?;
        let dsn = args.dsn.clone().unwrap_or_default();
        let source = Source::connect(with_dsn(dsn, args, &defaults));
        return Ok((source.map_err(|error| Failure::config(error.to_string()))?, mappings));
    };
    let store = bootstrap::store(&config, &Lifecycle::new()).await?;
    store.check_schema().await?;
    let binding = store.source_binding(practice).await?;
    let binding = binding.ok_or_else(|| Failure::failed(format!("there is no practice {practice}")))?;
    let mappings = mappings::of(&store, defaults.mappings.as_deref(), &binding).await.map_err(no_mapping)?;
    store.close().await;
    let source = headgate_worker::open_source(&binding, &defaults);
    Ok((source.map_err(|error| Failure::unavailable(&error))?, mappings))
}

/// The mapping set of a folder.
fn read(folder: &Path, args: &CheckArgs) -> Result<MappingSet, Failure> {
    let files = mappings::read_folder(folder).map_err(no_mapping)?;
    if files.is_empty() {
        return Err(Failure::config(format!("{} holds no mapping: <Type>.json", folder.display())));
    }
    let base_url = args.base_url.trim_end_matches('/').to_owned();
    let variables = Variables { us_core: args.us_core, base_url };
    mappings::parse(&folder.display().to_string(), &files, variables).map_err(no_mapping)
}

fn no_mapping(error: MappingsError) -> Failure {
    match error {
        MappingsError::Store(error) => error.into(),
        error => Failure::config(error),
    }
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
    for sample in &report.samples {
        let template = sample.template.as_deref().unwrap_or("resource");
        print(format_args!("{} {template}\n{}\n", sample.relation, sample.resource));
    }
    let mut findings = table(["", "what", "found"]);
    for row in &report.rows {
        let verdict = match row.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        let mut lines = wrapped(&row.detail);
        lines.extend(row.statements.iter().cloned());
        findings.add_row([verdict, row.what.as_str(), lines.join("\n").as_str()]);
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

/// The words in lines that a screen holds. Statements are not wrapped: they are to be copied.
pub fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < LINE => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_findings_are_wrapped_between_words() {
        let text = "word ".repeat(50);
        let lines = wrapped(text.trim());
        assert!(lines.len() > 2 && lines.iter().all(|line| line.len() <= LINE), "{lines:?}");
        assert_eq!(lines.join(" "), text.trim());
    }
}
