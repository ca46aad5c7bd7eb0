use http::StatusCode;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};

use super::*;

fn header(error: &ApiError, name: http::HeaderName) -> Option<String> {
    let parts = error.parts();
    parts.headers.into_iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_str().unwrap().to_owned())
}

async fn body(response: axum::response::Response) -> serde_json::Value {
    let bytes = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn a_missing_token_and_a_bad_one_are_told_apart_in_the_challenge() {
    assert_eq!(ApiError::NoToken.parts().status, StatusCode::UNAUTHORIZED);
    assert_eq!(header(&ApiError::NoToken, WWW_AUTHENTICATE).as_deref(), Some("Bearer"));
    let expired = ApiError::BadToken(AccessTokenError::Expired);
    assert_eq!(expired.parts().status, StatusCode::UNAUTHORIZED);
    assert!(header(&expired, WWW_AUTHENTICATE).unwrap().starts_with(r#"Bearer error="invalid_token""#));
}

#[test]
fn types_beyond_the_token_are_named_in_the_challenge() {
    let denied = ApiError::Denied(Denied::TypesBeyondScope(BTreeSet::from([ResourceType::Goal])));
    assert_eq!(denied.parts().status, StatusCode::FORBIDDEN);
    assert_eq!(
        header(&denied, WWW_AUTHENTICATE).as_deref(),
        Some(r#"Bearer error="insufficient_scope", scope="system/Goal.rs""#)
    );
}

#[tokio::test]
async fn a_group_that_is_not_covered_looks_like_one_that_does_not_exist() {
    let uncovered = ApiError::Denied(Denied::GroupNotCovered).respond(Surface::Fhir);
    let unknown = ApiError::NotStarted(KickOffError::NoSuchGroup).respond(Surface::Fhir);
    assert_eq!(uncovered.status(), StatusCode::NOT_FOUND);
    assert_eq!(uncovered.status(), unknown.status());
    let (uncovered, unknown) = (body(uncovered).await, body(unknown).await);
    assert_eq!(uncovered, unknown);
    assert_eq!(body(ApiError::NoSuchGroup.respond(Surface::Fhir)).await, unknown);
}

#[test]
fn what_passes_says_when_to_try_again() {
    for error in [
        ApiError::NeverRefreshed,
        ApiError::PolledTooOften,
        ApiError::NotStarted(KickOffError::TooMany { running: 5 }),
    ] {
        assert!(header(&error, RETRY_AFTER).unwrap().parse::<u64>().unwrap() > 0);
    }
}

#[tokio::test]
async fn who_asks_for_tokens_too_often_is_told_when_to_come_again() {
    let told = |wait| ApiError::TooManyTokenRequests(wait).respond(Surface::OAuth);
    let response = told(Duration::from_millis(1200));
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "2", "rounded up");
    assert_eq!(told(Duration::from_secs(2)).headers()["retry-after"], "2");
    assert_eq!(told(Duration::from_nanos(1)).headers()["retry-after"], "1", "never at once");
    assert_eq!(body(response).await["error"], "temporarily_unavailable");
}

#[test]
fn a_revoked_token_is_a_401_and_an_issuer_that_does_not_answer_is_not() {
    assert_eq!(ApiError::TokenRevoked.parts().status, StatusCode::UNAUTHORIZED);
    assert!(header(&ApiError::TokenRevoked, WWW_AUTHENTICATE).unwrap().contains("invalid_token"));
    let away = ApiError::IssuerKeys(KeySetError::Unreachable);
    assert_eq!(away.parts().status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(header(&away, RETRY_AFTER).is_some() && header(&away, WWW_AUTHENTICATE).is_none());
}

#[test]
fn what_a_store_refuses_has_a_status_of_its_own() {
    use headgate_store::Error;
    for (error, status) in [
        (Error::Stale, StatusCode::PRECONDITION_FAILED),
        (Error::Cursor, StatusCode::BAD_REQUEST),
        (Error::Repeated, StatusCode::CONFLICT),
    ] {
        assert_eq!(ApiError::Store(error).parts().status, status);
    }
}

#[tokio::test]
async fn each_surface_has_its_own_form() {
    let error = || OAuthError::InvalidScope.because("a `scope` with \"quotes\"");
    let oauth = error().respond(Surface::OAuth);
    assert_eq!(oauth.headers()["content-type"], "application/json");
    assert_eq!(
        body(oauth).await,
        serde_json::json!({ "error": "invalid_scope", "error_description": "a 'scope' with 'quotes'" })
    );
    let fhir = error().respond(Surface::Fhir);
    assert_eq!(fhir.headers()["content-type"], "application/fhir+json");
    assert_eq!(body(fhir).await["resourceType"], "OperationOutcome");
    let admin = error().respond(Surface::Admin);
    assert_eq!(admin.headers()["content-type"], "application/problem+json");
    assert_eq!(body(admin).await["status"], 400);
}

#[test]
fn a_missing_admin_token_and_a_bad_one_are_told_apart_in_the_challenge() {
    let missing = ApiError::Unauthorized(None);
    assert_eq!(header(&missing, WWW_AUTHENTICATE).as_deref(), Some("Bearer"));
    let bad = ApiError::Unauthorized(Some("the token has expired".to_owned()));
    assert_eq!(header(&bad, WWW_AUTHENTICATE).as_deref(), Some(r#"Bearer error="invalid_token""#));
    for error in [missing, bad] {
        assert_eq!((error.parts().status, error.parts().reason), (StatusCode::UNAUTHORIZED, "unauthorized"));
    }
}

#[test]
fn conditions_and_keys_have_a_status_and_a_reason_each() {
    use headgate_store::Error::{Cursor, Repeated, Stale};
    for (error, status, reason) in [
        (ApiError::Forbidden("no"), 403, "forbidden"),
        (ApiError::PreconditionFailed, 412, "precondition_failed"),
        (ApiError::Store(Stale), 412, "precondition_failed"),
        (ApiError::KeyReused, 422, "idempotency_key_reused"),
        (ApiError::AnswerUnknown, 409, "idempotency_unknown"),
        (ApiError::Store(Repeated), 409, "idempotency_unknown"),
        (ApiError::Store(Cursor), 400, "invalid"),
    ] {
        let parts = error.parts();
        assert_eq!((parts.status.as_u16(), parts.reason), (status, reason));
    }
}
