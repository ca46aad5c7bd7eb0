//! The token endpoint (SMART Backend Services; RFC 6749, section 4.4; RFC 7523): an app proves who it is with
//! a signed assertion and gets an access token for one practice.
//!
//! There is one shared endpoint and one below each practice's base URL. At a practice's own endpoint the
//! practice is said; at the shared one it is implied where exactly one consents, and named by `resource` (RFC
//! 8707) else.
//!
//! Everything that can refuse comes before the assertion is used up, so that an app can mend a scope and send
//! the same assertion again. Using it up and recording the token are one transaction, committed before the
//! token leaves.

mod form;

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use chrono::Utc;
use headgate_auth::access_token::{self, AccessTokenClaims, TokenType};
use headgate_auth::assertion::{self, AssertionError, Expected, VerifiedAssertion};
use headgate_auth::{Jwks, JwksError};
use headgate_domain::practice::Practice;
use headgate_domain::scope::{self, GrantError, ScopeSet};
use headgate_domain::{ClientId, PracticeNumber};
use headgate_store::{App, Audit};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::error::{ApiError, OAuthError};
use crate::public::peer;
use crate::state::ApiState;
use crate::{body, respond};
use form::TokenForm;

/// Which of the token endpoints was called.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Endpoint<'a> {
    /// The one of the whole installation.
    Shared,
    /// The practice's own.
    Of(&'a Practice),
}

/// The practice that a token is for.
struct Target {
    number: PracticeNumber,
    base_url: String,
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
    let address = peer(request).map_or_else(|| "unknown".to_owned(), |peer| peer.ip().to_string());
    let content_type = request.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let config = state.config();
    let body = body::read(body, config.max_body_bytes, config.body_timeout).await?;
    let form = form::parse(content_type.unwrap_or_default(), &body)?;

    let (app, proof) = authenticate(state, endpoint, &form).await?;
    check_scopes(&form.scope, &app.scopes)?;
    let target = target(endpoint, &app, form.resource.as_deref())?;
    let consent = state.store().consent_in_force(target.number, &app.client_id).await?;
    let consent = consent.ok_or_else(|| no_consent(&app))?;
    let granted = scope::grant(&form.scope, &app.scopes, &consent.scopes).map_err(scope_error)?;

    let jti = Uuid::new_v4();
    let audit = Audit::new(format!("client {}", app.client_id), "token.issued")
        .at(target.number)
        .about_client(&app.client_id)
        .with(json!({ "jti": jti, "scope": granted.to_string(), "consent": consent.id, "address": address }));
    if !state.store().use_assertion(&app.client_id, &proof.jti, proof.replayable_until, &audit).await? {
        return Err(refused(
            "replayed",
            "this assertion was used before: make a new one, with a new jti, for each token",
        ));
    }
    let token = sign(state, &app.client_id, &target, &granted, jti, &address)?;
    Ok(answer(token, &target, &granted, config.token_lifetime))
}

/// Finds the app that the assertion claims to be from, and checks the assertion against its keys.
async fn authenticate(
    state: &ApiState,
    endpoint: Endpoint<'_>,
    form: &TokenForm,
) -> Result<(App, VerifiedAssertion), ApiError> {
    let peeked = assertion::peek(&form.client_assertion).map_err(assertion_error)?;
    if form.client_id.as_ref().is_some_and(|id| *id != peeked.client_id) {
        return Err(refused("client_id_differs", "client_id is not the iss of the assertion"));
    }
    let unknown = || refused("unknown_client", "no app is registered under the iss of the assertion");
    let client: ClientId = peeked.client_id.parse().map_err(|_| unknown())?;
    let app = state.store().app(&client).await?.ok_or_else(unknown)?;
    let keys = Jwks::from_value(&json!({ "keys": app.keys })).map_err(|error| match error {
        JwksError::Empty => refused("no_key", "every key of this app was revoked"),
        _ => ApiError::Unexpected("the stored keys of an app cannot be read"),
    })?;
    // Exactly the URL that was called, as configured: an assertion for one endpoint is none for another.
    let url = match endpoint {
        Endpoint::Shared => state.config().shared_token_url(),
        Endpoint::Of(practice) => format!("{}{}", practice.base(), state.config().token_path),
    };
    let expected = Expected {
        client_id: &client,
        audiences: &[&url],
        jwks_url: None,
        now: Utc::now(),
        skew: state.config().clock_skew,
    };
    let proof = assertion::verify(&form.client_assertion, &keys, &expected).map_err(assertion_error)?;
    Ok((app, proof))
}

/// Refuses malformed scopes, whatever a practice may consent to.
fn check_scopes(requested: &str, registered: &ScopeSet) -> Result<(), ApiError> {
    match scope::grant(requested, registered, registered) {
        Err(error @ (GrantError::Empty | GrantError::Malformed(_))) => Err(scope_error(error)),
        Ok(_) | Err(GrantError::NothingCovered) => Ok(()),
    }
}

/// Which practice the token is for.
fn target(endpoint: Endpoint<'_>, app: &App, resource: Option<&str>) -> Result<Target, ApiError> {
    let resource = resource.map(|url| url.trim_end_matches('/'));
    if let Endpoint::Of(practice) = endpoint {
        if resource.is_some_and(|url| url != practice.base()) {
            let text = format!("resource is not the base URL of this token endpoint: {}", practice.base());
            return Err(OAuthError::InvalidTarget.because(text));
        }
        return Ok(Target { number: practice.number, base_url: practice.base().to_owned() });
    }
    let chosen = match (resource, app.consenting.as_slice()) {
        (_, []) => return Err(no_consent(app)),
        (None, [only]) => only,
        (None, _) => {
            return Err(name_targets("several practices consent to this app; say which as resource", app));
        }
        (Some(url), practices) => {
            practices.iter().find(|practice| practice.base() == url).ok_or_else(|| {
                name_targets("resource is not the base URL of a practice that consents to this app", app)
            })?
        }
    };
    Ok(Target { number: chosen.number, base_url: chosen.base().to_owned() })
}

fn name_targets(text: &str, app: &App) -> ApiError {
    let urls: Vec<&str> = app.consenting.iter().map(|practice| practice.base()).collect();
    OAuthError::InvalidTarget.because(format!("{text}: {}", urls.join(", ")))
}

fn no_consent(app: &App) -> ApiError {
    OAuthError::UnauthorizedClient.because(if app.suspended {
        "this app is suspended"
    } else {
        "no consent of a practice to this app is in force: an administrator of the practice has to add its client id"
    })
}

fn scope_error(error: GrantError) -> ApiError {
    OAuthError::InvalidScope.because(error.to_string())
}

fn assertion_error(error: AssertionError) -> ApiError {
    refused(error.reason(), error.to_string())
}

/// Every failure to authenticate is `invalid_client` (SMART App Launch, Client Authentication: Asymmetric).
fn refused(reason: &'static str, description: impl Into<String>) -> ApiError {
    ApiError::OAuth { error: OAuthError::InvalidClient, description: description.into(), reason }
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
    Ok(access_token::issue(state.signing_key(), &claims)?)
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
