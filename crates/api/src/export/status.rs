//! Status (Bulk Data IG, Bulk Data Status Request): progress while an export runs, the manifest when it is
//! completed.
//!
//! Authority is checked at each poll: the token, the consent, and that the token covers every type of the
//! export. The links of a manifest are signed at each poll and live no longer than the files; that they were
//! handed out is recorded before they are shown, and they are not shown when it cannot be recorded.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use chrono::{DateTime, Utc};
use headgate_domain::export::ExportState;
use headgate_domain::manifest::{Entry, EntryExtension, Manifest};
use headgate_domain::practice::Practice;
use headgate_domain::{ExportId, ResourceType};
use headgate_store::{Audit, ExportRecord, FileKind, FileRecord};
use http::header::{EXPIRES, HeaderMap, HeaderName, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::retry_after::retry_after_s;
use crate::error::ApiError;
use crate::extract::principal::{Bearer, Principal};
use crate::respond;
use crate::state::ApiState;

/// Answers a poll. An id that cannot be one of ours is answered like an unknown one, to those alone who have
/// a good token.
pub(crate) async fn status(
    state: &ApiState,
    practice: &Practice,
    id: Option<&ExportId>,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let bearer = Bearer::of(state, practice, headers)?;
    let principal = bearer.consented(state, practice).await?.ok_or(ApiError::NoSuchExport)?;
    let id = id.ok_or(ApiError::NoSuchExport)?;
    let export = state
        .store()
        .export_for_client(practice.number, id, &principal.client)
        .await?
        .ok_or(ApiError::NoSuchExport)?;
    check_scope(&principal, &export)?;
    match export.state {
        state if state.is_live() => Ok(in_progress(&export)),
        ExportState::Completed if has_expired(&export) => Err(ApiError::NoSuchExport),
        ExportState::Completed if age(&export) < state.config().poll_min_age => Ok(in_progress(&export)),
        ExportState::Completed => complete(state, practice, &principal, id, &export).await,
        ExportState::Failed => Err(ApiError::ExportFailed(export.failure)),
        _ => Err(ApiError::NoSuchExport),
    }
}

fn check_scope(principal: &Principal, export: &ExportRecord) -> Result<(), ApiError> {
    let covered = |t: &ResourceType| principal.scopes.permits(*t) && principal.consent.scopes.permits(*t);
    let beyond: BTreeSet<ResourceType> = export.types.iter().copied().filter(|t| !covered(t)).collect();
    if beyond.is_empty() { Ok(()) } else { Err(ApiError::TooNarrow(beyond)) }
}

fn has_expired(export: &ExportRecord) -> bool {
    export.expires_at.is_some_and(|end| end <= export.now)
}

/// The time since kick-off, by the database's clock alone.
fn age(export: &ExportRecord) -> Duration {
    (export.now - export.accepted_at).to_std().unwrap_or_default()
}

fn in_progress(export: &ExportRecord) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from(retry_after_s(export.progress, age(export))));
    if let Ok(progress) = HeaderValue::from_str(&export.progress.text()) {
        headers.insert(HeaderName::from_static("x-progress"), progress);
    }
    response
}

async fn complete(
    state: &ApiState,
    practice: &Practice,
    principal: &Principal,
    id: &ExportId,
    export: &ExportRecord,
) -> Result<Response, ApiError> {
    let ttl = link_ttl(export, state.config().url_ttl);
    let files = state.store().files_of(practice.number, id).await?;
    let manifest = manifest(state, export, &files, ttl).await?;
    let audit = Audit::new(format!("client {}", principal.client), "link.minted")
        .at(practice.number)
        .about_client(&principal.client)
        .about_export(id)
        .with(json!({ "links": files.len() }));
    if !state.store().mint_links(practice.number, id, &principal.client, &audit).await? {
        return Err(ApiError::NoSuchExport);
    }
    let mut response = respond::json(StatusCode::OK, &manifest);
    let links_end = Utc::now() + state.objects().link_life(ttl);
    if let Ok(expires) = HeaderValue::from_str(&http_date(links_end)) {
        response.headers_mut().insert(EXPIRES, expires);
    }
    Ok(response)
}

/// Links die with the files at the latest.
fn link_ttl(export: &ExportRecord, longest: Duration) -> Duration {
    let left = export.expires_at.map_or(longest, |end| (end - export.now).to_std().unwrap_or_default());
    left.min(longest).max(Duration::from_secs(1))
}

async fn manifest(
    state: &ApiState,
    export: &ExportRecord,
    files: &[FileRecord],
    ttl: Duration,
) -> Result<Manifest, ApiError> {
    let transaction_time =
        export.transaction_time.ok_or(ApiError::Unexpected("a completed export has no transaction time"))?;
    let mut manifest = Manifest {
        transaction_time,
        request: export.request_url.clone(),
        requires_access_token: false,
        output: Vec::new(),
        deleted: Vec::new(),
        error: Vec::new(),
    };
    for file in files {
        let url = state.objects().presign_get(&file.object_key, ttl).await?;
        let (list, resource_type) = match file.kind {
            FileKind::Output => (&mut manifest.output, file.resource_type.as_str()),
            FileKind::Deleted => (&mut manifest.deleted, "Bundle"),
            FileKind::Error => (&mut manifest.error, "OperationOutcome"),
        };
        list.push(Entry {
            resource_type: resource_type.to_owned(),
            url,
            count: file.resources,
            extension: EntryExtension { bytes: file.bytes, sha256: file.sha256.clone() },
        });
    }
    Ok(manifest)
}

/// A date as HTTP headers have it (RFC 9110, section 5.6.7).
fn http_date(time: DateTime<Utc>) -> String {
    time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use headgate_domain::export::Progress;

    use super::*;

    fn export(expires_in_s: i64) -> ExportRecord {
        let now = DateTime::UNIX_EPOCH + chrono::TimeDelta::days(1);
        ExportRecord {
            request_url: "https://a.example/fhir/r4/$export".into(),
            types: BTreeSet::from([ResourceType::Patient]),
            state: ExportState::Running,
            transaction_time: None,
            accepted_at: now - chrono::TimeDelta::seconds(40),
            expires_at: Some(now + chrono::TimeDelta::seconds(expires_in_s)),
            failure: None,
            progress: Progress { published: 1000, planned: 2000, planned_all: true },
            now,
        }
    }

    #[test]
    fn a_poll_of_a_running_export_tells_progress_and_when_to_come_again() {
        let response = in_progress(&export(60));
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        assert_eq!(response.headers()["retry-after"], "10");
        assert_eq!(response.headers()["x-progress"], "50% (1,000 of about 2,000 resources)");
    }

    #[test]
    fn a_link_never_outlives_the_files() {
        let hour = Duration::from_secs(3600);
        assert_eq!(link_ttl(&export(7200), hour), hour);
        assert_eq!(link_ttl(&export(60), hour), Duration::from_secs(60));
        assert!(has_expired(&export(0)));
        assert!(!has_expired(&export(1)));
    }

    #[test]
    fn the_expiry_is_an_http_date() {
        let time = DateTime::from_timestamp(784_111_777, 0).unwrap();
        assert_eq!(http_date(time), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
