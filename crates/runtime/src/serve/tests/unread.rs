//! Clients that leave their connection idle or their answers unread. Those of HTTP/2 are made of single frames,
//! because no library behaves so.

use std::collections::BTreeSet;

use axum::body::Bytes;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// Time to see, even on a busy machine, that an answer is kept while it may be read.
const UNHURRIED: Bounds =
    Bounds { idle_timeout: Duration::from_secs(1), header_timeout: Duration::from_secs(1), ..BOUNDS };

/// The window that streams have unless a client says otherwise.
const DEFAULT_WINDOW: u32 = 65_535;

/// An answer that is more than sockets hold, and of which can be told how often it is in memory.
#[derive(Clone)]
struct Large(Arc<Vec<u8>>);

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

struct Server {
    address: SocketAddr,
    soft: CancellationToken,
    done: JoinHandle<()>,
    large: Arc<Vec<u8>>,
    /// References to the large answer that are none to an answer.
    others: usize,
}

impl Server {
    async fn start(bounds: Bounds) -> Self {
        let large = Arc::new(vec![b'x'; 16 << 20]);
        let body = Large(Arc::clone(&large));
        let router = Router::new()
            .route("/large", get(move || std::future::ready(Bytes::from_owner(body.clone()))))
            .route("/short", get(|| super::short(Arc::default())));
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let (address, soft) = (listener.address(), CancellationToken::new());
        let others = Arc::strong_count(&large);
        let done = tokio::spawn(listener.serve(router, bounds, soft.clone(), CancellationToken::new()));
        Self { address, soft, done, large, others }
    }

