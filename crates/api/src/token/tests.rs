use headgate_domain::PracticeNumber;
use headgate_domain::practice::PracticeOptions;
use headgate_store::{App, ConsentingPractice, Suspension};

use super::*;

fn app(consenting: &[&str]) -> App {
    let consenting = consenting.iter().zip(1..).map(|(url, number)| ConsentingPractice {
        number: PracticeNumber::new(number).unwrap(),
        name: "A".into(),
        base_url: url.parse().unwrap(),
    });
    App {
        client_id: ClientId::from_random([1; 25]),
        vendor_id: Uuid::nil(),
        vendor_name: "V".into(),
        name: "A".into(),
        scopes: "system/*.rs".parse().unwrap(),
        security_contact: "s@v.example".into(),
        suspended: None,
        vendor_suspended: false,
        revision: 1,
        created_at: Utc::now(),
        jwks_url: None,
        keys: vec![],
        consenting: consenting.collect(),
    }
}

fn practice() -> Practice {
    Practice {
        number: PracticeNumber::new(7).unwrap(),
        slug: "p".into(),
        name: "P".into(),
        base_url: "https://x.example/p/fhir/r4".parse().unwrap(),
        s3_prefix: "ema/7".into(),
        history_since: None,
        suspended: false,
        options: PracticeOptions::default(),
    }
}

fn code(result: Result<Target, ApiError>) -> (OAuthError, String) {
    match result {
        Err(ApiError::OAuth { error, description, .. }) => (error, description),
        Err(other) => panic!("{other}"),
        Ok(target) => panic!("{}", target.base_url),
    }
}

#[test]
fn at_the_shared_endpoint_one_practice_is_implied_and_several_must_be_told_apart() {
    let (a, b) = ("https://x.example/a/fhir/r4", "https://x.example/b/fhir/r4");
    assert_eq!(target(Endpoint::Shared, &app(&[a]), None).ok().unwrap().base_url, a);
    assert_eq!(
        target(Endpoint::Shared, &app(&[a, b]), Some("https://x.example/b/fhir/r4/")).ok().unwrap().base_url,
        b
    );
    let (error, text) = code(target(Endpoint::Shared, &app(&[a, b]), None));
    assert_eq!(error, OAuthError::InvalidTarget);
    assert!(text.contains(a) && text.contains(b));
}

#[test]
fn base_urls_of_others_are_not_disclosed() {
    let a = "https://x.example/a/fhir/r4";
    let (error, text) = code(target(Endpoint::Shared, &app(&[a]), Some("https://x.example/c/fhir/r4")));
    assert_eq!(error, OAuthError::InvalidTarget);
    assert!(text.ends_with(a));
}

#[test]
fn without_consent_the_client_is_not_authorized() {
    assert_eq!(code(target(Endpoint::Shared, &app(&[]), None)).0, OAuthError::UnauthorizedClient);
}

#[test]
fn a_practices_own_endpoint_gives_tokens_for_it_alone() {
    let practice = practice();
    let endpoint = Endpoint::Of(&practice);
    assert_eq!(target(endpoint, &app(&[]), None).ok().unwrap().number, practice.number);
    assert!(target(endpoint, &app(&[]), Some("https://x.example/p/fhir/r4")).is_ok());
    let (error, _) = code(target(endpoint, &app(&[]), Some("https://x.example/a/fhir/r4")));
    assert_eq!(error, OAuthError::InvalidTarget);
}

#[test]
fn a_resource_of_another_practice_and_one_of_nobody_are_told_the_same() {
    let a = "https://x.example/a/fhir/r4";
    let told = |resource| code(target(Endpoint::Shared, &app(&[a]), Some(resource)));
    let (foreign, unknown) = (told("https://x.example/b/fhir/r4"), told("https://y.example/../ nonsense"));
    assert_eq!(foreign, unknown);
}

#[test]
fn an_app_that_is_suspended_or_whose_vendor_is_gets_no_token() {
    let suspension = || Suspension { at: Utc::now(), by: "operator".into(), reason: "secret".into() };
    assert!(check_not_suspended(&app(&[])).is_ok());
    for suspended in
        [App { suspended: Some(suspension()), ..app(&[]) }, App { vendor_suspended: true, ..app(&[]) }]
    {
        let error = check_not_suspended(&suspended).unwrap_err();
        let parts = error.parts();
        assert_eq!((parts.oauth, parts.reason), ("unauthorized_client", "suspended"));
        assert!(!error.to_string().contains("secret"), "why is between operator and vendor");
    }
}

#[test]
fn malformed_scopes_are_refused_before_the_consent_is_asked_for() {
    let all = "system/*.rs".parse().unwrap();
    for scope in ["", "launch fhirUser", "system/Patient.write"] {
        assert!(matches!(
            check_scopes(scope, &all),
            Err(ApiError::OAuth { error: OAuthError::InvalidScope, .. })
        ));
    }
    assert!(check_scopes("system/Goal.rs", &"system/Patient.rs".parse().unwrap()).is_ok());
}

#[test]
fn the_answer_has_the_members_of_the_modelled_product_and_is_not_cached() {
    let target =
        Target { number: PracticeNumber::new(7).unwrap(), base_url: "https://x.example/p/fhir/r4".into() };
    let granted = "system/Goal.rs".parse().unwrap();
    let response = answer("t".into(), &target, &granted, Duration::from_secs(1800));
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["pragma"], "no-cache");
    let body = serde_json::to_value(TokenResponse {
        access_token: "t".into(),
        token_type: "Bearer",
        expires_in: 1800,
        scope: "system/Goal.rs".into(),
        refresh_expires_in: 0,
        not_before_policy: 0,
        allowed_fhir_url: target.base_url.clone(),
    })
    .unwrap();
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    for member in [
        "access_token",
        "allowedFhirUrl",
        "expires_in",
        "not-before-policy",
        "refresh_expires_in",
        "scope",
        "token_type",
    ] {
        assert!(members.contains(&&member.to_owned()), "{member}");
    }
}
