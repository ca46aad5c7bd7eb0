//! The public keys of an app, as its vendor registers them (RFC 7517; SMART App Launch, Registering a
//! Client: Asymmetric).
//!
//! Everything is checked at registration, so that a mistake shows where it is made and not as a failed
//! login months later. Above all a *private* key is refused: who pastes one must hear that the key is
//! burnt, not have it stored in our database.

use std::collections::HashSet;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, EcdsaVerificationAlgorithm, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value, json};

use crate::{Algorithm, der};

/// Most keys in one set. Two are needed for a rotation.
pub const MAX_KEYS: usize = 32;

/// Longest key id, in bytes.
pub const MAX_KID_BYTES: usize = 255;

/// A coordinate on P-384, in bytes.
const P384_BYTES: usize = 48;

/// The members that only a private or a symmetric key has (RFC 7518, sections 6.2.2, 6.3.2, 6.4).
const SECRET_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Why a JWK Set cannot be registered. `at` counts the keys from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says what it is")]
pub enum JwksError {
    #[error("the JWK Set is not valid JSON (line {line}, column {column})")]
    NotJson { line: usize, column: usize },
    #[error("a JWK Set is a JSON object with the array `keys`")]
    NotASet,
    #[error("the JWK Set has no key")]
    Empty,
    #[error("the JWK Set has {0} keys; at most 32 are accepted")]
    TooManyKeys(usize),
    #[error("keys[{at}] is not a JSON object")]
    NotAKey { at: usize },
    #[error(
        "keys[{at}] is a private key (it has the member `{member}`): register only its public part, and make \
         a new key, because this one has been disclosed"
    )]
    PrivateKey { at: usize, member: &'static str },
    #[error("keys[{at}] is a symmetric key (`oct`): register a public key, EC on P-384 or RSA")]
    SymmetricKey { at: usize },
    #[error("keys[{at}] has a `kty` that is not supported: use EC on P-384 (ES384) or RSA (RS384)")]
    UnsupportedKeyType { at: usize },
    #[error("keys[{at}] has a `crv` that is not supported: use P-384")]
    UnsupportedCurve { at: usize },
    #[error("keys[{at}] has an `alg` that does not fit it: an EC key takes ES384, an RSA key RS384")]
    WrongAlgorithm { at: usize },
    #[error("keys[{at}] has a `use` other than `sig`")]
    NotForSigning { at: usize },
    #[error("keys[{at}] has no `kid`")]
    MissingKid { at: usize },
    #[error("keys[{at}] has a `kid` longer than 255 bytes")]
    KidTooLong { at: usize },
    #[error("keys[{at}] has the `kid` of an earlier key; each key needs its own")]
    DuplicateKid { at: usize },
    #[error("keys[{at}].{member} is missing or not base64url without padding")]
    BadMember { at: usize, member: &'static str },
    #[error("keys[{at}]: `x` and `y` are not a point on its curve, each at full width (P-384: 48 bytes)")]
    NotAPoint { at: usize },
    #[error("keys[{at}] is an RSA key of {bits} bits; 2048 to 8192 are accepted")]
    RsaSize { at: usize, bits: usize },
    #[error("keys[{at}] is not a usable RSA key: `n` must be odd, `e` odd, from 3 to 32 bits long")]
    BadRsaNumbers { at: usize },
}

/// Why no key of a set can have signed a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// No key has this id.
    #[error("no registered key has this kid")]
    UnknownKid,
    /// More than one key has this id and fits the algorithm.
    #[error("more than one registered key has this kid")]
    AmbiguousKid,
    /// The key of this id is of another type than the algorithm needs.
    #[error("the registered key with this kid is not for this alg")]
    WrongKeyType,
}

/// One public key: its id, what it is made of, and the one algorithm it is used with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicJwk {
    kid: String,
    alg: jsonwebtoken::Algorithm,
    material: Material,
}

