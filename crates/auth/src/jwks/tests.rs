use serde_json::json;

use super::*;
use crate::fixtures::{EC, EC_PRIVATE, P256, RSA, RSA_1024, RSA_PRIVATE, json, with};

fn ec() -> Value {
    EC.public_jwk().to_json()
}

fn rsa() -> Value {
    RSA.public_jwk().to_json()
}

fn parse(jwk: Value) -> Result<Jwks, JwksError> {
    Jwks::from_value(&json!({ "keys": [jwk] }))
}

#[test]
fn keys_made_by_openssl_are_accepted() {
    let set = Jwks::parse(&json!({ "keys": [ec(), rsa()] }).to_string()).unwrap();
    let kids: Vec<&str> = set.keys().iter().map(PublicJwk::kid).collect();
    assert_eq!(kids, ["vendor-ec", "vendor-rsa"]);
    assert_eq!(Jwks::from_value(&set.to_json()), Ok(set));
}

#[test]
fn members_that_are_not_known_or_not_given_do_not_matter() {
    for member in ["alg", "use"] {
        assert!(parse(with(ec(), member, Value::Null)).is_ok(), "{member}");
    }
    for member in ["x5t", "key_ops", "whatever"] {
        assert!(parse(with(ec(), member, json!("anything"))).is_ok(), "{member}");
    }
}

#[test]
fn a_private_key_is_refused_at_registration() {
    for (private, member) in [(EC_PRIVATE, "d"), (RSA_PRIVATE, "d")] {
        let error = parse(json(private)).unwrap_err();
        assert_eq!(error, JwksError::PrivateKey { at: 0, member });
        assert!(error.to_string().contains("register only its public part"));
    }
    for member in ["p", "q", "dp", "dq", "qi", "oth"] {
        let half_cleaned = with(rsa(), member, json!("AQAB"));
        assert_eq!(parse(half_cleaned), Err(JwksError::PrivateKey { at: 0, member }));
    }
}

#[test]
fn a_symmetric_key_is_refused() {
    let oct = json!({ "kty": "oct", "kid": "k", "k": "c2VjcmV0", "alg": "HS256" });
    assert_eq!(parse(oct), Err(JwksError::SymmetricKey { at: 0 }));
}

#[test]
fn a_key_that_cannot_sign_assertions_is_refused_with_the_reason() {
    let at = 0;
    let x = ec()["x"].clone();
    let kid_256 = "k".repeat(256);
    let cases = [
        (json!("text"), JwksError::NotAKey { at }),
        (json!({}), JwksError::UnsupportedKeyType { at }),
        (with(ec(), "kty", json!("OKP")), JwksError::UnsupportedKeyType { at }),
        (json(P256), JwksError::UnsupportedCurve { at }),
        (with(json(P256), "crv", json!("P-384")), JwksError::NotAPoint { at }),
        (with(ec(), "y", x), JwksError::NotAPoint { at }),
        (with(ec(), "x", json!("AQAB")), JwksError::NotAPoint { at }),
        (with(ec(), "x", Value::Null), JwksError::BadMember { at, member: "x" }),
        (with(ec(), "y", json!("not base64url!")), JwksError::BadMember { at, member: "y" }),
        (with(ec(), "alg", json!("ES256")), JwksError::WrongAlgorithm { at }),
        (with(ec(), "alg", json!(384)), JwksError::WrongAlgorithm { at }),
        (with(rsa(), "alg", json!("RS256")), JwksError::WrongAlgorithm { at }),
        (with(rsa(), "alg", json!("PS384")), JwksError::WrongAlgorithm { at }),
        (with(ec(), "use", json!("enc")), JwksError::NotForSigning { at }),
        (with(ec(), "kid", Value::Null), JwksError::MissingKid { at }),
        (with(ec(), "kid", json!("")), JwksError::MissingKid { at }),
        (with(ec(), "kid", json!(7)), JwksError::MissingKid { at }),
        (with(ec(), "kid", json!(kid_256)), JwksError::KidTooLong { at }),
        (json(RSA_1024), JwksError::RsaSize { at, bits: 1024 }),
        (with(rsa(), "n", json!("")), JwksError::RsaSize { at, bits: 0 }),
        (with(rsa(), "e", json!("AQ")), JwksError::BadRsaNumbers { at }),
        (with(rsa(), "e", json!("AQAA")), JwksError::BadRsaNumbers { at }),
        (with(rsa(), "e", json!("AQAAAAE")), JwksError::BadRsaNumbers { at }),
        (with(rsa(), "e", Value::Null), JwksError::BadMember { at, member: "e" }),
    ];
    for (jwk, error) in cases {
        assert_eq!(parse(jwk), Err(error));
    }
}

