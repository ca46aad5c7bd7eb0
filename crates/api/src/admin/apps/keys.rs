//! The keys of an app: adding with overlap, and revoking.

use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use headgate_auth::{Jwks, PublicJwk};
use headgate_domain::ClientId;
use headgate_store as store;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::super::Answer;
use super::super::caller::Caller;
use super::super::input::{Input, coming, id, plain};
use super::super::revision::IfMatch;
use super::{App, answer, find};
use crate::error::ApiError;
use crate::state::ApiState;

/// A public key of an app.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct AppKey {
    kid: String,
    /// `ES384` or `RS384`.
    alg: Option<String>,
    /// RFC 7638, SHA-256.
    thumbprint: Option<String>,
    created_at: DateTime<Utc>,
    /// When it stops being good by itself.
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

impl From<&store::AppKey> for AppKey {
    fn from(key: &store::AppKey) -> Self {
        let public = PublicJwk::parse(&key.jwk).ok();
        let alg = public.as_ref().map(|key| key.to_json()["alg"].as_str().unwrap_or_default().to_owned());
        Self {
            kid: key.kid.clone(),
            alg,
            thumbprint: public.as_ref().map(PublicJwk::thumbprint),
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
        }
    }
}

/// Keys to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct AddKeys {
    /// A JWK Set (RFC 7517) of public keys for ES384 or RS384.
    #[schema(value_type = Object)]
    jwks: Value,
    /// When the keys that are there already stop being good; they stay good where it is not given.
    former_expire_at: Option<DateTime<Utc>>,
    /// Take the keys in place of the URL of a key set.
    #[serde(default)]
    replace_url: bool,
}

/// When a key is to be revoked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct RevokeKey {
    /// Now where it is not given.
    at: Option<DateTime<Utc>>,
}

/// The keys of a JWK Set.
pub(super) fn read(jwks: &Value) -> Result<Vec<PublicJwk>, ApiError> {
    let jwks = Jwks::from_value(jwks).map_err(|error| ApiError::Invalid(format!("jwks: {error}")))?;
    if jwks.keys().iter().any(|key| key.kid().chars().any(char::is_control)) {
        return Err(ApiError::Invalid("jwks: a kid has no control characters".to_owned()));
    }
    Ok(jwks.keys().to_vec())
}

/// Adds keys to an app. Old and new ones are good at the same time, until `former_expire_at` at most.
#[utoipa::path(post, path = "/apps/{client_id}/keys", tag = "apps",
    operation_id = "add_keys", request_body = AddKeys,
    responses((status = 201, body = App)))]
pub(in crate::admin) async fn add(
    State(state): State<ApiState>,
    caller: Caller,
    Path(client_id): Path<String>,
    if_match: IfMatch,
    Input(body): Input<AddKeys>,
) -> Answer {
    let client: ClientId = id("app", &client_id)?;
    let keys = read(&body.jwks)?;
    let former_expire_at = coming("former_expire_at", body.former_expire_at)?;
    if find(&state, &client).await?.jwks_url.is_some() && !body.replace_url {
        let detail = "the app's keys are those at its jwks_url: add them there, or say replace_url";
        return Err(ApiError::Conflict { reason: "keys_by_url", detail }.into());
    }
    let audit = caller.audit("app.keys_added").about_client(&client).and(json!({
        "keys": keys.iter().map(PublicJwk::thumbprint).collect::<Vec<_>>(),
        "former_expire_at": former_expire_at,
    }));
    let new: Vec<(String, Value)> = keys.iter().map(|key| (key.kid().to_owned(), key.to_json())).collect();
    let if_match = if_match.of_existing()?;
    let added = state
        .store()
        .add_app_keys(&client, &new, former_expire_at, body.replace_url, if_match, &audit)
        .await?;
    added.ok_or(ApiError::Missing("app"))?;
    answer(StatusCode::CREATED, &find(&state, &client).await?)
}

/// Revokes a key of an app.
#[utoipa::path(post, path = "/apps/{client_id}/keys/{kid}/revoke", tag = "apps",
    operation_id = "revoke_key", request_body = RevokeKey,
    responses((status = 200, body = App)))]
pub(in crate::admin) async fn revoke(
    State(state): State<ApiState>,
    caller: Caller,
    Path((client_id, kid)): Path<(String, String)>,
    if_match: IfMatch,
    Input(body): Input<RevokeKey>,
) -> Answer {
    let client: ClientId = id("app", &client_id)?;
    let kid = plain("key of the app", kid)?;
    let at = coming("at", body.at)?;
    let audit = caller.audit("app.key_revoked").about_client(&client).and(json!({ "kid": kid, "at": at }));
    let revoked = state.store().revoke_app_key(&client, &kid, at, if_match.of_existing()?, &audit).await?;
    revoked.ok_or(ApiError::Missing("key of the app"))?;
    answer(StatusCode::OK, &find(&state, &client).await?)
}
