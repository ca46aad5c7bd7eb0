use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::*;
use crate::fixtures::{
    CLIENT_ID, EC, NOW, RSA, SERVER, at, claims as assertion_claims, mutations, part, with,
};

const ISSUER: &str = "https://sso.example/auth/realms/fhir";
const BASE: &str = "https://pod21.example/fhir/r4";

/// A token as the modelled product's realm writes it: scopes of other kinds among ours, a UUID as
/// subject, no audience.
fn claims() -> Value {
    json!({
        "exp": NOW + 1800,
        "iat": NOW,
        "jti": "0b8e6a5c-3f0d-4c4e-9d5b-1a2b3c4d5e6f",
        "iss": ISSUER,
        "sub": "5a1c9a52-9a42-4d1e-8f0e-0d2f5d0c7b11",
        "typ": "Bearer",
        "azp": CLIENT_ID,
        "scope": "launch system/Patient.rs online_access launch/patient system/Observation.rs openid",
        "allowedFhirUrl": BASE,
        "clientHost": "203.0.113.7",
        "clientId": CLIENT_ID,
        "clientAddress": "203.0.113.7"
    })
}

fn keys() -> IssuerKeys {
    IssuerKeys::of([SERVER.public_jwk()]).unwrap()
}

fn expected(audience: Option<&str>) -> ExternalExpected<'_> {
    ExternalExpected { issuer: ISSUER, audience, now: at(NOW), skew: Duration::from_secs(60) }
}

fn judge(claims: &Value) -> Result<ExternalClaims, AccessTokenError> {
    verify_external(&SERVER.sign(claims).unwrap(), &keys(), &expected(None))
}

#[test]
fn a_token_of_the_modelled_product_is_understood() {
    let token = SERVER.sign(&claims()).unwrap();
    assert_eq!(peek_kid(&token).as_deref(), Some(SERVER.kid()));
    let verified = verify_external(&token, &keys(), &expected(None)).unwrap();
    assert_eq!(
        verified,
        ExternalClaims {
            client_id: CLIENT_ID.parse().unwrap(),
            scopes: "system/Patient.rs system/Observation.rs".to_owned(),
            allowed_fhir_url: BASE.to_owned(),
            jti: Some("0b8e6a5c-3f0d-4c4e-9d5b-1a2b3c4d5e6f".to_owned()),
            issued_at: Some(NOW),
            expires_at: NOW + 1800,
        }
    );
}

#[test]
fn a_token_of_our_own_endpoint_reads_the_same() {
    let own = json!({ "iss": ISSUER, "azp": CLIENT_ID, "clientId": CLIENT_ID, "exp": NOW + 300, "aud": BASE,
        "allowedFhirUrl": BASE, "scope": "system/*.rs", "typ": "Bearer" });
    assert!(judge(&own).is_ok());
}

