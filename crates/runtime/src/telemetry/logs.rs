//! Lines to standard error, and the same records to the collector.

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{BatchConfigBuilder, BatchLogProcessor, SdkLogger, SdkLoggerProvider};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, fmt};

use super::counted::Counted;
use super::{TelemetryError, otlp};
use crate::config::{Format, Log, Telemetry};

/// Records that wait for the collector at most.
const QUEUE: usize = 4096;

/// Where the database driver logs the server's notices.
const SERVER_NOTICES: &str = "sqlx::postgres::notice";

/// The layer that writes lines.
pub(super) fn lines<S>(config: &Log, to: BoxMakeWriter, colours: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    match config.format {
        Format::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_writer(to)
            .boxed(),
        Format::Text => fmt::layer().with_ansi(colours).with_writer(to).boxed(),
    }
}

type Records = OpenTelemetryTracingBridge<SdkLoggerProvider, SdkLogger>;

/// The layer that sends records to the collector, if there is one.
pub(super) fn send(
    config: &Telemetry,
    resource: Resource,
) -> Result<Option<(SdkLoggerProvider, Records)>, TelemetryError> {
    let Some(exporter) = otlp::logs(config)? else { return Ok(None) };
    let queue = BatchConfigBuilder::default().with_max_queue_size(QUEUE).build();
    let processor = BatchLogProcessor::builder(Counted(exporter)).with_batch_config(queue).build();
    let provider = SdkLoggerProvider::builder().with_resource(resource).with_log_processor(processor).build();
    let records = OpenTelemetryTracingBridge::new(&provider);
    Ok(Some((provider, records)))
}

/// Whether a record may be sent to a collector: not what sending itself logs, which would never end.
pub(super) fn may_be_sent(metadata: &Metadata<'_>) -> bool {
    const SENDING: [&str; 6] = ["opentelemetry", "tonic", "h2", "hyper", "reqwest", "tower"];
    !SENDING.iter().any(|library| metadata.target().starts_with(library))
}

/// Where it logs slow statements, with their whole text. Traces and metrics have them by their names.
const STATEMENTS: &str = "sqlx::query";

/// Whether lines of this level and origin may be logged at all.
pub(super) fn is_harmless(level: Level, target: &str) -> bool {
    let speaks_of_rows = target.starts_with(SERVER_NOTICES) || target.starts_with(STATEMENTS);
    target.starts_with("headgate") || (level <= Level::INFO && !speaks_of_rows)
}

/// Replaces the message that a panic prints by a line of the log without the payload.
pub(super) fn log_panics() {
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
        assert!(!is_harmless(Level::WARN, "sqlx::query"));
        assert!(!is_harmless(Level::WARN, "sqlx::postgres::notice"));
    }
}