#[test]
fn a_modulus_with_a_sign_byte_is_the_same_key() {
    let n = URL_SAFE_NO_PAD.decode(rsa()["n"].as_str().unwrap()).unwrap();
    let signed = URL_SAFE_NO_PAD.encode([&[0], n.as_slice()].concat());
    assert_eq!(parse(with(rsa(), "n", json!(signed))), parse(rsa()));
}

#[test]
fn a_set_that_is_no_set_is_refused_with_the_reason() {
    assert_eq!(Jwks::parse("{"), Err(JwksError::NotJson { line: 1, column: 1 }));
    for wrong in ["[]", "{}", r#"{"keys":{}}"#, "7"] {
        assert_eq!(Jwks::parse(wrong), Err(JwksError::NotASet), "{wrong}");
    }
    assert_eq!(Jwks::parse(&ec().to_string()), Err(JwksError::NotASet), "a bare key");
    assert_eq!(Jwks::parse(r#"{"keys":[]}"#), Err(JwksError::Empty));
}

#[test]
fn a_set_has_at_most_32_keys_each_with_its_own_kid() {
    let set = |count: usize| {
        let keys: Vec<Value> = (0..count).map(|n| with(ec(), "kid", json!(n.to_string()))).collect();
        Jwks::from_value(&json!({ "keys": keys }))
    };
    assert!(set(32).is_ok());
    assert_eq!(set(33), Err(JwksError::TooManyKeys(33)));
    let twice = Jwks::from_value(&json!({ "keys": [ec(), with(rsa(), "kid", json!("vendor-ec"))] }));
    assert_eq!(twice, Err(JwksError::DuplicateKid { at: 1 }));
}

#[test]
fn a_key_is_selected_by_kid_and_type() {
    let set = Jwks::from_value(&json!({ "keys": [ec(), rsa()] })).unwrap();
    assert_eq!(set.select("vendor-ec", Algorithm::Es384).unwrap().kid(), "vendor-ec");
    assert_eq!(set.select("vendor-rsa", Algorithm::Rs384).unwrap().kid(), "vendor-rsa");
    assert_eq!(set.select("vendor-ec", Algorithm::Rs384), Err(SelectError::WrongKeyType));
    for unknown in ["", "Vendor-ec", "../../vendor-ec", "' OR 1=1 --"] {
        assert_eq!(set.select(unknown, Algorithm::Es384), Err(SelectError::UnknownKid), "{unknown}");
    }
}

#[test]
fn two_keys_of_one_kid_and_type_select_none() {
    // Registration cannot produce such a set; the rule must not hang on that.
    let key = EC.public_jwk().clone();
    let set = Jwks { keys: vec![key.clone(), key] };
    assert_eq!(set.select("vendor-ec", Algorithm::Es384), Err(SelectError::AmbiguousKid));
}

#[test]
fn the_thumbprint_is_that_of_rfc_7638() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZ\
             CiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZg\
             nYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqb\
             w0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let key = json!({ "kty": "RSA", "n": n, "e": "AQAB", "kid": "2011-04-29" });
    assert_eq!(PublicJwk::parse(&key).unwrap().thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}