#[test]
fn every_algorithm_verifies_under_a_key_that_fits_and_no_other() {
    use Algorithm::*;
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let pkcs8 = pair.to_pkcs8v1().unwrap();
    let p256 = EncodingKey::from_ec_der(pkcs8.as_ref());
    let jwks = json!({ "keys": [
        with(RSA.public_jwk().to_json(), "alg", Value::Null),
        EC.public_jwk().to_json(),
        { "kty": "EC", "crv": "P-256", "kid": "p256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) },
    ] });
    let keys = IssuerKeys::from_value(&jwks).unwrap();
    let verdict = |token: &str| verify_external(token, &keys, &expected(None)).map(|_| ());
    let header = |kid: &str, alg| Header { kid: Some(kid.to_owned()), ..Header::new(alg) };
    for alg in [RS256, RS384, RS512, PS256, PS384, PS512] {
        let token = RSA.sign_with_header(&header("vendor-rsa", alg), &claims()).unwrap();
        assert_eq!(verdict(&token), Ok(()), "{alg:?}");
        let other = RSA.sign_with_header(&header("vendor-ec", alg), &claims()).unwrap();
        assert_eq!(verdict(&other), Err(AccessTokenError::UnknownKey), "{alg:?}");
    }
    assert_eq!(verdict(&EC.sign_with_header(&header("vendor-ec", ES384), &claims()).unwrap()), Ok(()));
    let es256 = jsonwebtoken::encode(&header("p256", ES256), &claims(), &p256).unwrap();
    assert_eq!(verdict(&es256), Ok(()));
    // ES256 by the name, P-384 by the key, and the other way round.
    for (alg, kid) in [("ES256", "vendor-ec"), ("ES384", "p256"), ("RS256", "p256"), ("ES384", "vendor-rsa")]
    {
        let token = format!("{}.{}.c2ln", part(&json!({ "alg": alg, "kid": kid })), part(&claims()));
        assert_eq!(verdict(&token), Err(AccessTokenError::UnknownKey), "{alg} {kid}");
    }
}

#[test]
fn unsigned_tokens_and_public_keys_as_hmac_secrets_are_refused() {
    for alg in ["none", "HS256", "HS384"] {
        let signed = format!("{}.{}", part(&json!({ "alg": alg, "kid": SERVER.kid() })), part(&claims()));
        let secret = SERVER.public_jwk().to_json().to_string();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
        for signature in [String::new(), URL_SAFE_NO_PAD.encode(tag)] {
            let verdict = verify_external(&format!("{signed}.{signature}"), &keys(), &expected(None));
            assert_eq!(verdict, Err(AccessTokenError::Malformed), "{alg}");
        }
    }
}

#[test]
fn a_header_with_material_of_the_sender_or_another_type_is_malformed() {
    let good = json!({ "typ": "JWT", "alg": "RS256", "kid": SERVER.kid() });
    let judged = |header: &Value| {
        let token = format!("{}.{}.c2ln", part(header), part(&claims()));
        (peek_kid(&token).is_some(), verify_external(&token, &keys(), &expected(None)))
    };
    for typ in [json!("JWT"), json!("at+jwt"), json!("AT+JWT"), json!("application/at+jwt"), Value::Null] {
        assert_eq!(judged(&with(good.clone(), "typ", typ)), (true, Err(AccessTokenError::BadSignature)));
    }
    for (name, value) in [
        ("typ", json!("logout+jwt")),
        ("typ", json!(7)),
        ("crit", json!(["exp"])),
        ("jwk", SERVER.public_jwk().to_json()),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!(["AAAA"])),
        ("kid", Value::Null),
        ("kid", json!("")),
        ("kid", json!("k".repeat(256))),
    ] {
        let verdict = judged(&with(good.clone(), name, value));
        assert_eq!(verdict, (false, Err(AccessTokenError::Malformed)), "{name}");
    }
    let twisted = with(good.clone(), "kid", json!("../../etc/passwd' OR 1=1 --"));
    assert_eq!(judged(&twisted), (true, Err(AccessTokenError::UnknownKey)));
    assert_eq!(peek_kid(&"a".repeat(1 << 20)), None);
}

