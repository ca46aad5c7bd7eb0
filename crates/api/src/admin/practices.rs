//! `/admin/v1/practices`: the tenants and where their data are.

pub(super) mod hold;
mod rules;
pub(super) mod source;

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use headgate_domain::PracticeNumber;
use headgate_domain::practice::{Practice as Tenant, PracticeOptions as Options, is_object_prefix, is_slug};
use headgate_store::{NewPractice, PracticeChange, PracticeRecord};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::Answer;
use super::caller::Caller;
use super::input::{Input, given, id, instant, text};
use super::page::{ListParams, Paging, Params};
use super::pause::Pause;
use super::revision::{IfMatch, tagged};
use super::suspension::{Suspend, Suspension};
use super::vendors::named;
use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;

/// A practice.
#[derive(Serialize, ToSchema)]
pub(super) struct Practice {
    number: i64,
    /// Its name in paths and host names.
    slug: String,
    name: String,
    /// The FHIR base URL.
    base_url: String,
    token_url: String,
    source: SourceSettings,
    s3_prefix: String,
    #[schema(value_type = PracticeOptions)]
    options: Options,
    suspended: Option<Suspension>,
    /// The pause of this practice; all are paused too while the fleet is.
    paused: Option<Pause>,
    revision: i64,
    created_at: DateTime<Utc>,
}

/// Where a practice's data are.
#[derive(Serialize, ToSchema)]
pub(super) struct SourceSettings {
    /// `env:NAME` or `file:/path`, never the DSN itself.
    dsn_ref: String,
    schema: String,
    /// The name of a mapping set, where the source offers plain columns.
    mapping: Option<String>,
    settings: BTreeMap<String, String>,
    late_commit_allowance_s: Option<u32>,
    /// Since when the source remembers deletions and who left a group.
    history_since: Option<DateTime<Utc>>,
}

/// What an operator sets for a practice.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape in the document; the values are those of the domain")]
pub(super) struct PracticeOptions {
    /// Take a `_since` without a zone as UTC.
    since_without_zone: Option<bool>,
    /// Refuse a kick-off without the headers that the guide wants.
    require_headers: Option<bool>,
    max_exports_per_app: Option<u32>,
    /// Resources of a file at most.
    file_resources: Option<u32>,
    /// `6.1.0` or `7.0.0`.
    us_core: Option<String>,
    /// `presigned` or `token`.
    file_access: Option<String>,
    gzip: Option<bool>,
    directory_by_reference: Option<bool>,
}

impl Practice {
    fn of(state: &ApiState, record: &PracticeRecord) -> Self {
        let practice = &record.practice;
        Self {
            number: practice.number.get(),
            slug: practice.slug.clone(),
            name: practice.name.clone(),
            base_url: practice.base().to_owned(),
            token_url: state.config().token_endpoint(practice.base()),
            source: SourceSettings {
                dsn_ref: record.source_dsn_ref.clone(),
                schema: record.source_schema.clone(),
                mapping: record.source_mapping.clone(),
                settings: record.source_settings.iter().cloned().collect(),
                late_commit_allowance_s: record.late_commit_allowance_s,
                history_since: practice.history_since,
            },
            s3_prefix: practice.s3_prefix.clone(),
            options: practice.options.clone(),
            suspended: record.suspended.as_ref().map(Suspension::from),
            paused: record.paused.as_ref().map(Pause::from),
            revision: record.revision,
            created_at: record.created_at,
        }
    }
}

/// A page of practices.
#[derive(Serialize, ToSchema)]
pub(super) struct Practices {
    practices: Vec<Practice>,
    next: Option<String>,
}

/// A practice to be created.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreatePractice {
    number: i64,
    /// A DNS label.
    slug: String,
    name: String,
    /// Such as `https://fhir.example/pod21test/fhir/r4`.
    base_url: String,
    source: CreateSource,
    /// `ema/{number}` by default.
    s3_prefix: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<PracticeOptions>)]
    options: Options,
}

/// Where a new practice's data are.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateSource {
    /// `env:NAME` or `file:/path`, never the DSN itself.
    dsn_ref: String,
    #[serde(default = "default_schema")]
    #[schema(default = "fhir_export")]
    schema: String,
    mapping: Option<String>,
    #[serde(default)]
    settings: BTreeMap<String, String>,
    late_commit_allowance_s: Option<u32>,
    history_since: Option<DateTime<Utc>>,
}

