//! `make roundtrip`: loads NDJSON as a practice, exports it at system level with the real client from a real
//! API and worker, and compares: per type the same multiset of lines, byte for byte; at most 1000 lines a
//! file; names without a gap.
#![expect(clippy::print_stdout, reason = "the report is the output of the program")]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use headgate_testkit::trial::{self, Compared, DataArgs, Trial};
use headgate_testkit::{Settings, TestApp};

/// What is generated where nothing is said.
const RESOURCES: u64 = 100_000;

/// Export what was loaded, and compare.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Give up after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    timeout: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    trial::main(Duration::from_secs(args.timeout), run(args))
}

async fn run(args: Args) -> Result<bool> {
    let mut trial = Trial::prepare(&args.data.data_or(RESOURCES), &Settings::new()).await?;
    let expected = trial.expected().len();
    eprintln!("exporting");
    let mut export = trial.begin_export()?;
    let summary = export.wait(trial.app().control(), expected).await?;
    let with_download = summary["seconds"].as_f64().context("the summary has no seconds")?;
    let engine = engine_seconds(trial.app()).await?;
    let peak = trial.app().worker(0).peak_rss()?;
    eprintln!("comparing");
    let compared = trial.compare(export.out()).await?;
    println!("{}", compared.table());
    println!("{} files, {:.1} MB", compared.files(), compared.bytes() as f64 / 1e6);
    println!("kick-off to completed:  {}", rate(&compared, engine));
    println!("with the download:      {}", rate(&compared, with_download));
    println!("worker's peak RSS:      {:.1} MiB", peak as f64 / f64::from(1 << 20));
    trial.stop().await?;
    for problem in compared.problems() {
        println!("WRONG: {problem}");
    }
    let right = compared.problems().is_empty();
    println!("{}", if right { "roundtrip: the output equals the input" } else { "roundtrip: FAILED" });
    Ok(right)
}

fn rate(compared: &Compared, seconds: f64) -> String {
    let per_second = compared.resources() as f64 / seconds.max(0.001);
    let mb_per_second = compared.bytes() as f64 / 1e6 / seconds.max(0.001);
    format!("{seconds:8.2} s {per_second:10.0} resources/s {mb_per_second:8.1} MB/s")
}

/// From the acceptance of the newest export to its completion, by the control database's clock.
async fn engine_seconds(app: &TestApp) -> Result<f64> {
    app.control_scalar(
        "SELECT extract(epoch FROM completed_at - accepted_at)::float8 FROM headgate.export
         ORDER BY accepted_at DESC LIMIT 1",
    )
    .await
}
