//! A server that says what a test wrote down, poll by poll, and remembers what it was asked.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Mutex;

use axum::extract::Query;
use axum::http::Method;
use axum::routing::any;

use super::*;

/// One answer of a status URL.
#[derive(Clone)]
pub(super) struct Says {
    status: u16,
    body: Value,
    /// It is repeated until this file was downloaded.
    until: Option<&'static str>,
}

/// A kick-off as it came.
#[derive(Debug, Clone)]
pub(super) struct KickedOff {
    pub(super) method: String,
    pub(super) uri: String,
    pub(super) content_type: Option<String>,
    pub(super) prefer: String,
    pub(super) body: String,
}

#[derive(Default)]
pub(super) struct Script {
    /// For each export in turn, for each page, what is said; the last is said for ever. No page at all: 404.
    pub(super) jobs: Vec<Vec<VecDeque<Says>>>,
    pub(super) files: HashMap<String, String>,
    /// The next body of a file breaks off after so many bytes.
    pub(super) breaks: HashMap<String, usize>,
    /// Bodies that never end.
    pub(super) stalls: HashSet<String>,
    /// Whether ranges are served.
    pub(super) ranges: bool,
    pub(super) kicked_off: Vec<KickedOff>,
    /// Downloads, with the range asked for.
    pub(super) downloads: Vec<(String, Option<String>)>,
    pub(super) polls: u32,
}

pub(super) struct Server {
    pub(super) base: String,
    script: Mutex<Script>,
}

type Served = State<Arc<Server>>;

pub(super) async fn serve(script: Script) -> Arc<Server> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let server = Arc::new(Server { base, script: Mutex::new(script) });
    let router = Router::new()
        .route("/fhir/.well-known/smart-configuration", get(configuration))
        .route("/token", post(token))
        .route("/fhir/$export", any(kick_off))
        .route("/fhir/Patient/$export", any(kick_off))
        .route("/status/{job}", get(status))
        .route("/file/{name}", get(file))
        .with_state(server.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    server
}

/// An answer without body.
pub(super) fn running() -> Says {
    Says { status: 202, body: Value::Null, until: None }
}

pub(super) fn ready(manifest: Value) -> Says {
    Says { status: 202, body: manifest, until: None }
}

pub(super) fn complete(manifest: Value) -> Says {
    Says { status: 200, body: manifest, until: None }
}

pub(super) fn failed() -> Says {
    Says { status: 500, body: Value::Null, until: None }
}

impl Says {
    pub(super) fn until(self, file: &'static str) -> Says {
        Says { until: Some(file), ..self }
    }
}

/// A manifest in the making; links are relative to the server until it is asked.
pub(super) fn manifest(time: &str, files: &[(&str, &str)], next: Option<u32>) -> Value {
    let mut manifest = json!({ "transactionTime": time, "request": "r", "requiresAccessToken": false,
        "output": [], "error": [], "deleted": [] });
    for (name, kind) in files {
        let list = match *kind {
            "Bundle" => "deleted",
            "OperationOutcome" => "error",
            _ => "output",
        };
        manifest[list].as_array_mut().unwrap().push(json!({ "type": kind, "url": name }));
    }
    if let Some(page) = next {
        manifest["link"] = json!([{ "relation": "next", "url": page }]);
    }
    manifest
}

impl Script {
    /// Files and what is in them.
    pub(super) fn with_files(mut self, files: &[(&str, &str)]) -> Script {
        for (name, text) in files {
            self.files.insert((*name).to_owned(), (*text).to_owned());
        }
        self
    }

    /// One more export with these pages.
    pub(super) fn with_job(mut self, pages: Vec<Vec<Says>>) -> Script {
        self.jobs.push(pages.into_iter().map(VecDeque::from).collect());
        self
    }
}

impl Server {
    pub(super) fn script<T>(&self, with: impl FnOnce(&mut Script) -> T) -> T {
        with(&mut self.script.lock().unwrap())
    }

    pub(super) fn client(&self) -> Client {
        Client::new(Connection {
            base_url: format!("{}/fhir", self.base).parse().unwrap(),
            client_id: "app".to_owned(),
            key: PrivateKey::generate(Algorithm::Es384).unwrap(),
            token_url: None,
            scopes: vec!["system/*.rs".to_owned()],
            ca_pem: None,
        })
        .unwrap()
    }

    /// How often a file was asked for.
    pub(super) fn downloads_of(&self, name: &str) -> usize {
        self.script(|script| script.downloads.iter().filter(|(asked, _)| asked == name).count())
    }

