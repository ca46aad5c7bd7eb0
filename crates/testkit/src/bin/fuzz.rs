//! `make fuzz`: random and mutated requests at everything that strangers reach. See the module `fuzz` of the test kit.
#![expect(clippy::print_stdout, reason = "the report is the output of the program")]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use headgate_testkit::fuzz::{self, Options};
use headgate_testkit::{Installation, TestApp, trial};

/// Send odd requests and see that nothing odd is answered.
#[derive(Debug, Parser)]
struct Args {
    /// How many.
    #[arg(short = 'n', long, value_name = "CASES", default_value_t = 5000)]
    cases: u64,
    /// What is drawn.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Only the case of this number.
    #[arg(long, value_name = "CASE")]
    only: Option<u64>,
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
    let app = TestApp::builder().on(Arc::clone(&installation)).start().await?;
    let report = fuzz::run(&app, Options { seed: args.seed, cases: args.cases, only: args.only }).await?;
    println!("{}", report.table());
    for wrong in report.wrong() {
        println!("WRONG {wrong}");
    }
    let right = report.wrong().is_empty();
    app.stop().await;
    installation.stop().await?;
    println!("{}", if right { "fuzz: nothing odd was answered" } else { "fuzz: FAILED" });
    Ok(right)
}