fn default_schema() -> String {
    "fhir_export".to_owned()
}

/// What is to change of a practice. What is not given stays; `null` takes a setting away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangePractice {
    name: Option<String>,
    base_url: Option<String>,
    source: Option<ChangeSource>,
    /// Only those that change; `null` resets one to its default.
    #[schema(value_type = Option<PracticeOptions>)]
    options: Option<Map<String, Value>>,
}

/// What is to change of a practice's source.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeSource {
    dsn_ref: Option<String>,
    schema: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    mapping: Option<Option<String>>,
    /// All of them: they take the place of those that are there.
    settings: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    late_commit_allowance_s: Option<Option<u32>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    history_since: Option<Option<DateTime<Utc>>>,
}

/// A practice that was suspended.
#[derive(Serialize, ToSchema)]
pub(super) struct SuspendedPractice {
    practice: Practice,
    ended_exports: u64,
}

/// Lists practices; an administrator of a practice sees that one.
#[utoipa::path(get, path = "/practices", tag = "practices", params(ListParams),
    responses((status = 200, body = Practices)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    paging: Paging,
    Params(params): Params<ListParams>,
) -> Answer {
    let page = paging.page(params.limit, params.cursor)?;
    let found = state.store().practices_page(caller.practice(), &page).await?;
    let practices = found.items.iter().map(|record| Practice::of(&state, record)).collect();
    Ok(respond::json(StatusCode::OK, &Practices { practices, next: paging.next(found.next)? }))
}

/// Creates a practice. A worker looks at its source by itself.
#[utoipa::path(post, path = "/practices", tag = "practices", request_body = CreatePractice,
    responses((status = 201, body = Practice)))]
pub(super) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Input(body): Input<CreatePractice>,
) -> Answer {
    let new = checked(body)?;
    let number = new.practice.number;
    let audit = caller.audit("practice.created").at(number);
    state.store().create_practice(&new, &audit).await?;
    answer(&state, StatusCode::CREATED, number).await
}

fn checked(body: CreatePractice) -> Result<NewPractice, ApiError> {
    let invalid = |text: &str| ApiError::Invalid(text.to_owned());
    let number = PracticeNumber::new(body.number).map_err(|error| ApiError::Invalid(error.to_string()))?;
    if !is_slug(&body.slug) {
        return Err(invalid(
            "slug must be a DNS label: lower-case letters, digits and inner hyphens, at most 63",
        ));
    }
    let s3_prefix = body.s3_prefix.unwrap_or_else(|| format!("ema/{number}"));
    if !is_object_prefix(&s3_prefix) {
        return Err(invalid("s3_prefix must be segments of letters, digits, . _ - joined by single slashes"));
    }
    let source = body.source;
    rules::check_source(
        Some(&source.dsn_ref),
        Some(&source.schema),
        source.mapping.as_deref(),
        Some(&source.settings),
        source.late_commit_allowance_s,
    )?;
    rules::check_options(&body.options)?;
    Ok(NewPractice {
        practice: Tenant {
            number,
            slug: body.slug,
            name: text("name", &body.name)?,
            base_url: rules::base_url(&body.base_url)?,
            s3_prefix,
            history_since: instant("source.history_since", source.history_since)?,
            suspended: false,
            options: body.options,
        },
        source_dsn_ref: source.dsn_ref,
        source_schema: source.schema,
        source_mapping: source.mapping,
        source_settings: source.settings.into_iter().collect(),
        late_commit_allowance_s: source.late_commit_allowance_s,
    })
}

/// Shows a practice.
#[utoipa::path(get, path = "/practices/{number}", tag = "practices",
    responses((status = 200, body = Practice)))]
pub(super) async fn show(State(state): State<ApiState>, Path(number): Path<String>) -> Answer {
    answer(&state, StatusCode::OK, id("practice", &number)?).await
}

/// Changes a practice. After a change of its source, a worker looks at it anew.
#[utoipa::path(patch, path = "/practices/{number}", tag = "practices", request_body = ChangePractice,
    responses((status = 200, body = Practice)))]
