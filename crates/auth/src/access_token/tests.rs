use std::sync::LazyLock;

use serde_json::json;

use super::*;
use crate::fixtures::{EC, NOW, RSA, SERVER, at, claims as assertion_claims, client_id, mutations, part};

const ISSUER: &str = "https://sso.example/auth/realms/fhir";

fn claims() -> AccessTokenClaims {
    AccessTokenClaims {
        iss: ISSUER.to_owned(),
        sub: subject_of(&client_id()),
        typ: TokenType::Bearer,
        azp: client_id(),
        client_id: client_id(),
        client_host: "203.0.113.7".to_owned(),
        client_address: "203.0.113.7".to_owned(),
        scope: "system/Patient.rs system/Observation.rs".to_owned(),
        jti: Uuid::from_u128(7),
        iat: NOW,
        exp: NOW + 1800,
        aud: "https://pod21.example/fhir/r4".to_owned(),
        allowed_fhir_url: "https://pod21.example/fhir/r4".to_owned(),
    }
}

fn verify_at(token: &str, now: i64) -> Result<AccessTokenClaims, AccessTokenError> {
    static RETIRED: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate().unwrap());
    let keys = [RETIRED.public_jwk().clone(), SERVER.public_jwk().clone()];
    verify(token, &keys, &Expected { issuer: ISSUER, now: at(now) })
}

fn server_signed(claims: &Value) -> String {
    SERVER.sign(claims).unwrap()
}

#[test]
fn an_issued_token_verifies_with_all_its_claims() {
    let token = issue(&SERVER, &claims()).unwrap();
    assert_eq!(verify_at(&token, NOW), Ok(claims()));
}

#[test]
fn the_token_is_an_rs256_jwt_with_exactly_the_documented_claims() {
    let token = issue(&SERVER, &claims()).unwrap();
    let parsed = Compact::parse(&token).unwrap();
    assert_eq!(Value::Object(parsed.header), json!({ "typ": "JWT", "alg": "RS256", "kid": SERVER.kid() }));
    let mut names: Vec<&str> = parsed.claims.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names.join(" "),
        "allowedFhirUrl aud azp clientAddress clientHost clientId exp iat iss jti scope sub typ"
    );
    assert_eq!(parsed.claims["typ"], "Bearer");
}

#[test]
fn the_subject_is_a_uuid_that_stays_with_the_client() {
    let subject = subject_of(&client_id());
    assert_eq!(subject, subject_of(&client_id()));
    assert_ne!(subject, subject_of(&ClientId::from_random([1; 25])));
    assert_eq!((subject.get_version_num(), subject.get_variant()), (8, uuid::Variant::RFC4122));
}

#[test]
fn a_token_ends_five_seconds_after_exp() {
    let token = issue(&SERVER, &claims()).unwrap();
    assert!(verify_at(&token, NOW + 1800 + 4).is_ok());
    assert_eq!(verify_at(&token, NOW + 1800 + 5), Err(AccessTokenError::Expired));
    let extreme = AccessTokenClaims { exp: i64::MIN, ..claims() };
    assert_eq!(verify_at(&issue(&SERVER, &extreme).unwrap(), NOW), Err(AccessTokenError::Expired));
    let endless = AccessTokenClaims { exp: i64::MAX, ..claims() };
    assert!(verify_at(&issue(&SERVER, &endless).unwrap(), NOW).is_ok());
}

#[test]
fn a_token_of_another_issuer_is_refused() {
    for iss in ["https://sso.example/auth/realms/fhir/", "https://other.example", ""] {
        let foreign = AccessTokenClaims { iss: iss.to_owned(), ..claims() };
        let verdict = verify_at(&issue(&SERVER, &foreign).unwrap(), NOW);
        assert_eq!(verdict, Err(AccessTokenError::WrongIssuer), "{iss}");
    }
}

#[test]
fn a_token_of_a_key_that_is_not_in_use_is_refused() {
    let stranger = SigningKey::generate().unwrap();
    let token = issue(&stranger, &claims()).unwrap();
    assert_eq!(verify_at(&token, NOW), Err(AccessTokenError::UnknownKey));
    let disguised = SigningKey::from_pkcs8_der(SERVER.kid(), stranger.to_pkcs8_der()).unwrap();
    let token = issue(&disguised, &claims()).unwrap();
    assert_eq!(verify_at(&token, NOW), Err(AccessTokenError::BadSignature));
}

