//! As much of a web server as it takes to answer badly.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// An answer, and how it goes wrong.
#[derive(Clone)]
pub struct Reply {
    head: String,
    pub body: Vec<u8>,
    delay: Duration,
    /// After so many bytes of the body, the connection hangs (true) or ends (false).
    stop: Option<(usize, bool)>,
}

impl Reply {
    /// An answer with this status, header line and body.
    pub fn of(status: u16, header: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
        let length = body.len();
        let head = format!("HTTP/1.1 {status} Status\r\n{header}content-length: {length}\r\n\r\n");
        Self { head, body, delay: Duration::ZERO, stop: None }
    }

    pub fn json(header: &str, body: &str) -> Self {
        Self::of(200, header, body)
    }

    /// Anything at all.
    pub fn raw(text: &str) -> Self {
        Self { head: text.to_owned(), ..Self::of(200, "", "") }
    }

    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    pub fn stuck_after(self, bytes: usize) -> Self {
        Self { stop: Some((bytes, true)), ..self }
    }

    pub fn cut_off_after(self, bytes: usize) -> Self {
        Self { stop: Some((bytes, false)), ..self }
    }
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
    last: Mutex<String>,
}

/// A server on a port of its own.
pub struct Server {
    pub url: Url,
    seen: Arc<Seen>,
}

impl Server {
    /// Answers each request by its number, from 1.
    pub async fn start(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = url_of(&listener);
        let seen = Arc::new(Seen::default());
        let server = Self { url, seen: Arc::clone(&seen) };
        let reply = Arc::new(reply);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer(stream, Arc::clone(&seen), Arc::clone(&reply)));
            }
        });
        server
    }

    /// An URL at which nobody listens.
    pub async fn dead() -> Url {
        url_of(&TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub fn hits(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    pub fn last_request(&self) -> String {
        self.seen.last.lock().unwrap().clone()
    }
}

fn url_of(listener: &TcpListener) -> Url {
    format!("http://{}/jwks.json", listener.local_addr().unwrap()).parse().unwrap()
}

async fn answer(mut stream: TcpStream, seen: Arc<Seen>, reply: Arc<impl Fn(usize) -> Reply>) {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece).await {
            // 0x16 begins a TLS handshake, which nobody here speaks.
            Ok(read) if read > 0 && piece[0] != 0x16 => request.extend_from_slice(&piece[..read]),
            _ => return,
        }
    }
    *seen.last.lock().unwrap() = String::from_utf8_lossy(&request).into_owned();
    let reply = reply(seen.requests.fetch_add(1, Ordering::SeqCst) + 1);
    tokio::time::sleep(reply.delay).await;
    let body = &reply.body[..reply.stop.map_or(reply.body.len(), |(bytes, _)| bytes)];
    // Who asked may have gone.
    let _ = stream.write_all(&[reply.head.as_bytes(), body].concat()).await;
    if let Some((_, true)) = reply.stop {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let _ = stream.shutdown().await;
}
