//! Who sent a request, and what they may do: read from the access token and, at each request anew, from
//! the practice's consent.

use chrono::Utc;
use headgate_auth::access_token::{self, AccessTokenError, Expected};
use headgate_domain::ClientId;
use headgate_domain::consent::Consent;
use headgate_domain::practice::Practice;
use headgate_domain::scope::ScopeSet;
use http::header::{AUTHORIZATION, HeaderMap};

use crate::error::ApiError;
use crate::state::ApiState;

/// A client that proved who it is, at the practice its token is for. Whether the practice still consents is
/// not yet known.
#[derive(Debug)]
pub(crate) struct Bearer {
    /// Who it is.
    pub(crate) client: ClientId,
    /// What its token covers.
    pub(crate) scopes: ScopeSet,
}

/// A client with a token and with a consent that is in force now.
#[derive(Debug)]
pub(crate) struct Principal {
    /// Who it is.
    pub(crate) client: ClientId,
    /// What its token covers.
    pub(crate) scopes: ScopeSet,
    /// What the practice consents to.
    pub(crate) consent: Consent,
}

impl Bearer {
    /// Verifies the access token of a request at a practice.
    ///
    /// # Errors
    /// 401 without a token or with a bad one, 403 with a token of another practice.
    pub(crate) fn of(state: &ApiState, practice: &Practice, headers: &HeaderMap) -> Result<Self, ApiError> {
        let token = bearer_token(headers).ok_or(ApiError::NoToken)?;
        let expected = Expected { issuer: &state.config().issuer, now: Utc::now() };
        let claims =
            access_token::verify(token, state.verification_keys(), &expected).map_err(ApiError::BadToken)?;
        if claims.allowed_fhir_url != practice.base() || claims.aud != practice.base() {
            return Err(ApiError::OtherPractice);
        }
        let scopes = claims.scope.parse().map_err(|_| ApiError::BadToken(AccessTokenError::Malformed))?;
        Ok(Self { client: claims.client_id, scopes })
    }

    /// Asks whether the practice consents; `None` when it does not, or practice or app are suspended.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn consented(
        self,
        state: &ApiState,
        practice: &Practice,
    ) -> Result<Option<Principal>, ApiError> {
        let consent = state.store().consent_in_force(practice.number, &self.client).await?;
        Ok(consent.map(|consent| Principal { client: self.client, scopes: self.scopes, consent }))
    }
}

/// The token of `Authorization: Bearer …`; the scheme's name is case-insensitive (RFC 9110, section 11.1).
pub(crate) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_a_bearer_token_is_a_token() {
        let token = |value: &'static str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
            bearer_token(&headers).map(str::to_owned)
        };
        assert_eq!(token("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(token("bearer  abc").as_deref(), Some("abc"));
        for other in ["Basic abc", "Bearer", "Bearer ", "abc", ""] {
            assert_eq!(token(other), None, "{other}");
        }
        assert_eq!(bearer_token(&HeaderMap::new()), None);
    }
}
