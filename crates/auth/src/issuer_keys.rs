//! The public keys of another issuer of tokens: a Keycloak realm, or whoever signs admin tokens.
//!
//! Such issuers sign with more algorithms than SMART allows to clients. Still the key decides: by the
//! `alg` of its JWK where it names one, else by its type and curve (RFC 8725, section 3.1). HMAC and
//! `none` belong to no key here.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use crate::jwks::{
    JwksError, PublicJwk, SelectError, Usable, ec_point, public_members, rsa_numbers, signing_kid, text,
    usable,
};

/// The usable signing keys of one issuer.
#[derive(Clone)]
pub struct IssuerKeys {
    keys: Vec<IssuerKey>,
}

#[derive(Clone)]
struct IssuerKey {
    kid: String,
    fits: Fits,
    key: DecodingKey,
}

/// Which algorithms a key may be used with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fits {
    /// An RSA key whose JWK names no algorithm.
    AnyRsa,
    Only(Algorithm),
}

impl Fits {
    fn algorithm(self, algorithm: Algorithm) -> bool {
        match self {
            Self::AnyRsa => is_rsa(algorithm),
            Self::Only(only) => only == algorithm,
        }
    }
}

impl IssuerKeys {
    /// Reads an issuer's JWK Set (RFC 7517). Keys that are not for signing, symmetric, private or of an
    /// unknown kind are left out, as are those without an id.
    ///
    /// # Errors
    /// When it is no JWK Set, has more than 32 keys, or none that is usable.
    pub fn from_value(set: &Value) -> Result<Self, JwksError> {
        Self::from_document(set).map(|(keys, _)| keys)
    }

    /// As [`IssuerKeys::from_value`], with the faults of the keys that were left out.
    pub(crate) fn from_document(set: &Value) -> Result<(Self, Vec<JwksError>), JwksError> {
        let Usable { keys, faults } = usable(set, read)?;
        Ok((Self { keys }, faults))
    }

    /// The keys of the built-in issuer, whose public parts are at hand.
    ///
    /// # Errors
    /// When there is none, or more than 32.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a PublicJwk>) -> Result<Self, JwksError> {
        Self::from_value(&crate::jwks_document(keys))
    }

    /// Whether a key has this id.
    #[must_use]
    pub fn has(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid == kid)
    }

    /// The one key with this id that fits this algorithm.
    pub(crate) fn select(&self, kid: &str, algorithm: Algorithm) -> Result<&DecodingKey, SelectError> {
        let mut named = self.keys.iter().filter(|key| key.kid == kid).peekable();
        if named.peek().is_none() {
            return Err(SelectError::UnknownKid);
        }
        let mut fitting = named.filter(|key| key.fits.algorithm(algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(&key.key),
            (Some(_), Some(_)) => Err(SelectError::AmbiguousKid),
            (None, _) => Err(SelectError::WrongKeyType),
        }
    }
}

/// Shows how many keys there are.
impl fmt::Debug for IssuerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerKeys").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

/// The signature algorithm of that name; `None` for HMAC, `none` and every other.
pub(crate) fn algorithm_named(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        _ => return None,
    })
}

fn is_rsa(algorithm: Algorithm) -> bool {
    use Algorithm::*;
    matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512)
}

fn read(jwk: &Value, at: usize) -> Result<IssuerKey, JwksError> {
    let jwk = public_members(jwk, at)?;
    let unusable = |_| JwksError::UnsupportedKeyType { at };
    let (key, curve) = match (text(jwk, "kty"), text(jwk, "crv")) {
        (Some("RSA"), _) => {
            let (n, e) = rsa_numbers(jwk, at)?;
            (DecodingKey::from_rsa_raw_components(&n, &e), None)
        }
        (Some("EC"), Some("P-256")) => {
            ec_point(jwk, at, 32, &ECDSA_P256_SHA256_FIXED)?;
            (ec_key(jwk).map_err(unusable)?, Some(Algorithm::ES256))
        }
        (Some("EC"), Some("P-384")) => {
            ec_point(jwk, at, 48, &ECDSA_P384_SHA384_FIXED)?;
            (ec_key(jwk).map_err(unusable)?, Some(Algorithm::ES384))
        }
        (Some("EC"), _) => return Err(JwksError::UnsupportedCurve { at }),
        _ => return Err(JwksError::UnsupportedKeyType { at }),
    };
    let named = match jwk.get("alg") {
        None => None,
        Some(alg) => {
            let named = alg.as_str().and_then(algorithm_named);
            Some(named.ok_or(JwksError::WrongAlgorithm { at })?)
        }
    };
    let fits = match (curve, named) {
        (Some(curve), None) => Fits::Only(curve),
        (Some(curve), Some(named)) if curve == named => Fits::Only(curve),
        (None, None) => Fits::AnyRsa,
        (None, Some(named)) if is_rsa(named) => Fits::Only(named),
        _ => return Err(JwksError::WrongAlgorithm { at }),
    };
    Ok(IssuerKey { kid: signing_kid(jwk, at)?, fits, key })
}

/// The key of a point that was checked.
fn ec_key(jwk: &serde_json::Map<String, Value>) -> Result<DecodingKey, jsonwebtoken::errors::Error> {
    let coordinate = |name| text(jwk, name).unwrap_or_default();
    DecodingKey::from_ec_components(coordinate("x"), coordinate("y"))
}

#[cfg(test)]
mod tests;
