//! `/admin/v1/apps`: registration (SMART App Launch, Registering a Client: Asymmetric) with inline keys.

use axum::extract::{Path, State};
use headgate_auth::{Jwks, PublicJwk};
use headgate_domain::ClientId;
use headgate_domain::scope::ScopeSet;
use headgate_store::{App, Audit, NewApp};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Answer;
use super::input::{Input, id, text};
use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;

/// The body of `POST apps`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateApp {
    vendor_id: Uuid,
    name: String,
    jwks: Value,
    security_contact: String,
    #[serde(default = "all_scopes")]
    scopes: String,
}

fn all_scopes() -> String {
    "system/*.rs".to_owned()
}

/// `POST apps`: the app is born disabled, with a client id of its own.
pub(crate) async fn create(State(state): State<ApiState>, Input(body): Input<CreateApp>) -> Answer {
    let jwks = Jwks::from_value(&body.jwks).map_err(|error| ApiError::Invalid(format!("jwks: {error}")))?;
    let new = NewApp {
        client_id: ClientId::from_random(rand::random()),
        vendor_id: body.vendor_id,
        name: text("name", &body.name)?,
        scopes: scopes(&body.scopes)?,
        security_contact: text("security_contact", &body.security_contact)?,
        keys: jwks.keys().iter().map(|key| (key.kid().to_owned(), PublicJwk::to_json(key))).collect(),
    };
    if state.store().vendor(new.vendor_id).await?.is_none() {
        return Err(ApiError::Missing("vendor").into());
    }
    let audit = Audit::new("operator", "app.registered").about_client(&new.client_id).with(json!({
        "vendor": new.vendor_id,
        "keys": jwks.keys().iter().map(PublicJwk::thumbprint).collect::<Vec<_>>(),
    }));
    state.store().create_app(&new, &audit).await?;
    let app = find(&state, &new.client_id).await?;
    Ok(respond::json(StatusCode::CREATED, &shown(&app)))
}

/// Reads readable `system/` scopes, at least one.
pub(super) fn scopes(given: &str) -> Result<ScopeSet, ApiError> {
    let scopes: ScopeSet = given.parse().map_err(|error| ApiError::Invalid(format!("scopes: {error}")))?;
    if scopes.is_empty() {
        return Err(ApiError::Invalid("scopes must hold at least one scope".to_owned()));
    }
    Ok(scopes)
}

/// `GET apps`
pub(crate) async fn list(State(state): State<ApiState>) -> Answer {
    let apps: Vec<Value> = state.store().apps().await?.iter().map(shown).collect();
    Ok(respond::json(StatusCode::OK, &json!({ "apps": apps })))
}

/// `GET apps/{client_id}`
pub(crate) async fn show(State(state): State<ApiState>, Path(client_id): Path<String>) -> Answer {
    let app = find(&state, &id("app", &client_id)?).await?;
    Ok(respond::json(StatusCode::OK, &shown(&app)))
}

pub(super) async fn find(state: &ApiState, client: &ClientId) -> Result<App, ApiError> {
    state.store().app(client).await?.ok_or(ApiError::Missing("app"))
}

fn shown(app: &App) -> Value {
    let practices: Vec<Value> = app
        .consenting
        .iter()
        .map(|p| json!({ "number": p.number, "name": p.name, "base_url": p.base() }))
        .collect();
    let key_ids: Vec<&Value> = app.keys.iter().filter_map(|jwk| jwk.get("kid")).collect();
    json!({
        "client_id": app.client_id,
        "vendor_id": app.vendor_id,
        "vendor_name": app.vendor_name,
        "name": app.name,
        "status": app.status().name(),
        "scopes": app.scopes.to_string(),
        "security_contact": app.security_contact,
        "key_ids": key_ids,
        "consenting_practices": practices,
        "created_at": app.created_at,
    })
}