#[test]
fn a_changed_token_is_refused() {
    let token = issue(&SERVER, &claims()).unwrap();
    let [header, _, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let wider = AccessTokenClaims { scope: "system/*.rs".to_owned(), ..claims() };
    let forged = format!("{header}.{}.{signature}", part(&serde_json::to_value(wider).unwrap()));
    assert_eq!(verify_at(&forged, NOW), Err(AccessTokenError::BadSignature));
}

#[test]
fn a_header_that_is_not_ours_is_malformed() {
    let body = part(&serde_json::to_value(claims()).unwrap());
    let kid = SERVER.kid();
    for header in [
        json!({ "alg": "none", "kid": kid }),
        json!({ "alg": "HS256", "kid": kid }),
        json!({ "alg": "RS384", "kid": kid }),
        json!({ "alg": "PS256", "kid": kid }),
        json!({ "alg": "RS256" }),
        json!({ "alg": "RS256", "kid": kid, "crit": ["exp"] }),
        json!({ "alg": "RS256", "kid": kid, "typ": "logout+jwt" }),
    ] {
        let verdict = verify_at(&format!("{}.{body}.c2ln", part(&header)), NOW);
        assert_eq!(verdict, Err(AccessTokenError::Malformed), "{header}");
    }
}

#[test]
fn claims_that_are_not_those_of_an_access_token_are_malformed() {
    let whole = serde_json::to_value(claims()).unwrap();
    for name in whole.as_object().unwrap().keys() {
        let mut without = whole.clone();
        without.as_object_mut().unwrap().remove(name);
        assert_eq!(verify_at(&server_signed(&without), NOW), Err(AccessTokenError::Malformed), "{name}");
    }
    for (name, value) in [("typ", json!("ID")), ("typ", json!("Refresh")), ("exp", json!("soon"))] {
        let mut changed = whole.clone();
        changed[name] = value;
        assert_eq!(verify_at(&server_signed(&changed), NOW), Err(AccessTokenError::Malformed), "{name}");
    }
}

#[test]
fn a_client_assertion_is_never_an_access_token() {
    for client in [&EC, &RSA] {
        let token = client.sign(&assertion_claims()).unwrap();
        assert_eq!(verify_at(&token, NOW), Err(AccessTokenError::Malformed));
        // Not even when a client's key stands among the server's.
        let keys = [client.public_jwk().clone()];
        let verdict = verify(&token, &keys, &Expected { issuer: ISSUER, now: at(NOW) });
        assert_eq!(verdict, Err(AccessTokenError::Malformed));
    }
    // Not even when the server's own key signed it.
    assert_eq!(verify_at(&server_signed(&assertion_claims()), NOW), Err(AccessTokenError::Malformed));
}

#[test]
fn a_client_key_never_verifies_an_access_token() {
    let header = crate::Header {
        kid: Some(RSA.kid().to_owned()),
        ..crate::Header::new(jsonwebtoken::Algorithm::RS256)
    };
    let token = RSA.sign_with_header(&header, &claims()).unwrap();
    let keys = [RSA.public_jwk().clone()];
    let verdict = verify(&token, &keys, &Expected { issuer: ISSUER, now: at(NOW) });
    assert_eq!(verdict, Err(AccessTokenError::UnknownKey));
}

#[test]
fn garbage_and_oversized_tokens_are_malformed() {
    for garbage in [String::new(), "..".to_owned(), "Bearer x".to_owned(), "a".repeat(8193)] {
        assert_eq!(verify_at(&garbage, NOW), Err(AccessTokenError::Malformed));
    }
}

#[test]
fn mutated_tokens_are_refused_and_nothing_panics() {
    let token = issue(&SERVER, &claims()).unwrap();
    let keys = [SERVER.public_jwk().clone()];
    for mutation in mutations(&token, 3000).filter(|mutation| *mutation != token) {
        let verdict = verify(&mutation, &keys, &Expected { issuer: ISSUER, now: at(NOW) });
        assert!(verdict.is_err(), "{mutation}");
    }
}
