//! Introspection (RFC 7662; SMART App Launch, Token Introspection): whether an access token is good for anything now.
//!
//! An app learns about its own tokens only; any other, and any text, is not active, and nothing more is said. Who asks
//! authenticates with an assertion, or with an access token.

use axum::body::Body;
use axum::response::Response;
use headgate_auth::AccessTokenClaims;
use headgate_domain::ClientId;
use headgate_domain::scope::ScopeSet;
use http::StatusCode;
use http::header::AUTHORIZATION;
use http::request::Parts;
use serde::Serialize;
use serde_json::json;

use super::authenticate::{authenticate, use_up};
use super::form::{self, AboutToken};
use super::refusals::Attempt;
use super::{Endpoint, authenticated};
use crate::config::introspection_path;
use crate::error::{ApiError, OAuthError};
use crate::extract::access_token;
use crate::extract::principal::{Bearer, Principal, bearer_token};
use crate::state::ApiState;
use crate::{body, respond};

/// What is said of a token that is good.
#[derive(Serialize)]
struct Active {
    active: bool,
    scope: String,
    client_id: ClientId,
    token_type: &'static str,
    exp: i64,
    iat: i64,
    sub: String,
    aud: String,
    iss: String,
    jti: String,
    #[serde(rename = "allowedFhirUrl")]
    allowed_fhir_url: String,
}

/// Answers whether the token of the form is active.
pub(crate) async fn introspect(
    state: &ApiState,
    endpoint: Endpoint<'_>,
    request: &Parts,
    body: Body,
) -> Result<Response, ApiError> {
    let mut attempt = Attempt::of(state, request);
    let answer = answer(state, endpoint, request, body, &mut attempt).await;
    attempt.settle(state, answer.map_err(unauthenticated))
}

/// Here a failure to authenticate is a 401 (RFC 7662, section 2.3).
fn unauthenticated(error: ApiError) -> ApiError {
    match error {
        ApiError::OAuth { error: OAuthError::InvalidClient, description, reason } => {
            ApiError::NotAuthenticated { description, reason }
        }
        error => error,
    }
}

async fn answer(
    state: &ApiState,
    endpoint: Endpoint<'_>,
    request: &Parts,
    body: Body,
    attempt: &mut Attempt,
) -> Result<Response, ApiError> {
    state.token_limit().admit_address(attempt.address())?;
    let config = state.config();
    let body = body::read(body, config.max_body_bytes, config.body_timeout).await?;
    let form = form::about_token(&request.headers, &body)?;
    let caller = caller(state, endpoint, request, &form, attempt).await?;
    Ok(match active(state, endpoint, &form.token, &caller).await? {
        Some(active) => respond::json(StatusCode::OK, &active),
        None => respond::json(StatusCode::OK, &json!({ "active": false })),
    })
}

/// Who asks.
async fn caller(
    state: &ApiState,
    endpoint: Endpoint<'_>,
    request: &Parts,
    form: &AboutToken,
    attempt: &mut Attempt,
) -> Result<ClientId, ApiError> {
    match (&form.credentials, request.headers.contains_key(AUTHORIZATION)) {
        (Some(_), true) => {
            let text = "authenticate by client_assertion or by Authorization, not by both";
            Err(OAuthError::InvalidRequest.because(text))
        }
        (None, _) => {
            let token = bearer_token(&request.headers).ok_or_else(nobody)?;
            let claims = access_token::own(state, token).await?;
            let principal = principal(state, endpoint, claims).await?.ok_or(ApiError::NoConsent)?;
            state.token_limit().admit_app(&principal.client)?;
            Ok(principal.client)
        }
        (Some(credentials), false) => {
            let urls = endpoint.audiences(state.config(), introspection_path);
            let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
            let proven = authenticate(state, &urls, credentials, attempt).await?;
            let audit = authenticated(&proven.app.client_id, endpoint, "introspection", attempt);
            use_up(state, &proven.assertion, &audit).await?;
            Ok(proven.app.client_id)
        }
    }
}

fn nobody() -> ApiError {
    let text = "authenticate by client_assertion, or by an access token as Authorization: Bearer";
    ApiError::NotAuthenticated { description: text.to_owned(), reason: "no_credentials" }
}

/// Who bears the token, when the practice that it is for consents; `None` else, and where that practice is not there
/// any more. At a practice's own endpoint, only tokens for that practice are good.
async fn principal(
    state: &ApiState,
    endpoint: Endpoint<'_>,
    claims: AccessTokenClaims,
) -> Result<Option<Principal>, ApiError> {
    let found;
    let practice = match endpoint {
        Endpoint::Of(practice) => practice,
        Endpoint::Shared => {
            found =
                state.store().practice_by_base_url(std::slice::from_ref(&claims.allowed_fhir_url)).await?;
            match &found {
                Some(practice) => practice,
                None => return Ok(None),
            }
        }
    };
    Bearer::by_claims(practice, claims)?.consented(state, practice).await
}

/// What is said of a token of the caller, if it is good for anything now.
async fn active(
    state: &ApiState,
    endpoint: Endpoint<'_>,
    token: &str,
    caller: &ClientId,
) -> Result<Option<Active>, ApiError> {
    let claims = match access_token::own(state, token).await {
        Ok(claims) if claims.client_id == *caller => claims,
        Ok(_) | Err(ApiError::BadToken(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let principal = match principal(state, endpoint, claims.clone()).await {
        Ok(Some(principal)) => principal,
        Ok(None) | Err(ApiError::TokenRevoked | ApiError::OtherPractice | ApiError::BadToken(_)) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let scope = in_force(&principal.scopes, &principal.consent.scopes);
    Ok((!scope.is_empty()).then(|| Active {
        active: true,
        scope: scope.to_string(),
        client_id: claims.client_id,
        token_type: "Bearer",
        exp: claims.exp,
        iat: claims.iat,
        sub: claims.sub.to_string(),
        aud: claims.aud,
        iss: claims.iss,
        jti: claims.jti.to_string(),
        allowed_fhir_url: claims.allowed_fhir_url,
    }))
}

/// What the token still covers: the consent may have been narrowed since it was issued.
fn in_force(token: &ScopeSet, consent: &ScopeSet) -> ScopeSet {
    if token.is_within(consent) { token.clone() } else { token.intersection(consent) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scope_is_what_the_token_still_covers() {
        let set = |text: &str| text.parse::<ScopeSet>().unwrap();
        let token = set("system/Patient.read system/Goal.rs");
        assert_eq!(in_force(&token, &set("system/*.rs")), token);
        assert_eq!(in_force(&token, &set("system/Patient.rs")).to_string(), "system/Patient.read");
        assert!(in_force(&token, &set("system/CarePlan.rs")).is_empty());
    }

    #[test]
    fn who_does_not_authenticate_gets_a_401() {
        let error = unauthenticated(OAuthError::InvalidClient.because("x"));
        let parts = error.parts();
        assert_eq!((parts.status, parts.oauth), (StatusCode::UNAUTHORIZED, "invalid_client"));
        assert!(parts.headers.iter().any(|(name, _)| name == http::header::WWW_AUTHENTICATE));
        let other = unauthenticated(OAuthError::InvalidRequest.because("x"));
        assert_eq!(other.parts().status, StatusCode::BAD_REQUEST);
    }
}
