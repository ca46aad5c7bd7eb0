//! `/admin/v1/practices/{number}/consents`: what the practice permits to which app.
//!
//! A consent is granted, replaced by a narrower or wider one, and revoked; the rows are the history.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use headgate_domain::ClientId;
use headgate_domain::consent::GroupAccess;
use headgate_domain::ids::is_fhir_id;
use headgate_domain::practice::Practice;
use headgate_domain::scope::ScopeSet;
use headgate_store::{App, ConsentChange, ConsentRecord, NewConsent};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::Answer;
use super::apps;
use super::caller::Caller;
use super::input::{Input, coming, given, id, practice, text};
use super::page::{Paging, Params};
use super::revision::{IfMatch, tagged};
use super::vendors::named;
use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;

/// A consent, in force or ended.
#[derive(Serialize, ToSchema)]
pub(super) struct Consent {
    consent_id: Uuid,
    practice: i64,
    client_id: String,
    scopes: String,
    /// The groups that may be exported; null: all groups, and the Patient and system levels.
    group_ids: Option<BTreeSet<String>>,
    granted_by: String,
    granted_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    revoked_by: Option<String>,
    revoked_at: Option<DateTime<Utc>>,
    /// `amended` where another one took its place.
    revoke_reason: Option<String>,
    in_force: bool,
    /// The consent whose place this one took.
    amends: Option<Uuid>,
    revision: i64,
}

impl From<&ConsentRecord> for Consent {
    fn from(record: &ConsentRecord) -> Self {
        Self {
            consent_id: record.consent.id,
            practice: record.practice.get(),
            client_id: record.client.to_string(),
            scopes: record.consent.scopes.to_string(),
            group_ids: match &record.consent.groups {
                GroupAccess::All => None,
                GroupAccess::Only(ids) => Some(ids.clone()),
            },
            granted_by: record.granted_by.clone(),
            granted_at: record.granted_at,
            expires_at: record.consent.expires_at,
            revoked_by: record.revoked_by.clone(),
            revoked_at: record.revoked_at,
            revoke_reason: record.revoke_reason.clone(),
            in_force: record.in_force,
            amends: record.amends,
            revision: record.revision,
        }
    }
}

/// A page of consents.
#[derive(Serialize, ToSchema)]
pub(super) struct Consents {
    consents: Vec<Consent>,
    next: Option<String>,
}

/// A consent to be granted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantConsent {
    #[schema(value_type = String)]
    client_id: ClientId,
    /// For operators only; the token's subject where it is not given.
    granted_by: Option<String>,
    /// The app's where they are not given.
    scopes: Option<String>,
    /// All, and the Patient and system levels, where they are not given.
    group_ids: Option<BTreeSet<String>>,
    expires_at: Option<DateTime<Utc>>,
}

/// What is to change of the consent in force. What is not given stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AmendConsent {
    scopes: Option<String>,
    /// Null: all groups, and the Patient and system levels.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>)]
    group_ids: Option<Option<BTreeSet<String>>>,
    /// Null: it does not end by itself.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    expires_at: Option<Option<DateTime<Utc>>>,
}

/// Why a consent is revoked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RevokeConsent {
    /// For operators only; the token's subject where it is not given.
    revoked_by: Option<String>,
    reason: Option<String>,
}

/// A consent that was changed or revoked.
#[derive(Serialize, ToSchema)]
pub(super) struct ChangedConsent {
    consent: Consent,
    /// Exports that ended with it.
    ended_exports: u64,
}

/// What a practice should know of an app before it consents.
#[derive(Serialize, ToSchema)]
pub(super) struct AppPreview {
    client_id: String,
    name: String,
    vendor_name: String,
    /// The most that it can be granted.
    scopes: String,
    security_contact: String,
    /// `disabled`, `enabled` or `suspended`.
    status: &'static str,
    /// Whether the app or its vendor is suspended.
    suspended: bool,
    /// The consent in force at this practice.
    consent: Option<Consent>,
}

/// Parameters of the list of consents.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ConsentParams {
    /// Only consents to this app.
    #[param(value_type = Option<String>)]
    client_id: Option<ClientId>,
    /// Items of the page, 1 to 1000; 100 by default.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Shows any registered app, as it is before a practice consents to it.
#[utoipa::path(get, path = "/practices/{number}/apps/{client_id}", tag = "consents",
    responses((status = 200, body = AppPreview)))]
pub(super) async fn preview(
    State(state): State<ApiState>,
    Path((number, client_id)): Path<(String, String)>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let app = apps::find(&state, &id("app", &client_id)?).await?;
    let consent = state.store().consent_of_app(practice.number, &app.client_id).await?;
    let preview = AppPreview {
        client_id: app.client_id.to_string(),
        name: app.name.clone(),
        vendor_name: app.vendor_name.clone(),
        scopes: app.scopes.to_string(),
        security_contact: app.security_contact.clone(),
        status: app.status().name(),
        suspended: app.suspended.is_some() || app.vendor_suspended,
        consent: consent.as_ref().map(Consent::from),
    };
    Ok(respond::json(StatusCode::OK, &preview))
}

/// Lists the practice's consents, newest first; ended ones too.
#[utoipa::path(get, path = "/practices/{number}/consents", tag = "consents", params(ConsentParams),
    responses((status = 200, body = Consents)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Path(number): Path<String>,
    paging: Paging,
    Params(params): Params<ConsentParams>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let page = paging.page(params.limit, params.cursor)?;
    let found = state.store().consents_page(practice.number, params.client_id.as_ref(), &page).await?;
    let consents = found.items.iter().map(Consent::from).collect();
    Ok(respond::json(StatusCode::OK, &Consents { consents, next: paging.next(found.next)? }))
}

