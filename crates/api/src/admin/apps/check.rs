//! Checking an assertion as the token endpoint would, with every check told, and without using it up.

use axum::extract::{Path, State};
use chrono::Utc;
use headgate_auth::Jwks;
use headgate_auth::assertion::{self, Check, Explain, Outcome};
use headgate_store as store;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::super::Answer;
use super::super::input::{Input, id};
use super::find;
use crate::respond;
use crate::state::ApiState;

/// An assertion to be checked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct CheckAssertion {
    client_assertion: String,
    /// The token endpoint that it is for; without, any that this app may call.
    token_url: Option<String>,
}

/// What the checks found.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct CheckedAssertion {
    /// Whether the token endpoint would take it. Whether it was used before is not looked at.
    accepted: bool,
    #[schema(value_type = Option<Object>)]
    header: Option<Value>,
    #[schema(value_type = Option<Object>)]
    claims: Option<Value>,
    checks: Vec<AssertionCheck>,
}

/// One check.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct AssertionCheck {
    name: String,
    /// `passed`, `failed` or `not_checked`.
    outcome: &'static str,
    text: String,
}

impl AssertionCheck {
    fn new(name: &str, passed: bool, text: &str) -> Self {
        let outcome = if passed { "passed" } else { "failed" };
        Self { name: name.to_owned(), outcome, text: text.to_owned() }
    }
}

impl From<&Check> for AssertionCheck {
    fn from(check: &Check) -> Self {
        let outcome = match check.outcome {
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::NotChecked => "not_checked",
        };
        Self { name: check.name.to_owned(), outcome, text: check.text.clone() }
    }
}

/// Checks a client assertion and tells every check. It is not used up.
#[utoipa::path(post, path = "/apps/{client_id}/assertion-check", tag = "apps",
    operation_id = "check_assertion", request_body = CheckAssertion,
    responses((status = 200, body = CheckedAssertion)))]
pub(in crate::admin) async fn check(
    State(state): State<ApiState>,
    Path(client_id): Path<String>,
    Input(body): Input<CheckAssertion>,
) -> Answer {
    let app = find(&state, &id("app", &client_id)?).await?;
    let mut checks = Vec::new();
    if app.suspended.is_some() || app.vendor_suspended {
        checks.push(AssertionCheck::new("app", false, "the app or its vendor is suspended"));
    }
    let endpoints = endpoints(&state, &app);
    let audiences: Vec<&str> = match body.token_url.as_deref() {
        None => endpoints.iter().map(String::as_str).collect(),
        Some(url) => {
            let known = endpoints.iter().any(|endpoint| endpoint == url);
            let text = if known {
                "token_url is a token endpoint that this app may call"
            } else {
                "token_url is neither the shared token endpoint nor that of a practice that consents to this app"
            };
            checks.push(AssertionCheck::new("token_url", known, text));
            vec![url]
        }
    };
    let keys = match keys(&state, &app, &body.client_assertion).await {
        Ok(keys) => Some(keys),
        Err(text) => {
            checks.push(AssertionCheck::new("keys", false, &text));
            None
        }
    };
    let explained = assertion::explain(
        &body.client_assertion,
        &Explain {
            client_id: Some(&app.client_id),
            audiences: &audiences,
            keys: keys.as_deref(),
            jwks_url: app.jwks_url.as_ref().map(url::Url::as_str),
            now: Utc::now(),
            skew: state.config().clock_skew,
        },
    );
    checks.extend(explained.checks.iter().map(AssertionCheck::from));
    let accepted = keys.is_some() && checks.iter().all(|check| check.outcome != "failed");
    let found = CheckedAssertion { accepted, header: explained.header, claims: explained.claims, checks };
    Ok(respond::json(StatusCode::OK, &found))
}

/// The token endpoints that the app may call.
fn endpoints(state: &ApiState, app: &store::App) -> Vec<String> {
    let config = state.config();
    let own = app.consenting.iter().map(|practice| config.token_endpoint(practice.base()));
    std::iter::once(config.shared_token_url()).chain(own).collect()
}

/// The keys that the assertion can be signed with, or why there are none.
async fn keys(state: &ApiState, app: &store::App, token: &str) -> Result<std::sync::Arc<Jwks>, String> {
    let Some(url) = &app.jwks_url else {
        let keys = json!({ "keys": app.live_keys(Utc::now()).collect::<Vec<_>>() });
        return Jwks::from_value(&keys)
            .map(std::sync::Arc::new)
            .map_err(|_| "the app has no key that is good now".to_owned());
    };
    let peeked = assertion::peek(token).map_err(|error| error.to_string())?;
    state.key_sets().client_keys(url, &peeked.kid).await.map_err(|error| error.to_string())
}
