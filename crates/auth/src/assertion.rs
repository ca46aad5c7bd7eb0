//! Client assertions: how an app proves who it is at the token endpoint (`private_key_jwt`; SMART App
//! Launch, Client Authentication: Asymmetric; RFC 7523).
//!
//! Every cause of refusal is a variant of its own with a text for the vendor's developer, because the
//! token endpoint answers all of them with the same `invalid_client` and this text is all they have to
//! go by. Texts say what is expected and never repeat what was sent.

use std::time::Duration;

use chrono::{DateTime, Utc};
use headgate_domain::ClientId;
use serde_json::{Map, Value};

use crate::Algorithm;
use crate::compact::{Compact, MAX_BYTES};
use crate::jwks::{Jwks, MAX_KID_BYTES, SelectError};

/// How far the clocks of client and server may be apart.
pub const SKEW: Duration = Duration::from_secs(60);

/// The longest life of an assertion: SMART allows an `exp` at most five minutes in the future.
pub const MAX_LIFETIME: Duration = Duration::from_secs(300);

/// Longest `jti`, in bytes: it is a key of the replay table.
pub const MAX_JTI_BYTES: usize = 255;

/// Header members that bring key material of the sender's choice, or demand an extension. They are
/// never used, so an assertion that relies on them is refused (RFC 7515, section 4.1.11; RFC 8725).
const REFUSED_HEADERS: [&str; 4] = ["jwk", "x5u", "x5c", "crit"];

/// What an assertion says about itself. Nothing of it is proven: it only serves to find the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unverified {
    /// The claim `iss`. May be anything.
    pub client_id: String,
    /// The key id of the header.
    pub kid: String,
    /// The algorithm of the header.
    pub alg: Algorithm,
    /// The key set URL of the header. Never to be fetched unless it equals the registered one.
    pub jku: Option<String>,
}

/// What an assertion has to match.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The app that was found, whose keys are tried.
    pub client_id: &'a ClientId,
    /// The URLs of this token endpoint; `aud` must be exactly one of them. The first is the one that
    /// error texts name.
    pub audiences: &'a [&'a str],
    /// The key set URL the app registered; `None` when it registered its keys inline. A `jku` must
    /// equal it.
    pub jwks_url: Option<&'a str>,
    /// The time of the request.
    pub now: DateTime<Utc>,
    /// How far the client's clock may be off; by default [`SKEW`].
    pub skew: Duration,
}

/// A client that proved who it is. The caller still has to refuse a `jti` this client used before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedAssertion {
    /// Who it is.
    pub client_id: ClientId,
    /// The id of the assertion, to be accepted once per client.
    pub jti: String,
    /// The claim `exp`, rounded up to a whole second.
    pub expires_at: DateTime<Utc>,
    /// Until when the same assertion would verify again: `expires_at` plus the skew. The `jti` has to
    /// be remembered at least so long.
    pub replayable_until: DateTime<Utc>,
}