#[test]
fn claims_are_checked_one_by_one() {
    use AccessTokenError::*;
    let other = "fhir00000000000000000000000000000000000000000000000000";
    let cases = [
        ("iss", json!("https://sso.example/auth/realms/fhir/"), WrongIssuer),
        ("iss", json!([ISSUER]), WrongIssuer),
        ("iss", Value::Null, WrongIssuer),
        ("typ", json!("ID"), Malformed),
        ("typ", json!("Refresh"), Malformed),
        ("typ", json!(["Bearer"]), Malformed),
        ("exp", Value::Null, Malformed),
        ("exp", json!("1760001800"), Malformed),
        ("exp", json!(1e308), Malformed),
        ("exp", json!(NOW - 60), Expired),
        ("exp", json!(-1e308), Expired),
        ("exp", json!(0), Expired),
        ("nbf", json!(NOW + 61), NotYetValid),
        ("nbf", json!(1e308), NotYetValid),
        ("nbf", json!("now"), Malformed),
        ("iat", json!("now"), Malformed),
        ("iat", json!(1e308), Malformed),
        ("azp", json!(other), Malformed),
        ("clientId", json!(other), Malformed),
        ("clientId", json!([CLIENT_ID]), Malformed),
        ("scope", json!(["system/Patient.rs"]), Malformed),
        ("allowedFhirUrl", Value::Null, Malformed),
        ("allowedFhirUrl", json!(""), Malformed),
        ("allowedFhirUrl", json!([BASE]), Malformed),
        ("jti", json!(7), Malformed),
        ("jti", json!("x".repeat(256)), Malformed),
    ];
    for (name, value, error) in cases {
        assert_eq!(judge(&with(claims(), name, value.clone())), Err(error), "{name} {value}");
    }
    for name in ["typ", "azp", "clientId", "jti", "iat", "sub", "clientHost", "clientAddress"] {
        assert!(judge(&with(claims(), name, Value::Null)).is_ok(), "{name}");
    }
    for (name, value) in
        [("exp", json!(NOW - 59)), ("nbf", json!(NOW + 60)), ("exp", json!(NOW as f64 + 0.5))]
    {
        assert!(judge(&with(claims(), name, value.clone())).is_ok(), "{name} {value}");
    }
    let nobody = with(with(claims(), "azp", Value::Null), "clientId", Value::Null);
    assert_eq!(judge(&nobody), Err(Malformed));
    let account = with(with(claims(), "azp", json!("account")), "clientId", json!("account"));
    assert_eq!(judge(&account), Err(Malformed));
}

#[test]
fn only_system_scopes_count() {
    for (scope, scopes) in [
        (json!("launch online_access launch/patient openid"), ""),
        (json!("  system/A.rs\tpatient/B.rs  user/C.rs system/D.read "), "system/A.rs system/D.read"),
        (json!("System/A.rs xsystem/A.rs"), ""),
        (json!(""), ""),
        (Value::Null, ""),
    ] {
        assert_eq!(judge(&with(claims(), "scope", scope.clone())).unwrap().scopes, scopes, "{scope}");
    }
}

#[test]
fn an_audience_is_asked_for_only_when_one_is_configured() {
    let verdict = |aud: Value| {
        let token = SERVER.sign(&with(claims(), "aud", aud)).unwrap();
        verify_external(&token, &keys(), &expected(Some("headgate"))).map(|_| ())
    };
    for accepted in [json!("headgate"), json!(["headgate"]), json!(["account", "headgate"])] {
        assert_eq!(verdict(accepted), Ok(()));
    }
    for wrong in [
        Value::Null,
        json!("Headgate"),
        json!("headgate/"),
        json!([]),
        json!(["account"]),
        json!([["headgate"]]),
    ] {
        assert_eq!(verdict(wrong.clone()), Err(AccessTokenError::WrongAudience), "{wrong}");
    }
    assert!(judge(&with(claims(), "aud", json!(["account"]))).is_ok());
}

#[test]
fn a_client_assertion_or_an_admin_token_is_never_an_external_access_token() {
    let keys = IssuerKeys::of([EC.public_jwk(), RSA.public_jwk()]).unwrap();
    let verdict = |token: &str| verify_external(token, &keys, &expected(None));
    assert_eq!(verdict(&EC.sign(&assertion_claims()).unwrap()), Err(AccessTokenError::WrongIssuer));
    let role = crate::AdminRole::Operator;
    let admin = crate::admin_token::issue(&EC, "alice", &role, Duration::from_secs(60)).unwrap();
    assert_eq!(verdict(&admin), Err(AccessTokenError::WrongIssuer));
}

#[test]
fn mutated_tokens_are_refused_and_nothing_panics() {
    let token = SERVER.sign(&claims()).unwrap();
    for mutation in mutations(&token, 3000).filter(|mutation| *mutation != token) {
        assert!(verify_external(&mutation, &keys(), &expected(None)).is_err(), "{mutation}");
    }
}
