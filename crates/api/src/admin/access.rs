//! Who may do what: one table, and the layer that applies it before a handler runs.
//!
//! A route without a row is refused for everybody. What belongs to somebody else is told exactly as what does
//! not exist, so that nobody learns which numbers and ids are taken.

use axum::extract::{FromRequestParts as _, MatchedPath, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use headgate_auth::admin_token::AdminRole;
use headgate_domain::{ClientId, PracticeNumber};
use http::header::ALLOW;
use http::request::Parts;
use http::{HeaderValue, Method};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::caller::Caller;
use super::{PREFIX, Problem, authenticate};
use crate::error::ApiError;
use crate::state::ApiState;

/// Who may use a route. Operators may use every one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Roles {
    practice_admin: bool,
    vendor: bool,
}

const O: Roles = Roles { practice_admin: false, vendor: false };
const OP: Roles = Roles { practice_admin: true, vendor: false };
const OV: Roles = Roles { practice_admin: false, vendor: true };
const ALL: Roles = Roles { practice_admin: true, vendor: true };

impl Roles {
    fn permit(self, role: &AdminRole) -> bool {
        match role {
            AdminRole::Operator => true,
            AdminRole::PracticeAdmin(_) => self.practice_admin,
            AdminRole::Vendor(_) => self.vendor,
        }
    }

    /// The names of the roles, as tokens and audit events have them.
    pub(super) fn names(self) -> Vec<&'static str> {
        let roles = [(true, "operator"), (self.practice_admin, "practice_admin"), (self.vendor, "vendor")];
        roles.into_iter().filter_map(|(may, name)| may.then_some(name)).collect()
    }
}

/// What ties a route to those who are not operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bind {
    /// Nothing in the path: it is for operators alone, or says the same to everybody, or the handler shows each
    /// caller only what is theirs.
    Nothing,
    /// `{number}` must be the caller's practice.
    Practice,
    /// `{vendor_id}` must be the caller.
    Vendor,
    /// `{client_id}` must be an app of the caller.
    App,
}

/// What a request to the route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing that would matter if it were done twice.
    Reads,
    /// It changes something; an `Idempotency-Key` is heeded.
    Changes,
    /// It changes an object that has a revision; `If-Match` is heeded too.
    ChangesRevised,
}

/// A row of the table.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) roles: Roles,
    bind: Bind,
    pub(super) effect: Effect,
}

const fn rule(method: Method, path: &'static str, roles: Roles, bind: Bind, effect: Effect) -> Rule {
    Rule { method, path, roles, bind, effect }
}

use Bind::{App, Nothing, Practice, Vendor};
use Effect::{Changes, ChangesRevised, Reads};