    /// Fills in links with a signature, sizes and digests.
    fn finished(&self, mut manifest: Value, job: usize, files: &HashMap<String, String>) -> Value {
        for list in ["output", "error", "deleted"] {
            for entry in manifest[list].as_array_mut().into_iter().flatten() {
                let name = entry["url"].as_str().unwrap().to_owned();
                let text = files[&name].as_bytes();
                if !name.starts_with("plain") {
                    entry["extension"] =
                        json!({ "bytes": text.len(), "sha256": hex::encode(digest(&SHA256, text)) });
                }
                entry["url"] = json!(format!("{}/file/{name}?signature=secret", self.base));
            }
        }
        if let Some(link) = manifest.get_mut("link") {
            let page = link[0]["url"].as_u64().unwrap();
            link[0]["url"] = json!(format!("{}/status/{job}?page={page}", self.base));
        }
        manifest
    }
}

pub(super) fn asked(out: &Path) -> Options {
    let request = Request { partial_manifests: true, ..Request::new(Level::System) };
    Options { parallel: 2, timeout: Some(Duration::from_secs(30)), ..Options::new(request, out.to_owned()) }
}

pub(super) async fn export(server: &Server, options: &Options) -> Result<Summary, ExportError> {
    server.client().export(options, &Progress::silent()).await
}

async fn configuration(State(server): Served) -> Json<Value> {
    Json(json!({ "token_endpoint": format!("{}/token", server.base) }))
}

async fn token() -> Json<Value> {
    Json(json!({ "access_token": "s3cret", "token_type": "bearer", "expires_in": 300 }))
}

async fn kick_off(
    State(server): Served,
    method: Method,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: String,
) -> Response<Body> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let job = server.script(|script| {
        script.kicked_off.push(KickedOff {
            method: method.to_string(),
            uri: uri.to_string(),
            content_type: text("content-type"),
            prefer: text("prefer").unwrap_or_default(),
            body,
        });
        script.kicked_off.len() - 1
    });
    let mut response = answer(StatusCode::ACCEPTED, "");
    let location = format!("{}/status/{job}", server.base).parse().unwrap();
    response.headers_mut().insert(header::CONTENT_LOCATION, location);
    response
}

async fn status(
    State(server): Served,
    Segments(job): Segments<usize>,
    Query(query): Query<BTreeMap<String, usize>>,
) -> Response<Body> {
    let page = query.get("page").copied().unwrap_or_default();
    server.script(|script| {
        script.polls += 1;
        let downloaded: HashSet<&str> = script.downloads.iter().map(|(name, _)| name.as_str()).collect();
        let Some(says) = script.jobs.get_mut(job).and_then(|pages| pages.get_mut(page)) else {
            return answer(StatusCode::NOT_FOUND, "");
        };
        let said = says.front().unwrap().clone();
        if says.len() > 1 && said.until.is_none_or(|name| downloaded.contains(name)) {
            says.pop_front();
        }
        let body = match said.body {
            Value::Null => String::new(),
            manifest => server.finished(manifest, job, &script.files).to_string(),
        };
        let mut response = answer(StatusCode::from_u16(said.status).unwrap(), body);
        response.headers_mut().insert(header::RETRY_AFTER, "0".parse().unwrap());
        response
    })
}

async fn file(State(server): Served, Segments(name): Segments<String>, headers: HeaderMap) -> Response<Body> {
    assert_eq!(bearer(&headers), None);
    let range = headers.get(header::RANGE).map(|value| value.to_str().unwrap().to_owned());
    server.script(|script| {
        script.downloads.push((name.clone(), range.clone()));
        let Some(text) = script.files.get(&name).cloned() else { return answer(StatusCode::NOT_FOUND, "") };
        let from: usize = match range.filter(|_| script.ranges) {
            Some(range) => range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap(),
            None => 0,
        };
        let body = text[from..].to_owned();
        let body = if let Some(after) = script.breaks.remove(&name) {
            breaking(body[..after].to_owned())
        } else if script.stalls.contains(&name) {
            Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>())
        } else {
            Body::from(body)
        };
        if from == 0 {
            return answer(StatusCode::OK, body);
        }
        let mut response = answer(StatusCode::PARTIAL_CONTENT, body);
        let span = format!("bytes {from}-{}/{}", text.len() - 1, text.len());
        response.headers_mut().insert(header::CONTENT_RANGE, span.parse().unwrap());
        response
    })
}

/// The pause lets the first bytes out before the connection breaks.
fn breaking(first: String) -> Body {
    let chunks = futures_util::stream::unfold(Some(first), |first| async {
        match first {
            Some(first) if !first.is_empty() => Some((Ok(Bytes::from(first)), Some(String::new()))),
            _ => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Some((Err(std::io::Error::other("broken")), None))
            }
        }
    });
    Body::from_stream(chunks)
}
