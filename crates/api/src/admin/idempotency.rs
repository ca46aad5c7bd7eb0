//! `Idempotency-Key`: a deed that is sent twice is done once.
//!
//! The key is recorded in the deed's own transaction ([`Caller::audit`] carries it there), so that no deed is done
//! without it; the answer is stored afterwards. A repetition gets the first answer. Where the process died in between
//! the answer is not known, and the repetition is told to look at the object. A refused deed records nothing: it may
//! be sent again.

use aws_lc_rs::digest::{Context, SHA256};
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use headgate_auth::admin_token::AdminRole;
use headgate_store::{Idempotency, IdempotentRecord};
use http::header::{CONTENT_TYPE, ETAG};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::access::Effect;
use super::caller::Caller;
use super::{Problem, members};
use crate::body;
use crate::error::ApiError;
use crate::state::ApiState;

/// The request's header.
pub(super) const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The header of an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Longest key.
const MAX_KEY: usize = 255;

/// The headers of an answer that are stored with it.
const KEPT: [HeaderName; 2] = [CONTENT_TYPE, ETAG];

/// Lets a deed with a key be done once.
pub(super) async fn once(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    run(&state, request, next).await.unwrap_or_else(|error| Problem(error).into_response())
}

async fn run(state: &ApiState, request: Request, next: Next) -> Result<Response, ApiError> {
    let changes = request.extensions().get::<Effect>().is_some_and(|effect| *effect != Effect::Reads);
    let key = if changes { key(request.headers())? } else { None };
    let Some(key) = key else { return Ok(next.run(request).await) };
    if members::is_streamed(request.headers()) {
        let text =
            "Idempotency-Key is not taken with NDJSON and CSV: repeating such an upload changes nothing";
        return Err(ApiError::Invalid(text.to_owned()));
    }
    let (mut parts, body) = request.into_parts();
    let caller = parts.extensions.get::<Caller>().cloned();
    let caller = caller.ok_or(ApiError::Unexpected("a deed without a caller"))?;
    let config = state.config();
    let body = body::read(body, config.max_admin_body_bytes, config.body_timeout).await?;
    // The same name at two issuers, or bound to another practice or vendor, is somebody else.
    let bound = match caller.role() {
        AdminRole::Operator => String::new(),
        AdminRole::PracticeAdmin(practice) => practice.to_string(),
        AdminRole::Vendor(vendor) => vendor.to_string(),
    };
    let who = [&caller.identity().issuer, caller.role_name(), bound.as_str(), caller.subject()];
    let subject = who.join(" ");
    let fingerprint = fingerprint(&parts, &body);
    if let Some(record) = state.store().idempotent_answer(&subject, &key).await? {
        return replay(record, &fingerprint);
    }
    let idempotency = Idempotency { subject: subject.clone(), key: key.clone(), fingerprint };
    parts.extensions.insert(caller.with_key(idempotency));
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    if response.status().is_success() {
        return keep(state, &subject, &key, response).await;
    }
    // A deed that was refused because the same request was quicker is told what that one was told.
    match state.store().idempotent_answer(&subject, &key).await? {
        Some(record) => replay(record, &fingerprint),
        None => Ok(response),
    }
}

/// The key of a request.
fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let visible = value.as_bytes().iter().all(u8::is_ascii_graphic);
    if values.next().is_some() || !visible || !(1..=MAX_KEY).contains(&value.len()) {
        let text = format!("Idempotency-Key must be one value of 1 to {MAX_KEY} visible ASCII characters");
        return Err(ApiError::Invalid(text));
    }
    Ok(value.to_str().ok().map(str::to_owned))
}

/// What tells one request from another. Each part is preceded by its length, so that no two can run together.
fn fingerprint(parts: &Parts, body: &Bytes) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    let query = parts.uri.query().unwrap_or_default();
    for part in [parts.method.as_str().as_bytes(), parts.uri.path().as_bytes(), query.as_bytes(), body] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}

