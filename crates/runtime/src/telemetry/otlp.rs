//! Exporters for OTLP, over gRPC or HTTP, and what they say of the process.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, Response};
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{
    LogExporter, MetricExporter, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
    WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use tokio::runtime::Handle;

use super::TelemetryError;
use crate::config::{OtlpProtocol, Telemetry};

/// Bytes of a collector's answer that are read at most.
const ANSWER: usize = 64 * 1024;

/// What process this is. The environment variable `OTEL_RESOURCE_ATTRIBUTES` is heeded, but for what is said here.
pub(super) fn resource(service: &'static str, config: &Telemetry) -> Resource {
    let mut attributes = vec![
        KeyValue::new("service.version", crate::build_info::VERSION),
        KeyValue::new("service.instance.id", instance_id()),
    ];
    if !config.environment.is_empty() {
        attributes.push(KeyValue::new("deployment.environment.name", config.environment.clone()));
    }
    Resource::builder().with_service_name(service).with_attributes(attributes).build()
}

/// Fresh at each start, so that two lives of a process are never taken for one.
fn instance_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// One signal's exporter, if there is a collector: `$build!(SpanExporter, config, "/v1/traces")`.
macro_rules! exporter {
    ($exporter:ident, $config:expr, $path:literal) => {{
        let config: &Telemetry = $config;
        let endpoint = config.otlp_endpoint.trim_end_matches('/');
        match config.otlp_protocol {
            _ if endpoint.is_empty() => Ok(None),
            OtlpProtocol::Grpc => {
                let builder = $exporter::builder().with_tonic().with_endpoint(endpoint);
                let builder = match endpoint.starts_with("https:") {
                    true => builder.with_tls_config(ClientTlsConfig::new().with_enabled_roots()),
                    false => builder,
                };
                Ok(Some(builder.with_timeout(config.otlp_timeout()).build()?))
            }
            OtlpProtocol::Http => {
                let client = OnRuntime::new(config.otlp_timeout())?;
                let url = format!("{endpoint}{}", $path);
                let builder = $exporter::builder().with_http().with_http_client(client).with_endpoint(url);
                Ok(Some(builder.with_timeout(config.otlp_timeout()).build()?))
            }
        }
    }};
}

/// The exporter of spans.
pub(super) fn spans(config: &Telemetry) -> Result<Option<SpanExporter>, TelemetryError> {
    exporter!(SpanExporter, config, "/v1/traces")
}

/// The exporter of records of the log.
pub(super) fn logs(config: &Telemetry) -> Result<Option<LogExporter>, TelemetryError> {
    exporter!(LogExporter, config, "/v1/logs")
}

/// The exporter of metrics.
pub(super) fn metrics(config: &Telemetry) -> Result<Option<MetricExporter>, TelemetryError> {
    exporter!(MetricExporter, config, "/v1/metrics")
}

/// An HTTP client for the threads that send: they are none of tokio's, so requests are made by tokio's.
#[derive(Debug)]
struct OnRuntime {
    client: reqwest::Client,
    runtime: Handle,
}

impl OnRuntime {
    fn new(timeout: Duration) -> Result<Self, TelemetryError> {
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(TelemetryError::Client)?;
        Ok(Self { client, runtime: Handle::current() })
    }
}

#[async_trait::async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (client, request) = (self.client.clone(), reqwest::Request::try_from(request)?);
        let sent = self.runtime.spawn(async move {
            let mut answer = client.execute(request).await?;
            let mut body = Vec::new();
            while let Some(part) = answer.chunk().await? {
                if body.len() + part.len() <= ANSWER {
                    body.extend_from_slice(&part);
                }
            }
            Ok::<_, reqwest::Error>((answer.status(), answer.headers().clone(), body))
        });
        let (status, headers, body) = sent.await??;
        let mut response = Response::new(Bytes::from(body));
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        Ok(response)
    }
}
