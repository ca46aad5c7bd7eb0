//! The server's key for access tokens: RSA of 2048 bits, RS256.
//!
//! It is kept as PKCS#8 in the control database, so that every API process signs with the same key and
//! a rotation is a new row; the public parts of all live keys stand behind `jwks_uri`.

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;

use crate::der;
use crate::jwks::PublicJwk;
use crate::private_key::{KeyError, pkcs1};

/// A private key that signs access tokens.
pub struct SigningKey {
    public: PublicJwk,
    encoding: EncodingKey,
    pkcs8: Vec<u8>,
}

impl SigningKey {
    /// Makes a new key of 2048 bits; its id is its thumbprint (RFC 7638).
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::Generate)?;
        let key = Self::from_pair(String::new(), &pair)?;
        let kid = key.public.thumbprint();
        Ok(Self { public: key.public.with_kid(kid), ..key })
    }

    /// Reads a stored key.
    ///
    /// # Errors
    /// When the bytes are not an RSA key of 2048 to 8192 bits in PKCS#8 (RFC 5208), unencrypted.
    pub fn from_pkcs8_der(kid: &str, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair = KeyPair::from_pkcs8(pkcs8).map_err(|_| KeyError::Pkcs8)?;
        Self::from_pair(kid.to_owned(), &pair)
    }

    fn from_pair(kid: String, pair: &KeyPair) -> Result<Self, KeyError> {
        let pkcs1 = pkcs1(pair)?;
        let numbers = der::integers(&pkcs1).ok_or(KeyError::Pkcs8)?;
        let &[_version, n, e, ..] = numbers.as_slice() else { return Err(KeyError::Pkcs8) };
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyError::Pkcs8)?;
        Ok(Self {
            public: PublicJwk::rs256(kid, n, e),
            encoding: EncodingKey::from_rsa_der(&pkcs1),
            pkcs8: pkcs8.as_ref().to_vec(),
        })
    }

    /// The key as PKCS#8 (RFC 5208), to be stored. It is not encrypted.
    #[must_use]
    pub fn to_pkcs8_der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The key id.
    #[must_use]
    pub fn kid(&self) -> &str {
        self.public.kid()
    }

    /// The public part, for `jwks_uri` and for verifying.
    #[must_use]
    pub fn public_jwk(&self) -> &PublicJwk {
        &self.public
    }

    pub(crate) fn sign(&self, claims: &impl Serialize) -> Result<String, KeyError> {
        let header =
            Header { kid: Some(self.kid().to_owned()), ..Header::new(jsonwebtoken::Algorithm::RS256) };
        jsonwebtoken::encode(&header, claims, &self.encoding).map_err(KeyError::Sign)
    }
}

/// Shows which key it is, never the key.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwks::jwks_document;

    #[test]
    fn a_stored_key_comes_back_as_the_same_key() {
        let key = SigningKey::generate().unwrap();
        let again = SigningKey::from_pkcs8_der(key.kid(), key.to_pkcs8_der()).unwrap();
        assert_eq!(again.public_jwk(), key.public_jwk());
        assert_eq!(again.to_pkcs8_der(), key.to_pkcs8_der());
        assert_eq!(key.kid(), key.public_jwk().thumbprint());
    }

    #[test]
    fn bytes_that_are_no_key_are_refused() {
        let key = SigningKey::generate().unwrap();
        let pkcs8 = key.to_pkcs8_der();
        for wrong in [&[][..], &pkcs8[1..], &pkcs8[..pkcs8.len() - 1], b"-----BEGIN PRIVATE KEY-----"] {
            assert!(matches!(SigningKey::from_pkcs8_der("k", wrong), Err(KeyError::Pkcs8)));
        }
    }

    #[test]
    fn the_published_document_and_debug_hold_nothing_private() {
        let key = SigningKey::generate().unwrap();
        let document = jwks_document([key.public_jwk()]);
        let published = document["keys"][0].as_object().unwrap();
        let mut members: Vec<&str> = published.keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, ["alg", "e", "kid", "kty", "n", "use"]);
        assert_eq!(published["alg"], "RS256");
        assert_eq!(format!("{key:?}"), format!("SigningKey {{ kid: {:?}, .. }}", key.kid()));
    }
}
