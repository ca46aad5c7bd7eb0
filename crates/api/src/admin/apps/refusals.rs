//! Why an app's assertions were refused lately, for its developer.

use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use headgate_domain::ClientId;
use headgate_store as store;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::Answer;
use super::super::input::id;
use super::find;
use crate::respond;
use crate::state::ApiState;

/// A kind of refusal by the token endpoint.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct Refusal {
    /// A stable code.
    reason: String,
    description: String,
    occurrences: u64,
    first_at: DateTime<Utc>,
    last_at: DateTime<Utc>,
    /// The `kid` of the last such assertion.
    kid: Option<String>,
    /// The address it came from.
    address: Option<String>,
}

impl From<store::Refusal> for Refusal {
    fn from(refusal: store::Refusal) -> Self {
        Self {
            reason: refusal.reason,
            description: refusal.description,
            occurrences: refusal.occurrences,
            first_at: refusal.first_at,
            last_at: refusal.last_at,
            kid: refusal.kid,
            address: refusal.address,
        }
    }
}

/// The refusals of an app.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct Refusals {
    refusals: Vec<Refusal>,
}

/// Tells why the app's last assertions were refused.
#[utoipa::path(get, path = "/apps/{client_id}/refusals", tag = "apps",
    operation_id = "list_refusals",
    responses((status = 200, body = Refusals)))]
pub(in crate::admin) async fn list(State(state): State<ApiState>, Path(client_id): Path<String>) -> Answer {
    let client: ClientId = id("app", &client_id)?;
    find(&state, &client).await?;
    let refusals = state.store().refusals(&client).await?.into_iter().map(Refusal::from).collect();
    Ok(respond::json(StatusCode::OK, &Refusals { refusals }))
}