/// The numbers of a key, base64url, in their shortest form (RSA) or at full width (EC).
#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Ec { x: String, y: String },
    Rsa { n: String, e: String },
}

impl PublicJwk {
    /// Reads one public JWK of a client, with all checks of [`Jwks::parse`].
    ///
    /// # Errors
    /// What is wrong, as of a set with this key at position 0.
    pub fn parse(jwk: &Value) -> Result<Self, JwksError> {
        Self::parse_at(jwk, 0)
    }

    fn parse_at(jwk: &Value, at: usize) -> Result<Self, JwksError> {
        let jwk = public_members(jwk, at)?;
        let (material, algorithm) = match text(jwk, "kty") {
            Some("EC") => (ec_material(jwk, at)?, Algorithm::Es384),
            Some("RSA") => {
                let (n, e) = rsa_numbers(jwk, at)?;
                (Material::rsa(&n, &e), Algorithm::Rs384)
            }
            _ => return Err(JwksError::UnsupportedKeyType { at }),
        };
        if jwk.contains_key("alg") && text(jwk, "alg") != Some(algorithm.name()) {
            return Err(JwksError::WrongAlgorithm { at });
        }
        Ok(Self { kid: signing_kid(jwk, at)?, alg: algorithm.jwt(), material })
    }

    /// An RSA key of the server, for RS256.
    pub(crate) fn rs256(kid: String, n: &[u8], e: &[u8]) -> Self {
        Self { kid, alg: jsonwebtoken::Algorithm::RS256, material: Material::rsa(n, e) }
    }

    /// The key id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public JWK as JSON, with `alg` and `use`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match &self.material {
            Material::Ec { x, y } => json!({
                "kty": "EC", "crv": "P-384", "x": x, "y": y, "kid": self.kid, "alg": "ES384", "use": "sig"
            }),
            Material::Rsa { n, e } => json!({
                "kty": "RSA", "n": n, "e": e, "kid": self.kid, "alg": self.alg, "use": "sig"
            }),
        }
    }

    /// The key's fingerprint: SHA-256 over its required members, base64url (RFC 7638).
    #[must_use]
    pub fn thumbprint(&self) -> String {
        let members = match &self.material {
            Material::Ec { x, y } => format!(r#"{{"crv":"P-384","kty":"EC","x":"{x}","y":"{y}"}}"#),
            Material::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        };
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, members.as_bytes()))
    }

    /// The same key under another id.
    pub(crate) fn with_kid(self, kid: String) -> Self {
        Self { kid, ..self }
    }

    pub(crate) fn jwt(&self) -> jsonwebtoken::Algorithm {
        self.alg
    }

    pub(crate) fn decoding_key(&self) -> Result<DecodingKey, jsonwebtoken::errors::Error> {
        match &self.material {
            Material::Ec { x, y } => DecodingKey::from_ec_components(x, y),
            Material::Rsa { n, e } => DecodingKey::from_rsa_components(n, e),
        }
    }
}

impl Material {
    fn rsa(n: &[u8], e: &[u8]) -> Self {
        Self::Rsa { n: URL_SAFE_NO_PAD.encode(n), e: URL_SAFE_NO_PAD.encode(e) }
    }
}

/// The members of a JWK that is neither symmetric nor private.
pub(crate) fn public_members(jwk: &Value, at: usize) -> Result<&Map<String, Value>, JwksError> {
    let jwk = jwk.as_object().ok_or(JwksError::NotAKey { at })?;
    if text(jwk, "kty") == Some("oct") {
        return Err(JwksError::SymmetricKey { at });
    }
    match SECRET_MEMBERS.into_iter().find(|member| jwk.contains_key(*member)) {
        Some(member) => Err(JwksError::PrivateKey { at, member }),
        None => Ok(jwk),
    }
}

