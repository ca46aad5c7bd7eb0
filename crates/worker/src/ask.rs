//! Asking a practice's database: how long it takes, and how it fails.

use std::future::Future;
use std::time::Instant;

use headgate_metrics::source::{ERRORS, QUERY_DURATION};
use headgate_source::SourceError;
use tracing::Instrument as _;

/// Asks, and measures what it took. `operation` is the label, and the name of the span.
pub async fn source<T>(
    operation: &'static str,
    work: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    let span = tracing::info_span!(
        "source",
        otel.name = format!("source {operation}"),
        otel.kind = "client",
        db.system.name = "postgresql",
    );
    let started = Instant::now();
    let result = work.instrument(span).await;
    QUERY_DURATION.record(started.elapsed(), &[("operation", operation.into())]);
    if let Err(error) = &result {
        failed(error);
    }
    result
}

/// Counts a failure.
pub fn failed(error: &SourceError) {
    ERRORS.add(1, &[("class", class(error).into())]);
}

fn class(error: &SourceError) -> &'static str {
    match error {
        error if error.is_timeout() => "timeout",
        SourceError::Io(_) | SourceError::Tls(_) | SourceError::PoolTimedOut | SourceError::Closed => {
            "connection"
        }
        SourceError::Contract { .. } | SourceError::Mapping { .. } | SourceError::Unexpected { .. } => {
            "contract"
        }
        SourceError::Horizon(_) => "horizon",
        SourceError::Database { .. } | SourceError::SchemaDenied { .. } | SourceError::NoSchema { .. } => {
            "server"
        }
        _ => "other",
    }
}
