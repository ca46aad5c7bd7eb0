//! Checking the access token of a request: one of ours, or of the issuer that stands in our place.

use chrono::Utc;
use headgate_auth::AccessTokenClaims;
use headgate_auth::access_token::{self, AccessTokenError, Expected, ExternalClaims, ExternalExpected};

use crate::config::ExternalIssuer;
use crate::error::ApiError;
use crate::state::ApiState;

/// What a token of ours says. A key that is not known is looked for, because another process may have made it.
///
/// # Errors
/// 401 for a token that is not good; or when the control database fails.
pub(crate) async fn own(state: &ApiState, token: &str) -> Result<AccessTokenClaims, ApiError> {
    let verified = verify(state, token);
    let verified = match verified {
        Err(AccessTokenError::UnknownKey) if state.keys().look_again(state.deps()).await? => {
            verify(state, token)
        }
        verified => verified,
    };
    verified.map_err(ApiError::BadToken)
}

fn verify(state: &ApiState, token: &str) -> Result<AccessTokenClaims, AccessTokenError> {
    let now = Utc::now();
    let expected = Expected { issuer: &state.config().issuer, now };
    access_token::verify(token, &state.keys().verifying(now), &expected)
}

/// What a token of another issuer says.
///
/// # Errors
/// 401 for a token that is not good; 503 when the keys of the issuer cannot be had.
pub(crate) async fn external(
    state: &ApiState,
    issuer: &ExternalIssuer,
    token: &str,
) -> Result<ExternalClaims, ApiError> {
    let kid = access_token::peek_kid(token).ok_or(ApiError::BadToken(AccessTokenError::Malformed))?;
    let keys = state.key_sets().issuer_keys(&issuer.jwks_url, &kid).await.map_err(ApiError::IssuerKeys)?;
    let expected = ExternalExpected {
        issuer: &issuer.issuer,
        audience: issuer.audience.as_deref(),
        now: Utc::now(),
        skew: state.config().clock_skew,
    };
    access_token::verify_external(token, &keys, &expected).map_err(ApiError::BadToken)
}
