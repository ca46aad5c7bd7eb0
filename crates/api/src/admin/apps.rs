//! `/admin/v1/apps`: registration (SMART App Launch, Registering a Client: Asymmetric), with inline keys or with
//! the URL of a key set.

pub(super) mod check;
pub(super) mod keys;
pub(super) mod refusals;

use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use headgate_auth::{PublicJwk, check_jwks_url};
use headgate_domain::ClientId;
use headgate_domain::scope::ScopeSet;
use headgate_store as store;
use headgate_store::{AppChange, NewApp};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::Answer;
use super::caller::Caller;
use super::input::{Input, id, text};
use super::page::{Paging, Params};
use super::revision::{IfMatch, tagged};
use super::suspension::{Suspend, Suspension};
use super::vendors::named;
use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;

/// A registered app.
#[derive(Serialize, ToSchema)]
pub(super) struct App {
    /// `fhir` and 50 hex digits.
    client_id: String,
    vendor_id: Uuid,
    vendor_name: String,
    name: String,
    /// `disabled` (no practice consents), `enabled`, or `suspended` (the app or its vendor is).
    status: &'static str,
    suspended: Option<Suspension>,
    /// The most that the app may ever be granted.
    scopes: String,
    security_contact: String,
    /// The URL of its key set; null where its keys are registered here.
    jwks_url: Option<String>,
    /// The ids of its registered keys that are good now.
    key_ids: Vec<String>,
    keys: Vec<keys::AppKey>,
    consenting_practices: Vec<ConsentingPractice>,
    revision: i64,
    created_at: DateTime<Utc>,
}

/// A practice at which the app has a consent in force.
#[derive(Serialize, ToSchema)]
pub(super) struct ConsentingPractice {
    number: i64,
    name: String,
    base_url: String,
}

impl From<&store::App> for App {
    fn from(app: &store::App) -> Self {
        let practice = |practice: &store::ConsentingPractice| ConsentingPractice {
            number: practice.number.get(),
            name: practice.name.clone(),
            base_url: practice.base().to_owned(),
        };
        let kid = |jwk: &Value| jwk.get("kid").and_then(Value::as_str).map(str::to_owned);
        Self {
            client_id: app.client_id.to_string(),
            vendor_id: app.vendor_id,
            vendor_name: app.vendor_name.clone(),
            name: app.name.clone(),
            status: app.status().name(),
            suspended: app.suspended.as_ref().map(Suspension::from),
            scopes: app.scopes.to_string(),
            security_contact: app.security_contact.clone(),
            jwks_url: app.jwks_url.as_ref().map(Url::to_string),
            key_ids: app.live_keys(Utc::now()).filter_map(kid).collect(),
            keys: app.keys.iter().map(keys::AppKey::from).collect(),
            consenting_practices: app.consenting.iter().map(practice).collect(),
            revision: app.revision,
            created_at: app.created_at,
        }
    }
}

/// A page of apps.
#[derive(Serialize, ToSchema)]
pub(super) struct Apps {
    apps: Vec<App>,
    next: Option<String>,
}

/// An app to be registered: with exactly one of `jwks` and `jwks_url`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateApp {
    vendor_id: Uuid,
    name: String,
    security_contact: String,
    /// `system/` scopes, divided by spaces; `system/*.rs` by default.
    #[serde(default = "all_scopes")]
    #[schema(default = "system/*.rs")]
    scopes: String,
    /// A JWK Set (RFC 7517) of public keys for ES384 or RS384.
    #[schema(value_type = Option<Object>)]
    jwks: Option<Value>,
    /// The https URL of such a set.
    jwks_url: Option<String>,
}

fn all_scopes() -> String {
    "system/*.rs".to_owned()
}

/// What is to change of an app. Exports that run with wider scopes than the new ones end.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeApp {
    name: Option<String>,
    security_contact: Option<String>,
    scopes: Option<String>,
    /// Takes the place of keys that are registered here: they are revoked at once.
    jwks_url: Option<String>,
}

