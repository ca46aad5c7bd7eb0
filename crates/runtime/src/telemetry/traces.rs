//! Traces: spans of our own code, sent to the collector in batches.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::counted::Counted;
use super::sampler::Sampler;
use super::{TelemetryError, otlp};
use crate::config::Telemetry;

/// Spans that wait for the collector at most; further ones are lost.
const QUEUE: usize = 4096;

/// The layer that makes spans and sends them, if there is a collector.
pub(super) fn start<S>(
    config: &Telemetry,
    resource: Resource,
) -> Result<Option<(SdkTracerProvider, impl Layer<S> + use<S>)>, TelemetryError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let Some(exporter) = otlp::spans(config)? else { return Ok(None) };
    let queue = BatchConfigBuilder::default().with_max_queue_size(QUEUE).build();
    let processor = BatchSpanProcessor::builder(Counted(exporter)).with_batch_config(queue).build();
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(Sampler::new(config.trace_ratio))
        .with_span_processor(processor)
        .build();
    global::set_tracer_provider(provider.clone());
    let scope = InstrumentationScope::builder("headgate").with_version(crate::build_info::VERSION).build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer_with_scope(scope))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false)
        .with_filter(dynamic_filter_fn(|metadata, _| belongs_to_traces(metadata)));
    Ok(Some((provider, layer)))
}

/// Spans of our own, and what went wrong in them.
fn belongs_to_traces(metadata: &Metadata<'_>) -> bool {
    let most = if metadata.is_span() { Level::INFO } else { Level::WARN };
    metadata.target().starts_with("headgate") && *metadata.level() <= most
}
