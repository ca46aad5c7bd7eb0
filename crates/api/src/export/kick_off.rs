//! Kick-off (Bulk Data IG, Bulk Data Kick-off Request): `[base]/$export`, `/Patient/$export` and
//! `/Group/[id]/$export`, by GET with a query or by POST with a `Parameters` resource.
//!
//! The order of the checks is part of the contract: the output format before all else, as in the modelled
//! product (of a POST after the token, because it stands in the body), then who asks, then what for, then whether the source was ever looked at, then whether it is
//! permitted. The store checks consent, group and number of exports once more, in the transaction that starts
//! the export.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::response::Response;
use chrono::{DateTime, SecondsFormat, Utc};
use headgate_domain::authorize::{AuthorizedExport, authorize};
use headgate_domain::outcome::{Issue, IssueCode, OperationOutcome};
use headgate_domain::practice::Practice;
use headgate_domain::request::{self, Headers, Level, Note, Parameters};
use headgate_domain::{ExportId, ResourceType};
use headgate_metrics::exports;
use headgate_runtime::telemetry;
use headgate_store::{Audit, NewExport};
use http::header::{ACCEPT, CONTENT_LOCATION, CONTENT_TYPE, HeaderMap, HeaderName};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use crate::body;
use crate::error::ApiError;
use crate::extract::principal::{Bearer, Principal};
use crate::respond;
use crate::state::ApiState;

/// Reads the request, decides, and starts the export. `rest` is the path below the base URL.
pub(crate) async fn kick_off(
    state: &ApiState,
    practice: &Practice,
    level: Level,
    rest: &str,
    request: &Parts,
    body: Body,
) -> Result<Response, ApiError> {
    let (bearer, parameters) = if request.method == Method::POST {
        // The body of one who has no token is not read.
        let bearer = Bearer::of(state, practice, &request.headers).await?;
        let parameters = posted(state, request, body).await?;
        parameters.check_output_format().map_err(bad_request)?;
        (bearer, parameters)
    } else {
        let parameters =
            Parameters::from_query(request.uri.query().unwrap_or_default()).map_err(bad_request)?;
        parameters.check_output_format().map_err(bad_request)?;
        (Bearer::of(state, practice, &request.headers).await?, parameters)
    };
    let principal = bearer.consented(state, practice).await?.ok_or(ApiError::NoConsent)?;

    let accept = joined(&request.headers, &ACCEPT);
    let prefer = joined(&request.headers, &HeaderName::from_static("prefer"));
    let headers = Headers { accept: accept.as_deref(), prefer: prefer.as_deref() };
    let mut parsed = request::parse(level, &parameters, headers, &practice.options, Utc::now())
        .map_err(ApiError::BadRequest)?;
    parsed.check_history(practice.history_since).map_err(bad_request)?;

    let catalog = state.store().catalog(practice.number).await?;
    let changed_at = catalog.as_ref().and_then(|entry| entry.changed_at);
    let unreadable = catalog.as_ref().and_then(|entry| unreadable(&entry.unusable));
    let Some(in_source) = catalog.and_then(|entry| entry.types) else {
        state.store().ring_for_refresh(practice.number).await?;
        return Err(ApiError::NeverRefreshed);
    };
    parsed.notes.extend(remapped(parsed.since, changed_at));
    parsed.notes.extend(unreadable);
    let authorized = authorize(parsed, &principal.scopes, &principal.consent, &in_source)?;

    // Of a POST without its parameters, as the guide wants; it has no query.
    let query = request.uri.query().filter(|query| !query.is_empty());
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let request_url = format!("{}{rest}{query}", practice.base());
    start(state, practice, &principal, &authorized, &request_url).await
}

fn bad_request(issue: Issue) -> ApiError {
    ApiError::BadRequest(vec![issue])
}

/// The parameters of a POST: a `Parameters` resource, or nothing.
async fn posted(state: &ApiState, request: &Parts, body: Body) -> Result<Parameters, ApiError> {
    if request.uri.query().is_some_and(|query| !query.is_empty()) {
        let text = "the parameters of a POST belong in its body, as a Parameters resource, not in its URL";
        return Err(bad_request(Issue::error(IssueCode::Invalid, text)));
    }
    let config = state.config();
    let body = body::read(body, config.max_body_bytes, config.body_timeout).await?;
    if !body.is_empty() && !is_json(&request.headers) {
        return Err(ApiError::UnsupportedMediaType);
    }
    Parameters::from_body(&body).map_err(bad_request)
}

fn is_json(headers: &HeaderMap) -> bool {
    let named = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = named.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(essence.as_str(), "application/json" | "application/fhir+json")
}

/// A note for a client that asks for changes since a time before the mapping changed: what the new mapping
/// makes of unchanged rows is not among them.
fn remapped(since: Option<DateTime<Utc>>, changed_at: Option<DateTime<Utc>>) -> Option<Note> {
    let changed_at = changed_at.filter(|changed_at| since.is_some_and(|since| since < *changed_at))?;
    let changed_at = changed_at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let text = format!(
        "the types or the mapping of this practice's data changed at {changed_at}, after _since; resources that \
         did not change otherwise are not in this export: a full export is needed to have them anew"
    );
    Some(Note { issue: Issue::warning(IssueCode::Informational, text), ignored: false })
}