/// An app that was suspended.
#[derive(Serialize, ToSchema)]
pub(super) struct SuspendedApp {
    app: App,
    ended_exports: u64,
}

/// Parameters of the list of apps.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AppParams {
    /// Only apps of this vendor.
    vendor_id: Option<Uuid>,
    /// Items of the page, 1 to 1000; 100 by default.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists apps; a vendor sees its own.
#[utoipa::path(get, path = "/apps", tag = "apps", params(AppParams), responses((status = 200, body = Apps)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    paging: Paging,
    Params(params): Params<AppParams>,
) -> Answer {
    let page = paging.page(params.limit, params.cursor)?;
    let vendor = match (caller.vendor(), params.vendor_id) {
        // Somebody else's apps are as if they did not exist.
        (Some(own), Some(other)) if own != other => {
            return Ok(respond::json(StatusCode::OK, &Apps { apps: Vec::new(), next: None }));
        }
        (own, asked) => own.or(asked),
    };
    let found = state.store().apps(vendor, &page).await?;
    let apps = Apps { apps: found.items.iter().map(App::from).collect(), next: paging.next(found.next)? };
    Ok(respond::json(StatusCode::OK, &apps))
}

/// Registers an app. It is disabled until a practice consents to it.
#[utoipa::path(post, path = "/apps", tag = "apps", request_body = CreateApp,
    responses((status = 201, body = App)))]
pub(super) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Input(body): Input<CreateApp>,
) -> Answer {
    if caller.vendor().is_some_and(|own| own != body.vendor_id) {
        return Err(ApiError::Missing("vendor").into());
    }
    let (keys, jwks_url) = match (&body.jwks, &body.jwks_url) {
        (Some(jwks), None) => (self::keys::read(jwks)?, None),
        (None, Some(url)) => (Vec::new(), Some(key_set_url(&state, url)?)),
        _ => return Err(ApiError::Invalid("give exactly one of jwks and jwks_url".to_owned()).into()),
    };
    let new = NewApp {
        client_id: ClientId::from_random(rand::random()),
        vendor_id: body.vendor_id,
        name: text("name", &body.name)?,
        scopes: scopes(&body.scopes)?,
        security_contact: text("security_contact", &body.security_contact)?,
        jwks_url,
        keys: keys.iter().map(|key| (key.kid().to_owned(), key.to_json())).collect(),
    };
    if state.store().vendor(new.vendor_id).await?.is_none() {
        return Err(ApiError::Missing("vendor").into());
    }
    let audit = caller.audit("app.registered").about_client(&new.client_id).and(json!({
        "vendor": new.vendor_id,
        "scopes": new.scopes.to_string(),
        "keys": keys.iter().map(PublicJwk::thumbprint).collect::<Vec<_>>(),
        "jwks_url": new.jwks_url.as_ref().map(Url::as_str),
    }));
    state.store().create_app(&new, &audit).await?;
    answer(StatusCode::CREATED, &find(&state, &new.client_id).await?)
}

/// The URL of a key set, as it may be registered.
fn key_set_url(state: &ApiState, url: &str) -> Result<Url, ApiError> {
    check_jwks_url(url, state.config().jwks_allow_insecure)
        .map_err(|error| ApiError::Invalid(format!("jwks_url: {error}")))
}

/// Reads readable `system/` scopes, at least one.
pub(super) fn scopes(given: &str) -> Result<ScopeSet, ApiError> {
    let scopes: ScopeSet = given.parse().map_err(|error| ApiError::Invalid(format!("scopes: {error}")))?;
    if scopes.is_empty() {
        return Err(ApiError::Invalid("scopes must hold at least one scope".to_owned()));
    }
    Ok(scopes)
}

