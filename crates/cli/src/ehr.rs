//! `headgate ehr …`: sample data, and loading data into an EHR database of the plain-table form.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use headgate_reference_ehr::load::DEFAULT_SCHEMA;
use headgate_reference_ehr::{GenerateOptions, Generator, LoadOptions, grant_reader, load};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

use crate::failure::Failure;
use crate::output::{print, print_json};

/// Make sample data, and load data into an EHR database.
#[derive(Debug, Subcommand)]
pub enum EhrCommand {
    /// Load a folder of NDJSON into an EHR database, in one transaction.
    Load(LoadArgs),
    /// Write synthetic patients' documents as NDJSON, one file for each of the 20 types.
    Sample(SampleArgs),
}

/// What to load, and where to.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Folder with *.ndjson and *.ndjson.gz.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The EHR's database: postgres://…, as a user who may create the schema.
    #[arg(long, value_name = "DSN", env = "HEADGATE_EHR_DSN", hide_env_values = true)]
    dsn: String,
    /// Schema of the source contract; made if it is missing.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_SCHEMA)]
    schema: String,
    /// Empty the tables first; what does not come back leaves a tombstone.
    #[arg(long)]
    replace: bool,
    /// Let this role read the schema and see when transactions began (pg_read_all_stats); made if it is missing.
    #[arg(long, value_name = "ROLE")]
    reader: Option<String>,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
}

/// What to generate.
#[derive(Debug, Args)]
pub struct SampleArgs {
    /// Folder for the files; made if it is missing. Files of the same name are replaced.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How many patients; 100 if neither patients nor resources are given.
    #[arg(long, value_name = "N")]
    patients: Option<u32>,
    /// What makes this practice different from others: the same seed gives the same bytes.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// How many resources in all.
    #[arg(long, value_name = "N")]
    resources: Option<u64>,
    /// Pad documents with a narrative to lines of this many bytes.
    #[arg(long, value_name = "B")]
    line_bytes: Option<usize>,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub async fn run(command: EhrCommand) -> Result<(), Failure> {
    match command {
        EhrCommand::Load(args) => load_folder(args).await,
        EhrCommand::Sample(args) => sample(args).await,
    }
}

async fn load_folder(args: LoadArgs) -> Result<(), Failure> {
    let options = LoadOptions {
        schema: args.schema.clone(),
        replace: args.replace,
        ..LoadOptions::new(&args.dsn, &args.from)
    };
    let report = load(options, bytes_bar()).await.map_err(|error| Failure::from_error(&error))?;
    if let Some(role) = &args.reader {
        grant_reader(&args.dsn, &args.schema, role).await.map_err(|error| Failure::from_error(&error))?;
    }
    if args.json {
        print_json(&report);
        return Ok(());
    }
    for (resource_type, rows) in &report.rows {
        print(format_args!("{:>12} {resource_type}", HumanCount(*rows).to_string()));
    }
    let rows = report.rows.values().sum();
    print(format_args!(
        "{:>12} rows in {:.1} s, {} of them new or changed, {}",
        HumanCount(rows).to_string(),
        report.seconds,
        HumanCount(report.written),
        HumanBytes(report.bytes),
    ));
    Ok(())
}

async fn sample(args: SampleArgs) -> Result<(), Failure> {
    let options = GenerateOptions {
        seed: args.seed,
        patients: args.patients,
        resources: args.resources,
        line_bytes: args.line_bytes,
    };
    let generator = Generator::new(options).map_err(|error| Failure::config(error.to_string()))?;
    let (folder, bar) = (args.out.clone(), count_bar());
    let written = tokio::task::spawn_blocking(move || generator.write_ndjson(&folder, &bar)).await;
    let report = written
        .map_err(|_| Failure::software("the generator panicked"))?
        .map_err(|error| Failure::from_error(&error))?;
    if args.json {
        print_json(&report);
    } else {
        let (resources, bytes) = (HumanCount(report.resources), HumanBytes(report.bytes));
        print(format_args!("{resources} resources, {bytes}, in {}", args.out.display()));
    }
    Ok(())
}

/// A bar of bytes on standard error; hidden where that is no terminal.
pub fn bytes_bar() -> ProgressBar {
    bar("{spinner} {bytes}/{total_bytes} {wide_bar} {bytes_per_sec} {msg}")
}

/// A bar of things on standard error; hidden where that is no terminal.
pub fn count_bar() -> ProgressBar {
    bar("{spinner} {human_pos}/{human_len} {wide_bar} {per_sec} {msg}")
}

fn bar(template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the templates of this file are well formed");
    ProgressBar::new(0).with_style(style)
}
