use super::*;
use crate::fixtures::{
    EC, NOW, RSA, SERVER, at, claims as assertion_claims, client_id, mutations, part, with,
};
use crate::{AssertionError, assertion};

const SKEW: Duration = Duration::from_secs(60);
const VENDOR: &str = "6a0d1f5e-7c1b-4a0e-9c53-0d5e8f3b2a17";

fn keys() -> IssuerKeys {
    IssuerKeys::of([EC.public_jwk()]).unwrap()
}

fn keycloak() -> AdminIssuer {
    AdminIssuer {
        issuer: "https://sso.example/realms/staff".to_owned(),
        audience: "headgate-admin".to_owned(),
        role_claim: "realm_access.roles".to_owned(),
        practice_claim: "https://example.com/practice".to_owned(),
        vendor_claim: "headgate.vendor".to_owned(),
        operator_value: "headgate-operator".to_owned(),
        practice_admin_value: "headgate-practice".to_owned(),
        vendor_value: "headgate-vendor".to_owned(),
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://sso.example/realms/staff",
        "aud": "headgate-admin",
        "sub": "alice@clinic.example",
        "exp": NOW + 300,
        "iat": NOW,
        "typ": "Bearer",
        "azp": "console",
        "realm_access": { "roles": ["offline_access", "headgate-operator"] },
        "https://example.com/practice": 100491,
        "headgate": { "vendor": VENDOR }
    })
}

fn with_roles(roles: Value) -> Value {
    with(claims(), "realm_access", json!({ "roles": roles }))
}

fn judge(claims: &Value) -> Result<AdminIdentity, AdminTokenError> {
    verify(&EC.sign(claims).unwrap(), &keys(), &keycloak(), at(NOW), SKEW)
}

fn role(claims: &Value) -> Result<AdminRole, AdminTokenError> {
    judge(claims).map(|identity| identity.role)
}

#[test]
fn a_token_of_the_built_in_issuer_comes_back_with_its_role() {
    let practice = PracticeNumber::new(100_491).unwrap();
    let roles =
        [AdminRole::Operator, AdminRole::PracticeAdmin(practice), AdminRole::Vendor(VENDOR.parse().unwrap())];
    for role in roles {
        let token = issue(&EC, "alice", &role, Duration::from_secs(600)).unwrap();
        assert_eq!(peek_issuer(&token), Some((BUILTIN_ISSUER.to_owned(), EC.kid().to_owned())));
        let identity = verify(&token, &keys(), &AdminIssuer::builtin(), Utc::now(), SKEW).unwrap();
        assert_eq!((identity.subject.as_str(), identity.issuer.as_str()), ("alice", BUILTIN_ISSUER));
        assert_eq!(identity.role, role);
        assert!((identity.expires_at - Utc::now().timestamp() - 600).abs() <= 2);
    }
    let long = issue(&EC, "alice", &AdminRole::Operator, MAX_LIFETIME + SKEW * 2).unwrap();
    let verdict = verify(&long, &keys(), &AdminIssuer::builtin(), Utc::now(), SKEW);
    assert_eq!(verdict, Err(AdminTokenError::ExpiryTooFar));
}

#[test]
fn a_token_of_keycloak_is_understood() {
    let identity = judge(&claims()).unwrap();
    assert_eq!(identity.role, AdminRole::Operator);
    assert_eq!(identity.subject, "alice@clinic.example");
    assert_eq!(identity.expires_at, NOW + 300);
}

#[test]
fn a_token_carries_exactly_one_of_our_roles() {
    let practice = AdminRole::PracticeAdmin(PracticeNumber::new(100_491).unwrap());
    assert_eq!(role(&with_roles(json!("headgate-operator"))), Ok(AdminRole::Operator));
    assert_eq!(role(&with_roles(json!(["headgate-practice"]))), Ok(practice));
    assert_eq!(
        role(&with_roles(json!(["x", "headgate-vendor"]))),
        Ok(AdminRole::Vendor(VENDOR.parse().unwrap()))
    );
    assert_eq!(role(&with_roles(json!(["headgate-operator", "headgate-operator"]))), Ok(AdminRole::Operator));
    for none in [
        json!([]),
        json!(["offline_access"]),
        json!("HEADGATE-OPERATOR"),
        json!(["headgate-operator", "headgate-vendor"]),
        json!("headgate-operator headgate-vendor"),
        json!([["headgate-operator"]]),
        json!({ "headgate-operator": true }),
        json!(7),
        Value::Null,
    ] {
        assert_eq!(role(&with_roles(none.clone())), Err(AdminTokenError::NotOneRole), "{none}");
    }
    assert_eq!(role(&with(claims(), "realm_access", Value::Null)), Err(AdminTokenError::NotOneRole));
    assert_eq!(
        role(&with(claims(), "realm_access", json!("headgate-operator"))),
        Err(AdminTokenError::NotOneRole)
    );
}

