//! The export half of `make conformance`: a practice on the reference EHR is generated and exported at system
//! level, by the real client from a real API and worker, into a folder where validators find it. Beside the
//! files lies `sources.tsv`: type, id and `last_updated` of each resource, as the source has them.
#![expect(clippy::print_stdout, reason = "the report is the output of the program")]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use headgate_domain::practice::UsCore;
use headgate_testkit::oracle::sql_form::SqlForm;
use headgate_testkit::trial::{self, RunningExport};
use headgate_testkit::{Installation, Practice, TestApp};
use indicatif::ProgressBar;
use sqlx::AssertSqlSafe;

/// Generate a practice on the reference EHR, and export it.
#[derive(Debug, Parser)]
struct Args {
    /// Patients.
    #[arg(long, value_name = "N", default_value_t = 300)]
    patients: u64,
    /// What makes this practice different from others.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// The practice's version of US Core.
    #[arg(long, value_name = "VERSION", default_value = "6.1.0", value_parser = us_core)]
    us_core: UsCore,
    /// Folder for the files; must not be there yet.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Give up after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    timeout: u64,
}

fn us_core(text: &str) -> Result<UsCore, String> {
    [UsCore::V6_1_0, UsCore::V7_0_0]
        .into_iter()
        .find(|version| version.as_str() == text)
        .ok_or_else(|| "6.1.0 or 7.0.0".to_owned())
}

fn main() -> ExitCode {
    let args = Args::parse();
    trial::main(Duration::from_secs(args.timeout), run(args))
}

async fn run(args: Args) -> Result<bool> {
    eprintln!("starting PostgreSQL, S3, the API and a worker");
    let installation = Installation::start().await?;
    let mut app = TestApp::builder().on(Arc::clone(&installation)).defaults().start().await?;
    eprintln!("generating {} patients", args.patients);
    let database = app.reference_ehr(args.patients, args.seed, ProgressBar::hidden()).await?;
    let mapping = app.reference_mapping().await?;
    let options = serde_json::json!({ "us_core": args.us_core });
    let practice = app.practice(100_491, "conformance").in_database(&database).mapping(mapping);
    let practice = practice.options(options).create().await?;
    let vendor = app.vendor_app(&["system/*.rs"]).await?;
    app.consent(&practice, &vendor).await?;
    let key_file = app.folder().join("key.jwk");
    std::fs::write(&key_file, vendor.private_jwk()?)?;

    let form = SqlForm::of(&practice.ehr_url, args.us_core).await?;
    let expected = write_sources(&form, &practice, &args).await?;
    let mut export = RunningExport::start(&practice, &vendor, &key_file, args.out.clone())?;
    let summary = export.wait(app.control(), expected).await?;
    let resources = summary["resources"].as_u64().context("the summary has no resources")?;
    let errors = summary["error_outcomes"].as_u64().unwrap_or_default();
    let peak = app.worker(0).peak_rss()?;
    println!("{resources} resources exported, {expected} in the source, {errors} reported as not exportable");
    println!("worker's peak RSS: {:.1} MiB", peak as f64 / f64::from(1 << 20));
    practice.ehr().close().await;
    app.stop().await;
    installation.stop().await?;
    Ok(resources == expected && errors == 0)
}

/// Writes `sources.tsv` beside the folder of the export, and returns how many resources the source has.
async fn write_sources(form: &SqlForm, practice: &Practice, args: &Args) -> Result<u64> {
    let mut tsv = String::new();
    let mut count = 0;
    for resource_type in form.types() {
        let sql = format!(
            "SELECT s.resource->>'id', to_char(s.last_updated AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')
             FROM ({}) s",
            form.query(resource_type)?
        );
        let rows: Vec<(String, String)> =
            sqlx::query_as(AssertSqlSafe(sql)).fetch_all(practice.ehr()).await?;
        count += rows.len() as u64;
        for (id, last_updated) in rows {
            writeln!(tsv, "{resource_type}\t{id}\t{last_updated}")?;
        }
    }
    if let Some(parent) = args.out.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(args.out.with_extension("sources.tsv"), tsv)?;
    Ok(count)
}
