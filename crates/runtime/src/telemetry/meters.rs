//! Metrics: to the collector at intervals, and to whoever asks `/metrics`, in Prometheus's text format.

use std::collections::HashSet;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use headgate_metrics::PRACTICE;
use opentelemetry::global;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{
    Instrument, MeterProviderBuilder, PeriodicReader, SdkMeterProvider, Stream,
};
use prometheus::{Registry, TEXT_FORMAT, TextEncoder};

use super::counted::Counted;
use super::{Start, TelemetryError, otlp};

/// Series that an instrument may have which tells practices apart: 4,000 practices with the five ways in which an export
/// ends. What is beyond is counted as one series, `otel_metric_overflow`, as with other instruments beyond 2,000.
const SERIES: usize = 20_000;

/// The collected metrics.
#[derive(Debug)]
pub(super) struct Meters {
    provider: SdkMeterProvider,
    registry: Registry,
}

impl Meters {
    /// Begins to collect.
    pub(super) fn start(start: &Start<'_>, resource: Resource) -> Result<Self, TelemetryError> {
        let registry = Registry::new();
        let scraped = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()?;
        let mut provider = builder().with_resource(resource).with_reader(scraped);
        if let Some(exporter) = otlp::metrics(start.telemetry)? {
            let sent = PeriodicReader::builder(Counted(exporter))
                .with_interval(start.telemetry.metrics_interval())
                .build();
            provider = provider.with_reader(sent);
        }
        let provider = provider.build();
        global::set_meter_provider(provider.clone());
        Ok(Self { provider, registry })
    }

    /// Sends the last values.
    pub(super) fn stop(&self, patience: Duration) {
        let _sent = self.provider.shutdown_with_timeout(patience);
    }

    /// `/metrics`.
    pub(super) fn routes(&self) -> Router {
        Router::new().route("/metrics", get(show)).with_state(self.registry.clone())
    }
}

/// Begins a provider with the bounds of its instruments.
fn builder() -> MeterProviderBuilder {
    let of_practices: HashSet<&str> = headgate_metrics::definitions()
        .into_iter()
        .filter(|definition| definition.labels.iter().any(|label| label.name == PRACTICE))
        .map(|definition| definition.name)
        .collect();
    SdkMeterProvider::builder().with_view(move |instrument: &Instrument| {
        if !of_practices.contains(instrument.name()) {
            return None;
        }
        Stream::builder().with_cardinality_limit(SERIES).build().ok()
    })
}

async fn show(State(registry): State<Registry>) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            (StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written; the log says why\n")
                .into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::KeyValue;
    use opentelemetry::metrics::MeterProvider as _;

    use super::*;

    #[test]
    fn thousands_of_practices_are_told_apart() {
        let registry = Registry::new();
        let reader = opentelemetry_prometheus::exporter().with_registry(registry.clone()).build().unwrap();
        let provider = builder().with_reader(reader).build();
        let meter = provider.meter("test");
        let finished = meter.u64_counter("export.jobs.finished").with_unit("{export}").build();
        let lag = meter.f64_gauge("export.transaction_time.lag").with_unit("s").build();
        for practice in 1..=3000 {
            let practice = KeyValue::new("practice", practice);
            for outcome in ["completed", "failed", "cancelled", "revoked", "expired"] {
                finished.add(1, &[practice.clone(), KeyValue::new("outcome", outcome)]);
            }
            lag.record(1.0, &[practice]);
        }
        let series = |name: &str| {
            registry.gather().iter().find(|family| family.name() == name).map(|f| f.get_metric().len())
        };
        assert_eq!(series("export_jobs_finished_total"), Some(15_000));
        assert_eq!(series("export_transaction_time_lag_seconds"), Some(3000));
    }
}
