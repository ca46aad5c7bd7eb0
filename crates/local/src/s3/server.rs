//! Serving the storage over HTTP, on the loopback interface.

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::Request;
use http::header::AUTHORIZATION;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use percent_encoding::percent_decode_str;
use s3s::auth::SimpleAuth;
use s3s::host::{S3Host, VirtualHost};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError, HttpResponse, S3Result, s3_error};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::Error;
use super::storage::Storage;

/// How long requests under way may take once the server is told to stop.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// How to start the server.
#[derive(Clone)]
pub struct S3Options {
    /// The folder of the objects; made if missing. What an earlier server left there is served again.
    pub root: PathBuf,
    /// Where to listen; the address must be a loopback one. `None`: `127.0.0.1`, any free port.
    pub listen: Option<SocketAddr>,
    /// The one access key.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// Buckets to create if missing.
    pub buckets: Vec<String>,
}

impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Options")
            .field("root", &self.root)
            .field("listen", &self.listen)
            .field("access_key", &self.access_key)
            .field("secret_key", &"***")
            .field("buckets", &self.buckets)
            .finish()
    }
}

/// A running S3 server. Dropping it ends it at once; [`S3Server::stop`] lets requests finish.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: Serving,
}

/// Ends the accept loop, and with it every connection, when dropped.
#[derive(Debug)]
struct Serving(JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl S3Server {
    /// Binds the port, creates the buckets, and serves on the current Tokio runtime.
    ///
    /// # Errors
    /// [`Error::NotLoopback`], [`Error::BucketName`], [`Error::Folder`] or [`Error::Listen`].
    pub async fn start(options: S3Options) -> Result<Self, Error> {
        let address = options.listen.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into());
        if !address.ip().is_loopback() {
            return Err(Error::NotLoopback(address));
        }
        create_buckets(&options)?;
        let refused = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;

        let mut service = S3ServiceBuilder::new(Storage::new(options.root));
        service.set_auth(SimpleAuth::from_single(options.access_key, options.secret_key));
        service.set_host(Localhost);
        let (stop, stopped) = oneshot::channel();
        let serving = Serving(tokio::spawn(serve(listener, service.build(), stopped)));
        Ok(Self { address, stop, serving })
    }

    /// The URL of the server, for example `http://127.0.0.1:43211`.
    ///
    /// Clients address buckets by path (`/bucket/key`), or by host as `bucket.localhost` with the same port.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address the server listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, lets requests under way finish for at most 3 seconds, and ends the rest.
    pub async fn stop(self) {
        let Self { stop, mut serving, .. } = self;
        drop(stop);
        // An error here means that the task has ended already.
        let _ended = (&mut serving.0).await;
    }
}

fn create_buckets(options: &S3Options) -> Result<(), Error> {
    let folders = options.buckets.iter().map(|name| {
        let good = s3s::path::check_bucket_name(name);
        if good { Ok(options.root.join(name)) } else { Err(Error::BucketName(name.clone())) }
    });
    let folders = folders.collect::<Result<Vec<_>, _>>()?;
    for path in std::iter::once(options.root.clone()).chain(folders) {
        fs::create_dir_all(&path).map_err(|source| Error::Folder { path, source })?;
    }
    Ok(())
}

async fn serve(listener: TcpListener, service: S3Service, mut stopped: oneshot::Receiver<()>) {
    let http = Builder::new(TokioExecutor::new());
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = &mut stopped => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = accepted else {
            // No file descriptor left, most likely: wait for some connection to end.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Only a matter of latency.
        let _nodelay = stream.set_nodelay(true);
        let service = service.clone();
        let answer = service_fn(move |request| answer(service.clone(), request));
        let connection = http.serve_connection(TokioIo::new(stream), answer).into_owned();
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            // A client that goes away is no concern of the server's.
            let _ended = connection.await;
        });
    }
    drop(listener);
    // What is still running after this time ends with the set of connections.
    let _within = tokio::time::timeout(STOP_WITHIN, graceful.shutdown()).await;
}

async fn answer(service: S3Service, request: Request<Incoming>) -> Result<HttpResponse, HttpError> {
    if has_two_signatures(&request) {
        return two_signatures().to_http_response().map_err(|error| HttpError::new(Box::new(error)));
    }
    // The protocol layer logs whole requests, presigned URLs and object keys included.
    service.call(request.map(Body::from)).with_subscriber(NoSubscriber::default()).await
}

/// Whether a request is signed in its query and carries an `Authorization` header as well. A client that
/// forwards its token to a presigned URL sends such a request, and S3 refuses it.
fn has_two_signatures<B>(request: &Request<B>) -> bool {
    let signed = |parameter: &str| {
        let name = parameter.split('=').next().unwrap_or_default();
        let name = percent_decode_str(name).decode_utf8_lossy();
        ["X-Amz-Algorithm", "X-Amz-Signature", "Signature"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    };
    let query = request.uri().query().unwrap_or_default();
    request.headers().contains_key(AUTHORIZATION) && query.split('&').any(signed)
}

fn two_signatures() -> s3s::S3Error {
    s3_error!(
        InvalidArgument,
        "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
         parameter or the Authorization header should be specified"
    )
}

/// Reads the bucket from a host name `bucket.localhost`, whatever the port.
struct Localhost;

impl S3Host for Localhost {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let name = host.split(':').next().unwrap_or_default();
        if name == "localhost" {
            return Ok(VirtualHost::new(name));
        }
        let bucket = name.strip_suffix(".localhost");
        let bucket = bucket.ok_or_else(|| s3_error!(InvalidRequest, "Invalid host header"))?;
        Ok(VirtualHost::new("localhost").with_bucket(bucket))
    }
}
