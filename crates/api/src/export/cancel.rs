//! Deletion (Bulk Data IG, Bulk Data Delete Request): a running export is cancelled, a completed one loses its
//! files. From the moment of the 202 the status URL is a 404.

use axum::response::Response;
use headgate_domain::ExportId;
use headgate_domain::outcome::{Issue, OperationOutcome};
use headgate_domain::practice::Practice;
use headgate_store::Audit;
use http::StatusCode;
use http::header::HeaderMap;

use crate::error::ApiError;
use crate::extract::principal::Bearer;
use crate::respond;
use crate::state::ApiState;

/// Cancels the client's export. A second time it is not there any more.
pub(crate) async fn cancel(
    state: &ApiState,
    practice: &Practice,
    id: Option<&ExportId>,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let bearer = Bearer::of(state, practice, headers).await?;
    let principal = bearer.consented(state, practice).await?.ok_or(ApiError::NoSuchExport)?;
    let id = id.ok_or(ApiError::NoSuchExport)?;
    let audit = Audit::new(format!("client {}", principal.client), "export.cancelled")
        .at(practice.number)
        .about_client(&principal.client)
        .about_export(id);
    if !state.store().cancel_export(practice.number, id, Some(&principal.client), &audit).await? {
        return Err(ApiError::NoSuchExport);
    }
    let issue = Issue::information("the export was deleted; its files are being removed");
    Ok(respond::outcome(StatusCode::ACCEPTED, &OperationOutcome::from(issue)))
}
