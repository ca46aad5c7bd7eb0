//! What tokens of other issuers have in common, whatever they are good for: form, header, key and
//! signature (RFC 7515; RFC 8725). The claims are judged by [`crate::access_token`] and
//! [`crate::admin_token`].

use serde_json::{Map, Value};

use crate::compact::{Compact, MAX_BYTES, REFUSED_HEADERS, is_typed};
use crate::issuer_keys::{IssuerKeys, algorithm_named};
use crate::jwks::MAX_KID_BYTES;

/// Why nothing that a token says can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotSigned {
    /// Not a token by form or header.
    Malformed,
    /// No key, more than one, or one of another type.
    UnknownKey,
    /// Forged or changed.
    BadSignature,
}

/// The claims of a token that one of the issuer's keys signed.
pub(crate) fn signed_claims(token: &str, keys: &IssuerKeys) -> Result<Map<String, Value>, NotSigned> {
    let (token, kid) = take_apart(token).ok_or(NotSigned::Malformed)?;
    let algorithm = token.header_text("alg").and_then(algorithm_named).ok_or(NotSigned::Malformed)?;
    let key = keys.select(&kid, algorithm).map_err(|_| NotSigned::UnknownKey)?;
    if !token.is_signed_with(key, algorithm) {
        return Err(NotSigned::BadSignature);
    }
    Ok(token.claims)
}

/// A token whose form and header are acceptable, and its key id. Nothing of it is proven.
pub(crate) fn take_apart(token: &str) -> Option<(Compact<'_>, String)> {
    if token.len() > MAX_BYTES {
        return None;
    }
    let token = Compact::parse(token)?;
    // `jku` is how a client says where its keys are; an issuer's are configured.
    let refused = REFUSED_HEADERS.into_iter().chain(["jku"]).any(|name| token.header.contains_key(name));
    if refused || !is_typed(&token.header, &["JWT", "at+jwt", "application/at+jwt"]) {
        return None;
    }
    let kid = token.header_text("kid").filter(|kid| (1..=MAX_KID_BYTES).contains(&kid.len()))?.to_owned();
    Some((token, kid))
}