/// Why an assertion does not authenticate. To a client all of these are `invalid_client` (RFC 6749,
/// section 5.2); the text may go into `error_description`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says what it is")]
pub enum AssertionError {
    #[error("client_assertion is longer than 8192 bytes")]
    TooLarge,
    #[error("client_assertion is not a signed JWT: three parts of base64url, separated by dots")]
    Malformed,
    #[error("the header typ must be JWT")]
    WrongType,
    #[error("the header alg must be ES384 or RS384")]
    UnsupportedAlgorithm,
    #[error("the header must not have `{0}`")]
    RefusedHeader(&'static str),
    #[error("the header must have a kid: the id of the signing key")]
    MissingKid,
    #[error("the header kid is longer than 255 bytes")]
    KidTooLong,
    #[error("the header jku is not the JWKS URL this client registered")]
    JkuNotRegistered,
    #[error("no registered key of this client has the kid of the header")]
    UnknownKey,
    #[error("more than one registered key of this client has the kid of the header")]
    AmbiguousKey,
    #[error("the registered key with this kid is of another type than the header alg needs")]
    WrongKeyType,
    #[error("the signature was not made by the registered key with this kid")]
    BadSignature,
    #[error("iss must be the client id")]
    WrongIssuer,
    #[error("sub must be the client id, as iss")]
    WrongSubject,
    #[error("aud is missing; it must be exactly the token endpoint, {expected}")]
    MissingAudience { expected: String },
    #[error("aud has more than one value; it must be exactly the token endpoint, {expected}")]
    SeveralAudiences { expected: String },
    #[error("aud must be exactly the token endpoint, {expected}")]
    WrongAudience { expected: String },
    #[error("exp is missing")]
    MissingExpiry,
    #[error("{0} must be a number: seconds since 1970-01-01T00:00:00Z")]
    NotATime(&'static str),
    #[error("exp is in the past: the assertion has expired, or the client's clock is wrong")]
    Expired,
    #[error("exp must be at most 5 minutes in the future; check the client's clock")]
    ExpiryTooFar,
    #[error("{0} is in the future; check the client's clock")]
    InTheFuture(&'static str),
    #[error("jti is missing; it must be a text that is new for each assertion")]
    MissingJti,
    #[error("jti is longer than 255 bytes")]
    JtiTooLong,
}

impl AssertionError {
    /// A stable code for logs and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::WrongType => "wrong_typ",
            Self::UnsupportedAlgorithm => "unsupported_alg",
            Self::RefusedHeader(_) => "refused_header",
            Self::MissingKid => "missing_kid",
            Self::KidTooLong => "kid_too_long",
            Self::JkuNotRegistered => "jku_not_registered",
            Self::UnknownKey => "unknown_key",
            Self::AmbiguousKey => "ambiguous_key",
            Self::WrongKeyType => "wrong_key_type",
            Self::BadSignature => "bad_signature",
            Self::WrongIssuer => "wrong_iss",
            Self::WrongSubject => "wrong_sub",
            Self::MissingAudience { .. } => "missing_aud",
            Self::SeveralAudiences { .. } => "several_aud",
            Self::WrongAudience { .. } => "wrong_aud",
            Self::MissingExpiry => "missing_exp",
            Self::NotATime(_) => "not_a_time",
            Self::Expired => "expired",
            Self::ExpiryTooFar => "exp_too_far",
            Self::InTheFuture(_) => "in_the_future",
            Self::MissingJti => "missing_jti",
            Self::JtiTooLong => "jti_too_long",
        }
    }
}

impl From<SelectError> for AssertionError {
    fn from(error: SelectError) -> Self {
        match error {
            SelectError::UnknownKid => Self::UnknownKey,
            SelectError::AmbiguousKid => Self::AmbiguousKey,
            SelectError::WrongKeyType => Self::WrongKeyType,
        }
    }
}

/// Reads who an assertion claims to be from, and checks everything that needs neither the app nor its
/// keys.
///
/// # Errors
/// When [`verify`] would refuse it for its size, form or header, or when `iss` is missing.
pub fn peek(assertion: &str) -> Result<Unverified, AssertionError> {
    let (_, unverified) = take_apart(assertion)?;
    Ok(unverified)
}

/// Checks an assertion against the keys of the app that [`peek`] led to.
///
/// # Errors
/// The first check that fails: form and header, then the signature, then the claims.
pub fn verify(
    assertion: &str,
    keys: &Jwks,
    expected: &Expected<'_>,
) -> Result<VerifiedAssertion, AssertionError> {
    let (token, unverified) = take_apart(assertion)?;
    if unverified.jku.is_some() && unverified.jku.as_deref() != expected.jwks_url {
        return Err(AssertionError::JkuNotRegistered);
    }
    let key = keys.select(&unverified.kid, unverified.alg)?;
    if !token.is_signed_by(key) {
        return Err(AssertionError::BadSignature);
    }

    if unverified.client_id != expected.client_id.as_str() {
        return Err(AssertionError::WrongIssuer);
    }
    if text(&token.claims, "sub") != Some(expected.client_id.as_str()) {
        return Err(AssertionError::WrongSubject);
    }
    check_audience(&token.claims, expected.audiences)?;
    let expires_at = check_times(&token.claims, expected.now, expected.skew)?;
    let jti = text(&token.claims, "jti").filter(|jti| !jti.is_empty()).ok_or(AssertionError::MissingJti)?;
    if jti.len() > MAX_JTI_BYTES {
        return Err(AssertionError::JtiTooLong);
    }

    Ok(VerifiedAssertion {
        client_id: expected.client_id.clone(),
        jti: jti.to_owned(),
        expires_at,
        replayable_until: expires_at + expected.skew,
    })
}

/// Takes the token apart and checks its header.
fn take_apart(assertion: &str) -> Result<(Compact<'_>, Unverified), AssertionError> {
    if assertion.len() > MAX_BYTES {
        return Err(AssertionError::TooLarge);
    }
    let token = Compact::parse(assertion).ok_or(AssertionError::Malformed)?;
    if !token.is_typed_jwt() {
        return Err(AssertionError::WrongType);
    }
    let alg = token
        .header_text("alg")
        .and_then(Algorithm::from_name)
        .ok_or(AssertionError::UnsupportedAlgorithm)?;
    if let Some(name) = REFUSED_HEADERS.into_iter().find(|name| token.header.contains_key(*name)) {
        return Err(AssertionError::RefusedHeader(name));
    }
    let kid = token.header_text("kid").filter(|kid| !kid.is_empty()).ok_or(AssertionError::MissingKid)?;
    if kid.len() > MAX_KID_BYTES {
        return Err(AssertionError::KidTooLong);
    }
    let jku = match token.header.get("jku") {
        None => None,
        Some(Value::String(jku)) => Some(jku.clone()),
        Some(_) => return Err(AssertionError::JkuNotRegistered),
    };
    let client_id = text(&token.claims, "iss").ok_or(AssertionError::WrongIssuer)?;
    let unverified = Unverified { client_id: client_id.to_owned(), kid: kid.to_owned(), alg, jku };
    Ok((token, unverified))
}

/// `aud` must be one string, alone or as the only one of an array. With several, a second server that
/// is also named could replay the assertion here (RFC 7523bis, audience injection).
fn check_audience(claims: &Map<String, Value>, accepted: &[&str]) -> Result<(), AssertionError> {
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

/// Checks `exp`, and `nbf` and `iat` where given; returns `exp`. A NumericDate may have a fraction
/// (RFC 7519, section 2), hence the floating-point seconds.
fn check_times(
    claims: &Map<String, Value>,
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
    for name in ["nbf", "iat"] {
        if time(claims, name)?.is_some_and(|time| time > now + skew) {
            return Err(AssertionError::InTheFuture(name));
        }
    }
    // Within minutes of a time that exists, so the conversion neither saturates nor fails.
    DateTime::from_timestamp(exp.ceil() as i64, 0).ok_or(AssertionError::ExpiryTooFar)
}

fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<f64>, AssertionError> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => {
            value.as_f64().filter(|time| time.is_finite()).map(Some).ok_or(AssertionError::NotATime(name))
        }
    }
}

/// Seconds since 1970, to the millisecond: exact in a double for the next hundred thousand years.
fn seconds(time: DateTime<Utc>) -> f64 {
    time.timestamp_millis() as f64 / 1000.0
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

#[cfg(test)]
mod tests;
