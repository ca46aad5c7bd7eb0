//! The client against a small server that is nothing like ours: other paths, no file names, its own habits.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::{Body, Bytes};
use axum::extract::{OriginalUri, Path as Segments, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use headgate_auth::Algorithm;
use serde_json::{Value, json};

use super::*;

mod chain;
mod partial;
mod resume;
mod scripted;

const PATIENTS: &str = "{\"id\":1}\n{\"id\":2}\n";
const DEVICES: &str = "{\"id\":1}\n{\"id\":2}\n{\"id\":3}";
const OUTCOMES: &str = "{\"resourceType\":\"OperationOutcome\"}\n";
const DELETIONS: &str = "{\"entry\":[{},{}]}\n{\"entry\":[{}]}\n";

/// Switches of the server, and what it saw.
#[derive(Default)]
struct Foreign {
    base: String,
    /// Links need the token and redirect to signed ones.
    token_links: bool,
    /// The digest given for the devices is wrong.
    wrong_digest: bool,
    /// Links of the first manifest are refused.
    first_links_expire: bool,
    /// The first body of the devices breaks off.
    first_body_breaks: bool,
    /// Polls refuse the first token.
    first_token_dies: bool,
    /// Answer to a kick-off instead of 202.
    refusal: Option<(StatusCode, Value)>,
    tokens: AtomicU32,
    polls: AtomicU32,
    manifests: AtomicU32,
    broken: AtomicBool,
    deleted: AtomicBool,
}

type Shared = State<Arc<Foreign>>;

/// Starts the server; it ends with the test's runtime.
async fn started(mut foreign: Foreign) -> Arc<Foreign> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    foreign.base = format!("http://{}", listener.local_addr().unwrap());
    let foreign = Arc::new(foreign);
    let router = Router::new()
        .route("/ehr/.well-known/smart-configuration", get(configuration))
        .route("/oauth", post(token))
        .route("/ehr/Patient/$export", get(kick_off))
        .route("/jobs/7", get(status).delete(cancel))
        .route("/download/{name}", get(redirect))
        .route("/blob/{links}/{name}", get(blob))
        .with_state(foreign.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    foreign
}

async fn configuration(State(foreign): Shared) -> Json<Value> {
    Json(json!({ "token_endpoint": format!("{}/oauth", foreign.base) }))
}

async fn token(State(foreign): Shared, body: Bytes) -> Json<Value> {
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    assert_eq!(form["client_id"], "app");
    assert_eq!(form["grant_type"], "client_credentials");
    assert_eq!(form["scope"], "system/Patient.rs system/Device.rs");
    let assertion: Vec<&str> = form["client_assertion"].split('.').collect();
    let part = |i: usize| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(assertion[i]).unwrap()).unwrap()
    };
    assert_eq!(part(0)["alg"], "ES384");
    assert_eq!(part(1)["aud"], format!("{}/oauth", foreign.base));
    assert_eq!((part(1)["iss"].as_str(), part(1)["sub"].as_str()), (Some("app"), Some("app")));
    let number = foreign.tokens.fetch_add(1, Ordering::SeqCst) + 1;
    Json(json!({ "access_token": format!("t{number}"), "token_type": "bearer", "expires_in": 300 }))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap())
}

fn answer(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).body(body.into()).unwrap()
}

