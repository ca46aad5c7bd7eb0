//! The contents of attachments (Bulk Data IG, Attachments): `[base]/Binary/[id]`, the absolute URL by which exported
//! resources lead to them.
//!
//! They need the access token, as the files of the same practice do. Workers have put each content into the bucket; what
//! is answered is a link to that of the newest export of the client that has it. So an attachment is there as long as
//! an export is that led to it, and this server asks no EHR.

use axum::response::Response;
use headgate_domain::practice::Practice;
use headgate_domain::{ResourceType, ids};
use headgate_store::AttachmentRecord;
use http::Method;
use http::header::HeaderMap;

use super::file::send_on;
use crate::error::ApiError;
use crate::extract::principal::{Bearer, Principal};
use crate::state::ApiState;

/// Answers a request for the content of an attachment. An id that cannot be one is answered like an unknown one.
pub(crate) async fn attachment(
    state: &ApiState,
    practice: &Practice,
    id: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let bearer = Bearer::of(state, practice, headers).await?;
    let principal = bearer.consented(state, practice).await?.ok_or(ApiError::NoSuchAttachment)?;
    if !ids::is_fhir_id(id) {
        return Err(ApiError::NoSuchAttachment);
    }
    let attachment = state
        .store()
        .attachment_for_client(practice.number, &principal.client, id)
        .await?
        .ok_or(ApiError::NoSuchAttachment)?;
    check_scope(&principal, &attachment)?;
    if !state.store().note_download(practice.number, &attachment.export).await? {
        return Err(ApiError::NoSuchAttachment);
    }
    send_on(state, &attachment.object_key, method).await
}

/// Which resource of the export led to it is not kept: so all types of the export that may, have to be covered.
fn check_scope(principal: &Principal, attachment: &AttachmentRecord) -> Result<(), ApiError> {
    let may_lead = attachment.types.iter().filter(|t| ResourceType::WITH_ATTACHMENTS.contains(t));
    principal.check_covers(may_lead.copied())
}