/// Grants a consent. One consent of a practice to an app is in force at a time.
#[utoipa::path(post, path = "/practices/{number}/consents", tag = "consents", request_body = GrantConsent,
    responses((status = 201, body = Consent)))]
pub(super) async fn grant(
    State(state): State<ApiState>,
    caller: Caller,
    Path(number): Path<String>,
    Input(body): Input<GrantConsent>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let granted_by = caller.acting_as("granted_by", body.granted_by.as_deref())?;
    let app = apps::find(&state, &body.client_id).await?;
    let new = NewConsent {
        practice: practice.number,
        consent_id: Uuid::new_v4(),
        scopes: body.scopes.as_deref().map_or_else(|| Ok(app.scopes.clone()), |s| scopes(&app, s))?,
        client: body.client_id,
        groups: body.group_ids.map_or(Ok(GroupAccess::All), groups)?,
        granted_by,
        expires_at: coming("expires_at", body.expires_at)?,
    };
    let audit = caller.audit("consent.granted").at(practice.number).about_client(&new.client).and(json!({
        "consent": new.consent_id,
        "scopes": new.scopes.to_string(),
        "by": new.granted_by,
    }));
    state.store().grant_consent(&new, &audit).await.map_err(|error| match error {
        headgate_store::Error::Exists { .. } => ApiError::Conflict {
            reason: "exists",
            detail: "a consent to this app is in force already: change it, or revoke it first",
        },
        error => error.into(),
    })?;
    let record = find(&state, &practice, new.consent_id).await?;
    Ok(tagged(StatusCode::CREATED, record.revision, &Consent::from(&record)))
}

fn scopes(app: &App, given: &str) -> Result<ScopeSet, ApiError> {
    let scopes = apps::scopes(given)?;
    if !scopes.is_within(&app.scopes) {
        return Err(ApiError::Invalid(format!("scopes must be within those of the app: {}", app.scopes)));
    }
    Ok(scopes)
}

fn groups(ids: BTreeSet<String>) -> Result<GroupAccess, ApiError> {
    if ids.iter().any(|id| !is_fhir_id(id)) {
        return Err(ApiError::Invalid("group_ids: letters, digits, - and ., at most 64".to_owned()));
    }
    Ok(GroupAccess::Only(ids))
}

/// Puts a consent with other scopes, groups or end in the place of the one in force. Exports beyond it end at
/// once, the others go on.
#[utoipa::path(put, path = "/practices/{number}/consents/{client_id}", tag = "consents",
    request_body = AmendConsent, responses((status = 200, body = ChangedConsent)))]
pub(super) async fn amend(
    State(state): State<ApiState>,
    caller: Caller,
    Path((number, client_id)): Path<(String, String)>,
    if_match: IfMatch,
    Input(body): Input<AmendConsent>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let app = apps::find(&state, &id("consent in force", &client_id)?).await;
    let app = app.map_err(|error| match error {
        ApiError::Missing(_) => ApiError::Missing("consent in force"),
        error => error,
    })?;
    let given = [
        ("scopes", body.scopes.is_some()),
        ("group_ids", body.group_ids.is_some()),
        ("expires_at", body.expires_at.is_some()),
    ];
    let change = ConsentChange {
        scopes: body.scopes.as_deref().map(|given| scopes(&app, given)).transpose()?,
        groups: body.group_ids.map(|ids| ids.map_or(Ok(GroupAccess::All), groups)).transpose()?,
        expires_at: body.expires_at.map(|at| coming("expires_at", at)).transpose()?,
    };
    let audit = caller.audit("consent.amended").at(practice.number).about_client(&app.client_id).and(json!({
        "changed": named(&given),
        "scopes": change.scopes.as_ref().map(ScopeSet::to_string),
    }));
    let (consent_id, ended_exports) = state
        .store()
        .amend_consent(
            practice.number,
            &app.client_id,
            &change,
            caller.subject(),
            if_match.of_existing()?,
            &audit,
        )
        .await?
        .ok_or(ApiError::Missing("consent in force"))?;
    let record = find(&state, &practice, consent_id).await?;
    let body = ChangedConsent { consent: Consent::from(&record), ended_exports };
    Ok(tagged(StatusCode::OK, record.revision, &body))
}

/// Revokes the consent in force, and ends the app's exports at the practice.
#[utoipa::path(post, path = "/practices/{number}/consents/{client_id}/revoke", tag = "consents",
    request_body = RevokeConsent, responses((status = 200, body = ChangedConsent)))]
pub(super) async fn revoke(
    State(state): State<ApiState>,
    caller: Caller,
    Path((number, client_id)): Path<(String, String)>,
    if_match: IfMatch,
    Input(body): Input<RevokeConsent>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let client: ClientId = id("consent in force", &client_id)?;
    let by = caller.acting_as("revoked_by", body.revoked_by.as_deref())?;
    let reason = body.reason.as_deref().map(|reason| text("reason", reason)).transpose()?;
    let audit =
        caller.audit("consent.revoked").at(practice.number).about_client(&client).and(json!({ "by": by }));
    let if_match = if_match.of_existing()?;
    let (consent_id, ended_exports) = state
        .store()
        .revoke_consent(practice.number, &client, &by, reason.as_deref(), if_match, &audit)
        .await?
        .ok_or(ApiError::Missing("consent in force"))?;
    let record = find(&state, &practice, consent_id).await?;
    let body = ChangedConsent { consent: Consent::from(&record), ended_exports };
    Ok(tagged(StatusCode::OK, record.revision, &body))
}

async fn find(state: &ApiState, practice: &Practice, consent_id: Uuid) -> Result<ConsentRecord, ApiError> {
    let record = state.store().consent_record(practice.number, consent_id).await?;
    record.ok_or(ApiError::Missing("consent"))
}
