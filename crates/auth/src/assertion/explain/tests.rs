use serde_json::json;

use super::*;
use crate::assertion::SKEW;
use crate::fixtures::{AUDIENCE, CLIENT_ID, EC, NOW, RSA, at, claims, client_id, part, unsigned, with};
use crate::jwks_document;

const NAMES: [&str; 15] = [
    "form",
    "typ",
    "alg",
    "header",
    "kid",
    "jku",
    "key",
    "signature",
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
];

fn keys() -> Jwks {
    Jwks::from_value(&jwks_document([EC.public_jwk(), RSA.public_jwk()])).unwrap()
}

fn explained(assertion: &str) -> Explanation {
    let (client_id, keys) = (client_id(), keys());
    explain(
        assertion,
        &Explain {
            client_id: Some(&client_id),
            audiences: &[AUDIENCE],
            keys: Some(&keys),
            jwks_url: None,
            now: at(NOW),
            skew: SKEW,
        },
    )
}

fn unknown_client(assertion: &str) -> Explanation {
    let nobody = Explain {
        client_id: None,
        audiences: &[AUDIENCE],
        keys: None,
        jwks_url: None,
        now: at(NOW),
        skew: SKEW,
    };
    explain(assertion, &nobody)
}

fn with_outcome(explanation: &Explanation, outcome: Outcome) -> Vec<&str> {
    explanation.checks.iter().filter(|check| check.outcome == outcome).map(|check| check.name).collect()
}

fn text_of<'a>(explanation: &'a Explanation, name: &str) -> &'a str {
    &explanation.checks.iter().find(|check| check.name == name).unwrap().text
}

#[test]
fn a_good_assertion_passes_every_check_and_is_shown() {
    let explanation = explained(&EC.sign(&claims()).unwrap());
    assert_eq!(with_outcome(&explanation, Outcome::Passed), NAMES);
    assert!(!explanation.has_failure());
    assert_eq!(explanation.header, Some(json!({ "typ": "JWT", "alg": "ES384", "kid": "vendor-ec" })));
    assert_eq!(explanation.claims, Some(claims()));
    assert_eq!(text_of(&explanation, "exp"), format!("{}, which is 300 s ahead", NOW + 300));
    assert_eq!(text_of(&explanation, "nbf"), "no nbf");
    let shown = serde_json::to_value(&explanation).unwrap();
    assert_eq!(shown["checks"][0]["outcome"], "passed");
}

#[test]
fn checks_go_on_after_a_failure() {
    let wrong =
        json!({ "iss": "me", "aud": ["https://a.example", AUDIENCE], "exp": NOW - 3600, "iat": "now" });
    let explanation = explained(&unsigned(&json!({ "typ": "JOSE", "alg": "none", "crit": ["b64"] }), &wrong));
    let failed = ["typ", "alg", "header", "kid", "iss", "sub", "aud", "exp", "iat", "jti"];
    assert_eq!(with_outcome(&explanation, Outcome::Failed), failed);
    assert_eq!(with_outcome(&explanation, Outcome::NotChecked), ["key", "signature"]);
    assert_eq!(text_of(&explanation, "alg"), "the header alg must be ES384 or RS384 (found: \"none\")");
    assert!(
        text_of(&explanation, "exp").ends_with("which is 3600 s ago)"),
        "{}",
        text_of(&explanation, "exp")
    );
    assert!(text_of(&explanation, "aud").contains(AUDIENCE));
}

#[test]
fn every_check_is_reported_whatever_comes() {
    let good = EC.sign(&claims()).unwrap();
    let (header, _) = good.split_once('.').unwrap();
    let half = format!("{header}.%%%.c2ln");
    let other_half = format!("%%%.{}.c2ln", part(&claims()));
    let bare = format!("{header}.{}", part(&claims()));
    let long = "a".repeat(10_000);
    for assertion in ["", "..", "Bearer", &half, &other_half, &bare, &long, &format!("{good}.x"), &good] {
        for explanation in [explained(assertion), unknown_client(assertion)] {
            let names: Vec<&str> = explanation.checks.iter().map(|check| check.name).collect();
            assert_eq!(names, NAMES, "{assertion}");
        }
    }
    assert_eq!(with_outcome(&explained(&half), Outcome::Failed), ["form"]);
    assert!(explained(&half).header.is_some() && explained(&half).claims.is_none());
    assert!(explained(&other_half).header.is_none() && explained(&other_half).claims.is_some());
    assert_eq!(explained(&long).claims, None);
    assert_eq!(with_outcome(&explained(&bare), Outcome::Failed), ["form"]);
}

#[test]
fn what_hangs_on_an_unknown_client_is_not_checked() {
    let header = crate::Header { jku: Some("https://vendor.example/jwks.json".to_owned()), ..EC.header() };
    let explanation = unknown_client(&EC.sign_with_header(&header, &claims()).unwrap());
    assert!(!explanation.has_failure());
    assert_eq!(with_outcome(&explanation, Outcome::NotChecked), ["jku", "key", "signature", "iss"]);
    let strange = unknown_client(&EC.sign(&with(claims(), "iss", json!("my app"))).unwrap());
    assert_eq!(with_outcome(&strange, Outcome::Failed), ["iss", "sub"]);
    let missing = unknown_client(&EC.sign(&with(claims(), "iss", Value::Null)).unwrap());
    assert_eq!(with_outcome(&missing, Outcome::Failed), ["iss"]);
}

#[test]
fn quotations_are_cut_and_the_signature_is_not_shown() {
    let token = EC.sign(&with(claims(), "jti", json!("é\n".repeat(1000)))).unwrap();
    let explanation = explained(&token);
    assert_eq!(with_outcome(&explanation, Outcome::Failed), ["jti"]);
    for check in &explanation.checks {
        assert!(check.text.chars().count() < 400 && !check.text.contains('\n'), "{}", check.name);
    }
    let signature = token.rsplit('.').next().unwrap();
    assert!(!serde_json::to_string(&explanation).unwrap().contains(signature));
    let far = explained(&EC.sign(&with(claims(), "exp", json!(1e308))).unwrap());
    assert!(text_of(&far, "exp").chars().count() < 400);
    assert!(text_of(&explained(&token), "iss").contains(CLIENT_ID));
}
