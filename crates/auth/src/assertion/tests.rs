use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::{
    AUDIENCE, CLIENT_ID, EC, ES384_ASSERTION, NOW, RS384_ASSERTION, RSA, at, claims, client_id, mutations,
    part, unsigned, with,
};
use crate::{PrivateKey, jwks_document};

const JWKS_URL: &str = "https://vendor.example/jwks.json";

fn keys() -> Jwks {
    Jwks::from_value(&jwks_document([EC.public_jwk(), RSA.public_jwk()])).unwrap()
}

/// Verifies at a time in seconds; the client registered its keys inline.
fn verify_at(assertion: &str, now: i64) -> Result<VerifiedAssertion, AssertionError> {
    verify_with(assertion, now, None)
}

fn verify_with(
    assertion: &str,
    now: i64,
    jwks_url: Option<&str>,
) -> Result<VerifiedAssertion, AssertionError> {
    let client_id = client_id();
    let audiences = [AUDIENCE, "https://pod21.example/fhir/r4/token"];
    let expected =
        Expected { client_id: &client_id, audiences: &audiences, jwks_url, now: at(now), skew: SKEW };
    verify(assertion, &keys(), &expected)
}

/// What becomes of an assertion with good header and signature and these claims.
fn judge(claims: &Value) -> Result<VerifiedAssertion, AssertionError> {
    verify_at(&EC.sign(claims).unwrap(), NOW)
}

fn ec_header() -> Value {
    json!({ "typ": "JWT", "alg": "ES384", "kid": "vendor-ec" })
}

fn wrong_audience() -> AssertionError {
    AssertionError::WrongAudience { expected: AUDIENCE.to_owned() }
}

#[test]
fn assertions_signed_by_openssl_are_accepted() {
    for assertion in [ES384_ASSERTION.trim(), RS384_ASSERTION.trim()] {
        let peeked = peek(assertion).unwrap();
        assert_eq!(peeked.client_id, CLIENT_ID);
        let verified = verify_at(assertion, NOW).unwrap();
        assert_eq!(verified.client_id.as_str(), CLIENT_ID);
        assert_eq!(verified.jti, "6b7c1a52");
        assert_eq!(verified.expires_at, at(NOW + 300));
        assert_eq!(verified.replayable_until, at(NOW + 360));
    }
}

#[test]
fn peek_tells_who_where_and_how() {
    let header = with(ec_header(), "jku", json!(JWKS_URL));
    let expected = Unverified {
        client_id: CLIENT_ID.to_owned(),
        kid: "vendor-ec".to_owned(),
        alg: Algorithm::Es384,
        jku: Some(JWKS_URL.to_owned()),
    };
    assert_eq!(peek(&unsigned(&header, &claims())), Ok(expected));
    assert_eq!(peek(&unsigned(&ec_header(), &json!({}))), Err(AssertionError::WrongIssuer));
}

#[test]
fn a_header_outside_the_profile_is_refused_before_any_key_is_tried() {
    use AssertionError::*;
    let cases = [
        ("typ", json!("at+jwt"), WrongType),
        ("typ", json!(7), WrongType),
        ("alg", json!("none"), UnsupportedAlgorithm),
        ("alg", json!("None"), UnsupportedAlgorithm),
        ("alg", json!("HS256"), UnsupportedAlgorithm),
        ("alg", json!("HS384"), UnsupportedAlgorithm),
        ("alg", json!("ES256"), UnsupportedAlgorithm),
        ("alg", json!("RS256"), UnsupportedAlgorithm),
        ("alg", json!("PS384"), UnsupportedAlgorithm),
        ("alg", json!("es384"), UnsupportedAlgorithm),
        ("alg", json!(["ES384"]), UnsupportedAlgorithm),
        ("alg", Value::Null, UnsupportedAlgorithm),
        ("jwk", EC.public_jwk().to_json(), RefusedHeader("jwk")),
        ("x5u", json!("https://evil.example/cert.pem"), RefusedHeader("x5u")),
        ("x5c", json!(["AAAA"]), RefusedHeader("x5c")),
        ("crit", json!(["exp"]), RefusedHeader("crit")),
        ("kid", Value::Null, MissingKid),
        ("kid", json!(""), MissingKid),
        ("kid", json!({ "a": 1 }), MissingKid),
        ("kid", json!("k".repeat(256)), KidTooLong),
        ("jku", json!(["https://vendor.example/jwks.json"]), JkuNotRegistered),
    ];
    for (member, value, error) in cases {
        let token = unsigned(&with(ec_header(), member, value), &claims());
        assert_eq!(peek(&token), Err(error.clone()), "{member}");
        assert_eq!(verify_at(&token, NOW), Err(error), "{member}");
    }
}

#[test]
fn typ_may_be_missing_or_in_any_case() {
    for typ in [None, Some("jwt".to_owned()), Some("Jwt".to_owned())] {
        let header = crate::Header { typ, ..EC.header() };
        assert!(verify_at(&EC.sign_with_header(&header, &claims()).unwrap(), NOW).is_ok());
    }
}

