//! Reading the token of a request: of the built-in issuer, or of one that the configuration names.

use chrono::Utc;
use headgate_auth::admin_token::{self, AdminIdentity, AdminIssuer};
use http::HeaderMap;

use crate::error::ApiError;
use crate::extract::principal::bearer_token;
use crate::state::ApiState;

/// Who the token of a request is for.
///
/// # Errors
/// 401 without a token or with one that is not good; 503 when the issuer's keys cannot be had.
pub(super) async fn identify(state: &ApiState, headers: &HeaderMap) -> Result<AdminIdentity, ApiError> {
    let token = bearer_token(headers).ok_or(ApiError::Unauthorized(None))?;
    let refused = |text: String| ApiError::Unauthorized(Some(text));
    let config = state.config();
    let unknown = || refused("no issuer that is configured here made this token".to_owned());
    let (issuer, kid) = admin_token::peek_issuer(token).ok_or_else(unknown)?;
    if issuer == admin_token::BUILTIN_ISSUER {
        let keys = config.admin_builtin_keys.as_ref().ok_or_else(unknown)?;
        let builtin = AdminIssuer::builtin();
        return admin_token::verify(token, keys, &builtin, Utc::now(), config.clock_skew)
            .map_err(|error| refused(error.to_string()));
    }
    let (known, url) =
        config.admin_issuers.iter().find(|(known, _)| known.issuer == issuer).ok_or_else(unknown)?;
    let keys = state.key_sets().issuer_keys(url, &kid).await.map_err(ApiError::IssuerKeys)?;
    admin_token::verify(token, &keys, known, Utc::now(), config.clock_skew)
        .map_err(|error| refused(error.to_string()))
}