pub(super) async fn change(
    State(state): State<ApiState>,
    caller: Caller,
    Path(number): Path<String>,
    if_match: IfMatch,
    Input(body): Input<ChangePractice>,
) -> Answer {
    let number = id("practice", &number)?;
    let current = find(&state, number).await?;
    let changed = [
        ("name", body.name.is_some()),
        ("base_url", body.base_url.is_some()),
        ("source", body.source.is_some()),
        ("options", body.options.is_some()),
    ];
    let audit = caller.audit("practice.changed").at(number).and(json!({ "changed": named(&changed) }));
    let replaces_options = body.options.is_some();
    let change = practice_change(&current, body)?;
    // Options are merged with those just read: they may not have changed in between.
    let if_match = if_match.of_existing()?.or(replaces_options.then_some(current.revision));
    let updated = state.store().update_practice(number, &change, if_match, &audit).await?;
    updated.ok_or(ApiError::Missing("practice"))?;
    answer(&state, StatusCode::OK, number).await
}

fn practice_change(current: &PracticeRecord, body: ChangePractice) -> Result<PracticeChange, ApiError> {
    let source = body.source.unwrap_or_default();
    rules::check_source(
        source.dsn_ref.as_deref(),
        source.schema.as_deref(),
        source.mapping.as_ref().and_then(Option::as_deref),
        source.settings.as_ref(),
        source.late_commit_allowance_s.flatten(),
    )?;
    let options = body.options.map(|changes| rules::options(&current.practice.options, changes));
    Ok(PracticeChange {
        name: body.name.as_deref().map(|name| text("name", name)).transpose()?,
        base_url: body.base_url.as_deref().map(rules::base_url).transpose()?,
        source_dsn_ref: source.dsn_ref,
        source_schema: source.schema,
        source_mapping: source.mapping,
        source_settings: source.settings.map(|settings| settings.into_iter().collect()),
        late_commit_allowance_s: source.late_commit_allowance_s,
        history_since: source.history_since.map(|at| instant("source.history_since", at)).transpose()?,
        options: options.transpose()?,
    })
}

/// Suspends a practice: nobody gets at it, and its exports end.
#[utoipa::path(post, path = "/practices/{number}/suspend", tag = "practices", request_body = Suspend,
    responses((status = 200, body = SuspendedPractice)))]
pub(super) async fn suspend(
    State(state): State<ApiState>,
    caller: Caller,
    Path(number): Path<String>,
    if_match: IfMatch,
    Input(body): Input<Suspend>,
) -> Answer {
    let number = id("practice", &number)?;
    let reason = text("reason", &body.reason)?;
    let audit = caller.audit("practice.suspended").at(number).and(json!({ "reason": reason }));
    let ended_exports = state
        .store()
        .suspend_practice(number, caller.subject(), &reason, if_match.of_existing()?, &audit)
        .await?
        .ok_or(ApiError::Missing("practice"))?;
    let record = find(&state, number).await?;
    let body = SuspendedPractice { practice: Practice::of(&state, &record), ended_exports };
    Ok(tagged(StatusCode::OK, record.revision, &body))
}

/// Ends the suspension of a practice. (A pause is ended by `unpause`.)
#[utoipa::path(post, path = "/practices/{number}/resume", tag = "practices",
    responses((status = 200, body = Practice)))]
pub(super) async fn resume(
    State(state): State<ApiState>,
    caller: Caller,
    Path(number): Path<String>,
    if_match: IfMatch,
) -> Answer {
    let number = id("practice", &number)?;
    let audit = caller.audit("practice.resumed").at(number);
    if !state.store().resume_practice(number, if_match.of_existing()?, &audit).await? {
        return Err(ApiError::Missing("practice").into());
    }
    answer(&state, StatusCode::OK, number).await
}

async fn find(state: &ApiState, number: PracticeNumber) -> Result<PracticeRecord, ApiError> {
    state.store().practice(number).await?.ok_or(ApiError::Missing("practice"))
}

async fn answer(state: &ApiState, status: StatusCode, number: PracticeNumber) -> Answer {
    let record = find(state, number).await?;
    Ok(tagged(status, record.revision, &Practice::of(state, &record)))
}
