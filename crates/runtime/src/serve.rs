//! Serving a router on a listener, within bounds.
//!
//! `axum::serve` has no limit for the time a client takes over its headers, nor for the number of
//! connections, so this drives hyper itself. A connection is first looked at without reading from it: the
//! 24 bytes every HTTP/2 client begins with tell the protocol, and a client that sends nothing at all is
//! dropped. (hyper's own detection waits for them without a timeout.) With TLS the handshake tells the
//! protocol, within the same bound. A connection that has brought no request by then is dropped too, which
//! is what bounds an HTTP/2 client that says hello and no more. What bounds all others is in `course`.

mod course;
mod observed;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::header::RETRY_AFTER;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Server;
use crate::lifecycle::Lifecycle;
use course::{Course, Requests, Step, UnderWay};

pub use tls::{Tls, TlsError};

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Most headers of a request.
const MAX_HEADERS: usize = 100;

/// Bytes of a request's headers at most.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Requests that one HTTP/2 connection may have open. RFC 9113, section 6.5.2, wants no fewer, and many clients begin with
/// that number before they are told: the first requests of a proxy that has just connected would be refused.
const MAX_STREAMS: u32 = 100;

/// How often an HTTP/2 client is asked whether it is still there.
const HTTP2_PING: Duration = Duration::from_secs(20);

/// What connections may cost.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Time for a TLS handshake and for the headers of a connection's first request.
    pub header_timeout: Duration,
    /// Time from an answer until the headers of the connection's next request are there. An answer has to be read
    /// within it, too.
    pub idle_timeout: Duration,
    /// Time until a request is given up with 503.
    pub request_timeout: Duration,
    /// Connections at a time.
    pub max_connections: usize,
}

impl From<&Server> for Bounds {
    fn from(config: &Server) -> Self {
        Self {
            header_timeout: config.header_timeout(),
            idle_timeout: config.idle_timeout(),
            request_timeout: config.request_timeout(),
            max_connections: config.max_connections,
        }
    }
}

/// An address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    address: String,
    source: io::Error,
}

/// A bound port.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    tls: Option<Tls>,
}

impl Listener {
    /// Binds `address:port`; port 0 takes any free one.
    ///
    /// # Errors
    /// When the address is not ours or the port is taken.
    pub async fn bind(address: &str) -> Result<Self, BindError> {
        let failed = |source| BindError { address: address.to_owned(), source };
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        Ok(Self { tcp, address, tls: None })
    }

    /// The same port, served over TLS if there is a certificate.
    #[must_use]
    pub fn with_tls(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// The address that was bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves the router until `soft` is cancelled and the requests under way are answered, or until `hard`
    /// is. Handlers find the client's address in [`ConnectInfo`].
    pub async fn serve(
        self,
        router: Router,
        bounds: Bounds,
        soft: CancellationToken,
        hard: CancellationToken,
    ) {
        let (tls, http) = (self.tls.clone(), builder(bounds));
        let serving = Arc::new(Serving { router, bounds, http, tls, soft: soft.clone() });
        let connections = TaskTracker::new();
        let places = Arc::new(Semaphore::new(bounds.max_connections));
        loop {
            let accepted = tokio::select! {
                biased;
                () = soft.cancelled() => break,
                accepted = self.accept(&places) => accepted,
            };
            let Some((stream, client, place)) = accepted else { continue };
            let (serving, hard) = (Arc::clone(&serving), hard.clone());
            connections.spawn(async move {
                tokio::select! {
                    () = serving.connection(stream, client) => {}
                    () = hard.cancelled() => {}
                }
                drop(place);
            });
        }
        drop(self.tcp);
        connections.close();
        tokio::select! {
            () = connections.wait() => {}
            () = hard.cancelled() => {}
        }
    }

    /// Serves the router as a task of the process.
    pub fn spawn(self, name: &'static str, router: Router, bounds: Bounds, life: &Lifecycle) {
        let (soft, hard) = (life.soft(), life.hard());
        life.spawn(name, async move {
            self.serve(router, bounds, soft, hard).await;
            Ok::<(), String>(())
        });
    }

    /// Serves the router beside the tasks of the process, for as long as there are any: also while they drain,
    /// which does not wait for it.
    pub fn spawn_beside(self, router: Router, bounds: Bounds, life: &Lifecycle) {
        tokio::spawn(self.serve(router, bounds, life.hard(), life.hard()));
    }

    async fn accept(&self, places: &Arc<Semaphore>) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        // Waits for a place first, so that those without one wait in the kernel's queue.
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        match self.tcp.accept().await {
            Ok((stream, client)) => Some((stream, client, place)),
            Err(error) => {
                // Most likely no file descriptor is left: some connection has to end first.
                tracing::warn!(error = %error.kind(), "cannot accept connections");
                tokio::time::sleep(Duration::from_millis(100)).await;
                None
            }
        }
    }
}

