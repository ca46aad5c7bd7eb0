use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query as Parameters, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::admin::args::Once;

/// What a request brought: path and query, headers, body.
type Seen = Arc<Mutex<Vec<(String, HeaderMap, Bytes)>>>;

async fn serve(router: Router) -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

fn client(base: Url) -> AdminClient {
    AdminClient::new(base, SecretString::from("t"), None).unwrap()
}

/// A list of 2500 numbers in pages, whose cursor is the first number of the next page.
async fn numbers(Parameters(query): Parameters<HashMap<String, String>>) -> axum::Json<Value> {
    let from: usize = query.get("cursor").map_or(0, |cursor| cursor.parse().unwrap());
    let to = (from + query["limit"].parse::<usize>().unwrap()).min(2500);
    let next = (to < 2500).then(|| to.to_string());
    axum::Json(json!({ "numbers": (from..to).collect::<Vec<_>>(), "next": next }))
}

#[tokio::test]
async fn a_list_is_followed_from_page_to_page_as_far_as_it_is_wanted() {
    let client = client(serve(Router::new().route("/admin/v1/numbers", get(numbers).post(numbers))).await);
    for (limit, count, more) in
        [(3, 3, true), (1000, 1000, true), (1001, 1001, true), (2500, 2500, false), (0, 2500, false)]
    {
        let body = json!({});
        for answer in [
            client.list(&["numbers"], "numbers", &[("state", None)], limit).await.unwrap(),
            client.search(&["numbers"], "numbers", &body, limit).await.unwrap(),
        ] {
            let expected: Vec<usize> = (0..count).collect();
            assert_eq!(answer["numbers"], json!(expected), "{limit}");
            assert_eq!(answer["next"].is_string(), more, "{limit}");
        }
    }
}

async fn note(State(seen): State<Seen>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    seen.lock().unwrap().push((uri.to_string(), headers, body));
    axum::Json(json!({ "done": true })).into_response()
}

#[tokio::test]
async fn a_change_says_on_which_terms_and_a_file_goes_as_it_is() {
    let seen = Seen::default();
    let router = Router::new().fallback(note).with_state(seen.clone());
    let client = client(serve(router).await);
    let terms = Change { if_match: Some("\"3\"".to_owned()), ..Change::default() };
    client.change(Method::PATCH, &["vendors", "a/b"], &json!({"name": "x"}), &terms).await.unwrap();
    let named = Once { idempotency_key: Some("k".to_owned()) };
    client.change(Method::POST, &["vendors"], &json!({}), &named.into()).await.unwrap();
    client.ask(&["ask"], &json!({})).await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "patient_id\ncedar\n").unwrap();
    let query = [("action", Some("add".to_owned()))];
    client.upload(Method::POST, &["members"], &query, "text/csv", file.path(), &terms).await.unwrap();

    let seen = seen.lock().unwrap();
    let header = |at: usize, name: &str| seen[at].1.get(name).map(|value| value.to_str().unwrap());
    assert_eq!(seen[0].0, "/admin/v1/vendors/a%2Fb");
    assert_eq!((header(0, "if-match"), header(0, "authorization")), (Some("\"3\""), Some("Bearer t")));
    assert_eq!(header(0, "idempotency-key").unwrap().len(), 36);
    assert_eq!((header(1, "if-match"), header(1, "idempotency-key")), (None, Some("k")));
    assert_eq!(header(2, "idempotency-key"), None);
    assert_eq!(seen[3].0, "/admin/v1/members?action=add");
    assert_eq!((header(3, "content-type"), header(3, "idempotency-key")), (Some("text/csv"), None));
    assert_eq!(&seen[3].2[..], b"patient_id\ncedar\n");
}

/// Reads a request with a body, and breaks the first `broken` connections off without an answer.
async fn serve_breaking(broken: usize) -> (Url, Seen) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let seen = Seen::default();
    let noted = seen.clone();
    tokio::spawn(async move {
        for at in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request[..length]).to_lowercase();
            let key =
                text.lines().find_map(|line| line.strip_prefix("idempotency-key: ")).unwrap().to_owned();
            noted.lock().unwrap().push((key, HeaderMap::new(), Bytes::new()));
            if at >= broken {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
                stream.write_all(answer).await.unwrap();
            }
        }
    });
    (base, seen)
}

#[tokio::test]
async fn a_broken_connection_is_tried_once_more_under_the_same_key() {
    let (base, seen) = serve_breaking(1).await;
    client(base).post(&["vendors"], &json!({})).await.unwrap();
    let keys: Vec<String> = seen.lock().unwrap().iter().map(|seen| seen.0.clone()).collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);

    let (base, seen) = serve_breaking(9).await;
    let failure = client(base).post(&["vendors"], &json!({})).await.unwrap_err();
    assert_eq!(failure.status(), headgate_runtime::exit::UNAVAILABLE);
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_words_of_the_api_and_is_not_repeated() {
    let count = Arc::new(Mutex::new(0));
    let counted = count.clone();
    let refuse = move || {
        *counted.lock().unwrap() += 1;
        async {
            (StatusCode::PRECONDITION_FAILED, axum::Json(json!({ "detail": "it is revision 4 by now" })))
        }
    };
    let client = client(serve(Router::new().route("/admin/v1/vendors", post(refuse))).await);
    let failure = client.post(&["vendors"], &json!({})).await.unwrap_err();
    assert!(failure.message().contains("412") && failure.message().contains("revision 4"), "{failure}");
    assert_eq!((failure.status(), *count.lock().unwrap()), (headgate_runtime::exit::FAILED, 1));
}
