//! Kick-off (Bulk Data IG, Bulk Data Kick-off Request): `GET [base]/$export`, `/Patient/$export` and
//! `/Group/[id]/$export`.
//!
//! The order of the checks is part of the contract: the output format before all else, as in the modelled
//! product, then who asks, then what for, then whether the source was ever looked at, then whether it is
//! permitted. The store checks consent, group and number of exports once more, in the transaction that starts
//! the export.

use axum::response::Response;
use chrono::{DateTime, SecondsFormat, Utc};
use headgate_domain::authorize::{AuthorizedExport, authorize};
use headgate_domain::outcome::{Issue, IssueCode, OperationOutcome};
use headgate_domain::practice::Practice;
use headgate_domain::request::{self, Headers, Level, Note};
use headgate_domain::{ExportId, ResourceType};
use headgate_store::{Audit, NewExport};
use http::header::{ACCEPT, CONTENT_LOCATION, HeaderMap, HeaderName};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::extract::principal::{Bearer, Principal};
use crate::respond;
use crate::state::ApiState;

/// Reads the request, decides, and starts the export.
pub(crate) async fn kick_off(
    state: &ApiState,
    practice: &Practice,
    level: Level,
    rest: &str,
    request: &Parts,
) -> Result<Response, ApiError> {
    let query = request.uri.query().unwrap_or_default();
    request::check_output_format(query).map_err(|issue| ApiError::BadRequest(vec![issue]))?;
    let bearer = Bearer::of(state, practice, &request.headers)?;
    let principal = bearer.consented(state, practice).await?.ok_or(ApiError::NoConsent)?;

    let accept = joined(&request.headers, &ACCEPT);
    let prefer = joined(&request.headers, &HeaderName::from_static("prefer"));
    let headers = Headers { accept: accept.as_deref(), prefer: prefer.as_deref() };
    let mut parsed = request::parse_get(level, query, headers, &practice.options, Utc::now())
        .map_err(ApiError::BadRequest)?;

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

    let mark = if query.is_empty() { "" } else { "?" };
    let request_url = format!("{}{rest}{mark}{query}", practice.base());
    start(state, practice, &principal, &authorized, &request_url).await
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
    // These two hold no resources.
    let mut names: Vec<&str> = names.filter(|name| !matches!(*name, "tombstone" | "group_member")).collect();
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
    let new = NewExport {
        practice: practice.number,
        id: &id,
        client: &principal.client,
        authorized,
        request_url,
        max_running,
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
            "consent": authorized.consent_id,
        }));
    state.store().kick_off(&new, &audit).await??;
    Ok(accepted(practice, &id, authorized))
}

/// 202 with the absolute URL to poll, and what the client should know as an OperationOutcome.
fn accepted(practice: &Practice, id: &ExportId, authorized: &AuthorizedExport) -> Response {
    let mut issues: Vec<Issue> = authorized.request.notes.iter().map(|note| note.issue.clone()).collect();
    if issues.is_empty() {
        issues.push(Issue::information("the export was accepted: poll the URL in Content-Location"));
    }
    let mut response = respond::outcome(StatusCode::ACCEPTED, &OperationOutcome::new(issues));
    let status_url = format!("{}/fhir-services/$export-status/{id}", practice.base());
    if let Ok(status_url) = HeaderValue::from_str(&status_url) {
        response.headers_mut().insert(CONTENT_LOCATION, status_url);
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
    fn preferences_in_several_headers_are_one_list() {
        let prefer = HeaderName::from_static("prefer");
        let mut headers = HeaderMap::new();
        assert_eq!(joined(&headers, &prefer), None);
        headers.append(&prefer, HeaderValue::from_static("respond-async"));
        headers.append(&prefer, HeaderValue::from_static("handling=lenient"));
        assert_eq!(joined(&headers, &prefer).as_deref(), Some("respond-async,handling=lenient"));
    }
}
