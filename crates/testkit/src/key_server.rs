//! An HTTP server with a key set, which can misbehave. It runs on threads of its own and counts who comes.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

/// What the server does with a request.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// Answers with this document, and this `Cache-Control` if any.
    Serve(Value, Option<&'static str>),
    /// Answers with any status, headers (each ended by CR LF) and body.
    Answer(&'static str, String, Vec<u8>),
    /// Closes the connection without an answer.
    HangUp,
    /// Accepts the request and says nothing for this long.
    Silent(Duration),
    /// Sends one byte each 50 milliseconds, forever.
    Drip,
}

impl Behaviour {
    /// A document of so many bytes of white space once it is decompressed; a thousandth of it on the wire.
    ///
    /// # Errors
    /// Never, as memory does not fail.
    pub fn gzip_bomb(decompressed: usize) -> Result<Self> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let piece = vec![b' '; 64 * 1024];
        for _ in 0..decompressed / piece.len() {
            encoder.write_all(&piece)?;
        }
        let body = encoder.finish()?;
        Ok(Self::Answer("200 OK", "Content-Encoding: gzip\r\n".to_owned(), body))
    }
}

/// The server. It stops when it is dropped.
#[derive(Debug)]
pub struct KeyServer {
    shared: Arc<Shared>,
    address: SocketAddr,
}

#[derive(Debug)]
struct Shared {
    behaviour: Mutex<Behaviour>,
    hits: AtomicUsize,
    heads: Mutex<Vec<String>>,
    ended: AtomicBool,
}

impl KeyServer {
    /// Listens on a free port of the loopback interface.
    ///
    /// # Errors
    /// When there is none.
    pub fn start(behaviour: Behaviour) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(behaviour),
            hits: AtomicUsize::new(0),
            heads: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.ended.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                // A client that leaves ends the thread.
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Ok(Self { shared, address })
    }

    /// The URL of the key set.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/jwks.json", self.address)
    }

    /// The same by the name `localhost`.
    #[must_use]
    pub fn url_by_name(&self) -> String {
        format!("http://localhost:{}/jwks.json", self.address.port())
    }

    /// Misbehaves from now on, or no longer.
    pub fn now(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap_or_else(PoisonError::into_inner) = behaviour;
    }

    /// How many requests came so far.
    #[must_use]
    pub fn hits(&self) -> usize {
        self.shared.hits.load(Ordering::SeqCst)
    }

    /// The request lines and headers of those requests.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _woken = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        let Some(head) = read_head(&mut stream) else { return };
        self.hits.fetch_add(1, Ordering::SeqCst);
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).push(head);
        let behaviour = self.behaviour.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Whoever leaves before the end of the answer is who this server is for.
        let _sent = perform(&mut stream, behaviour);
        let _closed = stream.shutdown(Shutdown::Write);
    }
}

fn perform(stream: &mut TcpStream, behaviour: Behaviour) -> std::io::Result<()> {
    match behaviour {
        Behaviour::Serve(document, cache_control) => {
            let cache = cache_control.map(|value| format!("Cache-Control: {value}\r\n")).unwrap_or_default();
            answer(stream, "200 OK", &cache, document.to_string().as_bytes())
        }
        Behaviour::Answer(status, headers, body) => answer(stream, status, &headers, &body),
        Behaviour::HangUp => Ok(()),
        Behaviour::Silent(time) => {
            std::thread::sleep(time);
            Ok(())
        }
        Behaviour::Drip => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")?;
            loop {
                stream.write_all(b" ")?;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

fn answer(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    stream.flush()
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 16 * 1024 || stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.extend_from_slice(&byte);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}
