use serde_json::json;

use super::*;
use crate::fixtures::{EC, EC_PRIVATE, P256, RSA, RSA_PRIVATE, client_id, json, with};
use crate::{Jwks, assertion};

#[test]
fn generated_keys_survive_the_way_through_their_jwk_and_still_sign() {
    for algorithm in [Algorithm::Es384, Algorithm::Rs384] {
        let key = PrivateKey::generate(algorithm).unwrap();
        let jwk = key.to_private_jwk().unwrap();
        let again = PrivateKey::from_jwk(&jwk).unwrap();
        assert_eq!(again.public_jwk(), key.public_jwk());
        assert_eq!(again.to_private_jwk().unwrap(), jwk);
        assert_eq!(key.kid(), key.public_jwk().thumbprint());

        let (client_id, audience) = (client_id(), "https://sso.example/token");
        let token = again.sign_assertion(client_id.as_str(), audience, Duration::from_secs(300)).unwrap();
        let keys = Jwks::new(vec![key.public_jwk().clone()]).unwrap();
        let expected = assertion::Expected {
            client_id: &client_id,
            audiences: &[audience],
            jwks_url: None,
            now: Utc::now(),
            skew: assertion::SKEW,
        };
        let verified = assertion::verify(&token, &keys, &expected).unwrap();
        assert_eq!(verified.client_id, client_id);
    }
}

#[test]
fn a_private_jwk_of_openssl_comes_back_member_by_member() {
    for (jwk, key) in [(EC_PRIVATE, &EC), (RSA_PRIVATE, &RSA)] {
        assert_eq!(json(&key.to_private_jwk().unwrap()), json(jwk));
    }
}

#[test]
fn the_public_jwk_of_a_private_key_has_no_private_member() {
    for key in [&EC, &RSA] {
        let public = key.public_jwk().to_json();
        for member in RSA_PRIVATE_MEMBERS {
            assert!(public.get(member).is_none(), "{member}");
        }
    }
}

#[test]
fn each_assertion_has_another_jti() {
    let sign = || EC.sign_assertion("client", "audience", Duration::from_secs(60)).unwrap();
    assert_ne!(sign().split('.').nth(1), sign().split('.').nth(1));
}

#[test]
fn a_key_that_is_not_a_whole_private_key_is_refused() {
    let ec_without = |member| PrivateKey::from_jwk(&with(json(EC_PRIVATE), member, Value::Null).to_string());
    assert!(matches!(ec_without("d"), Err(KeyError::Member("d"))), "a public key");
    assert!(matches!(ec_without("x"), Err(KeyError::Public(_))));
    assert!(matches!(ec_without("kid"), Err(KeyError::Public(JwksError::MissingKid { .. }))));
    for member in RSA_PRIVATE_MEMBERS {
        let jwk = with(json(RSA_PRIVATE), member, Value::Null).to_string();
        assert!(matches!(PrivateKey::from_jwk(&jwk), Err(KeyError::Member(missing)) if missing == member));
    }
    assert!(matches!(PrivateKey::from_jwk("[]"), Err(KeyError::NotJson { .. })));
    assert!(matches!(PrivateKey::from_jwk(P256), Err(KeyError::Public(JwksError::UnsupportedCurve { .. }))));
}

#[test]
fn private_numbers_of_another_key_are_refused() {
    let foreign = json(&PrivateKey::generate(Algorithm::Es384).unwrap().to_private_jwk().unwrap());
    let mixed = with(json(EC_PRIVATE), "d", foreign["d"].clone()).to_string();
    assert!(matches!(PrivateKey::from_jwk(&mixed), Err(KeyError::Inconsistent)));
    let mixed = with(json(RSA_PRIVATE), "d", json!("AQAB")).to_string();
    assert!(matches!(PrivateKey::from_jwk(&mixed), Err(KeyError::Inconsistent)));
}

#[test]
fn debug_and_errors_never_show_key_material() {
    assert_eq!(format!("{:?}", *EC), r#"PrivateKey { kid: "vendor-ec", algorithm: Es384, .. }"#);
    let d = json(EC_PRIVATE)["d"].as_str().unwrap().to_owned();
    let broken = EC_PRIVATE.replace("P-384", "P-385");
    let error = PrivateKey::from_jwk(&broken).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(&d));
}