#[test]
fn an_unsigned_assertion_is_refused() {
    let header = json!({ "typ": "JWT", "alg": "none", "kid": "vendor-ec" });
    let token = format!("{}.{}.", part(&header), part(&claims()));
    assert_eq!(verify_at(&token, NOW), Err(AssertionError::UnsupportedAlgorithm));
    let emptied = format!("{}.{}.", part(&ec_header()), part(&claims()));
    assert_eq!(verify_at(&emptied, NOW), Err(AssertionError::BadSignature));
}

#[test]
fn a_public_key_used_as_an_hmac_secret_is_refused() {
    let secret = EC.public_jwk().to_json().to_string();
    for (alg, algorithm) in [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384)] {
        let header = with(ec_header(), "alg", json!(alg));
        let signed = format!("{}.{}", part(&header), part(&claims()));
        let tag = hmac::sign(&hmac::Key::new(algorithm, secret.as_bytes()), signed.as_bytes());
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
        assert_eq!(verify_at(&token, NOW), Err(AssertionError::UnsupportedAlgorithm), "{alg}");
    }
}

#[test]
fn an_algorithm_that_does_not_fit_the_registered_key_is_refused() {
    let swapped = [("RS384", "vendor-ec"), ("ES384", "vendor-rsa")];
    for (alg, kid) in swapped {
        let token = unsigned(&json!({ "alg": alg, "kid": kid }), &claims());
        assert_eq!(verify_at(&token, NOW), Err(AssertionError::WrongKeyType), "{alg} {kid}");
    }
}

#[test]
fn a_signature_of_another_key_is_refused() {
    let stranger = PrivateKey::generate(Algorithm::Es384).unwrap();
    let token = stranger.sign_with_header(&EC.header(), &claims()).unwrap();
    assert_eq!(verify_at(&token, NOW), Err(AssertionError::BadSignature));
    let own_kid = stranger.sign(&claims()).unwrap();
    assert_eq!(verify_at(&own_kid, NOW), Err(AssertionError::UnknownKey));
}

#[test]
fn a_kid_that_nobody_registered_is_refused() {
    for kid in ["unknown", "VENDOR-EC", "../../etc/passwd", "vendor-ec'; DROP TABLE app_key; --"] {
        let header = crate::Header { kid: Some(kid.to_owned()), ..EC.header() };
        let token = EC.sign_with_header(&header, &claims()).unwrap();
        assert_eq!(verify_at(&token, NOW), Err(AssertionError::UnknownKey), "{kid}");
    }
}

#[test]
fn claims_changed_after_signing_are_refused() {
    let token = EC.sign(&claims()).unwrap();
    let (header, signature) = (token.split('.').next().unwrap(), token.rsplit('.').next().unwrap());
    let changed = with(claims(), "jti", json!("another"));
    let forged = format!("{header}.{}.{signature}", part(&changed));
    assert_eq!(verify_at(&forged, NOW), Err(AssertionError::BadSignature));
}

#[test]
fn a_jku_must_be_the_registered_url_and_none_is_registered_with_inline_keys() {
    let signed = |jku: &str| {
        let header = crate::Header { jku: Some(jku.to_owned()), ..EC.header() };
        EC.sign_with_header(&header, &claims()).unwrap()
    };
    assert_eq!(verify_at(&signed(JWKS_URL), NOW), Err(AssertionError::JkuNotRegistered));
    assert!(verify_with(&signed(JWKS_URL), NOW, Some(JWKS_URL)).is_ok());
    assert!(verify_with(&EC.sign(&claims()).unwrap(), NOW, Some(JWKS_URL)).is_ok());
    for other in ["https://evil.example/jwks.json", "https://vendor.example/jwks.json/", ""] {
        let verdict = verify_with(&signed(other), NOW, Some(JWKS_URL));
        assert_eq!(verdict, Err(AssertionError::JkuNotRegistered), "{other}");
    }
}

#[test]
fn issuer_and_subject_must_both_be_the_client() {
    use AssertionError::*;
    let other = "fhir00000000000000000000000000000000000000000000000000";
    let cases = [
        ("iss", json!(other), WrongIssuer),
        ("iss", json!([CLIENT_ID]), WrongIssuer),
        ("iss", Value::Null, WrongIssuer),
        ("sub", json!(other), WrongSubject),
        ("sub", json!(CLIENT_ID.to_uppercase()), WrongSubject),
        ("sub", Value::Null, WrongSubject),
    ];
    for (claim, value, error) in cases {
        assert_eq!(judge(&with(claims(), claim, value)), Err(error), "{claim}");
    }
}

