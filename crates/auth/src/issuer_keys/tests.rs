use serde_json::{Value, json};

use super::*;
use crate::fixtures::{EC, EC_PRIVATE, P256, RSA, RSA_1024, SERVER, json, with};

fn rsa(alg: Value) -> Value {
    with(RSA.public_jwk().to_json(), "alg", alg)
}

fn ec(alg: Value) -> Value {
    with(EC.public_jwk().to_json(), "alg", alg)
}

fn p256() -> Value {
    with(json(P256), "kid", json!("p256"))
}

fn read_one(jwk: Value) -> Result<IssuerKeys, JwksError> {
    IssuerKeys::from_value(&json!({ "keys": [jwk] }))
}

const ALL: [&str; 8] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384"];

/// The algorithms that a key may be used with.
fn fitting(jwk: Value) -> String {
    let kid = jwk["kid"].as_str().unwrap().to_owned();
    let keys = read_one(jwk).unwrap();
    let fits = |alg: &&&str| keys.select(&kid, algorithm_named(alg).unwrap()).is_ok();
    ALL.iter().filter(fits).copied().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_key_decides_the_algorithm() {
    assert_eq!(fitting(rsa(Value::Null)), "RS256 RS384 RS512 PS256 PS384 PS512");
    assert_eq!(fitting(rsa(json!("RS256"))), "RS256");
    assert_eq!(fitting(rsa(json!("PS512"))), "PS512");
    assert_eq!(fitting(ec(Value::Null)), "ES384");
    assert_eq!(fitting(ec(json!("ES384"))), "ES384");
    assert_eq!(fitting(with(p256(), "alg", Value::Null)), "ES256");
    for none in ["none", "HS256", "HS384", "HS512", "EdDSA", "rs256", ""] {
        assert_eq!(algorithm_named(none), None, "{none}");
    }
}

#[test]
fn a_key_that_cannot_have_signed_is_left_out_and_the_others_serve() {
    let unusable = [
        json!({ "kty": "oct", "kid": "oct", "k": "c2VjcmV0", "alg": "HS256" }),
        with(json(EC_PRIVATE), "kid", json!("private")),
        rsa(json!("HS256")),
        rsa(json!("RSA-OAEP")),
        rsa(json!("ES384")),
        rsa(json!(256)),
        ec(json!("ES256")),
        with(rsa(Value::Null), "use", json!("enc")),
        with(rsa(Value::Null), "kid", Value::Null),
        with(rsa(Value::Null), "kid", json!("k".repeat(256))),
        with(p256(), "crv", json!("P-521")),
        with(p256(), "crv", json!("P-384")),
        with(p256(), "x", json!("AAAA")),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "ed" }),
        json(RSA_1024),
        json!("text"),
        Value::Null,
    ];
    for jwk in unusable {
        assert!(read_one(jwk.clone()).is_err(), "{jwk}");
        let beside = IssuerKeys::from_value(&json!({ "keys": [jwk, p256()] })).unwrap();
        assert_eq!(beside.keys.len(), 1);
        assert!(beside.has("p256"));
    }
}

#[test]
fn two_keys_of_one_kid_select_none_unless_only_one_fits() {
    let twice = json!({ "keys": [rsa(json!("RS256")), rsa(json!("RS256"))] });
    let keys = IssuerKeys::from_value(&twice).unwrap();
    assert_eq!(keys.select("vendor-rsa", Algorithm::RS256).unwrap_err(), SelectError::AmbiguousKid);
    let other = json!({ "keys": [rsa(json!("RS256")), with(ec(Value::Null), "kid", json!("vendor-rsa"))] });
    let keys = IssuerKeys::from_value(&other).unwrap();
    assert!(keys.select("vendor-rsa", Algorithm::RS256).is_ok());
    assert_eq!(keys.select("vendor-rsa", Algorithm::RS512).unwrap_err(), SelectError::WrongKeyType);
    assert_eq!(keys.select("VENDOR-RSA", Algorithm::RS256).unwrap_err(), SelectError::UnknownKid);
}

#[test]
fn a_document_that_is_no_set_or_too_large_is_an_error() {
    for wrong in [json!([]), json!({}), json!({ "keys": {} }), json!(null)] {
        assert_eq!(IssuerKeys::from_value(&wrong).unwrap_err(), JwksError::NotASet, "{wrong}");
    }
    assert_eq!(IssuerKeys::from_value(&json!({ "keys": [] })).unwrap_err(), JwksError::Empty);
    let many: Vec<Value> = vec![p256(); 33];
    assert_eq!(IssuerKeys::from_value(&json!({ "keys": many })).unwrap_err(), JwksError::TooManyKeys(33));
}

#[test]
fn the_built_in_keys_are_those_of_their_public_parts() {
    let keys = IssuerKeys::of([EC.public_jwk(), SERVER.public_jwk()]).unwrap();
    assert!(keys.has("vendor-ec") && keys.has(SERVER.kid()));
    assert_eq!(format!("{keys:?}"), "IssuerKeys { keys: 2, .. }");
    assert_eq!(IssuerKeys::of([]).unwrap_err(), JwksError::Empty);
}