/// The id of a key that is for signing.
pub(crate) fn signing_kid(jwk: &Map<String, Value>, at: usize) -> Result<String, JwksError> {
    if jwk.contains_key("use") && text(jwk, "use") != Some("sig") {
        return Err(JwksError::NotForSigning { at });
    }
    let kid = text(jwk, "kid").filter(|kid| !kid.is_empty()).ok_or(JwksError::MissingKid { at })?;
    if kid.len() > MAX_KID_BYTES {
        return Err(JwksError::KidTooLong { at });
    }
    Ok(kid.to_owned())
}

fn ec_material(jwk: &Map<String, Value>, at: usize) -> Result<Material, JwksError> {
    if text(jwk, "crv") != Some("P-384") {
        return Err(JwksError::UnsupportedCurve { at });
    }
    let (x, y) = ec_point(jwk, at, P384_BYTES, &ECDSA_P384_SHA384_FIXED)?;
    Ok(Material::Ec { x: URL_SAFE_NO_PAD.encode(x), y: URL_SAFE_NO_PAD.encode(y) })
}

/// The coordinates of a point on a curve whose coordinates have this many bytes.
pub(crate) fn ec_point(
    jwk: &Map<String, Value>,
    at: usize,
    width: usize,
    curve: &'static EcdsaVerificationAlgorithm,
) -> Result<(Vec<u8>, Vec<u8>), JwksError> {
    let (x, y) = (number(jwk, "x", at)?, number(jwk, "y", at)?);
    if x.len() != width || y.len() != width {
        return Err(JwksError::NotAPoint { at });
    }
    let point = [&[0x04], x.as_slice(), y.as_slice()].concat();
    ParsedPublicKey::new(curve, &point).map_err(|_| JwksError::NotAPoint { at })?;
    Ok((x, y))
}

/// Modulus and exponent of an RSA key, in their shortest form.
pub(crate) fn rsa_numbers(jwk: &Map<String, Value>, at: usize) -> Result<(Vec<u8>, Vec<u8>), JwksError> {
    let (n, e) = (number(jwk, "n", at)?, number(jwk, "e", at)?);
    // Some libraries put a sign byte in front of the modulus (RFC 7518, section 6.3.1.1, warns of it).
    let (n, e) = (der::trim_zeros(&n), der::trim_zeros(&e));
    let bits = bit_length(n);
    if !(2048..=8192).contains(&bits) {
        return Err(JwksError::RsaSize { at, bits });
    }
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    // e = 1 would make every message its own signature.
    if !odd(n) || !odd(e) || !(2..=32).contains(&bit_length(e)) {
        return Err(JwksError::BadRsaNumbers { at });
    }
    Ok((n.to_vec(), e.to_vec()))
}

pub(crate) fn text<'a>(jwk: &'a Map<String, Value>, member: &str) -> Option<&'a str> {
    jwk.get(member)?.as_str()
}

fn number(jwk: &Map<String, Value>, member: &'static str, at: usize) -> Result<Vec<u8>, JwksError> {
    text(jwk, member)
        .and_then(|digits| URL_SAFE_NO_PAD.decode(digits).ok())
        .ok_or(JwksError::BadMember { at, member })
}

/// The bits of a big-endian number that has no leading zero byte.
fn bit_length(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

/// The usable keys of a document that came from an URL, and what is wrong with the others.
pub(crate) struct Usable<T> {
    /// At least one.
    pub(crate) keys: Vec<T>,
    pub(crate) faults: Vec<JwksError>,
}

/// Reads a document that nobody has checked before it was published. One odd key must not lock out
/// those who sign with another, so unusable keys are dropped; a document without a usable one is an
/// error, and says what is wrong with the first.
pub(crate) fn usable<T>(
    set: &Value,
    read: impl Fn(&Value, usize) -> Result<T, JwksError>,
) -> Result<Usable<T>, JwksError> {
    let document = set.get("keys").and_then(Value::as_array).ok_or(JwksError::NotASet)?;
    if document.len() > MAX_KEYS {
        return Err(JwksError::TooManyKeys(document.len()));
    }
    let (mut keys, mut faults) = (Vec::new(), Vec::new());
    for (at, jwk) in document.iter().enumerate() {
        match read(jwk, at) {
            Ok(key) => keys.push(key),
            Err(fault) => faults.push(fault),
        }
    }
    if keys.is_empty() {
        return Err(faults.into_iter().next().unwrap_or(JwksError::Empty));
    }
    Ok(Usable { keys, faults })
}

/// The keys of one app: 1 to 32. Registered ones have each its own id; in a set that came from an URL
/// an id may occur twice, and then selects none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwks {
    keys: Vec<PublicJwk>,
}

