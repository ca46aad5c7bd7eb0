//! `/admin/v1/me`: what the token in hand is.

use axum::response::Response;
use chrono::{DateTime, Utc};
use headgate_domain::PracticeNumber;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::caller::Caller;
use crate::respond;

/// Who the caller is.
#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    /// The token's subject: the name under which deeds stand in the audit trail.
    subject: String,
    issuer: String,
    /// `operator`, `practice_admin` or `vendor`.
    role: &'static str,
    /// The number of the practice of a `practice_admin`.
    practice: Option<i64>,
    /// The id of a `vendor`.
    vendor_id: Option<Uuid>,
    expires_at: Option<DateTime<Utc>>,
}

/// Tells who the caller is.
#[utoipa::path(get, path = "/me", tag = "me", responses((status = 200, body = Me)))]
pub(super) async fn show(caller: Caller) -> Response {
    let identity = caller.identity();
    let me = Me {
        subject: identity.subject.clone(),
        issuer: identity.issuer.clone(),
        role: caller.role_name(),
        practice: caller.practice().map(PracticeNumber::get),
        vendor_id: caller.vendor(),
        expires_at: DateTime::from_timestamp(identity.expires_at, 0),
    };
    respond::json(StatusCode::OK, &me)
}
