//! Requests byte by byte, and answers header by header: an HTTP client would mend the target, choose the host and
//! leave out what differs.

use anyhow::{Context as _, Result};
use headgate_testkit::TestApp;
use headgate_testkit::serde_json::{self, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A request as it goes over the wire.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: &'static str,
    /// What stands in the request line.
    pub target: String,
    pub host: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

/// An answer as it comes; without `Date`, which differs in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// In the order of their names, in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    /// For a URL, with the headers that every operation takes.
    pub fn to(method: &'static str, url: &str, token: Option<&str>) -> Result<Self> {
        let rest = url.strip_prefix("http://").context("not an http URL")?;
        let (host, path) = rest.split_once('/').context("a URL without a path")?;
        let mut headers = vec![("Prefer", "respond-async".to_owned())];
        // A poll takes JSON, all else FHIR.
        headers.push(("Accept", "application/fhir+json, application/json".to_owned()));
        headers.extend(token.map(|token| ("Authorization", format!("Bearer {token}"))));
        Ok(Self { method, target: format!("/{path}"), host: host.to_owned(), headers, body: String::new() })
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.target = target.into();
        self
    }

    /// Sends it to the app's public listener, whatever host it names.
    pub async fn send(&self, app: &TestApp) -> Result<Reply> {
        let listener = app.public_url().strip_prefix("http://").context("not an http URL")?;
        let Self { method, target, host, .. } = self;
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if *method == "POST" {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        text.push_str(&self.body);
        let mut stream = TcpStream::connect(listener).await?;
        stream.write_all(text.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Reply::parse(&answer)
    }
}

impl Reply {
    fn parse(answer: &[u8]) -> Result<Self> {
        let answer = String::from_utf8_lossy(answer);
        let (head, body) = answer.split_once("\r\n\r\n").context("no end of the headers")?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?.parse()?;
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').context("a header without a colon")?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        headers.retain(|(name, _)| name != "date");
        headers.sort();
        Ok(Self { status, headers, body: body.to_owned() })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body, which is JSON; chunks are put together.
    pub fn json(&self) -> Result<Value> {
        let chunked = self.header("transfer-encoding") == Some("chunked");
        let text = if chunked { unchunked(&self.body) } else { self.body.clone() };
        serde_json::from_str(&text).with_context(|| format!("{} {}", self.status, self.body))
    }
}

fn unchunked(body: &str) -> String {
    let mut whole = String::new();
    let mut rest = body;
    while let Some((length, more)) = rest.split_once("\r\n") {
        let Some((chunk, more)) =
            usize::from_str_radix(length, 16).ok().filter(|n| *n > 0).and_then(|n| more.split_at_checked(n))
        else {
            break;
        };
        whole.push_str(chunk);
        rest = more.trim_start_matches("\r\n");
    }
    whole
}