    /// Waits until no answer is in memory any more.
    async fn has_dropped_all_answers(&self) {
        let dropped = async {
            while Arc::strong_count(&self.large) > self.others {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, dropped).await.expect("an answer that nobody reads is kept");
    }
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    async fn read(from: &mut OwnedReadHalf) -> Option<Self> {
        let mut head = [0; 9];
        from.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        from.read_exact(&mut payload).await.ok()?;
        Some(Self { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    fn is(&self, kind: u8, flag: u8) -> bool {
        self.kind == kind && self.flags & flag != 0
    }
}

struct Client {
    write: OwnedWriteHalf,
    /// What the server sends; ends with the connection.
    frames: mpsc::UnboundedReceiver<Frame>,
}

impl Client {
    /// With so many bytes for each answer until the client has read some.
    async fn connect(server: &Server, window: u32) -> Self {
        let (mut read, mut write) = TcpStream::connect(server.address).await.unwrap().into_split();
        write.write_all(HTTP2_PREFACE).await.unwrap();
        let (sender, frames) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(frame) = Frame::read(&mut read).await {
                if sender.send(frame).is_err() {
                    return;
                }
            }
        });
        let mut client = Self { write, frames };
        // SETTINGS_INITIAL_WINDOW_SIZE.
        client.send(SETTINGS, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat()).await;
        client
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        // The server may have gone.
        let _sent = self.write.write_all(&[&head[..], payload].concat()).await;
    }

    async fn get(&mut self, stream: u32, path: &str) {
        let length = u8::try_from(path.len()).unwrap();
        // GET and http are in the table of HPACK; :path and :authority are literals.
        let head = [&[0x82, 0x86, 0x04, length][..], path.as_bytes(), &[0x01, 1, b'h']].concat();
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &head).await;
    }

    /// Answers a ping.
    async fn answer(&mut self, ping: &Frame) {
        self.send(PING, ACK, 0, &ping.payload).await;
    }

    /// The next frame; `None` when the connection has ended.
    async fn next(&mut self) -> Option<Frame> {
        tokio::time::timeout(LONG, self.frames.recv()).await.expect("the connection stays open")
    }
}

#[tokio::test]
async fn an_idle_http2_connection_is_told_to_end_and_ends_even_if_its_client_says_nothing() {
    let server = Server::start(Bounds { request_timeout: LONG, ..UNHURRIED }).await;
    for answers_pings in [true, false] {
        let begun = Instant::now();
        let mut client = Client::connect(&server, DEFAULT_WINDOW).await;
        client.get(1, "/short").await;
        let (mut body, mut told) = (Vec::new(), false);
        while let Some(frame) = client.next().await {
            match frame.kind {
                DATA => body.extend(frame.payload),
                GOAWAY => told = true,
                PING if answers_pings => client.answer(&frame).await,
                _ => {}
            }
        }
        assert_eq!((body.as_slice(), told), (&b"done"[..], true));
        assert!(begun.elapsed() >= UNHURRIED.idle_timeout, "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn answers_of_http2_that_nobody_reads_end_with_their_connection() {
    let server = Server::start(UNHURRIED).await;
    // Without a window the answer waits before it is sent, with a small one while it is.
    for window in [0, 1] {
        let mut client = Client::connect(&server, window).await;
        for stream in [1, 3, 5] {
            client.get(stream, "/large").await;
        }
        let mut begun = BTreeSet::new();
        while let Some(frame) = client.next().await {
            if frame.kind == HEADERS {
                begun.insert(frame.stream);
                assert!(Arc::strong_count(&server.large) > server.others, "the answer waits to be read");
            }
            assert!(!frame.is(DATA, END_STREAM));
        }
        assert_eq!(begun, BTreeSet::from([1, 3, 5]));
        server.has_dropped_all_answers().await;
    }
}

#[tokio::test]
async fn a_client_that_goes_on_asking_does_not_keep_its_unread_answers_for_ever() {
    let server = Server::start(BOUNDS).await;
    let mut client = Client::connect(&server, 0).await;
    let mut turns = tokio::time::interval(BOUNDS.idle_timeout / 4);
    let mut streams = (1..).step_by(2);
    let asking = async {
        loop {
            tokio::select! {
                frame = client.frames.recv() => if frame.is_none() { break },
                _ = turns.tick() => client.get(streams.next().unwrap(), "/large").await,
            }
        }
    };
    tokio::time::timeout(LONG, asking).await.expect("the connection stays open");
    server.has_dropped_all_answers().await;
}

#[tokio::test]
async fn an_answer_of_http1_that_nobody_reads_ends_with_its_connection() {
    let server = Server::start(UNHURRIED).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    client.readable().await.unwrap();
    assert!(Arc::strong_count(&server.large) > server.others);
    server.has_dropped_all_answers().await;
}

#[tokio::test]
async fn requests_under_way_when_a_connection_comes_to_its_age_are_answered() {
    let server = Server::start(Bounds { header_timeout: LONG, request_timeout: LONG, ..BOUNDS }).await;
    let mut client = Client::connect(&server, DEFAULT_WINDOW).await;
    // Each takes longer than it is until the next one: some are under way at any time.
    let mut turns = tokio::time::interval(Duration::from_millis(50));
    let mut streams = (1..).step_by(2);
    let (mut asked, mut answered, mut told) = (BTreeSet::new(), BTreeSet::new(), false);
    let asking = async {
        loop {
            let frame = tokio::select! {
                frame = client.frames.recv() => frame,
                _ = turns.tick(), if !told => {
                    let stream = streams.next().unwrap();
                    client.get(stream, "/short").await;
                    asked.insert(stream);
                    continue;
                }
            };
            let Some(frame) = frame else { break };
            if frame.kind == GOAWAY {
                told = true;
            } else if frame.kind == PING {
                client.answer(&frame).await;
            } else if frame.is(DATA, END_STREAM) {
                answered.insert(frame.stream);
            }
        }
    };
    tokio::time::timeout(LONG, asking).await.expect("the connection stays open");
    assert!(told && !asked.is_empty());
    assert_eq!(answered, asked);
}

#[tokio::test]
async fn a_drain_does_not_wait_for_answers_that_nobody_reads() {
    let server = Server::start(Bounds { idle_timeout: 10 * LONG, ..BOUNDS }).await;
    let mut client = Client::connect(&server, 0).await;
    client.get(1, "/large").await;
    while client.next().await.expect("an answer").kind != HEADERS {}
    server.soft.cancel();
    tokio::time::timeout(LONG, server.done).await.expect("the drain waits").unwrap();
}

#[tokio::test]
async fn a_client_that_reads_slowly_and_goes_on_gets_all_of_its_answer() {
    let server = Server::start(UNHURRIED).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(b"GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let (begun, mut read, mut buffer) = (Instant::now(), 0, vec![0; 1 << 20]);
    loop {
        let taken = client.read(&mut buffer).await.unwrap();
        if taken == 0 {
            break;
        }
        read += taken;
        // A tenth of the idle timeout for each MiB and less.
        tokio::time::sleep(UNHURRIED.idle_timeout / 10 * u32::try_from(taken).unwrap() / (1 << 20)).await;
    }
    assert!(read > server.large.len(), "{read}");
    assert!(begun.elapsed() > UNHURRIED.idle_timeout, "it was read too fast to tell");
}