impl Jwks {
    /// Reads a JWK Set as a vendor registers it. Members that are not known are ignored.
    ///
    /// # Errors
    /// The first thing that is wrong, with the position of the key.
    pub fn parse(text: &str) -> Result<Self, JwksError> {
        let set = serde_json::from_str(text)
            .map_err(|error| JwksError::NotJson { line: error.line(), column: error.column() })?;
        Self::from_value(&set)
    }

    /// As [`Jwks::parse`], for JSON that is already read.
    ///
    /// # Errors
    /// As [`Jwks::parse`].
    pub fn from_value(set: &Value) -> Result<Self, JwksError> {
        let keys = set.get("keys").and_then(Value::as_array).ok_or(JwksError::NotASet)?;
        if keys.len() > MAX_KEYS {
            return Err(JwksError::TooManyKeys(keys.len()));
        }
        let keys = keys.iter().enumerate().map(|(at, jwk)| PublicJwk::parse_at(jwk, at));
        Self::new(keys.collect::<Result<_, _>>()?)
    }

    /// A set of keys that were read one by one.
    ///
    /// # Errors
    /// When there is none, too many, or an id occurs twice.
    pub fn new(keys: Vec<PublicJwk>) -> Result<Self, JwksError> {
        if keys.is_empty() {
            return Err(JwksError::Empty);
        }
        if keys.len() > MAX_KEYS {
            return Err(JwksError::TooManyKeys(keys.len()));
        }
        let mut seen = HashSet::new();
        if let Some(at) = keys.iter().position(|key| !seen.insert(key.kid())) {
            return Err(JwksError::DuplicateKid { at });
        }
        Ok(Self { keys })
    }

    /// The usable keys of a document behind a JWKS URL, and the faults of the others.
    pub(crate) fn from_document(set: &Value) -> Result<(Self, Vec<JwksError>), JwksError> {
        let Usable { keys, faults } = usable(set, PublicJwk::parse_at)?;
        Ok((Self { keys }, faults))
    }

    /// The keys, in the order they were registered.
    #[must_use]
    pub fn keys(&self) -> &[PublicJwk] {
        &self.keys
    }

    /// The set as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        jwks_document(&self.keys)
    }

    /// The one key with this id that fits this algorithm (SMART App Launch, Client Authentication:
    /// Asymmetric, Signature Verification: exactly one key, or the authentication fails).
    ///
    /// # Errors
    /// No key, more than one, or one of another type.
    pub fn select(&self, kid: &str, algorithm: Algorithm) -> Result<&PublicJwk, SelectError> {
        let mut named = self.keys.iter().filter(|key| key.kid == kid).peekable();
        if named.peek().is_none() {
            return Err(SelectError::UnknownKid);
        }
        let mut fitting = named.filter(|key| key.alg == algorithm.jwt());
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) => Err(SelectError::AmbiguousKid),
            (None, _) => Err(SelectError::WrongKeyType),
        }
    }
}

/// A JWK Set of public keys: what stands behind `jwks_uri`, and what a vendor registers.
#[must_use]
pub fn jwks_document<'a>(keys: impl IntoIterator<Item = &'a PublicJwk>) -> Value {
    let keys: Vec<Value> = keys.into_iter().map(PublicJwk::to_json).collect();
    json!({ "keys": keys })
}

#[cfg(test)]
mod tests;
