//! Tokens as nobody's library makes them.

use anyhow::{Context as _, Result, anyhow};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use headgate_testkit::auth::{PrivateKey, SigningKey};
use headgate_testkit::serde_json::{self, Value, json};

/// Header and claims, joined as they are signed.
pub fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encoded(header), encoded(claims))
}

/// The same with texts that need not be JSON.
pub fn message_of(header: &str, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

fn encoded(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

/// Header and claims of a token.
pub fn parts(token: &str) -> Result<(Value, Value)> {
    let mut parts = token
        .split('.')
        .map(|part| Ok::<Value, anyhow::Error>(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?));
    let header = parts.next().context("no header")??;
    Ok((header, parts.next().context("no claims")??))
}

/// The signature of a token.
pub fn signature(token: &str) -> Result<&str> {
    Ok(token.rsplit_once('.').context("no signature")?.1)
}

/// Rightly signed with an ES384 key, whatever the message is.
pub fn with_key(key: &PrivateKey, message: &str) -> Result<String> {
    let jwk: Value = serde_json::from_str(&key.to_private_jwk()?)?;
    let member = |name: &str| {
        Ok::<_, anyhow::Error>(URL_SAFE_NO_PAD.decode(jwk[name].as_str().context("no such member")?)?)
    };
    let point = [vec![0x04], member("x")?, member("y")?].concat();
    let pair = EcdsaKeyPair::from_private_key_and_public_key(
        &ECDSA_P384_SHA384_FIXED_SIGNING,
        &member("d")?,
        &point,
    )
    .map_err(|_| anyhow!("the key is wrong"))?;
    let signature = pair.sign(&SystemRandom::new(), message.as_bytes())?;
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// Not signed at all.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.", message(header, claims))
}

/// Signed with HMAC-SHA256, the key being something public.
pub fn with_hmac(key: &[u8], header: &Value, claims: &Value) -> String {
    let message = message(header, claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// Signed with ECDSA on P-256 and a fresh key.
pub fn with_p256(header: &Value, claims: &Value) -> Result<String> {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?;
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref())
        .map_err(|_| anyhow!("the key is wrong"))?;
    let message = message(header, claims);
    let signature = key.sign(&random, message.as_bytes())?;
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// An issuer of access tokens elsewhere, with one RS256 key.
pub struct Issuer {
    key: SigningKey,
    pair: RsaKeyPair,
}

impl Issuer {
    pub fn new() -> Result<Self> {
        let key = SigningKey::generate()?;
        let pair = RsaKeyPair::from_pkcs8(key.to_pkcs8_der()).map_err(|_| anyhow!("the key is wrong"))?;
        Ok(Self { key, pair })
    }

    /// The document behind its JWKS URL.
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.key.public_jwk().to_json()] })
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> Result<String> {
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.key.kid() });
        let message = message(&header, claims);
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}