async fn kick_off(
    State(foreign): Shared,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Response<Body> {
    assert_eq!(headers["prefer"], "respond-async");
    assert_eq!(headers["accept"], "application/fhir+json");
    assert!(bearer(&headers).is_some_and(|token| token.starts_with("Bearer t")));
    assert_eq!(uri.query(), Some("_type=Patient%2CDevice"));
    if let Some((status, body)) = &foreign.refusal {
        return answer(*status, body.to_string());
    }
    let mut response = answer(StatusCode::ACCEPTED, "");
    response
        .headers_mut()
        .insert(header::CONTENT_LOCATION, format!("{}/jobs/7", foreign.base).parse().unwrap());
    response
}

async fn status(State(foreign): Shared, headers: HeaderMap) -> Response<Body> {
    if foreign.deleted.load(Ordering::SeqCst) {
        return answer(StatusCode::NOT_FOUND, "");
    }
    if foreign.first_token_dies && bearer(&headers) == Some("Bearer t1") {
        return answer(StatusCode::UNAUTHORIZED, "");
    }
    match foreign.polls.fetch_add(1, Ordering::SeqCst) {
        0 => {
            let mut response = answer(StatusCode::ACCEPTED, "");
            response.headers_mut().insert(header::RETRY_AFTER, "0".parse().unwrap());
            response
        }
        1 => {
            let issue = json!({ "issue": [{ "code": "throttled" }] });
            let mut response = answer(StatusCode::INTERNAL_SERVER_ERROR, issue.to_string());
            response.headers_mut().insert(header::RETRY_AFTER, "0".parse().unwrap());
            response
        }
        _ => answer(StatusCode::OK, foreign.manifest().to_string()),
    }
}

impl Foreign {
    /// Each manifest has new links, as those of a server that signs them anew.
    fn manifest(&self) -> Value {
        let links = self.manifests.fetch_add(1, Ordering::SeqCst) + 1;
        let url = |name: &str| match self.token_links {
            true => format!("{}/download/{name}", self.base),
            false => format!("{}/blob/{links}/{name}?signature=secret", self.base),
        };
        let digest = if self.wrong_digest {
            "00".repeat(32)
        } else {
            hex::encode(digest(&SHA256, DEVICES.as_bytes()))
        };
        json!({
            "transactionTime": "2026-01-01T00:00:00Z",
            "requiresAccessToken": self.token_links,
            "output": [
                { "type": "Patient", "url": url("abc"), "count": 2 },
                { "type": "Device", "url": url("devices.ndjson"), "count": 3,
                  "extension": { "bytes": DEVICES.len(), "sha256": digest } },
            ],
            "error": [{ "type": "OperationOutcome", "url": url("e") }],
            "deleted": [{ "type": "Bundle", "url": url("gone.ndjson") }],
        })
    }
}

async fn cancel(State(foreign): Shared) -> StatusCode {
    foreign.deleted.store(true, Ordering::SeqCst);
    StatusCode::ACCEPTED
}

async fn redirect(
    State(foreign): Shared,
    Segments(name): Segments<String>,
    headers: HeaderMap,
) -> Response<Body> {
    if bearer(&headers).is_none() {
        return answer(StatusCode::UNAUTHORIZED, "");
    }
    let mut response = answer(StatusCode::TEMPORARY_REDIRECT, "");
    let signed = format!("{}/blob/1/{name}?signature=secret", foreign.base);
    response.headers_mut().insert(header::LOCATION, signed.parse().unwrap());
    response
}

async fn blob(
    State(foreign): Shared,
    Segments((links, name)): Segments<(u32, String)>,
    headers: HeaderMap,
) -> Response<Body> {
    // As S3 does with a signed link.
    if bearer(&headers).is_some() {
        return answer(StatusCode::BAD_REQUEST, "only one authentication mechanism allowed");
    }
    if foreign.first_links_expire && links == 1 {
        return answer(StatusCode::FORBIDDEN, "expired");
    }
    match name.as_str() {
        "abc" => answer(StatusCode::OK, PATIENTS),
        "devices.ndjson" if foreign.first_body_breaks && !foreign.broken.swap(true, Ordering::SeqCst) => {
            let chunks = [Ok(Bytes::from(&DEVICES[..12])), Err(std::io::Error::other("broken"))];
            answer(StatusCode::OK, Body::from_stream(futures_util::stream::iter(chunks)))
        }
        "devices.ndjson" => answer(StatusCode::OK, DEVICES),
        "e" => answer(StatusCode::OK, OUTCOMES),
        _ => answer(StatusCode::OK, DELETIONS),
    }
}

fn client(foreign: &Foreign) -> Client {
    Client::new(Connection {
        base_url: format!("{}/ehr", foreign.base).parse().unwrap(),
        client_id: "app".to_owned(),
        key: PrivateKey::generate(Algorithm::Es384).unwrap(),
        token_url: None,
        scopes: vec!["system/Patient.rs".to_owned(), "system/Device.rs".to_owned()],
        ca_pem: None,
    })
    .unwrap()
}

fn options(out: &Path) -> Options {
    Options {
        parallel: 2,
        timeout: Some(Duration::from_secs(60)),
        ..Options::new(
            Request {
                types: vec!["Patient".to_owned(), "Device".to_owned()],
                ..Request::new(Level::Patient)
            },
            out.to_owned(),
        )
    }
}

async fn exported(foreign: &Foreign, out: &Path) -> Result<Summary, ExportError> {
    client(foreign).export(&options(out), &Progress::silent()).await
}

fn names(out: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(out).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_export_of_a_foreign_server_is_complete_named_and_summed_up() {
    let foreign = started(Foreign::default()).await;
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("new");
    let summary = exported(&foreign, &out).await.unwrap();
    assert_eq!((summary.resources, summary.files), (5, 2));
    assert_eq!(summary.bytes, (PATIENTS.len() + DEVICES.len()) as u64);
    assert_eq!(summary.by_type, BTreeMap::from([("Device".to_owned(), 3), ("Patient".to_owned(), 2)]));
    assert_eq!((summary.error_outcomes, summary.deleted), (1, 3));
    assert_eq!(summary.status_url, format!("{}/jobs/7", foreign.base));
    assert!(summary.table().contains("next time: --since 2026-01-01T00:00:00Z"), "{}", summary.table());
    assert_eq!(
        names(&out),
        [
            "OperationOutcome_1.ndjson",
            "Patient_1.ndjson",
            "devices.ndjson",
            "export.json",
            "gone.ndjson",
            "manifest.json"
        ]
    );
    assert_eq!(std::fs::read_to_string(out.join("Patient_1.ndjson")).unwrap(), PATIENTS);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&out), mode(&out.join("devices.ndjson"))), (0o700, 0o600));
    let record = std::fs::read_to_string(out.join("manifest.json")).unwrap();
    assert!(record.contains("\"file\": \"Patient_1.ndjson\"") && !record.contains("secret"), "{record}");
    assert_eq!(foreign.tokens.load(Ordering::SeqCst), 1);
    assert!(!foreign.deleted.load(Ordering::SeqCst));
}

