//! A token taken apart: the compact serialisation of RFC 7515, section 7.1. Nothing is believed yet.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::jwks::PublicJwk;

/// Longer tokens are not looked at. Real ones stay below 2 KiB.
pub(crate) const MAX_BYTES: usize = 8 * 1024;

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

    /// Whether `typ` is absent or `JWT`; media types are compared without case (RFC 7519, section 5.1).
    pub(crate) fn is_typed_jwt(&self) -> bool {
        match self.header.get("typ") {
            None => true,
            Some(typ) => typ.as_str().is_some_and(|typ| typ.eq_ignore_ascii_case("JWT")),
        }
    }

    /// Whether this key, used with the algorithm the key is for, made the signature.
    pub(crate) fn is_signed_by(&self, key: &PublicJwk) -> bool {
        key.decoding_key()
            .and_then(|decoding_key| {
                jsonwebtoken::crypto::verify(self.signature, self.signed.as_bytes(), &decoding_key, key.jwt())
            })
            .unwrap_or(false)
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
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