/// The table. Paths are those of the router, below [`PREFIX`].
pub(super) static RULES: &[Rule] = &[
    rule(Method::GET, "/me", ALL, Nothing, Reads),
    rule(Method::GET, "/openapi.json", ALL, Nothing, Reads),
    rule(Method::GET, "/vendors", OV, Nothing, Reads),
    rule(Method::POST, "/vendors", O, Nothing, Changes),
    rule(Method::GET, "/vendors/{vendor_id}", OV, Vendor, Reads),
    rule(Method::PATCH, "/vendors/{vendor_id}", OV, Vendor, ChangesRevised),
    rule(Method::POST, "/vendors/{vendor_id}/suspend", O, Nothing, ChangesRevised),
    rule(Method::POST, "/vendors/{vendor_id}/resume", O, Nothing, ChangesRevised),
    rule(Method::GET, "/apps", OV, Nothing, Reads),
    rule(Method::POST, "/apps", OV, Nothing, Changes),
    rule(Method::GET, "/apps/{client_id}", OV, App, Reads),
    rule(Method::PATCH, "/apps/{client_id}", OV, App, ChangesRevised),
    rule(Method::POST, "/apps/{client_id}/suspend", O, Nothing, ChangesRevised),
    rule(Method::POST, "/apps/{client_id}/resume", O, Nothing, ChangesRevised),
    rule(Method::POST, "/apps/{client_id}/keys", OV, App, ChangesRevised),
    rule(Method::POST, "/apps/{client_id}/keys/{kid}/revoke", OV, App, ChangesRevised),
    rule(Method::GET, "/apps/{client_id}/refusals", OV, App, Reads),
    rule(Method::POST, "/apps/{client_id}/assertion-check", OV, App, Reads),
    rule(Method::GET, "/practices", OP, Nothing, Reads),
    rule(Method::POST, "/practices", O, Nothing, Changes),
    rule(Method::GET, "/practices/{number}", OP, Practice, Reads),
    rule(Method::PATCH, "/practices/{number}", O, Nothing, ChangesRevised),
    rule(Method::POST, "/practices/{number}/suspend", O, Nothing, ChangesRevised),
    rule(Method::POST, "/practices/{number}/resume", O, Nothing, ChangesRevised),
    rule(Method::POST, "/practices/{number}/pause", O, Nothing, ChangesRevised),
    rule(Method::POST, "/practices/{number}/unpause", O, Nothing, ChangesRevised),
    rule(Method::POST, "/practices/{number}/refresh", OP, Practice, Changes),
    rule(Method::GET, "/practices/{number}/source", OP, Practice, Reads),
    rule(Method::GET, "/practices/{number}/apps/{client_id}", OP, Practice, Reads),
    rule(Method::GET, "/practices/{number}/consents", OP, Practice, Reads),
    rule(Method::POST, "/practices/{number}/consents", OP, Practice, Changes),
    rule(Method::PUT, "/practices/{number}/consents/{client_id}", OP, Practice, ChangesRevised),
    rule(Method::POST, "/practices/{number}/consents/{client_id}/revoke", OP, Practice, ChangesRevised),
    rule(Method::GET, "/practices/{number}/groups", OP, Practice, Reads),
    rule(Method::GET, "/practices/{number}/groups/{group_id}", OP, Practice, Reads),
    rule(Method::PUT, "/practices/{number}/groups/{group_id}", OP, Practice, ChangesRevised),
    rule(Method::GET, "/practices/{number}/groups/{group_id}/members", OP, Practice, Reads),
    rule(Method::PUT, "/practices/{number}/groups/{group_id}/members", OP, Practice, ChangesRevised),
    rule(Method::POST, "/practices/{number}/groups/{group_id}/members", OP, Practice, ChangesRevised),
    rule(Method::GET, "/practices/{number}/exports", OP, Practice, Reads),
    rule(Method::GET, "/practices/{number}/exports/{export_id}", OP, Practice, Reads),
    rule(Method::GET, "/practices/{number}/exports/{export_id}/files", OP, Practice, Reads),
    rule(Method::GET, "/practices/{number}/exports/{export_id}/waiting", OP, Practice, Reads),
    rule(Method::POST, "/practices/{number}/exports/{export_id}/cancel", OP, Practice, Changes),
    rule(Method::POST, "/practices/{number}/exports/{export_id}/requeue", O, Nothing, Changes),
    rule(Method::GET, "/exports/{export_id}", O, Nothing, Reads),
    rule(Method::GET, "/practices/{number}/disclosures", OP, Practice, Reads),
    rule(Method::POST, "/practices/{number}/disclosures/search", OP, Practice, Reads),
    rule(Method::GET, "/operations/status", O, Nothing, Reads),
    rule(Method::POST, "/operations/pause", O, Nothing, Changes),
    rule(Method::POST, "/operations/resume", O, Nothing, Changes),
    rule(Method::GET, "/operations/leases", O, Nothing, Reads),
    rule(Method::GET, "/operations/stuck", O, Nothing, Reads),
    rule(Method::GET, "/operations/waits", O, Nothing, Reads),
    rule(Method::GET, "/operations/costs", O, Nothing, Reads),
    rule(Method::GET, "/audit", ALL, Nothing, Reads),
    rule(Method::GET, "/audit/seals", O, Nothing, Reads),
    rule(Method::GET, "/audit/verify", O, Nothing, Reads),
    rule(Method::GET, "/signing-keys", O, Nothing, Reads),
    rule(Method::POST, "/signing-keys", O, Nothing, Changes),
    rule(Method::POST, "/signing-keys/{kid}/retire", O, Nothing, Changes),
    rule(Method::GET, "/mappings", OP, Nothing, Reads),
    rule(Method::GET, "/mappings/{name}", O, Nothing, Reads),
    rule(Method::PUT, "/mappings/{name}", O, Nothing, Changes),
];

/// The row of a method and a path of the router.
pub(super) fn find(method: &Method, path: &str) -> Option<&'static Rule> {
    // The router answers HEAD as it answers GET.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    RULES.iter().find(|rule| rule.method == *method && rule.path == path)
}

/// Lets a request pass when its token is good, its role may use the route, and what the path names is theirs. Finding
/// that out is part of the time that a request may take.
pub(super) async fn guard(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let until = Instant::now() + state.config().request_timeout;
    let (mut parts, body) = request.into_parts();
    let admitted = timeout_at(until, admit(&state, &mut parts)).await;
    if let Err(error) = admitted.unwrap_or(Err(ApiError::TookTooLong)) {
        return refusal(error, &parts);
    }
    // An upload of members has a time of its own; the listener waits for the longest.
    let uploads = template(&parts).is_some_and(|path| is_upload(&parts.method, path));
    let answer = next.run(Request::from_parts(parts, body));
    if uploads {
        return answer.await;
    }
    timeout_at(until, answer).await.unwrap_or_else(|_late| Problem(ApiError::TookTooLong).into_response())
}

/// The answer to a request that may not pass.
fn refusal(error: ApiError, parts: &Parts) -> Response {
    let allow = matches!(error, ApiError::OtherMethod).then(|| allowed(parts)).flatten();
    let mut response = Problem(error).into_response();
    response.headers_mut().extend(allow.map(|methods| (ALLOW, methods)));
    response
}

/// Whether a request to a path of the router uploads members of a group.
fn is_upload(method: &Method, path: &str) -> bool {
    path.ends_with("/members") && [Method::PUT, Method::POST].contains(method)
}

