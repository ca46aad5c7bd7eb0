//! `/admin/v1/vendors`.

use axum::extract::{Path, State};
use headgate_store::{Audit, NewVendor, Vendor};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Answer;
use super::input::{Input, id, text};
use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;

/// The body of `POST vendors`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateVendor {
    name: String,
    contact_email: String,
}

/// `POST vendors`
pub(crate) async fn create(State(state): State<ApiState>, Input(body): Input<CreateVendor>) -> Answer {
    let new = NewVendor {
        vendor_id: Uuid::new_v4(),
        name: text("name", &body.name)?,
        contact_email: text("contact_email", &body.contact_email)?,
    };
    if !new.contact_email.contains('@') {
        return Err(ApiError::Invalid("contact_email must be an e-mail address".to_owned()).into());
    }
    let audit = Audit::new("operator", "vendor.created").with(json!({ "vendor": new.vendor_id }));
    state.store().create_vendor(&new, &audit).await?;
    let vendor = find(&state, new.vendor_id).await?;
    Ok(respond::json(StatusCode::CREATED, &shown(&vendor)))
}

/// `GET vendors`
pub(crate) async fn list(State(state): State<ApiState>) -> Answer {
    let vendors: Vec<Value> = state.store().vendors().await?.iter().map(shown).collect();
    Ok(respond::json(StatusCode::OK, &json!({ "vendors": vendors })))
}

/// `GET vendors/{vendor_id}`
pub(crate) async fn show(State(state): State<ApiState>, Path(vendor_id): Path<String>) -> Answer {
    let vendor = find(&state, id("vendor", &vendor_id)?).await?;
    Ok(respond::json(StatusCode::OK, &shown(&vendor)))
}

async fn find(state: &ApiState, vendor_id: Uuid) -> Result<Vendor, ApiError> {
    state.store().vendor(vendor_id).await?.ok_or(ApiError::Missing("vendor"))
}

fn shown(vendor: &Vendor) -> Value {
    json!({
        "vendor_id": vendor.vendor_id,
        "name": vendor.name,
        "contact_email": vendor.contact_email,
        "created_at": vendor.created_at,
    })
}
