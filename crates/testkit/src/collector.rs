//! An OpenTelemetry collector that keeps what it is sent: OTLP over gRPC and over HTTP, both on free ports of the loopback
//! interface. It can also be one that accepts everything and never answers.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// A span as it came.
#[derive(Debug, Clone)]
pub struct SeenSpan {
    /// `service.name` of the process.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Its trace, in hex.
    pub trace: String,
    /// Its id, in hex.
    pub id: String,
    /// The span that it is part of, in hex; empty: none.
    pub parent: String,
    /// The traces and spans that it links to.
    pub links: Vec<(String, String)>,
    /// Attributes, as text.
    pub attributes: BTreeMap<String, String>,
}

/// The collector. It stops with the test's runtime.
#[derive(Debug, Clone)]
pub struct Collector {
    seen: Arc<Mutex<Seen>>,
    endpoint: String,
}

#[derive(Debug, Default)]
struct Seen {
    spans: Vec<SeenSpan>,
    metrics: BTreeSet<String>,
    logs: Vec<String>,
    /// Everything, in its wire form: text is found in it whatever it is part of.
    raw: Vec<u8>,
}

impl Collector {
    /// Speaks gRPC.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn grpc() -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let collector = Self::at(listener.local_addr()?);
        let server = Server::builder()
            .add_service(TraceServiceServer::new(collector.clone()))
            .add_service(MetricsServiceServer::new(collector.clone()))
            .add_service(LogsServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Ok(collector)
    }

    /// Speaks HTTP.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn http() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let collector = Self::at(listener.local_addr()?);
        let accepting = collector.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let collector = accepting.clone();
                // A client that leaves ends the thread.
                std::thread::spawn(move || while let Ok(true) = collector.answer(&stream) {});
            }
        });
        Ok(collector)
    }

    /// Accepts connections and never says a word.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn silent() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let collector = Self::at(listener.local_addr()?);
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming().flatten() {
                held.push(stream);
            }
        });
        Ok(collector)
    }

    fn at(address: SocketAddr) -> Self {
        Self { seen: Arc::default(), endpoint: format!("http://{address}") }
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The spans that came.
    #[must_use]
    pub fn spans(&self) -> Vec<SeenSpan> {
        self.seen().spans.clone()
    }

    /// The names of the metrics that came.
    #[must_use]
    pub fn metrics(&self) -> BTreeSet<String> {
        self.seen().metrics.clone()
    }

    /// The texts of the records of logs that came.
    #[must_use]
    pub fn logs(&self) -> Vec<String> {
        self.seen().logs.clone()
    }

    /// Whether a text is anywhere in what came.
    #[must_use]
    pub fn has(&self, text: &str) -> bool {
        memchr::memmem::find(&self.seen().raw, text.as_bytes()).is_some()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request of a connection that stays; `false`: it was the last.
    fn answer(&self, mut stream: &TcpStream) -> std::io::Result<bool> {
        let Some((path, body)) = read_request(stream)? else { return Ok(false) };
        let known = match path.as_str() {
            "/v1/traces" => ExportTraceServiceRequest::decode(&body[..]).map(|sent| self.take_spans(sent)),
            "/v1/metrics" => {
                ExportMetricsServiceRequest::decode(&body[..]).map(|sent| self.take_metrics(&sent))
            }
            _ => ExportLogsServiceRequest::decode(&body[..]).map(|sent| self.take_logs(&sent)),
        };
        let status = if known.is_ok() { "200 OK" } else { "400 Bad Request" };
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        Ok(true)
    }

    fn take_spans(&self, sent: ExportTraceServiceRequest) {
        let mut seen = self.seen();
        seen.raw.extend(sent.encode_to_vec());
        for of_process in sent.resource_spans {
            let resource = of_process.resource.map(|resource| resource.attributes).unwrap_or_default();
            let service = texts(&resource).remove("service.name").unwrap_or_default();
            for span in of_process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                seen.spans.push(SeenSpan {
                    service: service.clone(),
                    name: span.name,
                    trace: hex::encode(&span.trace_id),
                    id: hex::encode(&span.span_id),
                    parent: hex::encode(&span.parent_span_id),
                    links: span
                        .links
                        .iter()
                        .map(|link| (hex::encode(&link.trace_id), hex::encode(&link.span_id)))
                        .collect(),
                    attributes: texts(&span.attributes),
                });
            }
        }
    }

    fn take_metrics(&self, sent: &ExportMetricsServiceRequest) {
        let mut seen = self.seen();
        seen.raw.extend(sent.encode_to_vec());
        let scopes = sent.resource_metrics.iter().flat_map(|of_process| &of_process.scope_metrics);
        seen.metrics.extend(scopes.flat_map(|scope| &scope.metrics).map(|metric| metric.name.clone()));
    }

    fn take_logs(&self, sent: &ExportLogsServiceRequest) {
        let mut seen = self.seen();
        seen.raw.extend(sent.encode_to_vec());
        let scopes = sent.resource_logs.iter().flat_map(|of_process| &of_process.scope_logs);
        let records = scopes.flat_map(|scope| &scope.log_records);
        let bodies: Vec<String> = records.filter_map(|record| record.body.as_ref().map(text)).collect();
        seen.logs.extend(bodies);
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.take_spans(request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.take_metrics(&request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.take_logs(&request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let pair = |attribute: &KeyValue| {
        (attribute.key.clone(), attribute.value.as_ref().map(text).unwrap_or_default())
    };
    attributes.iter().map(pair).collect()
}

fn text(value: &AnyValue) -> String {
    match &value.value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => value.to_string(),
        _ => String::new(),
    }
}

/// The path and the body of a request; none at the end of the connection.
fn read_request(mut stream: &TcpStream) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
    stream.read_exact(&mut body)?;
    Ok(Some((path, body)))
}