/// A note, which the error file repeats, when relations of the source cannot be read: the types that they are
/// part of would be missing without a word.
fn unreadable(unusable: &Value) -> Option<Note> {
    let names = unusable.as_array()?.iter().filter_map(|relation| relation["relation"].as_str());
    // These hold no resources.
    let mut names: Vec<&str> =
        names.filter(|name| !matches!(*name, "tombstone" | "group_member" | "binary")).collect();
    names.dedup();
    if names.is_empty() {
        return None;
    }
    let text = format!(
        "relations of this practice's data cannot be read at present, so resources of their types are not in this \
         export; its operator has to mend them: {}",
        names.join(", ")
    );
    Some(Note { issue: Issue::warning(IssueCode::Processing, text), ignored: true })
}

/// Starts what was authorized, and says where to poll.
async fn start(
    state: &ApiState,
    practice: &Practice,
    principal: &Principal,
    authorized: &AuthorizedExport,
    request_url: &str,
) -> Result<Response, ApiError> {
    let id = ExportId::from_random(rand::random());
    let max_running = practice.options.max_exports_per_app.unwrap_or(state.config().max_exports_per_app);
    let trace_parent = telemetry::trace_parent();
    let new = NewExport {
        practice: practice.number,
        id: &id,
        client: &principal.client,
        authorized,
        request_url,
        max_running,
        trace_parent: trace_parent.as_deref(),
    };
    let types: Vec<&str> = authorized.types.iter().map(|t| ResourceType::name(*t)).collect();
    let audit = Audit::new(format!("client {}", principal.client), "export.accepted")
        .at(practice.number)
        .about_client(&principal.client)
        .about_export(&id)
        .with(json!({
            "level": authorized.request.level.name(),
            "group": authorized.request.level.group_id(),
            "types": types,
            "patients": authorized.request.patients.as_ref().map(BTreeSet::len),
            "consent": authorized.consent_id,
        }));
    state.store().kick_off(&new, &audit).await??;
    let labels =
        [("practice", practice.number.get().into()), ("level", authorized.request.level.name().into())];
    exports::STARTED.add(1, &labels);
    Ok(accepted(practice, &id, authorized))
}

/// 202 with the absolute URL to poll, and what the client should know as an OperationOutcome.
fn accepted(practice: &Practice, id: &ExportId, authorized: &AuthorizedExport) -> Response {
    let mut issues: Vec<Issue> = authorized.request.notes.iter().map(|note| note.issue.clone()).collect();
    if issues.is_empty() {
        issues.push(Issue::information("the export was accepted: poll the URL in Content-Location"));
    }
    let mut response = respond::outcome(StatusCode::ACCEPTED, &OperationOutcome::new(issues));
    let headers = response.headers_mut();
    if let Ok(status_url) = HeaderValue::from_str(&super::status_url(practice, id)) {
        headers.insert(CONTENT_LOCATION, status_url);
    }
    if authorized.request.delivery.separate_status {
        let applied = HeaderValue::from_static("respond-async, separate-export-status");
        headers.insert(HeaderName::from_static("preference-applied"), applied);
    }
    response
}

/// All values of a header, joined by commas as RFC 9110, section 5.3, allows. Values that are not text count
/// as absent.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_when_the_mapping_changed_after_its_since() {
        let at = |text: &str| Some(text.parse::<DateTime<Utc>>().unwrap());
        let (before, after) = (at("2026-01-01T00:00:00Z"), at("2026-02-01T00:00:00Z"));
        assert!(remapped(before, after).unwrap().issue.diagnostics().contains("2026-02-01T00:00:00Z"));
        assert!(remapped(after, before).is_none() && remapped(None, after).is_none());
        assert!(remapped(before, None).is_none());
    }

    #[test]
    fn a_client_is_told_which_relations_cannot_be_read() {
        assert!(unreadable(&json!([])).is_none());
        assert!(unreadable(&json!([{"relation": "tombstone", "problem": "x"}])).is_none());
        let goal = json!({"relation": "goal", "problem": "a secret"});
        let note = unreadable(&json!([goal, goal])).unwrap();
        assert!(note.ignored && note.issue.diagnostics().ends_with("mend them: goal"));
    }

    #[test]
    fn a_body_is_json_by_either_name() {
        let named = |value: &'static str| {
            is_json(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]))
        };
        for json in ["application/json", "application/fhir+json; charset=utf-8", "Application/FHIR+JSON"] {
            assert!(named(json), "{json}");
        }
        for other in ["application/x-www-form-urlencoded", "application/fhir+xml", "text/json", ""] {
            assert!(!named(other), "{other}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn preferences_in_several_headers_are_one_list() {
        let prefer = HeaderName::from_static("prefer");
        let mut headers = HeaderMap::new();
        assert_eq!(joined(&headers, &prefer), None);
        headers.append(&prefer, HeaderValue::from_static("respond-async"));
        headers.append(&prefer, HeaderValue::from_static("handling=lenient"));
        assert_eq!(joined(&headers, &prefer).as_deref(), Some("respond-async,handling=lenient"));
    }
}