#[test]
fn a_practice_admin_has_a_practice_and_a_vendor_an_account() {
    let admin = |practice: Value| {
        role(&with(with_roles(json!("headgate-practice")), "https://example.com/practice", practice))
    };
    for accepted in [json!(7), json!("7"), json!("0007")] {
        assert_eq!(admin(accepted), Ok(AdminRole::PracticeAdmin(PracticeNumber::new(7).unwrap())));
    }
    for wrong in [
        Value::Null,
        json!(0),
        json!(-7),
        json!(7.5),
        json!(u64::MAX),
        json!("+7"),
        json!("-7"),
        json!(" 7"),
        json!("7 OR 1=1"),
        json!("99999999999999999999"),
        json!(""),
        json!([7]),
    ] {
        assert_eq!(admin(wrong.clone()), Err(AdminTokenError::MissingPractice), "{wrong}");
    }
    let vendor = |vendor: Value| {
        role(&with(with_roles(json!("headgate-vendor")), "headgate", json!({ "vendor": vendor })))
    };
    for wrong in [Value::Null, json!(""), json!("alice"), json!(7), json!([VENDOR])] {
        assert_eq!(vendor(wrong.clone()), Err(AdminTokenError::MissingVendor), "{wrong}");
    }
}

#[test]
fn claims_are_checked_one_by_one() {
    use AdminTokenError::*;
    let cases = [
        ("iss", json!("https://sso.example/realms/staff/"), WrongIssuer),
        ("iss", json!(BUILTIN_ISSUER), WrongIssuer),
        ("iss", Value::Null, WrongIssuer),
        ("typ", json!("ID"), WrongType),
        ("typ", json!("Refresh"), WrongType),
        ("aud", Value::Null, WrongAudience),
        ("aud", json!("account"), WrongAudience),
        ("aud", json!("Headgate-Admin"), WrongAudience),
        ("aud", json!([]), WrongAudience),
        ("aud", json!(["headgate-admin", "account"]), WrongAudience),
        ("aud", json!(["headgate-admin", "headgate-admin"]), WrongAudience),
        ("aud", json!([["headgate-admin"]]), WrongAudience),
        ("exp", Value::Null, MissingExpiry),
        ("exp", json!("soon"), MissingExpiry),
        ("exp", json!(NOW - 60), Expired),
        ("exp", json!(-1e308), Expired),
        ("exp", json!(NOW + 31 * 86_400 + 61), ExpiryTooFar),
        ("exp", json!(1e308), ExpiryTooFar),
        ("nbf", json!(NOW + 61), NotYetValid),
        ("iat", json!(NOW + 61), NotYetValid),
        ("nbf", json!("now"), NotYetValid),
        ("sub", Value::Null, BadSubject),
        ("sub", json!(""), BadSubject),
        ("sub", json!(7), BadSubject),
        ("sub", json!("a\nb"), BadSubject),
        ("sub", json!("a\u{85}b"), BadSubject),
        ("sub", json!("a".repeat(201)), BadSubject),
    ];
    for (name, value, error) in cases {
        assert_eq!(judge(&with(claims(), name, value.clone())), Err(error), "{name} {value}");
    }
    for (name, value) in [
        ("aud", json!(["headgate-admin"])),
        ("exp", json!(NOW - 59)),
        ("exp", json!(NOW + 31 * 86_400)),
        ("typ", Value::Null),
        ("iat", Value::Null),
        ("sub", json!("a".repeat(200))),
    ] {
        assert!(judge(&with(claims(), name, value.clone())).is_ok(), "{name} {value}");
    }
}

#[test]
fn no_error_repeats_what_was_sent() {
    for name in ["iss", "sub", "aud", "exp", "realm_access"] {
        let error = judge(&with(claims(), name, json!("s3cr3t\u{7}"))).unwrap_err();
        assert!(!format!("{error} {error:?} {}", error.reason()).contains("s3cr3t"), "{name}");
    }
}

