//! Tokens for the admin API: JWTs of configured issuers, or of the built-in one.
//!
//! They are stricter than access tokens, because more hangs on them: the audience must be this API and
//! nothing else, and a token carries exactly one role. Keys, issuer and audience differ from those of
//! access tokens and client assertions, so none can pass for another (RFC 8725, section 3.12).

use std::time::Duration;

use chrono::{DateTime, Utc};
use headgate_domain::PracticeNumber;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::claims::{seconds, text, time, whole_seconds};
use crate::issuer_keys::IssuerKeys;
use crate::issuer_token::{NotSigned, signed_claims, take_apart};
use crate::private_key::{KeyError, PrivateKey};

/// The claim `iss` of tokens that [`issue`] makes.
pub const BUILTIN_ISSUER: &str = "urn:headgate:admin";

/// The claim `aud` of tokens that [`issue`] makes.
pub const BUILTIN_AUDIENCE: &str = "headgate-admin";

/// The longest life of an admin token: 31 days. Whoever automates something renews its token monthly.
pub const MAX_LIFETIME: Duration = Duration::from_secs(31 * 24 * 60 * 60);

/// Longest subject, in bytes: it is written to the audit log.
pub const MAX_SUBJECT_BYTES: usize = 200;

/// What the bearer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdminRole {
    /// Everything.
    Operator,
    /// What one practice decides: its consents.
    PracticeAdmin(PracticeNumber),
    /// What one vendor decides: its own apps.
    Vendor(Uuid),
}

/// An issuer whose tokens are accepted, and where they say what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminIssuer {
    /// The claim `iss`, exactly.
    pub issuer: String,
    /// The claim `aud`, exactly and alone.
    pub audience: String,
    /// The claim with the role or a list of roles, as a dotted path: `realm_access.roles`.
    pub role_claim: String,
    /// The claim with a practice admin's practice number, as a dotted path.
    pub practice_claim: String,
    /// The claim with the UUID of a vendor's account, as a dotted path.
    pub vendor_claim: String,
    /// The role of operators.
    pub operator_value: String,
    /// The role of practice admins.
    pub practice_admin_value: String,
    /// The role of vendors.
    pub vendor_value: String,
}

impl AdminIssuer {
    /// The issuer whose tokens [`issue`] makes.
    #[must_use]
    pub fn builtin() -> Self {
        Self {
            issuer: BUILTIN_ISSUER.to_owned(),
            audience: BUILTIN_AUDIENCE.to_owned(),
            role_claim: "role".to_owned(),
            practice_claim: "practice".to_owned(),
            vendor_claim: "vendor".to_owned(),
            operator_value: "operator".to_owned(),
            practice_admin_value: "practice_admin".to_owned(),
            vendor_value: "vendor".to_owned(),
        }
    }
}

/// Who calls the admin API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminIdentity {
    /// The claim `sub`: who it is at its issuer.
    pub subject: String,
    /// The issuer.
    pub issuer: String,
    /// What it may do.
    pub role: AdminRole,
    /// When the token ends, in seconds since 1970, rounded up.
    pub expires_at: i64,
}

/// Why a token does not open the admin API. Texts say what is expected and never repeat what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says what it is")]
pub enum AdminTokenError {
    #[error("the token is not a signed JWT with typ, alg and kid as its issuer writes them")]
    Malformed,
    #[error("the token was signed with a key that its issuer does not publish")]
    UnknownKey,
    #[error("the signature of the token is wrong")]
    BadSignature,
    #[error("the token is from another issuer")]
    WrongIssuer,
    #[error("the token is no access token: its claim typ is not Bearer")]
    WrongType,
    #[error("the token must have aud, and this API's audience as its only value")]
    WrongAudience,
    #[error("exp is missing or not a time in seconds since 1970-01-01T00:00:00Z")]
    MissingExpiry,
    #[error("the token has expired")]
    Expired,
    #[error("exp must be at most 31 days in the future")]
    ExpiryTooFar,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("sub must be a text of 1 to 200 bytes without control characters")]
    BadSubject,
    #[error("the token must have exactly one of the configured roles")]
    NotOneRole,
    #[error("the token of a practice admin must have the practice's number")]
    MissingPractice,
    #[error("the token of a vendor must have the UUID of the vendor's account")]
    MissingVendor,
}

impl AdminTokenError {
    /// A stable code for logs and metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::WrongIssuer => "wrong_iss",
            Self::WrongType => "wrong_typ",
            Self::WrongAudience => "wrong_aud",
            Self::MissingExpiry => "missing_exp",
            Self::Expired => "expired",
            Self::ExpiryTooFar => "exp_too_far",
            Self::NotYetValid => "not_yet_valid",
            Self::BadSubject => "bad_sub",
            Self::NotOneRole => "not_one_role",
            Self::MissingPractice => "missing_practice",
            Self::MissingVendor => "missing_vendor",
        }
    }
}

impl From<NotSigned> for AdminTokenError {
    fn from(error: NotSigned) -> Self {
        match error {
            NotSigned::Malformed => Self::Malformed,
            NotSigned::UnknownKey => Self::UnknownKey,
            NotSigned::BadSignature => Self::BadSignature,
        }
    }
}

/// The issuer and the key id of a token, to find the issuer's configuration and keys with; `None` when
/// the token would be malformed. Nothing of it is proven.
#[must_use]
pub fn peek_issuer(token: &str) -> Option<(String, String)> {
    let (token, kid) = take_apart(token)?;
    Some((text(&token.claims, "iss")?.to_owned(), kid))
}

