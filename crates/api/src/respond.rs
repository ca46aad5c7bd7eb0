//! Answers in the content types that the surfaces want.

use axum::body::Body;
use axum::response::Response;
use headgate_domain::outcome::OperationOutcome;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

/// Why a request was refused, for the line in the log: carried in the response's extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reason(pub(crate) &'static str);

/// `application/fhir+json`.
pub(crate) fn fhir(status: StatusCode, body: &impl Serialize) -> Response {
    with_type(status, "application/fhir+json", body)
}

/// An `OperationOutcome`.
pub(crate) fn outcome(status: StatusCode, outcome: &OperationOutcome) -> Response {
    fhir(status, outcome)
}

/// `application/json`.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    with_type(status, "application/json", body)
}

/// `application/problem+json`.
pub(crate) fn problem(status: StatusCode, body: &impl Serialize) -> Response {
    with_type(status, "application/problem+json", body)
}

fn with_type(status: StatusCode, content_type: &'static str, body: &impl Serialize) -> Response {
    // Everything that is answered here is made of texts, numbers and lists: it always has a JSON form.
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
