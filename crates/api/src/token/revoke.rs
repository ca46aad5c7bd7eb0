//! Revocation (RFC 7009): an app gives an access token back before its time.
//!
//! The answer is 200 whatever became of the token: one that is not the app's, has ended or is no token at all is not
//! good for anything in the app's hands either (RFC 7009, section 2.2). Where that cannot be found out, it is 503: the
//! app has to try again.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use chrono::{DateTime, Utc};
use headgate_auth::{AccessTokenClaims, AccessTokenError};
use headgate_domain::ClientId;
use headgate_store::Audit;
use http::request::Parts;
use serde_json::json;

use super::authenticate::{authenticate, use_up};
use super::form;
use super::refusals::Attempt;
use super::{Endpoint, authenticated};
use crate::body;
use crate::config::beside;
use crate::error::{ApiError, OAuthError};
use crate::extract::access_token;
use crate::state::ApiState;

/// How long after its end a revoked token is remembered: clocks differ, and tokens pass a little after their end.
const REMEMBERED: Duration = Duration::from_secs(300);

/// Revokes the token of the form, if it is one of the caller's.
pub(crate) async fn revoke(
    state: &ApiState,
    endpoint: Endpoint<'_>,
    request: &Parts,
    body: Body,
) -> Result<Response, ApiError> {
    let mut attempt = Attempt::of(state, request);
    let answer = answer(state, endpoint, request, body, &mut attempt).await;
    attempt.settle(state, answer)
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
    let credentials = form.credentials.as_ref().ok_or_else(|| {
        OAuthError::InvalidClient.because("client_assertion is missing: apps authenticate with a signed JWT")
    })?;
    let urls = endpoint.audiences(config, |token_path| beside(token_path, "revoke"));
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let proven = authenticate(state, &urls, credentials, attempt).await?;
    let client = &proven.app.client_id;
    let audit = authenticated(client, endpoint, "revocation", attempt);
    use_up(state, &proven.assertion, &audit).await?;
    revoke_own(state, client, &form.token).await?;
    Ok(Response::new(Body::empty()))
}

/// Wherever it is for: an app that wants a token to end is never refused.
async fn revoke_own(state: &ApiState, client: &ClientId, token: &str) -> Result<(), ApiError> {
    let claims = match own(state, token).await {
        Ok(claims) if claims.client_id == *client => claims,
        Ok(_) | Err(ApiError::BadToken(_)) => return Ok(()),
        Err(error) => return Err(error),
    };
    let until = remembered_until(claims.exp).ok_or(ApiError::Unexpected("a token of ours never ends"))?;
    let jti = claims.jti.to_string();
    let practice = state.store().practice_by_base_url(&[claims.allowed_fhir_url]).await?;
    let audit = Audit::new(format!("client {client}"), "token.revoked")
        .about_client(client)
        .with(json!({ "jti": jti }));
    let audit = match practice {
        Some(practice) => audit.at(practice.number),
        None => audit,
    };
    Ok(state.store().revoke_token(&jti, client, until, &audit).await?)
}

/// What a token of ours says. That its key is unknown is believed only after a look for it: elsewhere there may have been
/// one for another token a moment ago, but there the token is merely refused.
async fn own(state: &ApiState, token: &str) -> Result<AccessTokenClaims, ApiError> {
    let asked = Instant::now();
    let own = access_token::own(state, token).await;
    let unknown = matches!(own, Err(ApiError::BadToken(AccessTokenError::UnknownKey)));
    if !unknown || state.keys().looked_since(asked).await {
        return own;
    }
    state.keys().refresh(state.deps()).await?;
    access_token::own(state, token).await
}

fn remembered_until(exp: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(exp, 0)?.checked_add_signed(chrono::TimeDelta::from_std(REMEMBERED).ok()?)
}

#[cfg(test)]
mod tests {
    use headgate_auth::access_token::EXPIRY_LEEWAY;

    use super::*;

    #[test]
    fn a_revoked_token_is_remembered_longer_than_it_could_pass() {
        let until = remembered_until(1_000_000).unwrap();
        assert!(until > DateTime::from_timestamp(1_000_000, 0).unwrap() + EXPIRY_LEEWAY);
        assert!(remembered_until(i64::MAX).is_none());
    }
}