/// Shows an app.
#[utoipa::path(get, path = "/apps/{client_id}", tag = "apps", responses((status = 200, body = App)))]
pub(super) async fn show(State(state): State<ApiState>, Path(client_id): Path<String>) -> Answer {
    answer(StatusCode::OK, &find(&state, &id("app", &client_id)?).await?)
}

/// Changes an app.
#[utoipa::path(patch, path = "/apps/{client_id}", tag = "apps", request_body = ChangeApp,
    responses((status = 200, body = App)))]
pub(super) async fn change(
    State(state): State<ApiState>,
    caller: Caller,
    Path(client_id): Path<String>,
    if_match: IfMatch,
    Input(body): Input<ChangeApp>,
) -> Answer {
    let client: ClientId = id("app", &client_id)?;
    let contact = body.security_contact.as_deref();
    let change = AppChange {
        name: body.name.as_deref().map(|name| text("name", name)).transpose()?,
        security_contact: contact.map(|contact| text("security_contact", contact)).transpose()?,
        scopes: body.scopes.as_deref().map(scopes).transpose()?,
        jwks_url: body.jwks_url.as_deref().map(|url| key_set_url(&state, url)).transpose()?,
    };
    let changed = [
        ("name", change.name.is_some()),
        ("security_contact", change.security_contact.is_some()),
        ("scopes", change.scopes.is_some()),
        ("jwks_url", change.jwks_url.is_some()),
    ];
    let audit = caller.audit("app.changed").about_client(&client).and(json!({
        "changed": named(&changed),
        "scopes": change.scopes.as_ref().map(ScopeSet::to_string),
        "jwks_url": change.jwks_url.as_ref().map(Url::as_str),
    }));
    let ended = state.store().update_app(&client, &change, if_match.of_existing()?, &audit).await?;
    ended.ok_or(ApiError::Missing("app"))?;
    answer(StatusCode::OK, &find(&state, &client).await?)
}

/// Suspends an app: it gets no tokens, those it has are good no longer, and its exports end.
#[utoipa::path(post, path = "/apps/{client_id}/suspend", tag = "apps", request_body = Suspend,
    responses((status = 200, body = SuspendedApp)))]
pub(super) async fn suspend(
    State(state): State<ApiState>,
    caller: Caller,
    Path(client_id): Path<String>,
    if_match: IfMatch,
    Input(body): Input<Suspend>,
) -> Answer {
    let client: ClientId = id("app", &client_id)?;
    let reason = text("reason", &body.reason)?;
    let audit = caller.audit("app.suspended").about_client(&client).and(json!({ "reason": reason }));
    let ended_exports = state
        .store()
        .suspend_app(&client, caller.subject(), &reason, if_match.of_existing()?, &audit)
        .await?
        .ok_or(ApiError::Missing("app"))?;
    let app = find(&state, &client).await?;
    Ok(tagged(StatusCode::OK, app.revision, &SuspendedApp { app: App::from(&app), ended_exports }))
}

/// Ends the suspension of an app.
#[utoipa::path(post, path = "/apps/{client_id}/resume", tag = "apps", responses((status = 200, body = App)))]
pub(super) async fn resume(
    State(state): State<ApiState>,
    caller: Caller,
    Path(client_id): Path<String>,
    if_match: IfMatch,
) -> Answer {
    let client: ClientId = id("app", &client_id)?;
    let audit = caller.audit("app.resumed").about_client(&client);
    if !state.store().resume_app(&client, if_match.of_existing()?, &audit).await? {
        return Err(ApiError::Missing("app").into());
    }
    answer(StatusCode::OK, &find(&state, &client).await?)
}

pub(super) async fn find(state: &ApiState, client: &ClientId) -> Result<store::App, ApiError> {
    state.store().app(client).await?.ok_or(ApiError::Missing("app"))
}

fn answer(status: StatusCode, app: &store::App) -> Answer {
    Ok(tagged(status, app.revision, &App::from(app)))
}
