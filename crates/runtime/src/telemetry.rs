//! What a process tells of itself: logs, traces and metrics.
//!
//! ```text
//! tracing ─┬─► logs: standard error, and OTLP     (log.filter, which may be changed while the process runs)
//!          ├─► traces: OTLP                       (spans of our own code)
//!          └─► statements: duration and a span of each statement of the database driver, by its name
//! headgate_metrics ─► meters: OTLP, and /metrics of the private listener
//! ```
//!
//! Logs go to standard error; standard output belongs to the results of commands. OTLP is sent where
//! `telemetry.otlp_endpoint` says, by threads of its own with bounded queues: a collector that is slow or away loses
//! telemetry, and costs neither time nor memory.
//!
//! Patients' data and secrets stay out of all three by means that hold whatever a call does: libraries are heard up to
//! `info` only, because below that they print statements, object keys and signed URLs; what a database server says by
//! itself is not heard at all, because a trigger of an EHR may say anything; of a statement only the name is taken; and a
//! panic is told by its place, because its message may quote anything.

mod context;
mod counted;
mod filter;
mod logs;
mod meters;
mod otlp;
mod process;
mod sampler;
mod statements;
mod traces;

use std::fs::File;
use std::io::IsTerminal as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{FilterExt as _, ParseError, dynamic_filter_fn};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::config::{Log, Telemetry as Settings};

pub use context::{continue_trace, identify, link_to, trace_parent};
pub use headgate_metrics::Role;

use filter::LogFilter;
use meters::Meters;

/// How long what is still queued may take to be sent at the end of the process.
const FAREWELL: Duration = Duration::from_secs(3);

/// Why telemetry cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is no filter.
    #[error("log.filter: must be a level such as info, or target=level,…")]
    Filter(#[from] ParseError),
    /// Logging has begun already.
    #[error("logging has begun already")]
    Twice(#[from] TryInitError),
    /// The address of the collector cannot be used.
    #[error("telemetry.otlp_endpoint: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// The client for OTLP over HTTP cannot be made.
    #[error("telemetry.otlp_protocol: no HTTP client can be made")]
    Client(#[source] reqwest::Error),
    /// The metrics cannot be collected.
    #[error("metrics cannot be collected")]
    Meters(#[from] opentelemetry_sdk::error::OTelSdkError),
}

/// What runs for the rest of the process's life.
#[derive(Debug)]
struct Telemetry {
    filter: LogFilter,
    meters: Meters,
    traces: Option<SdkTracerProvider>,
    logs: Option<SdkLoggerProvider>,
}

static RUNNING: OnceLock<Telemetry> = OnceLock::new();

/// What telemetry there is to be.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// `[log]`.
    pub log: &'a Log,
    /// `[telemetry]`.
    pub telemetry: &'a Settings,
    /// The name of the service.
    pub service: &'static str,
    /// What the process does: which metrics it has.
    pub role: Role,
}

/// Begins, for the rest of the process's life. To be called within a tokio runtime.
///
/// # Errors
/// When the settings cannot be used, or when it was called before.
pub fn init(start: &Start<'_>) -> Result<(), TelemetryError> {
    let is_terminal = std::io::stderr().is_terminal();
    begin(start, BoxMakeWriter::new(std::io::stderr), is_terminal)
}

/// The same with the log in a file: for a command that shows something else on its terminal.
///
/// # Errors
/// Those of [`init`].
pub fn init_to_file(start: &Start<'_>, file: File) -> Result<(), TelemetryError> {
    begin(start, BoxMakeWriter::new(Arc::new(file)), false)
}

/// Only the log, for commands that are no servers.
///
/// # Errors
/// Those of [`init`].
pub fn init_log(config: &Log) -> Result<(), TelemetryError> {
    let filter = LogFilter::new(&config.filter)?;
    let lines = logs::lines(config, BoxMakeWriter::new(std::io::stderr), std::io::stderr().is_terminal());
    registry().with(lines.with_filter(filter)).try_init()?;
    logs::log_panics();
    Ok(())
}

fn begin(start: &Start<'_>, to: BoxMakeWriter, colours: bool) -> Result<(), TelemetryError> {
    let filter = LogFilter::new(&start.log.filter)?;
    let resource = otlp::resource(start.service, start.telemetry);
    let meters = Meters::start(start, resource.clone())?;
    let (traces, spans) = traces::start(start.telemetry, resource.clone())?.unzip();
    let (logs, records) = logs::send(start.telemetry, resource)?.unzip();
    let lines = logs::lines(start.log, to, colours);
    registry()
        .with(lines.with_filter(filter.clone()))
        .with(records.map(|records| {
            records
                .with_filter(filter.clone().and(dynamic_filter_fn(|metadata, _| logs::may_be_sent(metadata))))
        }))
        .with(spans)
        .with(statements::layer())
        .try_init()?;
    logs::log_panics();
    headgate_metrics::start(start.role);
    process::watch();
    let _set = RUNNING.set(Telemetry { filter, meters, traces, logs });
    Ok(())
}

/// The routes that telemetry adds to the private listener: `/metrics` and `/logfilter`.
pub fn routes() -> Router {
    match RUNNING.get() {
        Some(running) => running.meters.routes().merge(running.filter.routes()),
        None => Router::new(),
    }
}

/// Sends what is queued, for a few seconds at most. The process should end after it.
pub async fn shutdown() {
    let Some(running) = RUNNING.get() else { return };
    let farewell = tokio::task::spawn_blocking(|| {
        // What fails here can be told to nobody any more.
        if let Some(traces) = &running.traces {
            let _sent = traces.shutdown_with_timeout(FAREWELL);
        }
        if let Some(logs) = &running.logs {
            let _sent = logs.shutdown_with_timeout(FAREWELL);
        }
        running.meters.stop(FAREWELL);
    });
    if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
        eprintln!("headgate: the collector did not take the last telemetry in time");
    }
}
