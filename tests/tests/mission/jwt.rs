//! Looking into tokens, without the engine's own code.

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use headgate_testkit::serde_json::{self, Value};

/// Header and claims of a token.
pub fn parts(token: &str) -> Result<(Value, Value)> {
    let parts: Vec<&str> = token.split('.').collect();
    ensure!(parts.len() == 3, "a signed JWT has three parts");
    let part = |text: &str| Ok::<_, anyhow::Error>(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text)?)?);
    Ok((part(parts[0])?, part(parts[1])?))
}

/// Checks a token's RS256 signature with the key of its `kid` in a JWK Set (RFC 7515, RFC 7517).
pub fn verify_rs256(token: &str, jwks: &Value) -> Result<()> {
    let (header, _) = parts(token)?;
    ensure!(header["alg"] == "RS256", "alg is {}", header["alg"]);
    let keys = jwks["keys"].as_array().context("no keys")?;
    let key = keys.iter().find(|key| key["kid"] == header["kid"]).context("no key with the token's kid")?;
    ensure!(key["kty"] == "RSA" && key["alg"] == "RS256" && key["use"] == "sig", "{key}");
    let number = |name: &str| -> Result<Vec<u8>> {
        Ok(URL_SAFE_NO_PAD.decode(key[name].as_str().context("a member of the key is missing")?)?)
    };
    let key = RsaPublicKeyComponents { n: number("n")?, e: number("e")? };
    let (message, signature) = token.rsplit_once('.').context("no signature")?;
    let signature = URL_SAFE_NO_PAD.decode(signature)?;
    key.verify(&RSA_PKCS1_2048_8192_SHA256, message.as_bytes(), &signature)
        .ok()
        .context("the signature is wrong")
}
