//! Logging, to standard error. (Standard output belongs to the results of commands.)
//!
//! Patients' data and secrets stay out of the log by three means that hold whatever a log call does: libraries
//! are heard up to `info` only, because below that they print statements, object keys and signed URLs; what a
//! database server says by itself is not heard at all, because a trigger of an EHR may say anything; and a panic
//! is logged by its place, because its message may quote anything.

use std::fs::File;
use std::io::IsTerminal as _;
use std::sync::Arc;

use tracing::Level;
use tracing_subscriber::filter::{EnvFilter, FilterFn, ParseError};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer as _, fmt, registry};

use crate::config::{Format, Log};

/// Where the database driver logs the server's notices.
const SERVER_NOTICES: &str = "sqlx::postgres::notice";

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is no filter.
    #[error("log.filter: must be a level such as info, or target=level,…")]
    Filter(#[from] ParseError),
    /// Logging has begun already.
    #[error("logging has begun already")]
    Twice(#[from] TryInitError),
}

/// Begins to log, for the rest of the process's life.
///
/// # Errors
/// When the filter cannot be read, or when it was called before.
pub fn init(config: &Log) -> Result<(), TelemetryError> {
    let is_terminal = std::io::stderr().is_terminal();
    start(config, BoxMakeWriter::new(std::io::stderr), is_terminal)
}

/// The same, to a file: for a command that shows something else on its terminal.
///
/// # Errors
/// Those of [`init`].
pub fn init_to_file(config: &Log, file: File) -> Result<(), TelemetryError> {
    start(config, BoxMakeWriter::new(Arc::new(file)), false)
}

fn start(config: &Log, to: BoxMakeWriter, colours: bool) -> Result<(), TelemetryError> {
    let wanted = EnvFilter::try_new(&config.filter)?;
    let harmless = FilterFn::new(|line| is_harmless(*line.level(), line.target()));
    let lines = match config.format {
        Format::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_writer(to)
            .boxed(),
        Format::Text => fmt::layer().with_ansi(colours).with_writer(to).boxed(),
    };
    registry().with(lines.with_filter(harmless)).with(wanted).try_init()?;
    log_panics();
    Ok(())
}

/// Whether lines of this level and origin may be logged at all.
fn is_harmless(level: Level, target: &str) -> bool {
    target.starts_with("headgate") || (level <= Level::INFO && !target.starts_with(SERVER_NOTICES))
}

/// Replaces the message that a panic prints by a line of the log without the payload.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        tracing::error!(place, thread = thread.name().unwrap_or_default(), "panic");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_heard_up_to_info_and_database_servers_not_at_all() {
        assert!(is_harmless(Level::TRACE, "headgate_worker::shard"));
        assert!(is_harmless(Level::INFO, "aws_config"));
        assert!(!is_harmless(Level::DEBUG, "aws_smithy_runtime::client"));
        assert!(!is_harmless(Level::WARN, "sqlx::postgres::notice"));
    }
}
