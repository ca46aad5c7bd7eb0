//! `[telemetry]`: where traces, metrics and logs are sent.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::checks::Checks;

/// Where traces, metrics and logs are sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// The collector's URL; empty: nothing is sent.
    pub otlp_endpoint: String,
    /// How it is spoken to.
    pub otlp_protocol: OtlpProtocol,
    /// Seconds that sending a batch may take.
    pub otlp_timeout_s: u64,
    /// Seconds between two sendings of the metrics.
    pub metrics_interval_s: u64,
    /// Share of the frequent requests that are traced.
    pub trace_ratio: f64,
    /// The name of the environment.
    pub environment: String,
}

/// How a collector is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum OtlpProtocol {
    /// Port 4317, usually.
    #[serde(rename = "grpc")]
    Grpc,
    /// Port 4318, usually.
    #[serde(rename = "http/protobuf")]
    Http,
}

impl Telemetry {
    /// Time that sending a batch may take.
    #[must_use]
    pub fn otlp_timeout(&self) -> Duration {
        Duration::from_secs(self.otlp_timeout_s)
    }

    /// Time between two sendings of the metrics.
    #[must_use]
    pub fn metrics_interval(&self) -> Duration {
        Duration::from_secs(self.metrics_interval_s)
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        let endpoint = &self.otlp_endpoint;
        let usable = Url::parse(endpoint).is_ok_and(|url| {
            ["http", "https"].contains(&url.scheme()) && url.username().is_empty() && url.query().is_none()
        });
        if !endpoint.is_empty() && !usable {
            checks.problem("telemetry.otlp_endpoint", "must be a URL such as http://collector:4317");
        }
        checks.range("telemetry.otlp_timeout_s", self.otlp_timeout_s, 1..=60);
        checks.range("telemetry.metrics_interval_s", self.metrics_interval_s, 1..=600);
        checks.range("telemetry.trace_ratio", self.trace_ratio, 0.0..=1.0);
    }
}