/// Checks a token against the keys of its issuer.
///
/// # Errors
/// The first check that fails: form and header, key, signature, issuer, type, audience, times, subject,
/// role.
pub fn verify(
    token: &str,
    keys: &IssuerKeys,
    issuer: &AdminIssuer,
    now: DateTime<Utc>,
    skew: Duration,
) -> Result<AdminIdentity, AdminTokenError> {
    let claims = signed_claims(token, keys)?;
    if text(&claims, "iss") != Some(&issuer.issuer) {
        return Err(AdminTokenError::WrongIssuer);
    }
    // Keycloak signs ID tokens with the same keys; the claim `typ` tells them apart.
    if claims.get("typ").is_some_and(|typ| typ != "Bearer") {
        return Err(AdminTokenError::WrongType);
    }
    let audience = match claims.get("aud") {
        Some(Value::Array(values)) if values.len() == 1 => &values[0],
        Some(value) => value,
        None => return Err(AdminTokenError::WrongAudience),
    };
    if audience != issuer.audience.as_str() {
        return Err(AdminTokenError::WrongAudience);
    }
    let expires_at = check_times(&claims, now, skew)?;
    let subject = text(&claims, "sub")
        .filter(|sub| (1..=MAX_SUBJECT_BYTES).contains(&sub.len()) && !sub.contains(char::is_control))
        .ok_or(AdminTokenError::BadSubject)?;
    Ok(AdminIdentity {
        subject: subject.to_owned(),
        issuer: issuer.issuer.clone(),
        role: role_of(&claims, issuer)?,
        expires_at,
    })
}

/// Signs a token of the built-in issuer. [`verify`] refuses one that lives longer than
/// [`MAX_LIFETIME`], or whose subject is empty, too long or has control characters.
///
/// # Errors
/// When the cryptographic library fails.
pub fn issue(
    key: &PrivateKey,
    subject: &str,
    role: &AdminRole,
    lifetime: Duration,
) -> Result<String, KeyError> {
    let issuer = AdminIssuer::builtin();
    let now = Utc::now().timestamp();
    let mut claims = json!({
        "iss": issuer.issuer,
        "aud": issuer.audience,
        "sub": subject,
        "iat": now,
        "exp": now.saturating_add_unsigned(lifetime.as_secs()),
        "jti": Uuid::new_v4(),
    });
    claims[&issuer.role_claim] = match role {
        AdminRole::Operator => issuer.operator_value,
        AdminRole::PracticeAdmin(number) => {
            claims[&issuer.practice_claim] = number.get().into();
            issuer.practice_admin_value
        }
        AdminRole::Vendor(vendor) => {
            claims[&issuer.vendor_claim] = vendor.to_string().into();
            issuer.vendor_value
        }
    }
    .into();
    key.sign(&claims)
}

/// Checks `exp`, and `nbf` and `iat` where given; returns `exp`.
fn check_times(
    claims: &Map<String, Value>,
    now: DateTime<Utc>,
    skew: Duration,
) -> Result<i64, AdminTokenError> {
    let (now, skew) = (seconds(now), skew.as_secs_f64());
    let exp = time(claims, "exp").ok().flatten().ok_or(AdminTokenError::MissingExpiry)?;
    if exp + skew <= now {
        return Err(AdminTokenError::Expired);
    }
    if exp > now + MAX_LIFETIME.as_secs_f64() + skew {
        return Err(AdminTokenError::ExpiryTooFar);
    }
    for name in ["nbf", "iat"] {
        let time = time(claims, name).map_err(|_| AdminTokenError::NotYetValid)?;
        if time.is_some_and(|time| time > now + skew) {
            return Err(AdminTokenError::NotYetValid);
        }
    }
    whole_seconds(exp).ok_or(AdminTokenError::ExpiryTooFar)
}

/// The one role of a token. Other roles that an issuer gives are none of ours; two of ours are refused,
/// because which of them is meant would be a guess.
fn role_of(claims: &Map<String, Value>, issuer: &AdminIssuer) -> Result<AdminRole, AdminTokenError> {
    let given = match at_path(claims, &issuer.role_claim) {
        Some(Value::Array(values)) => values.as_slice(),
        Some(value) => std::slice::from_ref(value),
        None => &[],
    };
    let has = |role: &str| given.iter().any(|value| value == role);
    let ours = [&issuer.operator_value, &issuer.practice_admin_value, &issuer.vendor_value];
    match ours.map(|role| has(role)) {
        [true, false, false] => Ok(AdminRole::Operator),
        [false, true, false] => {
            let number = at_path(claims, &issuer.practice_claim).and_then(|claim| match claim {
                Value::Number(number) => PracticeNumber::new(number.as_i64()?).ok(),
                Value::String(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                    digits.parse().ok()
                }
                _ => None,
            });
            number.map(AdminRole::PracticeAdmin).ok_or(AdminTokenError::MissingPractice)
        }
        [false, false, true] => {
            let vendor = at_path(claims, &issuer.vendor_claim).and_then(Value::as_str);
            let vendor = vendor.and_then(|vendor| Uuid::parse_str(vendor).ok());
            vendor.map(AdminRole::Vendor).ok_or(AdminTokenError::MissingVendor)
        }
        _ => Err(AdminTokenError::NotOneRole),
    }
}

/// The claim at a dotted path. A claim whose own name is the whole path is preferred, because namespaced
/// claims (`https://example.com/role`) have dots in their names.
fn at_path<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    claims.get(path).or_else(|| {
        let mut steps = path.split('.');
        let first = claims.get(steps.next()?)?;
        steps.try_fold(first, |value, step| value.get(step))
    })
}

#[cfg(test)]
mod tests;
