//! `/admin/v1/signing-keys`: the keys of the access tokens.
//!
//! A new key is published before it signs, so that nobody who keeps the key set for a while meets a token whose key
//! they do not know; an old one verifies as long as tokens under it may be in use.

use std::time::Duration;

use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use headgate_store::StoredKey;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::Answer;
use super::caller::Caller;
use super::input::{Input, plain};
use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;

/// A key of the access tokens.
#[derive(Serialize, ToSchema)]
pub(super) struct SigningKey {
    kid: String,
    created_at: DateTime<Utc>,
    signs_from: DateTime<Utc>,
    /// Until when tokens under it are good; null where no other key has followed.
    verifies_until: Option<DateTime<Utc>>,
    /// `published` (it will sign), `signing`, `verifying` (it has signed) or `retired`.
    state: &'static str,
}

/// The keys of the access tokens, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct SigningKeys {
    signing_keys: Vec<SigningKey>,
}

/// How a new key is to come into use.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotate {
    /// Sign with it at once: for an emergency. Whoever keeps the key set may refuse the first tokens.
    #[serde(default)]
    at_once: bool,
}

/// Lists the keys of the access tokens.
#[utoipa::path(get, path = "/signing-keys", tag = "signing-keys",
    responses((status = 200, body = SigningKeys)))]
pub(super) async fn list(State(state): State<ApiState>) -> Answer {
    let signing_keys = shown(&state.store().signing_keys().await?, Utc::now());
    Ok(respond::json(StatusCode::OK, &SigningKeys { signing_keys }))
}

/// Makes a new key: published now, and signing after a while.
#[utoipa::path(post, path = "/signing-keys", tag = "signing-keys", request_body = Rotate,
    responses((status = 201, body = SigningKeys)))]
pub(super) async fn rotate(
    State(state): State<ApiState>,
    caller: Caller,
    Input(body): Input<Rotate>,
) -> Answer {
    let config = state.config();
    if config.external.is_some() {
        let detail = "another server issues the access tokens";
        return Err(ApiError::Conflict { reason: "external_issuer", detail }.into());
    }
    let signs_after = if body.at_once { Duration::ZERO } else { config.key_overlap };
    state.keys().add(state.deps(), signs_after, None, caller.audit("signing_key.added")).await?;
    let signing_keys = shown(&state.store().signing_keys().await?, Utc::now());
    Ok(respond::json(StatusCode::CREATED, &SigningKeys { signing_keys }))
}

/// Retires a key: tokens under it are refused, within half a minute everywhere.
#[utoipa::path(post, path = "/signing-keys/{kid}/retire", tag = "signing-keys",
    responses((status = 200, body = SigningKeys)))]
pub(super) async fn retire(State(state): State<ApiState>, caller: Caller, Path(kid): Path<String>) -> Answer {
    let kid = plain("signing key", kid)?;
    let audit = caller.audit("signing_key.retired").and(json!({ "kid": kid }));
    let retired = state.store().retire_signing_key(&kid, &audit).await?;
    if !retired.ok_or(ApiError::Missing("signing key"))? {
        let detail = "no other key would sign from now on, or after a while: add one first";
        return Err(ApiError::Conflict { reason: "only_key", detail }.into());
    }
    state.keys().refresh(state.deps()).await?;
    let signing_keys = shown(&state.store().signing_keys().await?, Utc::now());
    Ok(respond::json(StatusCode::OK, &SigningKeys { signing_keys }))
}

fn shown(keys: &[StoredKey], now: DateTime<Utc>) -> Vec<SigningKey> {
    let signs = |key: &&StoredKey| key.signs_from <= now && key.verifies_until.is_none_or(|end| now < end);
    let signing = keys.iter().filter(signs).max_by_key(|key| key.created_at).map(|key| &key.kid);
    keys.iter()
        .map(|key| SigningKey {
            kid: key.kid.clone(),
            created_at: key.created_at,
            signs_from: key.signs_from,
            verifies_until: key.verifies_until,
            state: if key.verifies_until.is_some_and(|end| end <= now) {
                "retired"
            } else if key.signs_from > now {
                "published"
            } else if signing == Some(&key.kid) {
                "signing"
            } else {
                "verifying"
            },
        })
        .collect()
}
