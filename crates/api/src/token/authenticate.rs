//! Who is calling: the app that signed the assertion (SMART App Launch, Client Authentication: Asymmetric; RFC 7523).

use chrono::{DateTime, Utc};
use headgate_auth::assertion::{self, AssertionError, Expected, Explain, VerifiedAssertion};
use headgate_auth::{Jwks, JwksError, KeySetError};
use headgate_domain::ClientId;
use headgate_store::{App, Audit};
use serde_json::json;

use super::form::Credentials;
use super::refusals::Attempt;
use crate::error::{ApiError, OAuthError};
use crate::state::ApiState;

/// An app that proved who it is. Its assertion is not used up yet.
pub(super) struct Proven {
    pub(super) app: App,
    pub(super) assertion: VerifiedAssertion,
}

/// Finds the app that the assertion claims to be from, and checks the assertion against its keys. `audiences` are the
/// URLs that it may be made for.
///
/// # Errors
/// `invalid_client`, 429, or a failure of our own.
pub(super) async fn authenticate(
    state: &ApiState,
    audiences: &[&str],
    credentials: &Credentials,
    attempt: &mut Attempt,
) -> Result<Proven, ApiError> {
    let now = Utc::now();
    let peeked = match assertion::peek(&credentials.client_assertion) {
        Ok(peeked) => peeked,
        Err(error) => {
            attempt.client = existing(state, claimed(&credentials.client_assertion, now)).await?;
            return Err(assertion_error(error));
        }
    };
    let unknown = || refused("unknown_client", "no app is registered under the iss of the assertion");
    let client: ClientId = peeked.client_id.parse().map_err(|_| unknown())?;
    let app = state.store().app(&client).await?.ok_or_else(unknown)?;
    attempt.client = Some(client.clone());
    attempt.kid = Some(peeked.kid.clone());
    state.token_limit().admit_app(&client)?;
    if credentials.client_id.as_ref().is_some_and(|id| *id != peeked.client_id) {
        return Err(refused("client_id_differs", "client_id is not the iss of the assertion"));
    }
    let jwks_url = app.jwks_url.as_ref().map(url::Url::as_str);
    // Before anything is fetched for it.
    if peeked.jku.is_some() && peeked.jku.as_deref() != jwks_url {
        return Err(assertion_error(AssertionError::JkuNotRegistered));
    }
    let expected = Expected { client_id: &client, audiences, jwks_url, now, skew: state.config().clock_skew };
    let verified = match &app.jwks_url {
        Some(url) => {
            let keys = state.key_sets().client_keys(url, &peeked.kid).await.map_err(key_set_error)?;
            assertion::verify(&credentials.client_assertion, &keys, &expected)
        }
        None => assertion::verify(&credentials.client_assertion, &inline_keys(&app, now)?, &expected),
    };
    let assertion = verified.map_err(assertion_error)?;
    if assertion.jti.contains('\0') {
        return Err(refused("malformed_jti", "jti must not hold the character U+0000"));
    }
    Ok(Proven { app, assertion })
}

/// Uses up the assertion, and records what for in the same transaction.
///
/// # Errors
/// `invalid_client` when it was used before.
pub(super) async fn use_up(
    state: &ApiState,
    assertion: &VerifiedAssertion,
    audit: &Audit,
) -> Result<(), ApiError> {
    let store = state.store();
    if store.use_assertion(&assertion.client_id, &assertion.jti, assertion.replayable_until, audit).await? {
        return Ok(());
    }
    let text = "this assertion was used before: make a new one, with a new jti, for each request";
    Err(refused("replayed", text))
}

/// The inline keys that work now.
fn inline_keys(app: &App, now: DateTime<Utc>) -> Result<Jwks, ApiError> {
    let keys: Vec<_> = app.live_keys(now).collect();
    Jwks::from_value(&json!({ "keys": keys })).map_err(|error| match error {
        JwksError::Empty => refused("no_key", "every key of this app was revoked or has expired"),
        _ => ApiError::Unexpected("the stored keys of an app cannot be read"),
    })
}