#[test]
fn the_signature_and_the_header_are_those_of_the_issuer() {
    let stranger = crate::PrivateKey::generate(crate::Algorithm::Es384).unwrap();
    let forged = stranger.sign_with_header(&EC.header(), &claims()).unwrap();
    let verdict = |token: &str| verify(token, &keys(), &keycloak(), at(NOW), SKEW).map(|_| ());
    assert_eq!(verdict(&forged), Err(AdminTokenError::BadSignature));
    assert_eq!(verdict(&stranger.sign(&claims()).unwrap()), Err(AdminTokenError::UnknownKey));
    for alg in ["none", "HS256", "HS384"] {
        let token = format!("{}.{}.", part(&json!({ "alg": alg, "kid": "vendor-ec" })), part(&claims()));
        assert_eq!(verdict(&token), Err(AdminTokenError::Malformed), "{alg}");
        assert!(verdict(&format!("{token}c2ln")).is_err(), "{alg}");
    }
    for garbage in ["", "..", "operator", "e30.e30.c2ln"] {
        assert_eq!(verdict(garbage), Err(AdminTokenError::Malformed), "{garbage}");
        assert_eq!(peek_issuer(garbage), None);
    }
}

#[test]
fn tokens_of_the_fhir_side_never_open_the_admin_api_nor_the_other_way_round() {
    // Even if all keys were one and the same.
    let keys = IssuerKeys::of([EC.public_jwk(), RSA.public_jwk(), SERVER.public_jwk()]).unwrap();
    let access = crate::AccessTokenClaims {
        iss: "https://sso.example/auth/realms/fhir".to_owned(),
        sub: Uuid::from_u128(1),
        typ: crate::access_token::TokenType::Bearer,
        azp: client_id(),
        client_id: client_id(),
        client_host: "h".to_owned(),
        client_address: "a".to_owned(),
        scope: "system/*.rs".to_owned(),
        jti: Uuid::from_u128(7),
        iat: NOW,
        exp: NOW + 300,
        aud: "https://pod21.example/fhir/r4".to_owned(),
        allowed_fhir_url: "https://pod21.example/fhir/r4".to_owned(),
    };
    let access = crate::access_token::issue(&SERVER, &access).unwrap();
    let signed = [access, EC.sign(&assertion_claims()).unwrap(), RSA.sign(&assertion_claims()).unwrap()];
    for token in &signed {
        for issuer in [AdminIssuer::builtin(), keycloak()] {
            let verdict = verify(token, &keys, &issuer, at(NOW), SKEW);
            assert_eq!(verdict, Err(AdminTokenError::WrongIssuer));
            // Nor if the issuer of the FHIR side were configured: the audience is another.
            let iss = peek_issuer(token).unwrap().0;
            let verdict = verify(token, &keys, &AdminIssuer { issuer: iss, ..issuer }, at(NOW), SKEW);
            assert_eq!(verdict, Err(AdminTokenError::WrongAudience));
        }
    }

    let admin = issue(&EC, "alice", &AdminRole::Operator, Duration::from_secs(300)).unwrap();
    let expected = crate::access_token::Expected { issuer: BUILTIN_ISSUER, now: Utc::now() };
    let verdict = crate::access_token::verify(&admin, &[EC.public_jwk().clone()], &expected);
    assert_eq!(verdict, Err(crate::AccessTokenError::Malformed));
    let expected = assertion::Expected {
        client_id: &client_id(),
        audiences: &[BUILTIN_AUDIENCE],
        jwks_url: None,
        now: Utc::now(),
        skew: SKEW,
    };
    let jwks = crate::Jwks::new(vec![EC.public_jwk().clone()]).unwrap();
    assert_eq!(assertion::verify(&admin, &jwks, &expected), Err(AssertionError::WrongIssuer));
}

#[test]
fn mutated_tokens_are_refused_and_nothing_panics() {
    let token = EC.sign(&claims()).unwrap();
    for mutation in mutations(&token, 3000).filter(|mutation| *mutation != token) {
        assert!(verify(&mutation, &keys(), &keycloak(), at(NOW), SKEW).is_err(), "{mutation}");
        let _ = peek_issuer(&mutation);
    }
}
