//! What `roundtrip` and `chaos` share: a practice filled from NDJSON, exported by the real client from a real
//! API and worker, and its output compared with the input.

mod compared;
mod prepare;
mod running;

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use headgate_local::postgres;
use tokio::signal::unix::{SignalKind, signal};

pub use compared::Compared;
pub use prepare::{Data, DataArgs, Trial};
pub use running::RunningExport;

/// `EX_UNAVAILABLE` of `sysexits.h`: PostgreSQL is not installed.
const UNAVAILABLE: u8 = 69;

/// Runs a program's work to its end, for at most `limit`, or until Ctrl-C or SIGTERM. What it has started is
/// ended in any case. Errors go to standard error.
///
/// Exit status: 0 if the work says true, 69 where PostgreSQL is missing, else 1.
pub fn main(limit: Duration, work: impl Future<Output = anyhow::Result<bool>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            done = work => done,
            _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
            _ = terminated.recv() => anyhow::bail!("terminated"),
            () = tokio::time::sleep(limit) => anyhow::bail!("not done within {} s", limit.as_secs()),
        }
    });
    // Threads that are still generating or loading are of no use any more.
    runtime.shutdown_background();
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            match error.downcast_ref() {
                Some(postgres::Error::NotInstalled) => ExitCode::from(UNAVAILABLE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
