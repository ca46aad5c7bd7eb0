//! A token taken apart: the compact serialisation of RFC 7515, section 7.1. Nothing is believed yet.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use crate::jwks::PublicJwk;

/// Longer tokens are not looked at. Real ones stay below 2 KiB.
pub(crate) const MAX_BYTES: usize = 8 * 1024;

/// Header members that bring key material of the sender's choice, or demand an extension. They are
/// never used, so a token that relies on them is refused (RFC 7515, section 4.1.11; RFC 8725).
pub(crate) const REFUSED_HEADERS: [&str; 4] = ["jwk", "x5u", "x5c", "crit"];

/// A JSON Web Token whose parts could be read.
pub(crate) struct Compact<'a> {
    signed: &'a str,
    signature: &'a str,
    /// The JOSE header, all members.
    pub(crate) header: Map<String, Value>,
    /// The claims, all members.
    pub(crate) claims: Map<String, Value>,
}

impl<'a> Compact<'a> {
    /// Reads header and claims; `None` when the text is not three parts of base64url with a JSON
    /// object in the first two.
    pub(crate) fn parse(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        Some(Self { signed, signature, header: object(header)?, claims: object(claims)? })
    }

    /// A member of the header, when it is a text.
    pub(crate) fn header_text(&self, name: &str) -> Option<&str> {
        self.header.get(name)?.as_str()
    }

    /// Whether this key, used with the algorithm the key is for, made the signature.
    pub(crate) fn is_signed_by(&self, key: &PublicJwk) -> bool {
        key.decoding_key().is_ok_and(|decoding_key| self.is_signed_with(&decoding_key, key.jwt()))
    }

    /// Whether this key made the signature with this algorithm, which the caller found to fit the key.
    pub(crate) fn is_signed_with(&self, key: &DecodingKey, algorithm: jsonwebtoken::Algorithm) -> bool {
        jsonwebtoken::crypto::verify(self.signature, self.signed.as_bytes(), key, algorithm).unwrap_or(false)
    }
}

/// Whether a header's `typ` is absent or one of these; media types are compared without case (RFC 7519,
/// section 5.1).
pub(crate) fn is_typed(header: &Map<String, Value>, types: &[&str]) -> bool {
    match header.get("typ") {
        None => true,
        Some(typ) => typ.as_str().is_some_and(|typ| types.iter().any(|one| one.eq_ignore_ascii_case(typ))),
    }
}

/// The JSON object that a part of a token encodes.
pub(crate) fn object(part: &str) -> Option<Map<String, Value>> {
    let json = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_three_parts_with_json_objects_are_a_token() {
        // {} is e30, [] is W10.
        assert!(Compact::parse("e30.e30.c2ln").is_some());
        for wrong in
            ["", ".", "..", "e30", "e30.e30", "e30.W10.c2ln", "W10.e30.c2ln", "e30.e30.a.b", "e30=.e30.a"]
        {
            assert!(Compact::parse(wrong).is_none(), "{wrong}");
        }
    }
}
