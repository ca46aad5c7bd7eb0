//! Metrics: to the collector at intervals, and to whoever asks `/metrics`, in Prometheus's text format.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use opentelemetry::global;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use prometheus::{Registry, TEXT_FORMAT, TextEncoder};

use super::{Start, TelemetryError, otlp};

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
        let mut provider = SdkMeterProvider::builder().with_resource(resource).with_reader(scraped);
        if let Some(exporter) = otlp::metrics(start.telemetry)? {
            let sent =
                PeriodicReader::builder(exporter).with_interval(start.telemetry.metrics_interval()).build();
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
