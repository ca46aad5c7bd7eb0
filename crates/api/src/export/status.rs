//! Status (Bulk Data IG, Bulk Data Status Request): progress while an export runs, the manifest when it is
//! completed; page by page and while it runs, where the client allowed partial manifests.
//!
//! Authority is checked at each poll: the token, the consent, and that the token covers every type of the
//! export. Where the client asked for `separate-export-status`, an answer about the export is a 200, and the status of
//! the export itself stands in `X-Export-Status`; what is wrong with the poll is told by the status as ever.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use headgate_domain::ExportId;
use headgate_domain::export::ExportState;
use headgate_domain::practice::Practice;
use headgate_store::ExportRecord;
use http::header::{HeaderName, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use url::form_urlencoded;

use super::manifest::Manifests;
use super::retry_after::retry_after_s;
use crate::error::{ApiError, Surface};
use crate::extract::principal::Bearer;
use crate::state::ApiState;

/// Files on a page of a partial manifest at most.
const PAGE: u32 = 1000;

/// Answers a poll. An id that cannot be one of ours is answered like an unknown one, to those alone who have
/// a good token.
pub(crate) async fn status(
    state: &ApiState,
    practice: &Practice,
    id: Option<&ExportId>,
    request: &Parts,
) -> Result<Response, ApiError> {
    let bearer = Bearer::of(state, practice, &request.headers).await?;
    if id.is_some_and(|id| !state.throttle().admits(practice.number, &bearer.client, id)) {
        return Err(ApiError::PolledTooOften);
    }
    let principal = bearer.consented(state, practice).await?.ok_or(ApiError::NoSuchExport)?;
    let id = id.ok_or(ApiError::NoSuchExport)?;
    let export = state
        .store()
        .export_for_client(practice.number, id, &principal.client)
        .await?
        .ok_or(ApiError::NoSuchExport)?;
    principal.check_covers(export.types.iter().copied())?;
    let page = page(request.uri.query().unwrap_or_default()).ok_or(ApiError::NoSuchExport)?;
    let manifests = Manifests { state, practice, client: &principal.client, id, export: &export };
    let response = match export.state {
        ExportState::Completed if has_expired(&export) => return Err(ApiError::NoSuchExport),
        ExportState::Completed if age(&export) < state.config().poll_min_age => in_progress(&export),
        ExportState::Failed => ApiError::ExportFailed(export.failure.clone()).respond(Surface::Fhir),
        at if at.is_live() || at == ExportState::Completed => {
            if export.delivery.partial_manifests {
                one_page(&manifests, page).await?
            } else if page > 1 {
                return Err(ApiError::NoSuchExport);
            } else if at.is_live() {
                in_progress(&export)
            } else {
                manifests.whole().await?
            }
        }
        _ => return Err(ApiError::NoSuchExport),
    };
    Ok(if export.delivery.separate_status { separate(response) } else { response })
}

/// A page of a partial manifest: 202 while the export runs, 200 afterwards. A page with files never changes but for its
/// link; one without is still open.
async fn one_page(manifests: &Manifests<'_>, page: u32) -> Result<Response, ApiError> {
    let (practice, export) = (manifests.practice.number, manifests.export);
    let files = manifests.state.store().manifest_page(practice, manifests.id, page, PAGE).await?;
    let files = files.ok_or(ApiError::NoSuchExport)?;
    let is_live = export.state.is_live();
    if is_live && files.files.is_empty() {
        return Ok(in_progress(export));
    }
    let next = (is_live || files.more).then(|| format!("{}?page={}", manifests.status_url(), page + 1));
    let mut response = manifests.of(files.files, next).await?;
    if is_live {
        *response.status_mut() = StatusCode::ACCEPTED;
        response.headers_mut().extend(in_progress(export).into_parts().0.headers);
    }
    Ok(response)
}

/// The number of the page that is asked for: 1 where none is named. `None` when it is not a number of a page.
fn page(query: &str) -> Option<u32> {
    let named = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "page");
    named.map_or(Some(1), |(_, number)| number.parse().ok().filter(|number| (1..u32::MAX).contains(number)))
}

/// The same answer, with its status as that of the export.
fn separate(mut response: Response) -> Response {
    let status = HeaderValue::from(response.status().as_u16());
    response.headers_mut().insert(HeaderName::from_static("x-export-status"), status);
    *response.status_mut() = StatusCode::OK;
    response
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::DateTime;
    use headgate_domain::ResourceType;
    use headgate_domain::export::Progress;
    use headgate_domain::request::Delivery;

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
            delivery: Delivery::default(),
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
    fn an_export_has_expired_when_its_time_has_come() {
        assert!(has_expired(&export(0)));
        assert!(!has_expired(&export(1)));
    }

    #[test]
    fn the_status_of_the_export_may_stand_apart() {
        let running = separate(in_progress(&export(60)));
        assert_eq!(running.status(), StatusCode::OK);
        assert_eq!(running.headers()["x-export-status"], "202");
        assert_eq!(running.headers()["retry-after"], "10");
        let failed = separate(ApiError::ExportFailed(None).respond(Surface::Fhir));
        assert_eq!(failed.status(), StatusCode::OK);
        assert_eq!(failed.headers()["x-export-status"], "500");
        assert_eq!(failed.headers()["content-type"], "application/fhir+json");
    }

    #[test]
    fn pages_are_counted_from_one() {
        for (query, expected) in [
            ("", Some(1)),
            ("page=1", Some(1)),
            ("a=b&page=12", Some(12)),
            ("page=0", None),
            ("page=-1", None),
            ("page=", None),
            ("page=4294967295", None),
        ] {
            assert_eq!(page(query), expected, "{query}");
        }
    }
}
