//! `headgate ehr …`: the relational reference EHR, sample data as NDJSON, and loading NDJSON into an EHR
//! database of the plain-table form.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use headgate_reference_ehr::load::DEFAULT_SCHEMA;
use headgate_reference_ehr::practice::{DEFAULT_EHR_SCHEMA, DEFAULT_EXPORT_SCHEMA};
use headgate_reference_ehr::{
    GenerateOptions, Generator, InstallOptions, LoadOptions, PopulateOptions, SimulateOptions, grant_reader,
    install, is_installed, load, populate, simulate,
};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

use crate::failure::Failure;
use crate::output::{print, print_json};

/// Make synthetic practices and sample data, and load data into an EHR database.
#[derive(Debug, Subcommand)]
pub enum EhrCommand {
    /// Fill the relational reference EHR with a synthetic practice; install it where it is missing.
    Generate(PracticeArgs),
    /// Load a folder of NDJSON into an EHR database, in one transaction.
    Load(LoadArgs),
    /// Write to a relational reference EHR as a practice at work does, for so many minutes.
    Simulate(SimulateArgs),
    /// Write synthetic patients' documents as NDJSON, one file for each of the 20 types.
    Sample(SampleArgs),
}

/// What practice to generate, and where.
#[derive(Debug, Args)]
pub struct PracticeArgs {
    /// The EHR's database: postgres://…, as a user who may create schemas.
    #[arg(long, value_name = "DSN", env = "HEADGATE_EHR_DSN", hide_env_values = true)]
    dsn: String,
    /// How many patients.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    patients: u64,
    /// What makes this practice different from others: the same seed and number of patients give the same.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Schema of the EHR's tables.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_EHR_SCHEMA)]
    schema: String,
    /// Schema of the source contract.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_EXPORT_SCHEMA)]
    export_schema: String,
    /// Number of the practice in an EHR that many share, kept apart by row-level security.
    #[arg(long, value_name = "NUMBER")]
    practice: Option<i64>,
    /// Let this role read the source contract and see when transactions began (pg_read_all_stats); made if it is missing.
    #[arg(long, value_name = "ROLE")]
    reader: Option<String>,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
}

/// How busy the practice is, and for how long.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// The EHR's database: postgres://…, as a user who may write its tables.
    #[arg(long, value_name = "DSN", env = "HEADGATE_EHR_DSN", hide_env_values = true)]
    dsn: String,
    /// For how many minutes; 0.5 is half a minute.
    #[arg(long, value_name = "M", default_value_t = 1.0, value_parser = positive)]
    minutes: f64,
    /// Transactions per second.
    #[arg(long, value_name = "R", default_value_t = 5.0, value_parser = positive)]
    rate: f64,
    /// What makes this stream of writes different from others.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Schema of the EHR's tables.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_EHR_SCHEMA)]
    schema: String,
    /// Number of the practice in an EHR that many share.
    #[arg(long, value_name = "NUMBER")]
    practice: Option<i64>,
    /// Print the tally as JSON.
    #[arg(long)]
    json: bool,
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
        EhrCommand::Generate(args) => generate(args).await,
        EhrCommand::Load(args) => load_folder(args).await,
        EhrCommand::Simulate(args) => work(args).await,
        EhrCommand::Sample(args) => sample(args).await,
    }
}

async fn generate(args: PracticeArgs) -> Result<(), Failure> {
    let has_schema =
        is_installed(&args.dsn, &args.schema).await.map_err(|error| Failure::from_error(&error))?;
    if !has_schema {
        let options = InstallOptions {
            ehr_schema: args.schema.clone(),
            export_schema: args.export_schema.clone(),
            shared: args.practice,
        };
        install(&args.dsn, &options).await.map_err(|error| Failure::from_error(&error))?;
    }
    let options = PopulateOptions {
        schema: args.schema,
        practice: args.practice,
        ..PopulateOptions::new(&args.dsn, args.patients, args.seed)
    };
    let report = populate(options, count_bar()).await.map_err(|error| Failure::from_error(&error))?;
    if let Some(role) = &args.reader {
        grant_reader(&args.dsn, &args.export_schema, role)
            .await
            .map_err(|error| Failure::from_error(&error))?;
    }
    if args.json {
        print_json(&report);
        return Ok(());
    }
    for (table, rows) in &report.rows {
        print(format_args!("{:>12} {table}", HumanCount(*rows).to_string()));
    }
    let rows = HumanCount(report.rows.values().sum()).to_string();
    print(format_args!(
        "{rows:>12} rows of {} patients in {:.1} s",
        HumanCount(args.patients),
        report.seconds
    ));
    Ok(())
}

async fn work(args: SimulateArgs) -> Result<(), Failure> {
    let options = SimulateOptions {
        schema: args.schema,
        rate: args.rate,
        seed: args.seed,
        practice: args.practice,
        ..SimulateOptions::new(&args.dsn, Duration::from_secs_f64(args.minutes * 60.0))
    };
    let report = simulate(options, count_spinner()).await.map_err(|error| Failure::from_error(&error))?;
    if args.json {
        print_json(&report);
        return Ok(());
    }
    for (what, count) in &report.committed {
        print(format_args!("{:>12} {what}", HumanCount(*count).to_string()));
    }
    let committed = HumanCount(report.committed.values().sum()).to_string();
    print(format_args!(
        "{committed:>12} transactions in {:.1} s, {} of them held open; {} rolled back, {} refused, {} found nothing",
        report.seconds, report.held_open, report.rolled_back, report.refused, report.idle,
    ));
    Ok(())
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

/// Counts things whose number is not known before.
fn count_spinner() -> ProgressBar {
    bar("{spinner} {human_pos} {per_sec} {elapsed}")
}

/// A number above zero, and at most a year of minutes.
fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number > 0.0 && number <= 525_600.0 { Ok(number) } else { Err("must be above 0".to_owned()) }
}

fn bar(template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the templates of this file are well formed");
    ProgressBar::new(0).with_style(style)
}
