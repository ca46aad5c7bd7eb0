//! `make rehearse`: the operations page is run as it stands: its console blocks, in order, in one shell on a fresh
//! PostgreSQL, a fresh bucket and a real Prometheus with the shipped alert rules. Conditions of alerts are produced,
//! and the runbooks are followed while they hold.
#![expect(clippy::print_stdout, reason = "the report is the output of the program")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use headgate_testkit::rehearsal::{Rehearsal, Script};
use headgate_testkit::trial;

/// Run the commands of the operations page.
#[derive(Debug, Parser)]
struct Args {
    /// The page.
    #[arg(long, value_name = "FILE", default_value = "docs/OPERATIONS.md")]
    page: PathBuf,
    /// The alert rules.
    #[arg(long, value_name = "FILE", default_value = "deploy/observability/alerts/headgate.rules.yaml")]
    rules: PathBuf,
    /// Folder of what brings about the conditions of alerts: ALERT.sh, and ALERT.after.sh to end it.
    #[arg(long, value_name = "DIR", default_value = "tests/fixtures/operations")]
    scenes: PathBuf,
    /// Write what is printed into the page; REHEARSE_UPDATE does it too.
    #[arg(long)]
    update: bool,
    /// Go on after a block that fails.
    #[arg(long)]
    keep_going: bool,
    /// Give up after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    timeout: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    trial::main(Duration::from_secs(args.timeout), run(args))
}

async fn run(args: Args) -> Result<bool> {
    let script = Script::read(&args.page, &args.rules, &args.scenes)?;
    let update = args.update || std::env::var_os("REHEARSE_UPDATE").is_some_and(|value| !value.is_empty());
    let mut rehearsal = Rehearsal::begin(script, args.keep_going).await?;
    let outcome = rehearsal.perform().await;
    let report = rehearsal.end(update.then_some(args.page.as_path())).await?;
    println!("{report}");
    outcome?;
    Ok(report.is_right())
}
