//! `make bench CASE=mapping`: how fast a practice on the reference EHR is exported, against `COPY` of the SQL form
//! of the same templates out of the same PostgreSQL, interleaved in one run.
//!
//! An export is measured from kick-off to completed: planning, reading, templates, uploads to a local S3 server,
//! publications. `COPY` goes to a reader that throws everything away, one type after the other.
#![expect(clippy::print_stdout, reason = "the table is the output of the program")]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;
use futures_util::TryStreamExt as _;
use headgate_domain::practice::UsCore;
use headgate_testkit::oracle::sql_form::SqlForm;
use headgate_testkit::{BulkClient, Installation, Level, Practice, TestApp, trial};
use indicatif::{HumanCount, ProgressBar};
use sqlx::postgres::PgPoolCopyExt as _;

/// Measure an export of the reference EHR against COPY of the SQL form.
#[derive(Debug, Parser)]
struct Args {
    /// Patients.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    patients: u64,
    /// What makes this practice different from others.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// How often each is measured, in turn.
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Give up after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    timeout: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    trial::main(Duration::from_secs(args.timeout), run(args))
}

async fn run(args: Args) -> Result<bool> {
    let installation = Installation::start().await?;
    let mut app = TestApp::builder().on(Arc::clone(&installation)).defaults().start().await?;
    eprintln!("generating {} patients", HumanCount(args.patients));
    let started = Instant::now();
    let database = app.reference_ehr(args.patients, args.seed, ProgressBar::hidden()).await?;
    eprintln!("generated in {:.0} s", started.elapsed().as_secs_f64());
    let mapping = app.reference_mapping().await?;
    let practice = app.practice(100_491, "bench").in_database(&database).mapping(mapping).create().await?;
    let vendor = app.vendor_app(&["system/*.rs"]).await?;
    app.consent(&practice, &vendor).await?;
    let client = app.client(&practice, &vendor).await?;
    let form = SqlForm::of(&practice.ehr_url, UsCore::default()).await?;

    let (mut exports, mut copies) = (Vec::new(), Vec::new());
    println!("{:<28} {:>10} {:>12} {:>14} {:>10}", "", "seconds", "resources", "resources/s", "MB/s");
    for round in 1..=args.rounds {
        let (seconds, resources, bytes) = export(&app, &client).await?;
        show(&format!("export, round {round}"), seconds, resources, bytes);
        exports.push(resources as f64 / seconds);
        let (seconds, rows, bytes) = copy(&practice, &form).await?;
        show(&format!("COPY of SQL form, round {round}"), seconds, rows, bytes);
        copies.push(rows as f64 / seconds);
        anyhow::ensure!(rows == resources, "{rows} resources by COPY, {resources} exported");
    }
    let peak = app.worker(0).peak_rss()?;
    println!("worker's peak RSS: {:.1} MiB", peak as f64 / f64::from(1 << 20));
    println!(
        "export is {:.1} times as fast as COPY of the SQL form (medians)",
        median(exports) / median(copies)
    );
    practice.ehr().close().await;
    app.stop().await;
    installation.stop().await?;
    Ok(true)
}

/// Exports the practice; seconds from kick-off to completed as the control database has them, resources, bytes.
async fn export(app: &TestApp, client: &BulkClient) -> Result<(f64, u64, u64)> {
    client.wait_complete(&client.start(&Level::System, &[]).await?).await?;
    let (seconds, resources, bytes): (f64, i64, i64) = sqlx::query_as(
        "SELECT extract(epoch FROM e.completed_at - e.accepted_at)::float8, sum(s.resources)::bigint,
                sum(s.bytes)::bigint
         FROM (SELECT * FROM headgate.export ORDER BY accepted_at DESC LIMIT 1) e
         JOIN headgate.shard s USING (practice_number, export_id) GROUP BY 1",
    )
    .fetch_one(app.control())
    .await
    .context("the export has no shards")?;
    Ok((seconds, resources.unsigned_abs(), bytes.unsigned_abs()))
}

/// Copies the SQL form of every type out of the database; seconds, rows, bytes.
async fn copy(practice: &Practice, form: &SqlForm) -> Result<(f64, u64, u64)> {
    let started = Instant::now();
    let (mut rows, mut bytes) = (0, 0);
    for resource_type in form.types() {
        let sql = format!("COPY (SELECT s.resource FROM ({}) s) TO STDOUT", form.query(resource_type)?);
        let mut chunks = practice.ehr().copy_out_raw(&sql).await?;
        while let Some(chunk) = chunks.try_next().await? {
            rows += memchr::memchr_iter(b'\n', &chunk).count() as u64;
            bytes += chunk.len() as u64;
        }
    }
    Ok((started.elapsed().as_secs_f64(), rows, bytes))
}

fn show(what: &str, seconds: f64, resources: u64, bytes: u64) {
    let rate = resources as f64 / seconds;
    let mb = bytes as f64 / 1e6 / seconds;
    println!("{what:<28} {seconds:>10.1} {resources:>12} {rate:>14.0} {mb:>10.1}");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
