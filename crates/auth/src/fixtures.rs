//! What the unit tests share. `testdata` was made with OpenSSL, so that the tests do not merely show
//! that this crate agrees with itself; its keys are used nowhere else.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use headgate_domain::ClientId;
use serde_json::{Value, json};

use crate::{PrivateKey, SigningKey};

/// A private EC key on P-384, `kid` `vendor-ec`.
pub const EC_PRIVATE: &str = include_str!("../testdata/ec-private.jwk");
/// A private RSA key of 2048 bits, `kid` `vendor-rsa`.
pub const RSA_PRIVATE: &str = include_str!("../testdata/rsa-private.jwk");
/// A public EC key on P-256.
pub const P256: &str = include_str!("../testdata/p256.jwk");
/// A public RSA key of 1024 bits.
pub const RSA_1024: &str = include_str!("../testdata/rsa-1024.jwk");
/// An assertion of [`CLIENT_ID`] for [`AUDIENCE`], made at [`NOW`] for 300 s, signed with [`EC_PRIVATE`].
pub const ES384_ASSERTION: &str = include_str!("../testdata/es384.jwt");
/// The same claims, signed with [`RSA_PRIVATE`].
pub const RS384_ASSERTION: &str = include_str!("../testdata/rs384.jwt");

pub const CLIENT_ID: &str = "fhir000623719917a5c0008fa3b07182314edeb0cfc804639cfa5e";
pub const AUDIENCE: &str = "https://sso.example/token";
pub const NOW: i64 = 1_760_000_000;

pub static EC: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::from_jwk(EC_PRIVATE).unwrap());
pub static RSA: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::from_jwk(RSA_PRIVATE).unwrap());
pub static SERVER: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate().unwrap());

pub fn client_id() -> ClientId {
    CLIENT_ID.parse().unwrap()
}

pub fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Claims of a good assertion, made at [`NOW`].
pub fn claims() -> Value {
    json!({ "iss": CLIENT_ID, "sub": CLIENT_ID, "aud": AUDIENCE, "exp": NOW + 300, "jti": "6b7c1a52" })
}

/// An object with one member replaced, or removed where the value is null.
pub fn with(mut object: Value, member: &str, value: Value) -> Value {
    let members = object.as_object_mut().unwrap();
    match value {
        Value::Null => members.remove(member),
        value => members.insert(member.to_owned(), value),
    };
    object
}

pub fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

/// A token with this header and a signature that means nothing.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}.c2lnbmF0dXJl", part(header), part(claims))
}

/// Texts that differ from `text` in one to four random places, or are cut; the same ones in each run.
pub fn mutations(text: &str, count: u32) -> impl Iterator<Item = String> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move |bound: usize| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % bound as u64).unwrap()
    };
    let original = text.as_bytes().to_vec();
    (0..count).map(move |_| {
        let mut bytes = original.clone();
        for _ in 0..=next(4) {
            let at = next(bytes.len());
            bytes[at] = u8::try_from(next(256)).unwrap();
        }
        if next(8) == 0 {
            bytes.truncate(next(bytes.len()));
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
