//! Access tokens: RS256 JWTs that this server issues and checks (SMART Backend Services, Issue Access
//! Token).
//!
//! The claims are those of the product this one can stand in for, so that a client which looks into
//! its token finds what it is used to. `allowedFhirUrl` binds a token to one practice. That binding is
//! not checked here: a token that is valid elsewhere is a 403 and not a 401, and only the caller knows
//! which practice is being asked for.
//!
//! Where another server issues the tokens, [`verify_external`] reads them.

use std::time::Duration;

use aws_lc_rs::digest;
use chrono::{DateTime, Utc};
use headgate_domain::ClientId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::compact::{Compact, MAX_BYTES, is_typed};
use crate::jwks::PublicJwk;
use crate::private_key::KeyError;
use crate::signing_key::SigningKey;

mod external;

pub use external::{ExternalClaims, ExternalExpected, peek_kid, verify_external};

/// How long after `exp` a token still passes, for servers whose clocks differ a little. The one who
/// issues and the one who checks are the same fleet, so it is short.
pub const EXPIRY_LEEWAY: Duration = Duration::from_secs(5);

/// The claims of an access token, all required.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessTokenClaims {
    /// The issuer: an URL of this server.
    pub iss: String,
    /// The service account of the client: [`subject_of`] its id.
    pub sub: Uuid,
    /// Always `Bearer`.
    pub typ: TokenType,
    /// The authorised party: the client id.
    pub azp: ClientId,
    /// The client id again.
    pub client_id: ClientId,
    /// The host that asked for the token, as text; the address where no name is known.
    pub client_host: String,
    /// The address that asked for the token, as text.
    pub client_address: String,
    /// The granted scopes, separated by single spaces.
    pub scope: String,
    /// The id of the token, for the audit log.
    pub jti: Uuid,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// The audience: the practice's base URL.
    pub aud: String,
    /// The one base URL the token is good for.
    pub allowed_fhir_url: String,
}

/// The claim `typ`. No client assertion has it, so none can pass as an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenType {
    /// Whoever bears the token may use it (RFC 6750).
    Bearer,
}

/// What a token has to match.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The issuer, exactly.
    pub issuer: &'a str,
    /// The time of the request.
    pub now: DateTime<Utc>,
}

/// Why a token is not accepted: a 401 with `invalid_token` (RFC 6750, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccessTokenError {
    /// Not a token of ours by form, header or claims.
    #[error("the access token is malformed")]
    Malformed,
    /// No live key has the token's `kid`.
    #[error("the access token was signed with a key that is not in use")]
    UnknownKey,
    /// The signature does not match: forged or changed.
    #[error("the signature of the access token is wrong")]
    BadSignature,
    /// Issued by someone else.
    #[error("the access token is from another issuer")]
    WrongIssuer,
    /// Issued for someone else.
    #[error("the access token is for another audience")]
    WrongAudience,
    /// Its time has not come.
    #[error("the access token is not valid yet")]
    NotYetValid,
    /// Its time is over.
    #[error("the access token has expired")]
    Expired,
}

impl AccessTokenError {
    /// A stable code for logs and metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::WrongIssuer => "wrong_iss",
            Self::WrongAudience => "wrong_aud",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
        }
    }
}

/// The subject of a client's tokens: a UUID of version 8 (RFC 9562, section 5.8) made of the SHA-256 of
/// the client id, so that it is the same in every token without being stored.
#[must_use]
pub fn subject_of(client_id: &ClientId) -> Uuid {
    let hash = digest::digest(&digest::SHA256, format!("headgate:client:{client_id}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Signs an access token.
///
/// # Errors
/// When the cryptographic library fails.
pub fn issue(key: &SigningKey, claims: &AccessTokenClaims) -> Result<String, KeyError> {
    key.sign(claims)
}

/// Checks an access token against the server's live keys. Whether it is good for the practice at hand
/// and what its scope allows is for the caller to say.
///
/// # Errors
/// The first check that fails: form and header, key, signature, claims, issuer, expiry.
pub fn verify(
    token: &str,
    keys: &[PublicJwk],
    expected: &Expected<'_>,
) -> Result<AccessTokenClaims, AccessTokenError> {
    if token.len() > MAX_BYTES {
        return Err(AccessTokenError::Malformed);
    }
    let token = Compact::parse(token).ok_or(AccessTokenError::Malformed)?;
    if token.header_text("alg") != Some("RS256")
        || !is_typed(&token.header, &["JWT"])
        || token.header.contains_key("crit")
    {
        return Err(AccessTokenError::Malformed);
    }
    let kid = token.header_text("kid").ok_or(AccessTokenError::Malformed)?;
    let key = keys
        .iter()
        .find(|key| key.kid() == kid && key.jwt() == jsonwebtoken::Algorithm::RS256)
        .ok_or(AccessTokenError::UnknownKey)?;
    if !token.is_signed_by(key) {
        return Err(AccessTokenError::BadSignature);
    }

    let claims: AccessTokenClaims =
        serde_json::from_value(Value::Object(token.claims)).map_err(|_| AccessTokenError::Malformed)?;
    if claims.iss != expected.issuer {
        return Err(AccessTokenError::WrongIssuer);
    }
    let passes_until = claims.exp.saturating_add_unsigned(EXPIRY_LEEWAY.as_secs());
    if expected.now.timestamp() >= passes_until {
        return Err(AccessTokenError::Expired);
    }
    Ok(claims)
}

#[cfg(test)]
mod tests;