#[test]
fn the_audience_is_exactly_one_of_ours() {
    for accepted in [json!(AUDIENCE), json!([AUDIENCE]), json!("https://pod21.example/fhir/r4/token")] {
        assert!(judge(&with(claims(), "aud", accepted)).is_ok());
    }
    for wrong in [
        json!("https://sso.example/token/"),
        json!("https://sso.example/TOKEN"),
        json!("https://SSO.example/token"),
        json!("http://sso.example/token"),
        json!("https://sso.example/token?x=1"),
        json!("https://other.example/token"),
        json!(["https://other.example/token"]),
        json!([[AUDIENCE]]),
        json!({ "aud": AUDIENCE }),
        json!(""),
        json!(7),
    ] {
        assert_eq!(judge(&with(claims(), "aud", wrong.clone())), Err(wrong_audience()), "{wrong}");
    }
    let expected = || AUDIENCE.to_owned();
    for several in [json!([AUDIENCE, "https://other.example"]), json!([AUDIENCE, AUDIENCE])] {
        let verdict = judge(&with(claims(), "aud", several));
        assert_eq!(verdict, Err(AssertionError::SeveralAudiences { expected: expected() }));
    }
    for missing in [Value::Null, json!([])] {
        let verdict = judge(&with(claims(), "aud", missing));
        assert_eq!(verdict, Err(AssertionError::MissingAudience { expected: expected() }));
    }
    assert!(wrong_audience().to_string().ends_with("https://sso.example/token"));
}

#[test]
fn exp_lies_between_now_and_five_minutes_ahead_with_a_minute_of_skew() {
    use AssertionError::*;
    let accepted = [NOW + 300, NOW + 360, NOW + 1, NOW, NOW - 59];
    for exp in accepted {
        let verified = judge(&with(claims(), "exp", json!(exp))).unwrap();
        assert_eq!(verified.expires_at, at(exp));
    }
    let refused = [
        (json!(NOW + 361), ExpiryTooFar),
        (json!(NOW + 3600), ExpiryTooFar),
        (json!(u64::MAX), ExpiryTooFar),
        (json!(1e308), ExpiryTooFar),
        (json!((NOW + 300) * 1000), ExpiryTooFar),
        (json!(NOW - 60), Expired),
        (json!(0), Expired),
        (json!(-5), Expired),
        (json!(-1e308), Expired),
        (json!((NOW + 300).to_string()), NotATime("exp")),
        (json!([NOW + 300]), NotATime("exp")),
        (json!(true), NotATime("exp")),
        (Value::Null, MissingExpiry),
    ];
    for (exp, error) in refused {
        assert_eq!(judge(&with(claims(), "exp", exp.clone())), Err(error), "{exp}");
    }
}

#[test]
fn a_fraction_of_a_second_in_exp_is_rounded_up() {
    let verified = judge(&with(claims(), "exp", json!(NOW as f64 + 10.25))).unwrap();
    assert_eq!(verified.expires_at, at(NOW + 11));
}

#[test]
fn an_exp_that_is_no_finite_number_is_malformed() {
    let header = part(&ec_header());
    for exp in ["1e999", "NaN", "Infinity", "0x10"] {
        let body = URL_SAFE_NO_PAD.encode(format!(r#"{{"iss":"{CLIENT_ID}","exp":{exp}}}"#));
        assert_eq!(peek(&format!("{header}.{body}.c2ln")), Err(AssertionError::Malformed), "{exp}");
    }
}

#[test]
fn nbf_and_iat_may_be_missing_but_not_in_the_future() {
    for claim in ["nbf", "iat"] {
        for accepted in [NOW + 60, NOW, NOW - 3600] {
            assert!(judge(&with(claims(), claim, json!(accepted))).is_ok(), "{claim} {accepted}");
        }
        let late = judge(&with(claims(), claim, json!(NOW + 61)));
        assert_eq!(late, Err(AssertionError::InTheFuture(claim)));
        let text = judge(&with(claims(), claim, json!("today")));
        assert_eq!(text, Err(AssertionError::NotATime(claim)));
    }
}

#[test]
fn jti_is_a_text_of_1_to_255_bytes() {
    for accepted in ["x".to_owned(), "x".repeat(255)] {
        assert_eq!(judge(&with(claims(), "jti", json!(accepted))).unwrap().jti, accepted);
    }
    for missing in [Value::Null, json!(""), json!(7), json!(["x"])] {
        assert_eq!(judge(&with(claims(), "jti", missing)), Err(AssertionError::MissingJti));
    }
    for huge in ["x".repeat(256), "x".repeat(4000)] {
        assert_eq!(judge(&with(claims(), "jti", json!(huge))), Err(AssertionError::JtiTooLong));
    }
}

#[test]
fn an_assertion_over_8_kib_is_not_looked_at() {
    let token = EC.sign(&with(claims(), "padding", json!("x".repeat(8192)))).unwrap();
    assert_eq!(verify_at(&token, NOW), Err(AssertionError::TooLarge));
    assert_eq!(peek(&"a".repeat(1 << 20)), Err(AssertionError::TooLarge));
}

#[test]
fn mutated_assertions_are_refused_and_nothing_panics() {
    for original in [ES384_ASSERTION.trim(), RS384_ASSERTION.trim()] {
        let changed = mutations(original, 2000).filter(|mutation| mutation != original);
        for mutation in changed {
            assert!(verify_at(&mutation, NOW).is_err(), "{mutation}");
        }
    }
}

#[test]
fn no_error_repeats_what_was_sent() {
    let secret = "s3cr3t-value";
    for claim in ["iss", "sub", "aud", "exp", "nbf", "iat"] {
        let error = judge(&with(claims(), claim, json!(secret))).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(secret), "{claim}");
    }
}
