//! The spans of steps and shards, and what is measured of their ends.
//!
//! Planning goes on with the trace that the kick-off began. Every shard attempt, and every later step, is a trace of its
//! own that links to it: an export may take hours and fan out into thousands of shards, which no one trace can hold
//! (OpenTelemetry semantic conventions for messaging, *Span links*).

use std::time::Instant;

use headgate_metrics::{exports, shards};
use headgate_runtime::telemetry;
use headgate_store::{RefreshLease, ShardLease, StepLease};
use tracing::Span;
use tracing::field::Empty;

/// The span of the plan step.
pub fn plan(lease: &StepLease) -> Span {
    if let Some(waited) = lease.waited {
        exports::START_DELAY.record(waited, &[]);
    }
    let span = step("plan", lease);
    telemetry::continue_trace(&span, lease.trace_parent.as_deref());
    telemetry::identify(&span);
    span
}

/// The span of the finish or purge step.
pub fn later(step_name: &'static str, lease: &StepLease) -> Span {
    let span = step(step_name, lease);
    telemetry::link_to(&span, lease.trace_parent.as_deref());
    telemetry::identify(&span);
    span
}

fn step(name: &'static str, lease: &StepLease) -> Span {
    tracing::info_span!(
        "step",
        otel.name = name,
        otel.kind = "consumer",
        practice = lease.practice.get(),
        export = %lease.export,
        attempt = lease.attempts,
        fence = lease.fence,
        otel.status_code = Empty,
        trace_id = Empty,
    )
}

/// The span of a refresh.
pub fn refresh(lease: &RefreshLease) -> Span {
    let practice = lease.practice.get();
    let span = tracing::info_span!(
        "step",
        otel.name = "refresh",
        otel.kind = "consumer",
        practice,
        attempt = lease.attempts,
        otel.status_code = Empty,
        trace_id = Empty,
    );
    telemetry::identify(&span);
    span
}

/// Notes on the span of a step or shard that it failed, whether or not it will be tried again.
pub fn failed(span: &Span) {
    span.record("otel.status_code", "ERROR");
}

/// One attempt at a shard.
pub struct ShardAttempt {
    /// Its span.
    pub span: Span,
    started: Instant,
    resource_type: &'static str,
}

impl ShardAttempt {
    /// Begins with the lease.
    pub fn begin(lease: &ShardLease) -> Self {
        let span = tracing::info_span!(
            "shard",
            otel.name = "shard",
            otel.kind = "consumer",
            practice = lease.practice.get(),
            export = %lease.export,
            stream = lease.stream,
            shard = lease.shard,
            resource_type = lease.stream_type.name(),
            attempt = lease.attempts,
            fence = lease.fence,
            otel.status_code = Empty,
            trace_id = Empty,
        );
        telemetry::link_to(&span, lease.trace_parent.as_deref());
        telemetry::identify(&span);
        let kind = if lease.attempts > 1 { "again" } else { "first" };
        shards::ATTEMPTS.add(1, &[("kind", kind.into())]);
        if lease.rescued {
            shards::RESCUED.add(1, &[]);
        }
        if let Some(waited) = lease.waited {
            shards::START_DELAY.record(waited, &[]);
        }
        Self { span, started: Instant::now(), resource_type: lease.stream_type.name() }
    }

    /// Counts how it ended.
    pub fn end(&self, outcome: &'static str) {
        let labels = [("resource_type", self.resource_type.into()), ("outcome", outcome.into())];
        shards::DURATION.record(self.started.elapsed(), &labels);
        if outcome == "quarantined" {
            shards::QUARANTINED.add(1, &[]);
        }
    }
}
