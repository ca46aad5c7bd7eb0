//! A client's signing key: what the bulk client, `keygen` and the tests hold.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::encoding::{AsBigEndian as _, AsDer as _, EcPrivateKeyBin, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeyPairComponents, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::jwks::{JwksError, PublicJwk};
use crate::{Algorithm, der};

/// The private members of an RSA JWK, in the order of `RSAPrivateKey` (RFC 8017, appendix A.1.2).
const RSA_PRIVATE_MEMBERS: [&str; 6] = ["d", "p", "q", "dp", "dq", "qi"];

/// Why a key cannot be read, made or used. No text holds any part of a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is not a JSON object.
    #[error("the private key is not a JSON object (line {line}, column {column})")]
    NotJson {
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault.
        column: usize,
    },
    /// The public part is missing or not acceptable.
    #[error("the public part of the key is not usable")]
    Public(#[source] JwksError),
    /// A private member is missing or not base64url.
    #[error("`{0}` is missing or not base64url without padding: is this the private key?")]
    Member(&'static str),
    /// The private members do not belong to the public ones.
    #[error("the private and the public part of the key do not belong together")]
    Inconsistent,
    /// The bytes are not a PKCS#8 RSA key of the wanted size.
    #[error("the stored signing key is not an RSA key of 2048 bits or more in PKCS#8")]
    Pkcs8,
    /// The cryptographic library could not make a key.
    #[error("a key could not be generated")]
    Generate,
    /// The claims could not be signed.
    #[error("the token could not be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

/// A client's private key with its id: EC on P-384 for ES384, or RSA for RS384.
pub struct PrivateKey {
    algorithm: Algorithm,
    public: PublicJwk,
    /// EC: PKCS#8. RSA: `RSAPrivateKey`. Both as `jsonwebtoken` wants them.
    encoding: EncodingKey,
}

impl PrivateKey {
    /// Reads a private JWK (RFC 7517). `kid` is required; the checks of the public part are those of
    /// a registration, so that a key which can be read here can be registered.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn from_jwk(jwk: &str) -> Result<Self, KeyError> {
        let mut members: Map<String, Value> = serde_json::from_str(jwk)
            .map_err(|error| KeyError::NotJson { line: error.line(), column: error.column() })?;
        let mut secrets = Map::new();
        for member in RSA_PRIVATE_MEMBERS {
            secrets.extend(members.remove(member).map(|value| (member.to_owned(), value)));
        }
        let members = Value::Object(members);
        let public = PublicJwk::parse(&members).map_err(KeyError::Public)?;
        match members["kty"].as_str() {
            Some("EC") => Self::ec(&ec_pair(&members, &secrets)?, public),
            _ => Self::rsa(&rsa_pair(&members, &secrets)?, public),
        }
    }

    /// Makes a new key; its id is its thumbprint (RFC 7638). RSA keys have 3072 bits.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        match algorithm {
            Algorithm::Es384 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING)
                    .map_err(|_| KeyError::Generate)?;
                // The point is 0x04, x, y; a coordinate has 48 bytes.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(48);
                Self::ec(
                    &pair,
                    thumbprinted(json!({ "kty": "EC", "crv": "P-384", "x": b64(x), "y": b64(y) }))?,
                )
            }
            Algorithm::Rs384 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa3072).map_err(|_| KeyError::Generate)?;
                let pkcs1 = pkcs1(&pair)?;
                let numbers = der::integers(&pkcs1).ok_or(KeyError::Generate)?;
                let &[_version, n, e, ..] = numbers.as_slice() else { return Err(KeyError::Generate) };
                Self::rsa(&pair, thumbprinted(json!({ "kty": "RSA", "n": b64(n), "e": b64(e) }))?)
            }
        }
    }

    fn ec(pair: &EcdsaKeyPair, public: PublicJwk) -> Result<Self, KeyError> {
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| KeyError::Inconsistent)?;
        let encoding = EncodingKey::from_ec_der(pkcs8.as_ref());
        Ok(Self { algorithm: Algorithm::Es384, public, encoding })
    }

    fn rsa(pair: &RsaKeyPair, public: PublicJwk) -> Result<Self, KeyError> {
        let encoding = EncodingKey::from_rsa_der(&pkcs1(pair)?);
        Ok(Self { algorithm: Algorithm::Rs384, public, encoding })
    }

    /// The key as a private JWK, one line of JSON. Whoever has it is the client.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn to_private_jwk(&self) -> Result<String, KeyError> {
        let mut jwk = self.public.to_json();
        match self.algorithm {
            Algorithm::Es384 => {
                let pair =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, self.encoding.as_bytes())
                        .map_err(|_| KeyError::Inconsistent)?;
                let d: EcPrivateKeyBin<'_> =
                    pair.private_key().as_be_bytes().map_err(|_| KeyError::Inconsistent)?;
                jwk["d"] = b64(d.as_ref()).into();
            }
            Algorithm::Rs384 => {
                let numbers = der::integers(self.encoding.as_bytes()).ok_or(KeyError::Inconsistent)?;
                // Version, n and e come first.
                for (member, number) in RSA_PRIVATE_MEMBERS.into_iter().zip(numbers.into_iter().skip(3)) {
                    jwk[member] = b64(number).into();
                }
            }
        }
        Ok(jwk.to_string())
    }

    /// The public part, to be registered.
    #[must_use]
    pub fn public_jwk(&self) -> &PublicJwk {
        &self.public
    }

    /// The key id.
    #[must_use]
    pub fn kid(&self) -> &str {
        self.public.kid()
    }

    /// The algorithm the key signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Signs a client assertion as SMART App Launch (Client Authentication: Asymmetric) has it: `iss`
    /// and `sub` are the client id, `aud` the token endpoint, `jti` is random, `exp` is now plus
    /// `lifetime` (whole seconds; servers accept at most 300).
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn sign_assertion(
        &self,
        client_id: &str,
        audience: &str,
        lifetime: Duration,
    ) -> Result<String, KeyError> {
        let now = Utc::now().timestamp();
        self.sign(&json!({
            "iss": client_id,
            "sub": client_id,
            "aud": audience,
            "iat": now,
            "exp": now.saturating_add_unsigned(lifetime.as_secs()),
            "jti": Uuid::new_v4(),
        }))
    }

    /// Signs any claims under this key's own header: `typ`, `alg`, `kid`.
    ///
    /// # Errors
    /// When the claims are not a JSON object or the cryptographic library fails.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, KeyError> {
        self.sign_with_header(&self.header(), claims)
    }

    /// The header of this key's assertions: `typ` JWT, `alg`, `kid`.
    #[must_use]
    pub fn header(&self) -> Header {
        Header { kid: Some(self.kid().to_owned()), ..Header::new(self.algorithm.jwt()) }
    }

    /// Signs any claims under any header; `alg` must be of the key's family.
    ///
    /// # Errors
    /// As [`PrivateKey::sign`], and when `alg` does not fit the key.
    pub fn sign_with_header(&self, header: &Header, claims: &impl Serialize) -> Result<String, KeyError> {
        jsonwebtoken::encode(header, claims, &self.encoding).map_err(KeyError::Sign)
    }
}

