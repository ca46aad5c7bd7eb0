//! Statements on databases: the duration of each by name, and a span of each within a trace.
//!
//! The database driver tells of every statement that it ended, with its first words. Ours begin with their name in a
//! comment, `/* acquire_shard */`, so that the name is all that is needed; the text is never looked at. That saves
//! measuring at two hundred places, and none can be forgotten.

use std::time::{Duration, SystemTime};

use headgate_metrics::database::OPERATION_DURATION;
use opentelemetry::trace::{Span as _, SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, global};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer;
use tracing_subscriber::registry::LookupSpan;

/// Where the driver tells of statements.
const STATEMENTS: &str = "sqlx::query";

/// The layer that hears of statements and of nothing else.
pub(super) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> {
    Statements.with_filter(dynamic_filter_fn(|metadata, _| is_statement(metadata)))
}

fn is_statement(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && metadata.target() == STATEMENTS && *metadata.level() <= Level::DEBUG
}

struct Statements;

impl<S: Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        let mut told = Told::default();
        event.record(&mut told);
        let took = Duration::try_from_secs_f64(told.seconds).unwrap_or_default();
        OPERATION_DURATION.record(
            took,
            &[("db.system.name", "postgresql".into()), ("db.query.summary", told.name.clone().into())],
        );
        // What happens outside a trace, such as looking for work every second, begins none.
        let context = Context::current();
        if context.span().span_context().is_sampled() {
            let now = SystemTime::now();
            let tracer = global::tracer("headgate");
            tracer
                .span_builder(told.name.clone())
                .with_kind(SpanKind::Client)
                .with_start_time(now - took)
                .with_attributes([
                    KeyValue::new("db.system.name", "postgresql"),
                    KeyValue::new("db.query.summary", told.name),
                ])
                .start_with_context(&tracer, &context)
                .end_with_timestamp(now);
        }
    }
}

/// What the driver told.
#[derive(Debug, Default)]
struct Told {
    name: String,
    seconds: f64,
}

impl Visit for Told {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "summary" {
            self.name = name(value).to_owned();
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "elapsed_secs" {
            self.seconds = value;
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// The name of a statement by its first four words.
fn name(summary: &str) -> &str {
    const OF_TRANSACTIONS: [&str; 4] = ["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT"];
    if let Some(rest) = summary.strip_prefix("/* ") {
        return rest.split(" */").next().unwrap_or_default().trim_end_matches([' ', '…', ':']);
    }
    match OF_TRANSACTIONS.iter().find(|word| summary.starts_with(**word)) {
        Some(_) => "transaction",
        None => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_goes_by_the_name_in_its_comment() {
        assert_eq!(name("/* acquire_shard */ WITH …"), "acquire_shard");
        assert_eq!(name("/* kick_off: consent */ …"), "kick_off: consent");
        assert_eq!(name("/* a_long name of …"), "a_long name of");
        assert_eq!(name("COMMIT"), "transaction");
        assert_eq!(name("SELECT secret FROM patient …"), "other");
    }
}
