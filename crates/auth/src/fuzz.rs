//! Random tokens and key sets: nothing panics, nothing but what was signed verifies, and an explanation
//! agrees with the verdict. Each run makes the same cases.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Map, Value, json};

use crate::assertion::{self, Expected, Explain, SKEW};
use crate::fixtures::{AUDIENCE, CLIENT_ID, EC, NOW, RSA, at, claims, client_id, part};
use crate::{IssuerKeys, Jwks, access_token, admin_token, jwks_document};

const TEXTS: [&str; 14] = [
    "",
    "JWT",
    "ES384",
    "RS384",
    "none",
    "vendor-ec",
    "vendor-rsa",
    AUDIENCE,
    CLIENT_ID,
    "\u{0}",
    "\u{202e}é",
    "../../x",
    "' OR 1=1 --",
    "https://vendor.example/jwks.json",
];
const NUMBERS: [f64; 10] =
    [0.0, -1.0, 1e308, -1e308, 5e-324, 1e15, 0.5, NOW as f64, NOW as f64 + 299.5, 1e18];
const HEADER_MEMBERS: [&str; 9] = ["typ", "alg", "kid", "jku", "jwk", "x5u", "x5c", "crit", "other"];
const CLAIM_MEMBERS: [&str; 8] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "other"];
const JWK_MEMBERS: [&str; 11] = ["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "d", "k"];

fn value(random: &mut StdRng, depth: u32) -> Value {
    match random.random_range(0..if depth == 0 { 7 } else { 9 }) {
        0 => Value::Null,
        1 => json!(random.random::<bool>()),
        2 => json!(NOW + random.random_range(-400..400)),
        3 => json!(NUMBERS[random.random_range(0..NUMBERS.len())]),
        4 => json!(random.random::<i64>()),
        5 => json!(TEXTS[random.random_range(0..TEXTS.len())]),
        6 => json!("x".repeat(random.random_range(0..600))),
        7 => (0..random.random_range(0..4)).map(|_| value(random, depth - 1)).collect(),
        _ => Value::Object(
            (0..random.random_range(0..4))
                .map(|_| (CLAIM_MEMBERS[random.random_range(0..8)].to_owned(), value(random, depth - 1)))
                .collect(),
        ),
    }
}

/// The object with some members replaced, added or removed.
fn changed(random: &mut StdRng, object: &Value, names: &[&str]) -> Value {
    let mut members = object.as_object().cloned().unwrap_or_default();
    for _ in 0..random.random_range(0..3) {
        let name = names[random.random_range(0..names.len())];
        if random.random_range(0..5) == 0 {
            members.remove(name);
        } else {
            members.insert(name.to_owned(), value(random, 2));
        }
    }
    Value::Object(members)
}

/// Whether an assertion verifies, after checking that its explanation says the same.
fn accepted(assertion: &str, keys: &Jwks, jwks_url: Option<&str>) -> bool {
    let (client_id, now) = (client_id(), at(NOW));
    let expected = Expected { client_id: &client_id, audiences: &[AUDIENCE], jwks_url, now, skew: SKEW };
    let verdict = assertion::verify(assertion, keys, &expected);
    let explain = Explain {
        client_id: Some(&client_id),
        audiences: &[AUDIENCE],
        keys: Some(keys),
        jwks_url,
        now,
        skew: SKEW,
    };
    let explanation = assertion::explain(assertion, &explain);
    assert_eq!(verdict.is_ok(), !explanation.has_failure(), "{verdict:?} {explanation:?}");
    assert_eq!(explanation.checks.len(), 15);
    if let Err(error) = &verdict {
        // What verify names is among what the explanation names.
        let text = error.to_string();
        assert!(explanation.checks.iter().any(|check| check.text.starts_with(&text)), "{text}");
        let _ = error.reason();
    } else {
        assert!(assertion::peek(assertion).is_ok());
    }
    // Whatever else becomes of it, these must not panic and not let it through.
    let unknown = Explain { client_id: None, keys: None, ..explain };
    let _ = assertion::explain(assertion, &unknown);
    verdict.is_ok()
}

fn keys() -> Jwks {
    Jwks::from_value(&jwks_document([EC.public_jwk(), RSA.public_jwk()])).unwrap()
}

#[test]
fn an_explanation_agrees_with_the_verdict_on_signed_tokens_of_any_content() {
    let mut random = StdRng::seed_from_u64(1);
    let keys = keys();
    let jwks_url = Some("https://vendor.example/jwks.json");
    let (mut good, mut bad) = (0, 0);
    for _ in 0..3000 {
        let claims = changed(&mut random, &claims(), &CLAIM_MEMBERS);
        let header = crate::Header {
            jku: random.random::<bool>().then(|| TEXTS[random.random_range(0..TEXTS.len())].to_owned()),
            kid: Some(TEXTS[5 + random.random_range(0..2)].to_owned()),
            ..EC.header()
        };
        let token = EC.sign_with_header(&header, &claims).unwrap();
        if accepted(&token, &keys, jwks_url) { good += 1 } else { bad += 1 }
    }
    assert!(good > 100 && bad > 1000, "{good} {bad}");
}

#[test]
fn no_header_and_no_claims_verify_without_their_signature() {
    let mut random = StdRng::seed_from_u64(2);
    let (keys, issuer_keys) = (keys(), IssuerKeys::of([EC.public_jwk(), RSA.public_jwk()]).unwrap());
    let header = json!({ "typ": "JWT", "alg": "ES384", "kid": "vendor-ec" });
    let signed = EC.sign(&claims()).unwrap();
    let signature = signed.rsplit('.').next().unwrap();
    for _ in 0..3000 {
        let header = changed(&mut random, &header, &HEADER_MEMBERS);
        // One claim more than was signed.
        let mut claims = changed(&mut random, &claims(), &CLAIM_MEMBERS);
        claims["added"] = json!(random.random::<u32>());
        let token = format!("{}.{}.{signature}", part(&header), part(&claims));
        assert!(!accepted(&token, &keys, None), "{token}");
        let external =
            access_token::ExternalExpected { issuer: CLIENT_ID, audience: None, now: at(NOW), skew: SKEW };
        assert!(access_token::verify_external(&token, &issuer_keys, &external).is_err());
        let issuer = crate::AdminIssuer { issuer: CLIENT_ID.to_owned(), ..crate::AdminIssuer::builtin() };
        assert!(admin_token::verify(&token, &issuer_keys, &issuer, at(NOW), SKEW).is_err());
        let _ = (admin_token::peek_issuer(&token), access_token::peek_kid(&token));
    }
}

#[test]
fn a_token_with_a_changed_byte_or_swapped_parts_never_verifies() {
    let mut random = StdRng::seed_from_u64(3);
    let keys = keys();
    let tokens = [
        EC.sign(&claims()).unwrap(),
        RSA.sign(&claims()).unwrap(),
        EC.sign(&json!({ "iss": "another" })).unwrap(),
        access_like(&RSA),
    ];
    for original in &tokens[..2] {
        assert!(accepted(original, &keys, None));
        for at in 0..original.len() {
            let mut bytes = original.clone().into_bytes();
            bytes[at] ^= 1 << random.random_range(0..7);
            assert!(!accepted(&String::from_utf8_lossy(&bytes), &keys, None), "byte {at} of {original}");
            assert!(!accepted(&original[..at], &keys, None), "cut at {at}");
        }
    }
    let parts: Vec<&str> = tokens.iter().flat_map(|token| token.split('.')).chain(["", "e30"]).collect();
    for _ in 0..3000 {
        let count = random.random_range(1..6);
        let chosen: Vec<&str> = (0..count).map(|_| parts[random.random_range(0..parts.len())]).collect();
        let token = chosen.join(".");
        assert_eq!(accepted(&token, &keys, None), tokens[..2].contains(&token), "{token}");
    }
}

/// A token for something else under the same key.
fn access_like(key: &crate::PrivateKey) -> String {
    key.sign(&json!({ "iss": AUDIENCE, "azp": CLIENT_ID, "typ": "Bearer", "exp": NOW + 300 })).unwrap()
}

#[test]
fn random_key_sets_are_read_without_a_panic_and_hold_no_secret() {
    let mut random = StdRng::seed_from_u64(4);
    let good = [EC.public_jwk().to_json(), RSA.public_jwk().to_json()];
    let (mut registered, mut usable) = (0, 0);
    for _ in 0..5000 {
        let jwks: Vec<Value> = (0..random.random_range(0..4))
            .map(|_| {
                let key = &good[random.random_range(0..2)];
                if random.random_range(0..10) == 0 {
                    value(&mut random, 2)
                } else {
                    changed(&mut random, key, &JWK_MEMBERS)
                }
            })
            .collect();
        let mut set = Map::new();
        set.insert(
            "keys".to_owned(),
            if random.random_range(0..20) == 0 { value(&mut random, 2) } else { jwks.into() },
        );
        let set = Value::Object(set);
        let strict = Jwks::from_value(&set);
        registered += usize::from(strict.is_ok());
        let lenient = Jwks::from_document(&set);
        usable += usize::from(lenient.is_ok());
        let _ = IssuerKeys::from_value(&set);
        if let Ok(strict) = &strict {
            assert_eq!(lenient.as_ref().map(|(jwks, _)| jwks), Ok(strict));
        }
        if let Ok((jwks, _)) = &lenient {
            let document = jwks.to_json();
            for key in document["keys"].as_array().unwrap() {
                assert!(key.get("d").is_none() && key.get("k").is_none());
            }
            // What was read can be used: an unrelated signature is refused and not an error.
            assert!(!accepted(&EC.sign(&json!({ "iss": "x" })).unwrap(), jwks, None));
        }
    }
    assert!(registered > 300 && usable > 1000, "{registered} {usable}");
    let mut bytes = vec![0; 200];
    for _ in 0..3000 {
        random.fill(bytes.as_mut_slice());
        assert!(Jwks::parse(&String::from_utf8_lossy(&bytes)).is_err());
    }
}
