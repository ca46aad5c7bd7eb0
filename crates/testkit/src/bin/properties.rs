//! `make properties`: random kick-offs, right and wrong, and every search parameter of every type, against a slow
//! oracle over the whole data. See the module `properties` of the test kit.
#![expect(clippy::print_stdout, reason = "the report is the output of the program")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use headgate_testkit::ehr::{GenerateOptions, Generator};
use headgate_testkit::indicatif::ProgressBar;
use headgate_testkit::properties::{Options, Trials};
use headgate_testkit::{Installation, Settings, trial};

/// Try kick-offs and filters against an oracle.
#[derive(Debug, Parser)]
struct Args {
    /// Folder of *.ndjson and *.ndjson.gz for the practices on plain tables; generated where none is given.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Generate so many resources.
    #[arg(long, value_name = "N", default_value_t = 6000, conflicts_with = "data")]
    generate: u64,
    /// Patients of the practice on the reference EHR.
    #[arg(long, value_name = "N", default_value_t = 25)]
    patients: u64,
    /// What is drawn.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Kick-offs.
    #[arg(short = 'n', long, value_name = "CASES", default_value_t = 500)]
    cases: u64,
    /// Only the kick-off of this number.
    #[arg(long, value_name = "CASE")]
    only: Option<u64>,
    /// Filters of each search parameter.
    #[arg(long, value_name = "N", default_value_t = 12)]
    filters: usize,
    /// End after so many mismatches.
    #[arg(long, value_name = "N", default_value_t = 1)]
    mismatches: usize,
    /// Give up after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    timeout: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    trial::main(Duration::from_secs(args.timeout), run(args))
}

async fn run(args: Args) -> Result<bool> {
    eprintln!("starting PostgreSQL, S3, the API and a worker");
    let installation = Installation::start().await?;
    let folder = match args.data {
        Some(folder) => folder,
        None => generated(&installation, args.seed, args.generate)?,
    };
    let options = Options {
        folder,
        patients: args.patients,
        seed: args.seed,
        cases: args.cases,
        only: args.only,
        filters: args.filters,
        side_by_side: 4,
        mismatches: args.mismatches,
    };
    let mut trials = Trials::prepare(Arc::clone(&installation), options, &Settings::new()).await?;
    let right = trials.run().await?;
    println!("{}", trials.table());
    for wrong in trials.wrong() {
        println!("{wrong}");
    }
    trials.stop().await;
    installation.stop().await?;
    println!("{}", if right { "properties: everything is as the oracle says" } else { "properties: FAILED" });
    Ok(right)
}

fn generated(installation: &Installation, seed: u64, resources: u64) -> Result<PathBuf> {
    let folder = installation.new_folder("generated")?;
    Generator::new(GenerateOptions::resources(seed, resources))?
        .write_ndjson(&folder, &ProgressBar::hidden())?;
    Ok(folder)
}
