//! `/admin/v1/practices/{number}/consents`: granted, listed and revoked for the practice.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use headgate_domain::ClientId;
use headgate_domain::consent::GroupAccess;
use headgate_domain::ids::is_fhir_id;
use headgate_domain::practice::Practice;
use headgate_store::{Audit, ConsentRecord, NewConsent};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Answer;
use super::apps;
use super::input::{Input, id, practice, text};
use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;

/// The body of `POST consents`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grant {
    client_id: ClientId,
    #[serde(default = "operator")]
    granted_by: String,
    scopes: Option<String>,
    group_ids: Option<BTreeSet<String>>,
    expires_at: Option<DateTime<Utc>>,
}

/// The body of `POST consents/{client_id}/revoke`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revoke {
    #[serde(default = "operator")]
    revoked_by: String,
    reason: Option<String>,
}

fn operator() -> String {
    "operator".to_owned()
}

/// `POST consents`
pub(crate) async fn grant(
    State(state): State<ApiState>,
    Path(number): Path<String>,
    Input(body): Input<Grant>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let new = checked(&state, &practice, body).await?;
    let audit = Audit::new("operator", "consent.granted")
        .at(practice.number)
        .about_client(&new.client)
        .with(json!({ "consent": new.consent_id, "scopes": new.scopes.to_string(), "by": new.granted_by }));
    state.store().grant_consent(&new, &audit).await.map_err(|error| match error {
        headgate_store::Error::Exists { .. } => ApiError::Conflict {
            reason: "exists",
            detail: "a consent to this app is in force already: revoke it first",
        },
        error => error.into(),
    })?;
    let record = find(&state, &practice, new.consent_id).await?;
    Ok(respond::json(StatusCode::CREATED, &shown(&record)))
}

async fn checked(state: &ApiState, practice: &Practice, body: Grant) -> Result<NewConsent, ApiError> {
    let app = apps::find(state, &body.client_id).await?;
    let scopes = body.scopes.as_deref().map_or_else(|| Ok(app.scopes.clone()), apps::scopes)?;
    if !scopes.is_within(&app.scopes) {
        return Err(ApiError::Invalid(format!("scopes must be within those of the app: {}", app.scopes)));
    }
    if body.expires_at.is_some_and(|end| end <= Utc::now()) {
        return Err(ApiError::Invalid("expires_at lies in the past".to_owned()));
    }
    if body.group_ids.iter().flatten().any(|id| !is_fhir_id(id)) {
        return Err(ApiError::Invalid("group_ids: letters, digits, - and ., at most 64".to_owned()));
    }
    Ok(NewConsent {
        practice: practice.number,
        consent_id: Uuid::new_v4(),
        client: body.client_id,
        scopes,
        groups: body.group_ids.map_or(GroupAccess::All, GroupAccess::Only),
        granted_by: text("granted_by", &body.granted_by)?,
        expires_at: body.expires_at,
    })
}

/// `GET consents`
pub(crate) async fn list(State(state): State<ApiState>, Path(number): Path<String>) -> Answer {
    let practice = practice(&state, &number).await?;
    let consents: Vec<Value> = state.store().consents(practice.number).await?.iter().map(shown).collect();
    Ok(respond::json(StatusCode::OK, &json!({ "consents": consents })))
}

/// `POST consents/{client_id}/revoke`: ends the consent and the app's exports at the practice.
pub(crate) async fn revoke(
    State(state): State<ApiState>,
    Path((number, client_id)): Path<(String, String)>,
    Input(body): Input<Revoke>,
) -> Answer {
    let practice = practice(&state, &number).await?;
    let client: ClientId = id("consent in force", &client_id)?;
    let by = text("revoked_by", &body.revoked_by)?;
    let reason = body.reason.as_deref().map(|reason| text("reason", reason)).transpose()?;
    let audit = Audit::new("operator", "consent.revoked").at(practice.number).about_client(&client);
    let ended = state
        .store()
        .revoke_consent(practice.number, &client, &by, reason.as_deref(), &audit)
        .await?
        .ok_or(ApiError::Missing("consent in force"))?;
    let consents = state.store().consents(practice.number).await?;
    let revoked = consents.iter().filter(|c| c.client == client && c.revoked_at.is_some());
    let record = revoked.max_by_key(|c| c.revoked_at).ok_or(ApiError::Missing("consent"))?;
    Ok(respond::json(StatusCode::OK, &json!({ "consent": shown(record), "ended_exports": ended })))
}

async fn find(state: &ApiState, practice: &Practice, consent_id: Uuid) -> Result<ConsentRecord, ApiError> {
    let consents = state.store().consents(practice.number).await?;
    consents.into_iter().find(|c| c.consent.id == consent_id).ok_or(ApiError::Missing("consent"))
}

fn shown(record: &ConsentRecord) -> Value {
    let group_ids = match &record.consent.groups {
        GroupAccess::All => None,
        GroupAccess::Only(ids) => Some(ids),
    };
    json!({
        "consent_id": record.consent.id,
        "practice": record.practice,
        "client_id": record.client,
        "scopes": record.consent.scopes.to_string(),
        "group_ids": group_ids,
        "granted_by": record.granted_by,
        "granted_at": record.granted_at,
        "expires_at": record.consent.expires_at,
        "revoked_by": record.revoked_by,
        "revoked_at": record.revoked_at,
        "revoke_reason": record.revoke_reason,
        "in_force": record.in_force,
    })
}
