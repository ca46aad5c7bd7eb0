//! `/admin/v1/audit`: the audit trail, and whether it is whole.
//!
//! Events are sealed in batches: each seal authenticates its events and the seal before, so that an event that
//! was changed, taken away or put in later is found. Looking at events is itself an event.

use axum::extract::State;
use chrono::{DateTime, Utc};
use headgate_auth::MacCheck;
use headgate_domain::{ClientId, ExportId, PracticeNumber};
use headgate_store as store;
use headgate_store::{AuditFilter, MacState};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::Answer;
use super::caller::Caller;
use super::input::{instant, text};
use super::page::{ListParams, Paging, Params};
use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;

/// Events that a call of the verification looks at where the request does not say.
const VERIFIED: u32 = 10_000;

/// Events that a call of the verification looks at, at most.
const MAX_VERIFIED: u32 = 100_000;

/// A fact about a deed.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditEvent {
    id: i64,
    at: DateTime<Utc>,
    /// Such as `operator alice@ehr.example`, `client fhir…` or `headgate`.
    actor: String,
    /// Such as `consent.granted`.
    action: String,
    practice: Option<i64>,
    client_id: Option<String>,
    export_id: Option<String>,
    #[schema(value_type = Object)]
    detail: Value,
}

impl From<store::AuditRecord> for AuditEvent {
    fn from(event: store::AuditRecord) -> Self {
        Self {
            id: event.id,
            at: event.at,
            actor: event.actor,
            action: event.action,
            practice: event.practice.map(PracticeNumber::get),
            client_id: event.client.map(|client| client.to_string()),
            export_id: event.export.map(|export| export.to_string()),
            detail: event.detail,
        }
    }
}

/// A page of events.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditEvents {
    events: Vec<AuditEvent>,
    next: Option<String>,
}

/// Parameters of the list of events.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditParams {
    /// Only at this practice.
    practice: Option<i64>,
    /// Only about this app.
    #[param(value_type = Option<String>)]
    client_id: Option<ClientId>,
    /// Only about this export.
    #[param(value_type = Option<String>)]
    export_id: Option<ExportId>,
    /// Only this action, such as `consent.granted`.
    action: Option<String>,
    /// Only this actor, such as `operator alice@ehr.example`.
    actor: Option<String>,
    /// Only at or after this instant.
    since: Option<DateTime<Utc>>,
    /// Only before this instant.
    until: Option<DateTime<Utc>>,
    /// Items of the page, 1 to 1000; 100 by default.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists events, newest first: an administrator of a practice sees those there, a vendor those of its apps.
#[utoipa::path(get, path = "/audit", tag = "audit", params(AuditParams),
    responses((status = 200, body = AuditEvents)))]
pub(super) async fn events(
    State(state): State<ApiState>,
    caller: Caller,
    paging: Paging,
    Params(params): Params<AuditParams>,
) -> Answer {
    let page = paging.page(params.limit, params.cursor)?;
    let nothing = || respond::json(StatusCode::OK, &AuditEvents { events: Vec::new(), next: None });
    let asked = params.practice.map(PracticeNumber::new).transpose();
    let asked = asked.map_err(|error| ApiError::Invalid(format!("practice: {error}")))?;
    let practice = match (caller.practice(), asked) {
        // What happened at somebody else's practice is as if it had not happened.
        (Some(own), Some(other)) if own != other => return Ok(nothing()),
        (own, asked) => own.or(asked),
    };
    let action = params.action.as_deref().map(|action| text("action", action)).transpose()?;
    let actor = params.actor.as_deref().map(|actor| text("actor", actor)).transpose()?;
    let (since, until) = (instant("since", params.since)?, instant("until", params.until)?);
    let mut audit = caller.audit("audit.read").and(json!({
        "action": action,
        "actor": actor,
        "client_id": params.client_id,
        "export_id": params.export_id,
        "since": since,
        "until": until,
    }));
    if let Some(practice) = practice {
        audit = audit.at(practice);
    }
    let filter = AuditFilter {
        practice,
        client: params.client_id,
        vendor: caller.vendor(),
        export: params.export_id,
        action,
        actor,
        since,
        until,
    };
    let found = state.store().audit_events(&filter, &page).await?;
    state.store().record(&audit).await?;
    let events = found.items.into_iter().map(AuditEvent::from).collect();
    Ok(respond::json(StatusCode::OK, &AuditEvents { events, next: paging.next(found.next)? }))
}

