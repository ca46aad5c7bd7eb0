mod unread;

use std::time::Instant;

use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;

use super::*;

pub(super) const BOUNDS: Bounds = Bounds {
    header_timeout: Duration::from_millis(200),
    idle_timeout: Duration::from_millis(200),
    request_timeout: Duration::from_millis(300),
    max_connections: 2,
};

pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) soft: CancellationToken,
    pub(super) done: tokio::task::JoinHandle<()>,
    /// A request for `/short` has arrived.
    pub(super) arrived: Arc<Notify>,
}

async fn start() -> Running {
    start_with(None).await
}

pub(super) async fn start_with(tls: Option<Tls>) -> Running {
    let arrived = Arc::new(Notify::new());
    let note = Arc::clone(&arrived);
    let router = Router::new()
        .route("/who", get(|ConnectInfo(client): ConnectInfo<SocketAddr>| async move { client.to_string() }))
        .route("/short", get(move || short(Arc::clone(&note))))
        .route("/never", get(std::future::pending::<()>));
    let listener = Listener::bind("127.0.0.1:0").await.unwrap().with_tls(tls);
    let (address, soft) = (listener.address(), CancellationToken::new());
    let done = tokio::spawn(listener.serve(router, BOUNDS, soft.clone(), CancellationToken::new()));
    Running { address, soft, done, arrived }
}

async fn short(arrived: Arc<Notify>) -> &'static str {
    arrived.notify_one();
    tokio::time::sleep(Duration::from_millis(150)).await;
    "done"
}

/// Sends bytes and returns what comes until the server closes.
pub(super) async fn exchange(address: SocketAddr, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end too.
    let _end = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn both_protocols_are_served_and_the_handler_learns_the_clients_address() {
    let server = start().await;
    let url = format!("http://{}/who", server.address);
    let text = reqwest::get(&url).await.unwrap().text().await.unwrap();
    assert!(text.starts_with("127.0.0.1:"), "{text}");
    let http2 = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let answer = http2.get(&url).send().await.unwrap();
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    assert!(answer.text().await.unwrap().starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn a_client_that_is_slow_or_silent_is_cut() {
    let server = start().await;
    for sent in [&b""[..], b"GET /who HTTP/1.1\r\nHost: h\r\nX-Slow: ", b"PRI * HTTP/2.0\r\n"] {
        let begun = Instant::now();
        exchange(server.address, sent).await;
        let took = begun.elapsed();
        assert!((Duration::from_millis(150)..Duration::from_secs(20)).contains(&took), "{took:?}");
    }
}

#[tokio::test]
async fn a_request_that_gets_no_answer_is_given_up() {
    let server = start().await;
    let answer = reqwest::get(format!("http://{}/never", server.address)).await.unwrap();
    assert_eq!(answer.status(), 503);
}

#[tokio::test]
async fn a_connection_beyond_the_bound_waits_for_a_place() {
    let server = start().await;
    // Before the idle ones come: they keep their places for the whole time from then, however late the third one is.
    let begun = Instant::now();
    let _idle = [
        TcpStream::connect(server.address).await.unwrap(),
        TcpStream::connect(server.address).await.unwrap(),
    ];
    tokio::time::sleep(Duration::from_millis(50)).await;
    let answer = exchange(server.address, b"GET /who HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(begun.elapsed() >= BOUNDS.header_timeout * 3 / 4, "it was served beside the two idle ones");
}

#[tokio::test]
async fn a_drain_answers_what_is_under_way_and_takes_nothing_new() {
    let server = start().await;
    let url = format!("http://{}/short", server.address);
    let under_way = tokio::spawn(reqwest::get(url.clone()));
    server.arrived.notified().await;
    server.soft.cancel();
    assert_eq!(under_way.await.unwrap().unwrap().text().await.unwrap(), "done");
    server.done.await.unwrap();
    assert!(reqwest::get(url).await.is_err());
}
