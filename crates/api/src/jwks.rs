//! The public keys of access tokens, for whoever wants to verify one.

use axum::response::Response;
use chrono::Utc;
use http::StatusCode;

use crate::respond;
use crate::state::ApiState;

/// Answers with the key set (RFC 7517), those keys among it that will sign later.
pub(crate) fn show(state: &ApiState) -> Response {
    respond::json(StatusCode::OK, &headgate_auth::jwks_document(&state.keys().verifying(Utc::now())))
}
