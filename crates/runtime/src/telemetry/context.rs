//! Trace contexts that travel through the control database: from a kick-off to the steps and shards of its export.

use std::str::FromStr as _;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The context of the current span in the form of the W3C's header `traceparent`; none without a trace.
#[must_use]
pub fn trace_parent() -> Option<String> {
    let context = Span::current().context();
    let span = context.span().span_context().clone();
    span.is_valid()
        .then(|| format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8()))
}

/// Makes a span that has not been entered yet part of the trace that `parent` names.
pub fn continue_trace(span: &Span, parent: Option<&str>) {
    if let Some(parent) = parent.and_then(parse) {
        // Without a collector no span has a context, and none can be given one.
        let _without_traces = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// Links a span to the one that `parent` names: what was begun there and goes on in a trace of its own.
pub fn link_to(span: &Span, parent: Option<&str>) {
    if let Some(parent) = parent.and_then(parse) {
        span.add_link(parent);
    }
}

/// Writes the trace's id into the span's field `trace_id`, which must be declared empty: so lines of the log lead to
/// traces.
pub fn identify(span: &Span) {
    let context = span.context();
    let known = context.span().span_context().clone();
    if known.is_valid() {
        span.record("trace_id", tracing::field::display(known.trace_id()));
    }
}

/// Reads `traceparent`, version 00.
fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version != "00" || trace.len() != 32 || span.len() != 16 || flags.len() != 2 || parts.next().is_some()
    {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::from_str("").unwrap_or_default());
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_parent_is_read_and_a_malformed_one_is_none() {
        let context = parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        assert!(context.is_sampled() && context.is_remote());
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }
}
