//! `make matrix`: who may do what at the admin API, asked of a running one. See the module `matrix` of the test kit.
#![expect(clippy::print_stdout, reason = "the table is the output of the program")]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use headgate_testkit::matrix::Matrix;
use headgate_testkit::{Installation, TestApp, trial};

/// Print who may do what at the admin API; fail where it is not as documented.
#[derive(Debug, Parser)]
struct Args {
    /// A line for each request instead of the table.
    #[arg(long)]
    rows: bool,
    /// Give up after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    trial::main(Duration::from_secs(args.timeout), run(args.rows))
}

async fn run(rows: bool) -> Result<bool> {
    eprintln!("starting PostgreSQL, S3, the API and a worker");
    let installation = Installation::start().await?;
    let app = TestApp::builder().on(Arc::clone(&installation)).start().await?;
    let matrix = Matrix::of(&app).await?;
    if rows {
        for row in matrix.rows() {
            println!("{} × {} × {} -> {}", row.operation, row.caller, row.whose, row.status);
        }
    } else {
        println!("{}", matrix.table());
    }
    for hole in matrix.holes() {
        println!("HOLE {hole}");
    }
    app.stop().await;
    installation.stop().await?;
    println!(
        "{}",
        if matrix.holes().is_empty() {
            "matrix: everybody gets as far as they may"
        } else {
            "matrix: FAILED"
        }
    );
    Ok(matrix.holes().is_empty())
}
