//! `/admin/v1/vendors`: the third parties that register apps.

use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use headgate_store as store;
use headgate_store::{NewVendor, VendorChange};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Answer;
use super::caller::Caller;
use super::input::{Input, email, id, text};
use super::page::{ListParams, Paging, Params};
use super::revision::{IfMatch, tagged};
use super::suspension::{Suspend, Suspension};
use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;

/// A vendor.
#[derive(Serialize, ToSchema)]
pub(super) struct Vendor {
    vendor_id: Uuid,
    name: String,
    contact_email: String,
    /// Set while an operator has suspended the vendor, and with it its apps.
    suspended: Option<Suspension>,
    revision: i64,
    created_at: DateTime<Utc>,
}

impl From<&store::Vendor> for Vendor {
    fn from(vendor: &store::Vendor) -> Self {
        Self {
            vendor_id: vendor.vendor_id,
            name: vendor.name.clone(),
            contact_email: vendor.contact_email.clone(),
            suspended: vendor.suspended.as_ref().map(Suspension::from),
            revision: vendor.revision,
            created_at: vendor.created_at,
        }
    }
}

/// A page of vendors.
#[derive(Serialize, ToSchema)]
pub(super) struct Vendors {
    vendors: Vec<Vendor>,
    next: Option<String>,
}

/// A vendor to be created.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateVendor {
    /// Unique.
    name: String,
    contact_email: String,
}

/// What is to change of a vendor.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeVendor {
    /// For operators only.
    name: Option<String>,
    contact_email: Option<String>,
}

/// A vendor that was suspended.
#[derive(Serialize, ToSchema)]
pub(super) struct SuspendedVendor {
    vendor: Vendor,
    /// Exports of the vendor's apps that ended with it.
    ended_exports: u64,
}

/// Lists vendors; a vendor sees itself.
#[utoipa::path(get, path = "/vendors", tag = "vendors", params(ListParams),
    responses((status = 200, body = Vendors)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    paging: Paging,
    Params(params): Params<ListParams>,
) -> Answer {
    let page = paging.page(params.limit, params.cursor)?;
    let found = state.store().vendors(caller.vendor(), &page).await?;
    let vendors =
        Vendors { vendors: found.items.iter().map(Vendor::from).collect(), next: paging.next(found.next)? };
    Ok(respond::json(StatusCode::OK, &vendors))
}

/// Creates a vendor.
#[utoipa::path(post, path = "/vendors", tag = "vendors", request_body = CreateVendor,
    responses((status = 201, body = Vendor)))]
pub(super) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Input(body): Input<CreateVendor>,
) -> Answer {
    let new = NewVendor {
        vendor_id: Uuid::new_v4(),
        name: text("name", &body.name)?,
        contact_email: email("contact_email", &body.contact_email)?,
    };
    let audit = caller.audit("vendor.created").and(json!({ "vendor": new.vendor_id }));
    state.store().create_vendor(&new, &audit).await?;
    answer(StatusCode::CREATED, &find(&state, new.vendor_id).await?)
}

/// Shows a vendor.
#[utoipa::path(get, path = "/vendors/{vendor_id}", tag = "vendors", responses((status = 200, body = Vendor)))]
pub(super) async fn show(State(state): State<ApiState>, Path(vendor_id): Path<String>) -> Answer {
    answer(StatusCode::OK, &find(&state, id("vendor", &vendor_id)?).await?)
}

/// Changes a vendor; a vendor may change its own contact.
#[utoipa::path(patch, path = "/vendors/{vendor_id}", tag = "vendors", request_body = ChangeVendor,
    responses((status = 200, body = Vendor)))]
pub(super) async fn change(
    State(state): State<ApiState>,
    caller: Caller,
    Path(vendor_id): Path<String>,
    if_match: IfMatch,
    Input(body): Input<ChangeVendor>,
) -> Answer {
    let vendor_id = id("vendor", &vendor_id)?;
    if body.name.is_some() && caller.vendor().is_some() {
        return Err(ApiError::Forbidden("a vendor may change its contact_email only").into());
    }
    let change = VendorChange {
        name: body.name.as_deref().map(|name| text("name", name)).transpose()?,
        contact_email: body.contact_email.as_deref().map(|c| email("contact_email", c)).transpose()?,
    };
    let changed = [("name", change.name.is_some()), ("contact_email", change.contact_email.is_some())];
    let audit =
        caller.audit("vendor.changed").and(json!({ "vendor": vendor_id, "changed": named(&changed) }));
    let updated = state.store().update_vendor(vendor_id, &change, if_match.of_existing()?, &audit).await?;
    answer(StatusCode::OK, &updated.ok_or(ApiError::Missing("vendor"))?)
}

/// The names of what was given.
pub(super) fn named<'a>(given: &[(&'a str, bool)]) -> Vec<&'a str> {
    given.iter().filter_map(|(name, is_given)| is_given.then_some(*name)).collect()
}

/// Suspends a vendor: its apps get no tokens, and their exports end.
#[utoipa::path(post, path = "/vendors/{vendor_id}/suspend", tag = "vendors", request_body = Suspend,
    responses((status = 200, body = SuspendedVendor)))]
pub(super) async fn suspend(
    State(state): State<ApiState>,
    caller: Caller,
    Path(vendor_id): Path<String>,
    if_match: IfMatch,
    Input(body): Input<Suspend>,
) -> Answer {
    let vendor_id = id("vendor", &vendor_id)?;
    let reason = text("reason", &body.reason)?;
    let audit = caller.audit("vendor.suspended").and(json!({ "vendor": vendor_id, "reason": reason }));
    let ended_exports = state
        .store()
        .suspend_vendor(vendor_id, caller.subject(), &reason, if_match.of_existing()?, &audit)
        .await?
        .ok_or(ApiError::Missing("vendor"))?;
    let vendor = find(&state, vendor_id).await?;
    let body = SuspendedVendor { vendor: Vendor::from(&vendor), ended_exports };
    Ok(tagged(StatusCode::OK, vendor.revision, &body))
}

/// Ends the suspension of a vendor.
#[utoipa::path(post, path = "/vendors/{vendor_id}/resume", tag = "vendors",
    responses((status = 200, body = Vendor)))]
pub(super) async fn resume(
    State(state): State<ApiState>,
    caller: Caller,
    Path(vendor_id): Path<String>,
    if_match: IfMatch,
) -> Answer {
    let vendor_id = id("vendor", &vendor_id)?;
    let audit = caller.audit("vendor.resumed").and(json!({ "vendor": vendor_id }));
    if !state.store().resume_vendor(vendor_id, if_match.of_existing()?, &audit).await? {
        return Err(ApiError::Missing("vendor").into());
    }
    answer(StatusCode::OK, &find(&state, vendor_id).await?)
}

async fn find(state: &ApiState, vendor_id: Uuid) -> Result<store::Vendor, ApiError> {
    state.store().vendor(vendor_id).await?.ok_or(ApiError::Missing("vendor"))
}

fn answer(status: StatusCode, vendor: &store::Vendor) -> Answer {
    Ok(tagged(status, vendor.revision, &Vendor::from(vendor)))
}