/// The methods of a path, as a 405 names them.
fn allowed(parts: &Parts) -> Option<HeaderValue> {
    let path = template(parts)?;
    let methods = RULES.iter().filter(|rule| rule.path == path).map(|rule| rule.method.as_str());
    HeaderValue::from_str(&methods.collect::<Vec<_>>().join(", ")).ok()
}

/// The path of the router, below the prefix.
fn template(parts: &Parts) -> Option<&str> {
    parts.extensions.get::<MatchedPath>()?.as_str().strip_prefix(PREFIX)
}

async fn admit(state: &ApiState, parts: &mut Parts) -> Result<(), ApiError> {
    let caller = Caller::new(authenticate::identify(state, &parts.headers).await?);
    let path = template(parts).ok_or(ApiError::NoSuchPlace)?;
    let Some(rule) = find(&parts.method, path) else {
        let known = RULES.iter().any(|rule| rule.path == path);
        return Err(if known { ApiError::OtherMethod } else { ApiError::Forbidden(NOT_FOR_ROLE) });
    };
    if !rule.roles.permit(caller.role()) {
        return Err(ApiError::Forbidden(NOT_FOR_ROLE));
    }
    // What is no text names nothing.
    if RawPathParams::from_request_parts(parts, &()).await.is_err() {
        return Err(ApiError::Missing(match rule.bind {
            Practice => "practice",
            Vendor => "vendor",
            App => "app",
            Nothing => "object",
        }));
    }
    bind(state, rule.bind, caller.role(), parts).await?;
    parts.extensions.insert(caller);
    parts.extensions.insert(rule.effect);
    Ok(())
}

const NOT_FOR_ROLE: &str = "the token's role may not do this";

/// Compares what the path names with what is the caller's. The error is that of an id that does not exist.
async fn bind(state: &ApiState, bind: Bind, role: &AdminRole, parts: &mut Parts) -> Result<(), ApiError> {
    match (bind, role) {
        (_, AdminRole::Operator) | (Nothing, _) => Ok(()),
        (Practice, AdminRole::PracticeAdmin(own)) => {
            let named: Option<PracticeNumber> = parameter(parts, "number").await;
            if named == Some(*own) { Ok(()) } else { Err(ApiError::Missing("practice")) }
        }
        (Vendor, AdminRole::Vendor(own)) => {
            let named: Option<Uuid> = parameter(parts, "vendor_id").await;
            if named == Some(*own) { Ok(()) } else { Err(ApiError::Missing("vendor")) }
        }
        (App, AdminRole::Vendor(own)) => {
            let named: Option<ClientId> = parameter(parts, "client_id").await;
            let named = named.ok_or(ApiError::Missing("app"))?;
            let app = state.store().app(&named).await?;
            if app.is_some_and(|app| app.vendor_id == *own) { Ok(()) } else { Err(ApiError::Missing("app")) }
        }
        // A row whose roles and binding do not belong together lets nobody pass.
        (Practice, AdminRole::Vendor(_)) | (Vendor | App, AdminRole::PracticeAdmin(_)) => {
            Err(ApiError::Forbidden(NOT_FOR_ROLE))
        }
    }
}

/// A parameter of the path; `None` when it cannot be one.
async fn parameter<T: std::str::FromStr>(parts: &mut Parts, name: &str) -> Option<T> {
    let parameters = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    parameters.iter().find(|(key, _)| *key == name).and_then(|(_, value)| value.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_names_something_binds_those_who_own_such_things() {
        for rule in RULES {
            let practice = rule.path.starts_with("/practices/{number}");
            if rule.roles.practice_admin {
                assert_eq!(rule.bind == Practice, practice, "{} {}", rule.method, rule.path);
            }
            if rule.roles.vendor {
                let wanted = match rule.path {
                    path if path.starts_with("/vendors/{") => Vendor,
                    path if path.starts_with("/apps/{") => App,
                    _ => Nothing,
                };
                assert_eq!(rule.bind, wanted, "{} {}", rule.method, rule.path);
                assert!(!practice, "a vendor has no business at a practice: {}", rule.path);
            }
        }
    }

    #[test]
    fn a_row_stands_once() {
        for (at, rule) in RULES.iter().enumerate() {
            let same = |other: &Rule| other.method == rule.method && other.path == rule.path;
            assert_eq!(RULES.iter().position(same), Some(at), "{} {}", rule.method, rule.path);
        }
    }

    #[test]
    fn only_uploads_of_members_have_a_time_of_their_own() {
        let own = |rule: &&Rule| is_upload(&rule.method, rule.path);
        let found: Vec<_> = RULES.iter().filter(own).map(|rule| (rule.method.as_str(), rule.path)).collect();
        let members = "/practices/{number}/groups/{group_id}/members";
        assert_eq!(found, [("PUT", members), ("POST", members)]);
        assert!(!is_upload(&Method::HEAD, members));
    }

    #[test]
    fn what_has_no_row_is_not_found_in_the_table() {
        assert!(find(&Method::HEAD, "/me").is_some());
        assert!(find(&Method::DELETE, "/me").is_none());
        assert!(find(&Method::GET, "/me/").is_none());
        assert!(find(&Method::GET, "/practices/7").is_none());
    }
}
