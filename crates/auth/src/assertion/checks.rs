//! The rules for an assertion, one by one (SMART App Launch, Client Authentication: Asymmetric; RFC 7523,
//! section 3). `verify` stops at the first that fails, `explain` goes on.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::{AssertionError, MAX_JTI_BYTES, MAX_LIFETIME};
use crate::Algorithm;
use crate::claims::{self, seconds, text};
use crate::compact::{Compact, MAX_BYTES, REFUSED_HEADERS, is_typed};
use crate::jwks::{Jwks, MAX_KID_BYTES, PublicJwk};

type Members = Map<String, Value>;

pub(super) fn form(assertion: &str) -> Result<Compact<'_>, AssertionError> {
    size(assertion)?;
    Compact::parse(assertion).ok_or(AssertionError::Malformed)
}

pub(super) fn size(assertion: &str) -> Result<(), AssertionError> {
    if assertion.len() > MAX_BYTES {
        return Err(AssertionError::TooLarge);
    }
    Ok(())
}

pub(super) fn typ(header: &Members) -> Result<(), AssertionError> {
    if is_typed(header, &["JWT"]) { Ok(()) } else { Err(AssertionError::WrongType) }
}

pub(super) fn alg(header: &Members) -> Result<Algorithm, AssertionError> {
    text(header, "alg").and_then(Algorithm::from_name).ok_or(AssertionError::UnsupportedAlgorithm)
}

pub(super) fn refused_members(header: &Members) -> Result<(), AssertionError> {
    match REFUSED_HEADERS.into_iter().find(|name| header.contains_key(*name)) {
        Some(name) => Err(AssertionError::RefusedHeader(name)),
        None => Ok(()),
    }
}

pub(super) fn kid(header: &Members) -> Result<&str, AssertionError> {
    let kid = text(header, "kid").filter(|kid| !kid.is_empty()).ok_or(AssertionError::MissingKid)?;
    if kid.len() > MAX_KID_BYTES {
        return Err(AssertionError::KidTooLong);
    }
    Ok(kid)
}

/// A `jku` must be a text.
pub(super) fn jku(header: &Members) -> Result<Option<&str>, AssertionError> {
    match header.get("jku") {
        None => Ok(None),
        Some(Value::String(jku)) => Ok(Some(jku)),
        Some(_) => Err(AssertionError::JkuNotRegistered),
    }
}

/// A `jku` must be the URL that was registered; with inline keys none is.
pub(super) fn jku_is_registered(header: &Members, jwks_url: Option<&str>) -> Result<(), AssertionError> {
    match jku(header)? {
        Some(jku) if Some(jku) != jwks_url => Err(AssertionError::JkuNotRegistered),
        _ => Ok(()),
    }
}

/// Exactly one key has the id and fits the algorithm.
pub(super) fn key<'a>(header: &Members, keys: &'a Jwks) -> Result<&'a PublicJwk, AssertionError> {
    Ok(keys.select(kid(header)?, alg(header)?)?)
}

pub(super) fn signature(token: &Compact<'_>, key: &PublicJwk) -> Result<(), AssertionError> {
    if token.is_signed_by(key) { Ok(()) } else { Err(AssertionError::BadSignature) }
}

pub(super) fn issuer(claims: &Members) -> Result<&str, AssertionError> {
    text(claims, "iss").ok_or(AssertionError::WrongIssuer)
}

pub(super) fn issuer_is(claims: &Members, client_id: &str) -> Result<(), AssertionError> {
    if issuer(claims)? == client_id { Ok(()) } else { Err(AssertionError::WrongIssuer) }
}

pub(super) fn subject_is(claims: &Members, client_id: &str) -> Result<(), AssertionError> {
    if text(claims, "sub") == Some(client_id) { Ok(()) } else { Err(AssertionError::WrongSubject) }
}

/// `aud` must be one string, alone or as the only one of an array. With several, a second server that
/// is also named could replay the assertion here (RFC 7523bis, audience injection).
pub(super) fn audience(claims: &Members, accepted: &[&str]) -> Result<(), AssertionError> {
    let expected = || accepted.first().copied().unwrap_or_default().to_owned();
    let audience = match claims.get("aud") {
        None | Some(Value::Null) => return Err(AssertionError::MissingAudience { expected: expected() }),
        Some(Value::Array(values)) => match values.as_slice() {
            [] => return Err(AssertionError::MissingAudience { expected: expected() }),
            [value] => value,
            _ => return Err(AssertionError::SeveralAudiences { expected: expected() }),
        },
        Some(value) => value,
    };
    match audience.as_str() {
        Some(audience) if accepted.contains(&audience) => Ok(()),
        _ => Err(AssertionError::WrongAudience { expected: expected() }),
    }
}

/// `exp` must not be over, and not be further ahead than SMART allows; returns it.
pub(super) fn expiry(
    claims: &Members,
    now: DateTime<Utc>,
    skew: Duration,
) -> Result<DateTime<Utc>, AssertionError> {
    let now = seconds(now);
    let skew = skew.as_secs_f64();
    let exp = time(claims, "exp")?.ok_or(AssertionError::MissingExpiry)?;
    if exp + skew <= now {
        return Err(AssertionError::Expired);
    }
    if exp > now + MAX_LIFETIME.as_secs_f64() + skew {
        return Err(AssertionError::ExpiryTooFar);
    }
    // Within minutes of a time that exists, so the conversion neither saturates nor fails.
    DateTime::from_timestamp(exp.ceil() as i64, 0).ok_or(AssertionError::ExpiryTooFar)
}

/// `nbf` and `iat` may be missing, but not lie ahead.
pub(super) fn not_in_the_future(
    claims: &Members,
    name: &'static str,
    now: DateTime<Utc>,
    skew: Duration,
) -> Result<(), AssertionError> {
    if time(claims, name)?.is_some_and(|time| time > seconds(now) + skew.as_secs_f64()) {
        return Err(AssertionError::InTheFuture(name));
    }
    Ok(())
}

pub(super) fn jti(claims: &Members) -> Result<&str, AssertionError> {
    let jti = text(claims, "jti").filter(|jti| !jti.is_empty()).ok_or(AssertionError::MissingJti)?;
    if jti.len() > MAX_JTI_BYTES {
        return Err(AssertionError::JtiTooLong);
    }
    Ok(jti)
}

fn time(claims: &Members, name: &'static str) -> Result<Option<f64>, AssertionError> {
    claims::time(claims, name).map_err(|_| AssertionError::NotATime(name))
}
