//! The token endpoint (SMART Backend Services; RFC 6749, section 4.4; RFC 7523): an app proves who it is with
//! a signed assertion and gets an access token for one practice.
//!
//! There is one shared endpoint and one below each practice's base URL. At a practice's own endpoint the
//! practice is said; at the shared one it is implied where exactly one consents, and named by `resource` (RFC
//! 8707) else.
//!
//! Everything that can refuse comes before the assertion is used up, so that an app can mend a scope and send
//! the same assertion again. Using it up and recording the token are one transaction, committed before the
//! token leaves. Before everything else requests are counted, so that neither a signature nor a key set costs more than
//! the [`limit`] allows.
//!
//! Beside it stand [`introspect`] and [`revoke`], for the tokens that were issued here.

mod authenticate;
mod form;
mod introspect;
mod limit;
mod refusals;
mod revoke;
mod target;

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use chrono::Utc;
use headgate_auth::access_token::{self, AccessTokenClaims, TokenType};
use headgate_domain::ClientId;
use headgate_domain::practice::Practice;
use headgate_domain::scope::{self, GrantError, ScopeSet};
use headgate_store::Audit;
use http::header::{CACHE_CONTROL, PRAGMA};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::error::{ApiError, OAuthError};
use crate::state::ApiState;
use crate::{ApiConfig, body, respond};
use authenticate::{authenticate, use_up};
use refusals::Attempt;
use target::{Target, check_not_suspended, no_consent, target};

pub(crate) use introspect::introspect;
pub(crate) use limit::Limit;
pub(crate) use refusals::Refusals;
pub(crate) use revoke::revoke;

/// Where the token endpoint stands that was called, or that stands beside the one that was called.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Endpoint<'a> {
    /// At the URL of the whole installation.
    Shared,
    /// Below the practice's own base URL.
    Of(&'a Practice),
}

impl Endpoint<'_> {
    fn base<'a>(&'a self, config: &'a ApiConfig) -> &'a str {
        match self {
            Endpoint::Shared => config.shared_base(),
            Endpoint::Of(practice) => practice.base(),
        }
    }

    /// The URL of the token endpoint. An assertion for one is none for another.
    fn token_url(&self, config: &ApiConfig) -> String {
        match self {
            Endpoint::Shared => config.shared_token_url(),
            Endpoint::Of(practice) => format!("{}{}", practice.base(), config.token_path),
        }
    }

    /// The URLs that an assertion may be made for at an endpoint beside the token endpoint: its own, and that of the
    /// token endpoint, for clients that know no other.
    fn audiences(&self, config: &ApiConfig, path: impl Fn(&str) -> String) -> [String; 2] {
        [format!("{}{}", self.base(config), path(&config.token_path)), self.token_url(config)]
    }
}

/// The answer with a token. The members beyond RFC 6749 are those of the modelled product.
#[derive(Serialize)]
struct TokenResponse {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    scope: String,
    refresh_expires_in: u64,
    #[serde(rename = "not-before-policy")]
    not_before_policy: u64,
    #[serde(rename = "allowedFhirUrl")]
    allowed_fhir_url: String,
}

/// Issues a token, or refuses.
pub(crate) async fn issue(
    state: &ApiState,
    endpoint: Endpoint<'_>,
    request: &Parts,
    body: Body,
) -> Result<Response, ApiError> {
    let mut attempt = Attempt::of(state, request);
    let issued = issue_to(state, endpoint, request, body, &mut attempt).await;
    attempt.settle(state, issued)
}

async fn issue_to(
    state: &ApiState,
    endpoint: Endpoint<'_>,
    request: &Parts,
    body: Body,
    attempt: &mut Attempt,
) -> Result<Response, ApiError> {
    state.token_limit().admit_address(attempt.address())?;
    let config = state.config();
    let body = body::read(body, config.max_body_bytes, config.body_timeout).await?;
    let form = form::token_request(&request.headers, &body)?;

    let proven = authenticate(state, &[&endpoint.token_url(config)], &form.credentials, attempt).await?;
    let app = &proven.app;
    check_not_suspended(app)?;
    check_scopes(&form.scope, &app.scopes)?;
    let target = target(endpoint, app, form.resource.as_deref())?;
    let authority = state.store().authority(target.number, &app.client_id, None).await?;
    let consent = authority.consent.ok_or_else(no_consent)?;
    let granted = scope::grant(&form.scope, &app.scopes, &consent.scopes).map_err(scope_error)?;

    let (jti, address) = (Uuid::new_v4(), attempt.address_text());
    let audit = Audit::new(format!("client {}", app.client_id), "token.issued")
        .at(target.number)
        .about_client(&app.client_id)
        .with(json!({ "jti": jti, "scope": granted.to_string(), "consent": consent.id, "address": address }));
    use_up(state, &proven.assertion, &audit).await?;
    let token = sign(state, &app.client_id, &target, &granted, jti, &address)?;
    Ok(answer(token, &target, &granted, config.token_lifetime))
}

/// That an app authenticated for something else than a token.
fn authenticated(client: &ClientId, endpoint: Endpoint<'_>, purpose: &str, attempt: &Attempt) -> Audit {
    let audit = Audit::new(format!("client {client}"), "client.authenticated")
        .about_client(client)
        .with(json!({ "for": purpose, "address": attempt.address_text() }));
    match endpoint {
        Endpoint::Shared => audit,
        Endpoint::Of(practice) => audit.at(practice.number),
    }
}

/// Refuses malformed scopes, whatever a practice may consent to.
fn check_scopes(requested: &str, registered: &ScopeSet) -> Result<(), ApiError> {
    match scope::grant(requested, registered, registered) {
        Err(error @ (GrantError::Empty | GrantError::Malformed(_))) => Err(scope_error(error)),
        Ok(_) | Err(GrantError::NothingCovered) => Ok(()),
    }
}

fn scope_error(error: GrantError) -> ApiError {
    OAuthError::InvalidScope.because(error.to_string())
}

fn sign(
    state: &ApiState,
    client: &ClientId,
    target: &Target,
    granted: &ScopeSet,
    jti: Uuid,
    address: &str,
) -> Result<String, ApiError> {
    let now = Utc::now().timestamp();
    let claims = AccessTokenClaims {
        iss: state.config().issuer.clone(),
        sub: access_token::subject_of(client),
        typ: TokenType::Bearer,
        azp: client.clone(),
        client_id: client.clone(),
        client_host: address.to_owned(),
        client_address: address.to_owned(),
        scope: granted.to_string(),
        jti,
        iat: now,
        exp: now.saturating_add_unsigned(state.config().token_lifetime.as_secs()),
        aud: target.base_url.clone(),
        allowed_fhir_url: target.base_url.clone(),
    };
    let key = state.keys().signing(Utc::now());
    let key = key.ok_or(ApiError::Unexpected("no key of the access tokens is live"))?;
    Ok(access_token::issue(&key, &claims)?)
}

fn answer(access_token: String, target: &Target, granted: &ScopeSet, lifetime: Duration) -> Response {
    let body = TokenResponse {
        access_token,
        token_type: "Bearer",
        expires_in: lifetime.as_secs(),
        scope: granted.to_string(),
        refresh_expires_in: 0,
        not_before_policy: 0,
        allowed_fhir_url: target.base_url.clone(),
    };
    let mut response = respond::json(StatusCode::OK, &body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests;