/// The answer to a repetition.
fn replay(record: IdempotentRecord, fingerprint: &[u8; 32]) -> Result<Response, ApiError> {
    if record.fingerprint != fingerprint {
        return Err(ApiError::KeyReused);
    }
    let (status, headers, body) = record.answer.ok_or(ApiError::AnswerUnknown)?;
    let damaged = || ApiError::Unexpected("a stored answer cannot be read");
    let headers: Vec<(String, String)> = serde_json::from_str(&headers).map_err(|_| damaged())?;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).map_err(|_| damaged())?;
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(|_| damaged())?;
        let value = HeaderValue::try_from(value).map_err(|_| damaged())?;
        response.headers_mut().insert(name, value);
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// Stores the answer to a deed that was done. The deed stands, so the answer is given even when that fails.
async fn keep(state: &ApiState, subject: &str, key: &str, response: Response) -> Result<Response, ApiError> {
    let (parts, body) = response.into_parts();
    let unreadable = |_| ApiError::Unexpected("an answer cannot be read");
    let body = to_bytes(body, usize::MAX).await.map_err(unreadable)?;
    let header = |name: &HeaderName| {
        let value = parts.headers.get(name)?.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    };
    let headers: Vec<(String, String)> = KEPT.iter().filter_map(header).collect();
    let headers = serde_json::to_string(&headers).unwrap_or_default();
    let kept = state.store().keep_answer(subject, key, parts.status.as_u16(), &headers, &body).await;
    if let Err(error) = kept {
        tracing::error!(%error, "the answer to a deed could not be stored for its repetition");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, uri: &str) -> Parts {
        Request::builder().method(method).uri(uri).body(Body::empty()).unwrap().into_parts().0
    }

    #[test]
    fn a_request_is_told_from_another_by_method_path_query_and_body() {
        let of = |method, uri, body: &'static str| fingerprint(&parts(method, uri), &Bytes::from(body));
        let first = of("POST", "/a?b", "c");
        assert_eq!(first, of("POST", "/a?b", "c"));
        for (method, uri, body) in [
            ("PUT", "/a?b", "c"),
            ("POST", "/a", "bc"),
            ("POST", "/ab", "c"),
            ("POST", "/a?b", ""),
            ("POST", "/a?", "bc"),
        ] {
            assert_ne!(first, of(method, uri, body), "{method} {uri} {body}");
        }
    }

    #[test]
    fn a_key_is_one_value_of_visible_characters() {
        let with = |values: &[&[u8]]| {
            let values = values.iter().map(|value| (KEY, HeaderValue::from_bytes(value).unwrap()));
            let mut headers = HeaderMap::new();
            values.for_each(|(name, value)| {
                headers.append(name, value);
            });
            key(&headers).map_err(|_| ())
        };
        assert_eq!(with(&[]), Ok(None));
        assert_eq!(with(&[b"a-1"]), Ok(Some("a-1".to_owned())));
        assert!(with(&[&[b'k'; 255]]).is_ok());
        for wrong in [&[&b""[..]][..], &[b"a b"], &["ä".as_bytes()], &[&[b'k'; 256]], &[b"a", b"a"]] {
            assert!(with(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_repetition_gets_the_first_answer_and_another_request_does_not() {
        let answer = Some((
            201,
            r#"[["content-type","application/json"],["etag","\"1\""]]"#.to_owned(),
            b"{}".to_vec(),
        ));
        let record = |answer| IdempotentRecord { fingerprint: vec![7; 32], answer };
        let response = replay(record(answer.clone()), &[7; 32]).unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        assert_eq!(response.headers()[ETAG], "\"1\"");
        assert_eq!(response.headers()[REPLAYED], "true");
        assert!(matches!(replay(record(answer), &[8; 32]), Err(ApiError::KeyReused)));
        assert!(matches!(replay(record(None), &[7; 32]), Err(ApiError::AnswerUnknown)));
    }
}
