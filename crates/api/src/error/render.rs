//! The three forms in which an error is told.

use axum::response::Response;
use headgate_domain::outcome::OperationOutcome;
use http::HeaderValue;
use http::header::PRAGMA;
use serde_json::json;

use super::ApiError;
use super::parts::Parts;
use crate::respond::{self, Reason};

/// Who reads the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    /// A FHIR client: `OperationOutcome`.
    Fhir,
    /// A client of the token endpoint: OAuth JSON.
    OAuth,
    /// An operator: problem details.
    Admin,
}

impl ApiError {
    /// The answer for a surface. Logs the error if it is ours.
    pub(crate) fn respond(&self, surface: Surface) -> Response {
        let parts = self.parts();
        if parts.internal {
            tracing::error!(reason = parts.reason, error = %self, "a request failed");
        }
        let mut response = match surface {
            Surface::Fhir => respond::outcome(parts.status, &OperationOutcome::new(parts.issues.clone())),
            Surface::OAuth => respond::json(parts.status, &oauth(&parts)),
            Surface::Admin => respond::problem(parts.status, &problem(&parts)),
        };
        if surface == Surface::OAuth {
            // As with a token (RFC 6749, sections 5.1 and 5.2); `Cache-Control` is there already.
            response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
        }
        response.headers_mut().extend(parts.headers);
        response.extensions_mut().insert(Reason(parts.reason));
        response
    }
}

/// RFC 6749, section 5.2. A description there has neither quotes nor backslashes nor anything beyond ASCII.
fn oauth(parts: &Parts) -> serde_json::Value {
    let description: String = text(parts)
        .chars()
        .map(|c| match c {
            '"' | '\\' | '`' => '\'',
            ' '..='~' => c,
            _ => '?',
        })
        .collect();
    json!({ "error": parts.oauth, "error_description": description })
}

/// RFC 9457, with the member `reason`: a stable code.
fn problem(parts: &Parts) -> serde_json::Value {
    json!({
        "type": "about:blank",
        "title": parts.status.canonical_reason().unwrap_or("Error"),
        "status": parts.status.as_u16(),
        "detail": text(parts),
        "reason": parts.reason,
    })
}

fn text(parts: &Parts) -> String {
    parts.issues.iter().map(|issue| issue.diagnostics()).collect::<Vec<_>>().join("; ")
}