/// A seal over a batch of events and the seal before.
#[derive(Serialize, ToSchema)]
pub(super) struct Seal {
    number: i64,
    first_id: i64,
    last_id: i64,
    events: i64,
    /// The chained hash, in hexadecimal digits.
    hash: String,
    /// The key that authenticates it.
    key_id: String,
    sealed_at: DateTime<Utc>,
}

impl From<store::SealRecord> for Seal {
    fn from(seal: store::SealRecord) -> Self {
        Self {
            number: seal.number,
            first_id: seal.first_id,
            last_id: seal.last_id,
            events: seal.events,
            hash: hex::encode(seal.hash),
            key_id: seal.key_id,
            sealed_at: seal.sealed_at,
        }
    }
}

/// A page of seals.
#[derive(Serialize, ToSchema)]
pub(super) struct Seals {
    seals: Vec<Seal>,
    next: Option<String>,
}

/// Lists the seals of the audit trail.
#[utoipa::path(get, path = "/audit/seals", tag = "audit", params(ListParams),
    responses((status = 200, body = Seals)))]
pub(super) async fn seals(
    State(state): State<ApiState>,
    paging: Paging,
    Params(params): Params<ListParams>,
) -> Answer {
    let page = paging.page(params.limit, params.cursor)?;
    let found = state.store().seals(&page).await?;
    let seals = found.items.into_iter().map(Seal::from).collect();
    Ok(respond::json(StatusCode::OK, &Seals { seals, next: paging.next(found.next)? }))
}

/// Parameters of the verification.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct VerifyParams {
    /// The number of the seal to begin with; the first where it is not given.
    from: Option<i64>,
    /// Events to look at in this call, 1 to 100000; 10000 by default.
    limit: Option<u32>,
}

/// What a call of the verification found.
#[derive(Serialize, ToSchema)]
pub(super) struct Verification {
    checked_seals: u64,
    checked_events: u64,
    /// The seal to go on with; null when the last one was reached.
    next: Option<i64>,
    problems: Vec<SealProblem>,
    /// Events after the last seal.
    unsealed_events: u64,
    /// The hash of the last seal that was looked at: compare it with one that is kept elsewhere.
    last_hash: Option<String>,
}

/// Something wrong with a seal or its events.
#[derive(Serialize, ToSchema)]
pub(super) struct SealProblem {
    seal: i64,
    problem: String,
}

/// Checks a part of the audit trail against its seals.
#[utoipa::path(get, path = "/audit/verify", tag = "audit", params(VerifyParams),
    responses((status = 200, body = Verification)))]
pub(super) async fn verify(State(state): State<ApiState>, Params(params): Params<VerifyParams>) -> Answer {
    let limit = params.limit.unwrap_or(VERIFIED);
    if !(1..=MAX_VERIFIED).contains(&limit) {
        return Err(ApiError::Invalid(format!("limit must be 1 to {MAX_VERIFIED}")).into());
    }
    let from = params.from.unwrap_or(1);
    if from < 1 {
        return Err(ApiError::Invalid("from must be the number of a seal, at least 1".to_owned()).into());
    }
    let keyring = state.keyring();
    let check = |key_id: &str, message: &[u8], mac: &[u8]| match keyring.check_mac(key_id, message, mac) {
        MacCheck::Good => MacState::Good,
        MacCheck::Bad => MacState::Bad,
        MacCheck::UnknownKey => MacState::UnknownKey,
    };
    let found = state.store().verify_seals(from, limit, &check).await?;
    let problems = found.problems.into_iter();
    let verification = Verification {
        checked_seals: found.checked_seals,
        checked_events: found.checked_events,
        next: found.next,
        problems: problems.map(|p| SealProblem { seal: p.seal, problem: p.problem }).collect(),
        unsealed_events: found.unsealed_events,
        last_hash: found.last_hash.map(hex::encode),
    };
    Ok(respond::json(StatusCode::OK, &verification))
}