struct Serving {
    router: Router,
    bounds: Bounds,
    http: Builder<TokioExecutor>,
    tls: Option<Tls>,
    soft: CancellationToken,
}

impl Serving {
    async fn connection(&self, stream: TcpStream, client: SocketAddr) {
        // Only a matter of latency.
        let _nodelay = stream.set_nodelay(true);
        let patience = self.bounds.header_timeout;
        let Some(tls) = &self.tls else {
            let http2 = self.unless_draining(speaks_http2(&stream, patience)).await;
            let Some(http2) = http2 else { return };
            return self.requests(stream, http2, client).await;
        };
        let handshake = async { tokio::time::timeout(patience, tls.accept(stream)).await.ok()?.ok() };
        let Some(stream) = self.unless_draining(handshake).await else { return };
        let http2 = tls::speaks_http2(&stream);
        self.requests(stream, http2, client).await;
    }

    /// A drain does not wait for a client that has said nothing yet.
    async fn unless_draining<T>(&self, beginning: impl Future<Output = Option<T>>) -> Option<T> {
        tokio::select! {
            biased;
            begun = beginning => begun,
            () = self.soft.cancelled() => None,
        }
    }

    async fn requests<S>(&self, stream: S, http2: bool, client: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = TowerToHyperService::new(self.router.clone());
        let patience = self.bounds.request_timeout;
        let requests = Requests::default();
        let coming = requests.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(client));
            answer(router.clone(), request, patience, coming.begin())
        });
        let http = self.http.clone();
        let http = if http2 { http.http2_only() } else { http.http1_only() };
        let connection = http.serve_connection(TokioIo::new(stream), service).into_owned();
        let mut connection = std::pin::pin!(connection);
        let mut course = Course::new(self.bounds, http2, Instant::now());
        loop {
            let draining = self.soft.is_cancelled();
            match course.step(requests.seen(), draining, Instant::now()) {
                // With it go the streams of HTTP/2, and what is left of their answers.
                Step::Drop => return,
                Step::Close => connection.as_mut().graceful_shutdown(),
                Step::Serve(until) => tokio::select! {
                    biased;
                    // A client that goes away, or is cut for its slowness, is no event.
                    _ended = &mut connection => return,
                    () = self.soft.cancelled(), if !draining => {}
                    () = tokio::time::sleep_until(until) => {}
                },
            }
        }
    }
}

async fn answer(
    router: TowerToHyperService<Router>,
    request: Request<Incoming>,
    patience: Duration,
    under_way: UnderWay,
) -> Result<Response, std::convert::Infallible> {
    match tokio::time::timeout(patience, hyper::service::Service::call(&router, request)).await {
        Ok(answered) => answered.map(|answer| under_way.observe(answer)),
        Err(_late) => Ok((StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")]).into_response()),
    }
}

fn builder(bounds: Bounds) -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.idle_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES as u32)
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(bounds.header_timeout);
    http
}

/// Whether the client begins as HTTP/2 does; `None` if it ends or stays silent.
async fn speaks_http2(stream: &TcpStream, patience: Duration) -> Option<bool> {
    let look = async {
        let mut first = [0; HTTP2_PREFACE.len()];
        loop {
            let seen = stream.peek(&mut first).await.ok()?;
            match &first[..seen] {
                [] => return None,
                HTTP2_PREFACE => return Some(true),
                // A part of the preface: more must come. Looking is not reading, so there is nothing to await.
                begun if HTTP2_PREFACE.starts_with(begun) => {
                    tokio::time::sleep(Duration::from_millis(10)).await
                }
                _ => return Some(false),
            }
        }
    };
    tokio::time::timeout(patience, look).await.ok()?
}

#[cfg(test)]
mod tests;
