//! Asking a practice's database: how long it takes, and how it fails. And asking the control database, with an end.

use std::future::Future;
use std::time::{Duration, Instant};

use headgate_metrics::source::{ERRORS, QUERY_DURATION};
use headgate_source::SourceError;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

/// How long a step or shard waits for an answer of the control database. Only a connection that died is silent for so long.
const CONTROL: Duration = Duration::from_secs(5 * 60);

/// Asks the control database. When its answer does not come, it is not known whether it was done.
pub async fn control<T>(asked: impl Future<Output = headgate_store::Result<T>>) -> headgate_store::Result<T> {
    headgate_store::within(CONTROL, asked).await
}

/// Asks, and measures what it took. `operation` is the label, and the name of the span.
pub async fn source<T>(
    operation: &'static str,
    work: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    let span = span(operation);
    let started = Instant::now();
    let result = work.instrument(span.clone()).await;
    QUERY_DURATION.record(started.elapsed(), &[("operation", operation.into())]);
    if let Err(error) = &result {
        failed(&span, error);
    }
    result
}

/// The span of a question to a practice's database.
pub fn span(operation: &'static str) -> Span {
    tracing::info_span!(
        "source",
        otel.name = format!("source {operation}"),
        otel.kind = "client",
        db.system.name = "postgresql",
        error.type = Empty,
        otel.status_code = Empty,
    )
}

/// Counts a failure, and notes it on the span of the question.
pub fn failed(span: &Span, error: &SourceError) {
    let class = class(error);
    span.record("error.type", class);
    span.record("otel.status_code", "ERROR");
    ERRORS.add(1, &[("class", class.into())]);
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
