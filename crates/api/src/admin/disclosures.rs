//! `/admin/v1/practices/{number}/disclosures`: what was given to whom, by whose consent (45 CFR 164.528,
//! Accounting of disclosures). Looking at it is itself in the audit trail.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use headgate_domain::ClientId;
use headgate_domain::ids::is_fhir_id;
use headgate_store as store;
use headgate_store::DisclosureFilter;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::Answer;
use super::caller::Caller;
use super::input::{Input, instant, practice};
use super::page::{ListParams, Paging, Params};
use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;

/// An export, as something that was disclosed.
#[derive(Serialize, ToSchema)]
pub(super) struct Disclosure {
    export_id: String,
    client_id: String,
    app_name: String,
    vendor_name: String,
    consent_id: Uuid,
    /// Who granted the consent.
    granted_by: String,
    /// `system`, `patient` or `group`.
    level: &'static str,
    group_id: Option<String>,
    /// Whether the request named patients.
    of_patients: bool,
    since: Option<DateTime<Utc>>,
    types: Vec<&'static str>,
    accepted_at: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
    state: &'static str,
    transaction_time: Option<DateTime<Utc>>,
    resources_by_type: BTreeMap<String, u64>,
    /// When links to the files were handed out. Whether they were followed, only the object store knows.
    links: Option<Times>,
    /// When files were fetched through this server.
    downloads: Option<Times>,
    /// In a search for a patient: `member` (of the patients of the export) or `all_patients` (the export was of
    /// every patient of the practice).
    #[serde(skip_serializing_if = "Option::is_none")]
    basis: Option<&'static str>,
}

/// When something happened, and how often.
#[derive(Serialize, ToSchema)]
pub(super) struct Times {
    first_at: DateTime<Utc>,
    last_at: DateTime<Utc>,
    times: u64,
}

impl From<store::Times> for Times {
    fn from(times: store::Times) -> Self {
        Self { first_at: times.first_at, last_at: times.last_at, times: times.times }
    }
}

impl From<store::Disclosure> for Disclosure {
    fn from(disclosure: store::Disclosure) -> Self {
        Self {
            export_id: disclosure.export.to_string(),
            client_id: disclosure.client.to_string(),
            app_name: disclosure.app_name,
            vendor_name: disclosure.vendor_name,
            consent_id: disclosure.consent_id,
            granted_by: disclosure.granted_by,
            level: disclosure.level.name(),
            group_id: disclosure.level.group_id().map(str::to_owned),
            of_patients: disclosure.of_patients,
            since: disclosure.since,
            types: disclosure.types.iter().map(|t| t.name()).collect(),
            accepted_at: disclosure.accepted_at,
            completed_at: disclosure.completed_at,
            state: disclosure.state.name(),
            transaction_time: disclosure.transaction_time,
            resources_by_type: disclosure.resources_by_type,
            links: disclosure.links.map(Times::from),
            downloads: disclosure.downloads.map(Times::from),
            basis: disclosure.basis,
        }
    }
}

/// A page of disclosures.
#[derive(Serialize, ToSchema)]
pub(super) struct Disclosures {
    disclosures: Vec<Disclosure>,
    next: Option<String>,
}

/// Parameters of the list of disclosures.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DisclosureParams {
    /// Only to this app.
    #[param(value_type = Option<String>)]
    client_id: Option<ClientId>,
    /// Only exports accepted at or after this instant.
    since: Option<DateTime<Utc>>,
    /// Only exports accepted before this instant.
    until: Option<DateTime<Utc>>,
    /// Items of the page, 1 to 1000; 100 by default.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// The patient whose data are looked for. The id is in the body, so that it is in no URL.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchDisclosures {
    patient_id: String,
}

/// Lists what was disclosed of the practice's data, newest first.
#[utoipa::path(get, path = "/practices/{number}/disclosures", tag = "disclosures", params(DisclosureParams),
    responses((status = 200, body = Disclosures)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Path(number): Path<String>,
    paging: Paging,
    Params(params): Params<DisclosureParams>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let page = paging.page(params.limit, params.cursor)?;
    let (since, until) = (instant("since", params.since)?, instant("until", params.until)?);
    let audit = caller.audit("disclosure.read").at(practice.number).and(json!({
        "client_id": params.client_id,
        "since": since,
        "until": until,
    }));
    let filter = DisclosureFilter { client: params.client_id, since, until, patient: None };
    let found = state.store().disclosures(practice.number, &filter, &page).await?;
    state.store().record(&audit).await?;
    answer(&paging, found)
}

/// Lists the exports that a patient was in. That somebody looked is recorded, for whom is not.
#[utoipa::path(post, path = "/practices/{number}/disclosures/search", tag = "disclosures", params(ListParams),
    request_body = SearchDisclosures, responses((status = 200, body = Disclosures)))]
pub(super) async fn search(
    State(state): State<ApiState>,
    caller: Caller,
    Path(number): Path<String>,
    paging: Paging,
    Params(params): Params<ListParams>,
    Input(body): Input<SearchDisclosures>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let page = paging.page(params.limit, params.cursor)?;
    if !is_fhir_id(&body.patient_id) {
        return Err(ApiError::Invalid("patient_id must be a FHIR id".to_owned()).into());
    }
    let filter = DisclosureFilter { client: None, since: None, until: None, patient: Some(body.patient_id) };
    let found = state.store().disclosures(practice.number, &filter, &page).await?;
    state.store().record(&caller.audit("disclosure.searched").at(practice.number)).await?;
    answer(&paging, found)
}

fn answer(paging: &Paging, found: store::Paged<store::Disclosure>) -> Answer {
    let disclosures = found.items.into_iter().map(Disclosure::from).collect();
    Ok(respond::json(StatusCode::OK, &Disclosures { disclosures, next: paging.next(found.next)? }))
}