/// The app that an assertion names whose header is wrong already.
fn claimed(assertion: &str, now: DateTime<Utc>) -> Option<ClientId> {
    let explain =
        Explain { client_id: None, audiences: &[], keys: None, jwks_url: None, now, skew: assertion::SKEW };
    let claims = assertion::explain(assertion, &explain).claims?;
    claims["iss"].as_str()?.parse().ok()
}

async fn existing(state: &ApiState, client: Option<ClientId>) -> Result<Option<ClientId>, ApiError> {
    let Some(client) = client else { return Ok(None) };
    Ok(state.store().app(&client).await?.map(|app| app.client_id))
}

fn assertion_error(error: AssertionError) -> ApiError {
    refused(error.reason(), error.to_string())
}

fn key_set_error(error: KeySetError) -> ApiError {
    match error {
        KeySetError::Busy => ApiError::Busy,
        error => refused("jwks_url", error.to_string()),
    }
}

/// Every failure to authenticate is `invalid_client` (SMART App Launch, Client Authentication: Asymmetric).
pub(super) fn refused(reason: &'static str, description: impl Into<String>) -> ApiError {
    ApiError::OAuth { error: OAuthError::InvalidClient, description: description.into(), reason }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use headgate_auth::{Algorithm, Header, PrivateKey, PublicJwk};
    use headgate_store::AppKey;
    use uuid::Uuid;

    use super::*;

    fn key(kid: &str, expires_in_s: Option<i64>, revoked: bool, now: DateTime<Utc>) -> AppKey {
        let jwk = PrivateKey::generate(Algorithm::Es384).unwrap().public_jwk().to_json();
        AppKey {
            kid: kid.to_owned(),
            jwk: PublicJwk::parse(&jwk).unwrap().to_json(),
            created_at: now,
            expires_at: expires_in_s.map(|s| now + TimeDelta::seconds(s)),
            revoked_at: revoked.then_some(now),
        }
    }

    fn app(keys: Vec<AppKey>) -> App {
        App {
            client_id: ClientId::from_random([1; 25]),
            vendor_id: Uuid::nil(),
            vendor_name: "V".into(),
            name: "A".into(),
            scopes: "system/*.rs".parse().unwrap(),
            security_contact: "s@v.example".into(),
            suspended: None,
            vendor_suspended: false,
            revision: 1,
            created_at: Utc::now(),
            jwks_url: None,
            keys,
            consenting: vec![],
        }
    }

    #[test]
    fn only_inline_keys_that_work_now_authenticate() {
        let now = Utc::now();
        let keys = vec![
            key("live", None, false, now),
            key("until", Some(1), false, now),
            key("over", Some(0), false, now),
            key("revoked", None, true, now),
        ];
        assert_eq!(inline_keys(&app(keys.clone()), now).unwrap().keys().len(), 2);
        let error = inline_keys(&app(keys[2..].to_vec()), now).unwrap_err();
        assert!(matches!(error, ApiError::OAuth { error: OAuthError::InvalidClient, reason: "no_key", .. }));
    }

    #[test]
    fn the_app_is_found_whose_assertion_has_a_wrong_header() {
        let client = ClientId::from_random([7; 25]);
        let key = PrivateKey::generate(Algorithm::Es384).unwrap();
        let header = Header { typ: Some("at+jwt".to_owned()), ..key.header() };
        let assertion = key.sign_with_header(&header, &json!({ "iss": client })).unwrap();
        assert!(assertion::peek(&assertion).is_err());
        assert_eq!(claimed(&assertion, Utc::now()), Some(client));
        assert_eq!(claimed("a.b.c", Utc::now()), None);
    }

    #[test]
    fn a_key_set_that_cannot_be_had_is_the_apps_matter_and_a_busy_server_is_not() {
        assert!(matches!(key_set_error(KeySetError::Busy), ApiError::Busy));
        let error = key_set_error(KeySetError::Timeout);
        assert!(matches!(
            error,
            ApiError::OAuth { error: OAuthError::InvalidClient, reason: "jwks_url", .. }
        ));
    }
}
