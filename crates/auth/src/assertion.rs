//! Client assertions: how an app proves who it is at the token endpoint (`private_key_jwt`; SMART App
//! Launch, Client Authentication: Asymmetric; RFC 7523).
//!
//! Every cause of refusal is a variant of its own with a text for the vendor's developer, because the
//! token endpoint answers all of them with the same `invalid_client` and this text is all they have to
//! go by. Texts say what is expected and never repeat what was sent. [`explain`] makes all checks of
//! [`verify`] and says of each what was found, for the developer whose own assertion it is.

use std::time::Duration;

use chrono::{DateTime, Utc};
use headgate_domain::ClientId;

use crate::Algorithm;
use crate::jwks::{Jwks, SelectError};

mod checks;
mod explain;

pub use explain::{Check, Explain, Explanation, Outcome, explain};

/// How far the clocks of client and server may be apart.
pub const SKEW: Duration = Duration::from_secs(60);

/// The longest life of an assertion: SMART allows an `exp` at most five minutes in the future.
pub const MAX_LIFETIME: Duration = Duration::from_secs(300);

/// Longest `jti`, in bytes: it is a key of the replay table.
pub const MAX_JTI_BYTES: usize = 255;

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
    let token = checks::form(assertion)?;
    checks::typ(&token.header)?;
    let alg = checks::alg(&token.header)?;
    checks::refused_members(&token.header)?;
    let kid = checks::kid(&token.header)?;
    let jku = checks::jku(&token.header)?;
    let client_id = checks::issuer(&token.claims)?;
    Ok(Unverified {
        client_id: client_id.to_owned(),
        kid: kid.to_owned(),
        alg,
        jku: jku.map(ToOwned::to_owned),
    })
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
    let token = checks::form(assertion)?;
    checks::typ(&token.header)?;
    checks::alg(&token.header)?;
    checks::refused_members(&token.header)?;
    checks::kid(&token.header)?;
    checks::jku_is_registered(&token.header, expected.jwks_url)?;
    let key = checks::key(&token.header, keys)?;
    checks::signature(&token, key)?;

    checks::issuer_is(&token.claims, expected.client_id.as_str())?;
    checks::subject_is(&token.claims, expected.client_id.as_str())?;
    checks::audience(&token.claims, expected.audiences)?;
    let expires_at = checks::expiry(&token.claims, expected.now, expected.skew)?;
    checks::not_in_the_future(&token.claims, "nbf", expected.now, expected.skew)?;
    checks::not_in_the_future(&token.claims, "iat", expected.now, expected.skew)?;
    let jti = checks::jti(&token.claims)?;

    Ok(VerifiedAssertion {
        client_id: expected.client_id.clone(),
        jti: jti.to_owned(),
        expires_at,
        replayable_until: expires_at + expected.skew,
    })
}

#[cfg(test)]
mod tests;