/// Shows which key it is, never the key.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("kid", &self.kid())
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

fn ec_pair(public: &Value, secrets: &Map<String, Value>) -> Result<EcdsaKeyPair, KeyError> {
    let (x, y) = (decoded(&public["x"], "x")?, decoded(&public["y"], "y")?);
    let point = [&[0x04], x.as_slice(), y.as_slice()].concat();
    let d = secret(secrets, "d")?;
    EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P384_SHA384_FIXED_SIGNING, &d, &point)
        .map_err(|_| KeyError::Inconsistent)
}

fn rsa_pair(public: &Value, secrets: &Map<String, Value>) -> Result<RsaKeyPair, KeyError> {
    let (n, e) = (decoded(&public["n"], "n")?, decoded(&public["e"], "e")?);
    let components = KeyPairComponents {
        public_key: PublicKeyComponents { n: der::trim_zeros(&n).to_vec(), e: der::trim_zeros(&e).to_vec() },
        d: secret(secrets, "d")?,
        p: secret(secrets, "p")?,
        q: secret(secrets, "q")?,
        dP: secret(secrets, "dp")?,
        dQ: secret(secrets, "dq")?,
        qInv: secret(secrets, "qi")?,
    };
    RsaKeyPair::from_components(&components).map_err(|_| KeyError::Inconsistent)
}

fn secret(secrets: &Map<String, Value>, member: &'static str) -> Result<Vec<u8>, KeyError> {
    decoded(secrets.get(member).unwrap_or(&Value::Null), member)
}

fn decoded(value: &Value, member: &'static str) -> Result<Vec<u8>, KeyError> {
    value.as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or(KeyError::Member(member))
}

/// The public key of a new pair, under its thumbprint.
fn thumbprinted(mut jwk: Value) -> Result<PublicJwk, KeyError> {
    // The thumbprint does not cover the id, but a key without one cannot be read.
    jwk["kid"] = "new".into();
    let public = PublicJwk::parse(&jwk).map_err(KeyError::Public)?;
    let kid = public.thumbprint();
    Ok(public.with_kid(kid))
}

/// The `RSAPrivateKey` of a pair.
pub(crate) fn pkcs1(pair: &RsaKeyPair) -> Result<Vec<u8>, KeyError> {
    let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyError::Pkcs8)?;
    der::rsa_private_key(pkcs8.as_ref()).map(<[u8]>::to_vec).ok_or(KeyError::Pkcs8)
}

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests;
