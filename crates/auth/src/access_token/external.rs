//! Access tokens that another server issued: a Keycloak realm that stands where this server's own token
//! endpoint would. They are read as that product writes them: the client is `azp` or `clientId`, the
//! practice is `allowedFhirUrl`, scopes of other kinds (`launch`, `openid`) stand among ours, and there
//! may be no `aud`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use headgate_domain::ClientId;
use serde_json::{Map, Value};

use super::AccessTokenError;
use crate::assertion::MAX_JTI_BYTES;
use crate::claims::{seconds, text, time, whole_seconds};
use crate::issuer_keys::IssuerKeys;
use crate::issuer_token::{NotSigned, signed_claims, take_apart};

/// What a token of another issuer has to match.
#[derive(Debug, Clone, Copy)]
pub struct ExternalExpected<'a> {
    /// The issuer, exactly.
    pub issuer: &'a str,
    /// The audience that `aud` must be or contain; `None` when the issuer names none.
    pub audience: Option<&'a str>,
    /// The time of the request.
    pub now: DateTime<Utc>,
    /// How far the issuer's clock may be off.
    pub skew: Duration,
}

/// What a token of another issuer says that matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalClaims {
    /// The client: `azp` or `clientId`.
    pub client_id: ClientId,
    /// The `system/` scopes, separated by single spaces; empty when there is none. Others are ignored.
    pub scopes: String,
    /// The one base URL the token is good for.
    pub allowed_fhir_url: String,
    /// The id of the token, of at most 255 bytes.
    pub jti: Option<String>,
    /// When it was issued, in seconds since 1970.
    pub issued_at: Option<i64>,
    /// When it ends, in seconds since 1970, rounded up.
    pub expires_at: i64,
}

impl From<NotSigned> for AccessTokenError {
    fn from(error: NotSigned) -> Self {
        match error {
            NotSigned::Malformed => Self::Malformed,
            NotSigned::UnknownKey => Self::UnknownKey,
            NotSigned::BadSignature => Self::BadSignature,
        }
    }
}

/// The key id of a token, to find the issuer's keys with; `None` when the token would be malformed.
/// Nothing of it is proven.
#[must_use]
pub fn peek_kid(token: &str) -> Option<String> {
    take_apart(token).map(|(_, kid)| kid)
}

/// Checks an access token against the keys of the issuer. Whether it is good for the practice at hand
/// and what its scope allows is for the caller to say.
///
/// # Errors
/// The first check that fails: form and header, key, signature, type, issuer, audience, times, and the
/// claims that say who and where.
pub fn verify_external(
    token: &str,
    keys: &IssuerKeys,
    expected: &ExternalExpected<'_>,
) -> Result<ExternalClaims, AccessTokenError> {
    let claims = signed_claims(token, keys)?;
    // Keycloak signs ID tokens with the same keys; the claim `typ` tells them apart.
    if claims.get("typ").is_some_and(|typ| typ != "Bearer") {
        return Err(AccessTokenError::Malformed);
    }
    if text(&claims, "iss") != Some(expected.issuer) {
        return Err(AccessTokenError::WrongIssuer);
    }
    if expected.audience.is_some_and(|audience| !has_audience(&claims, audience)) {
        return Err(AccessTokenError::WrongAudience);
    }
    let expires_at = check_times(&claims, expected)?;
    let issued_at = match time_of(&claims, "iat")? {
        None => None,
        Some(iat) => Some(whole_seconds(iat).ok_or(AccessTokenError::Malformed)?),
    };
    Ok(ExternalClaims {
        client_id: client_of(&claims).ok_or(AccessTokenError::Malformed)?,
        scopes: system_scopes(&claims).ok_or(AccessTokenError::Malformed)?,
        allowed_fhir_url: text(&claims, "allowedFhirUrl")
            .filter(|url| !url.is_empty())
            .ok_or(AccessTokenError::Malformed)?
            .to_owned(),
        jti: id_of(&claims)?,
        issued_at,
        expires_at,
    })
}

/// Whether `aud` is the audience or a list with it. Unlike an assertion, an access token may be for
/// several resource servers (RFC 9068, section 4).
fn has_audience(claims: &Map<String, Value>, audience: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(only)) => only == audience,
        Some(Value::Array(several)) => several.iter().any(|one| one == audience),
        _ => false,
    }
}

/// Checks `exp`, and `nbf` where given; returns `exp`.
fn check_times(
    claims: &Map<String, Value>,
    expected: &ExternalExpected<'_>,
) -> Result<i64, AccessTokenError> {
    let (now, skew) = (seconds(expected.now), expected.skew.as_secs_f64());
    let exp = time_of(claims, "exp")?.ok_or(AccessTokenError::Malformed)?;
    if exp + skew <= now {
        return Err(AccessTokenError::Expired);
    }
    if time_of(claims, "nbf")?.is_some_and(|nbf| nbf > now + skew) {
        return Err(AccessTokenError::NotYetValid);
    }
    whole_seconds(exp).ok_or(AccessTokenError::Malformed)
}

fn time_of(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, AccessTokenError> {
    time(claims, name).map_err(|_| AccessTokenError::Malformed)
}

/// The client: `azp` or `clientId`; when both are there, they must be the same one.
fn client_of(claims: &Map<String, Value>) -> Option<ClientId> {
    let mut named = ["azp", "clientId"].into_iter().filter_map(|name| claims.get(name));
    let client = named.next()?;
    if named.any(|other| other != client) {
        return None;
    }
    client.as_str()?.parse().ok()
}

fn system_scopes(claims: &Map<String, Value>) -> Option<String> {
    let Some(scope) = claims.get("scope") else { return Some(String::new()) };
    let scopes: Vec<&str> =
        scope.as_str()?.split_ascii_whitespace().filter(|scope| scope.starts_with("system/")).collect();
    Some(scopes.join(" "))
}

fn id_of(claims: &Map<String, Value>) -> Result<Option<String>, AccessTokenError> {
    match claims.get("jti") {
        None => Ok(None),
        Some(Value::String(jti)) if (1..=MAX_JTI_BYTES).contains(&jti.len()) => Ok(Some(jti.clone())),
        Some(_) => Err(AccessTokenError::Malformed),
    }
}

#[cfg(test)]
mod tests;