#[tokio::test]
async fn expired_links_are_replaced_by_one_fresh_poll_for_all() {
    let foreign = started(Foreign { first_links_expire: true, ..Foreign::default() }).await;
    let out = tempfile::tempdir().unwrap();
    assert_eq!(exported(&foreign, out.path()).await.unwrap().resources, 5);
    assert_eq!(foreign.manifests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_fetched_again() {
    let foreign = started(Foreign { first_body_breaks: true, ..Foreign::default() }).await;
    let out = tempfile::tempdir().unwrap();
    assert_eq!(exported(&foreign, out.path()).await.unwrap().resources, 5);
    assert!(foreign.broken.load(Ordering::SeqCst));
    assert_eq!(std::fs::read_to_string(out.path().join("devices.ndjson")).unwrap(), DEVICES);
}

#[tokio::test]
async fn a_file_with_another_digest_fails_by_name_and_is_not_kept() {
    let foreign = started(Foreign { wrong_digest: true, ..Foreign::default() }).await;
    let out = tempfile::tempdir().unwrap();
    let error = exported(&foreign, out.path()).await.unwrap_err();
    assert!(
        matches!(&error, ExportError::File { name, tries: 3, .. } if name == "devices.ndjson"),
        "{error}"
    );
    let text = error.to_string();
    assert!(text.contains("devices.ndjson") && text.contains("SHA-256"), "{text}");
    assert!(!names(out.path()).iter().any(|name| name.starts_with("devices")), "{:?}", names(out.path()));
}

#[tokio::test]
async fn a_link_with_token_is_followed_to_a_signed_one_without_it() {
    let foreign = started(Foreign { token_links: true, ..Foreign::default() }).await;
    let out = tempfile::tempdir().unwrap();
    // `blob` refuses every request that carries a token.
    assert_eq!(exported(&foreign, out.path()).await.unwrap().resources, 5);
}

#[tokio::test]
async fn a_token_that_is_refused_while_polling_is_renewed_once() {
    let foreign = started(Foreign { first_token_dies: true, ..Foreign::default() }).await;
    let out = tempfile::tempdir().unwrap();
    assert_eq!(exported(&foreign, out.path()).await.unwrap().resources, 5);
    assert_eq!(foreign.tokens.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_refused_kick_off_says_why() {
    let why = json!({ "issue": [{ "code": "invalid", "diagnostics": "Device is not supported" }] });
    let refusal = Some((StatusCode::BAD_REQUEST, why));
    let foreign = started(Foreign { refusal, ..Foreign::default() }).await;
    let out = tempfile::tempdir().unwrap();
    let text = exported(&foreign, out.path()).await.unwrap_err().to_string();
    assert_eq!(text, "starting the export: the server answered 400 Bad Request: Device is not supported");
}

#[tokio::test]
async fn the_export_is_deleted_on_request_and_then_gone() {
    let foreign = started(Foreign::default()).await;
    let out = tempfile::tempdir().unwrap();
    let client = client(&foreign);
    let asked = Options { delete: true, ..options(out.path()) };
    client.export(&asked, &Progress::silent()).await.unwrap();
    assert!(foreign.deleted.load(Ordering::SeqCst));
    let again = Options { restart: true, ..asked };
    assert!(matches!(client.export(&again, &Progress::silent()).await, Err(ExportError::Gone)));
}

#[tokio::test]
async fn a_folder_that_is_not_empty_is_refused_before_anything_is_asked() {
    let foreign = started(Foreign::default()).await;
    let out = tempfile::tempdir().unwrap();
    std::fs::write(out.path().join("old.ndjson"), "{}").unwrap();
    let error = exported(&foreign, out.path()).await.unwrap_err();
    assert!(matches!(error, ExportError::NotEmpty(_)), "{error}");
    assert_eq!(foreign.tokens.load(Ordering::SeqCst), 0);
    let asked = Options { overwrite: true, ..options(out.path()) };
    client(&foreign).export(&asked, &Progress::silent()).await.unwrap();
    assert!(out.path().join("old.ndjson").exists());
}
