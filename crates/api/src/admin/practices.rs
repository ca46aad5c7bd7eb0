//! `/admin/v1/practices`: the tenants and their sources.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use headgate_domain::PracticeNumber;
use headgate_domain::practice::{Practice, PracticeOptions, is_object_prefix, is_slug};
use headgate_store::{Audit, CatalogEntry, NewPractice, PracticeRecord};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::Answer;
use super::input::{Input, id, practice, text};
use super::mappings::is_set_name;
use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;

/// The body of `POST practices`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreatePractice {
    number: i64,
    slug: String,
    name: String,
    base_url: String,
    source: SourceInput,
    s3_prefix: Option<String>,
    #[serde(default)]
    options: PracticeOptions,
}

/// Where a practice's data are.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceInput {
    dsn_ref: String,
    #[serde(default = "default_schema")]
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

/// `POST practices`: a worker looks at the source by itself.
pub(crate) async fn create(State(state): State<ApiState>, Input(body): Input<CreatePractice>) -> Answer {
    let new = checked(body)?;
    let number = new.practice.number;
    let audit = Audit::new("operator", "practice.created").at(number);
    state.store().create_practice(&new, &audit).await?;
    let record = find(&state, number).await?;
    Ok(respond::json(StatusCode::CREATED, &shown(&state, &record)))
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
    if !is_dsn_ref(&source.dsn_ref) {
        return Err(invalid("source.dsn_ref must be env:NAME or file:/path, never the DSN itself"));
    }
    if !is_identifier(&source.schema) {
        return Err(invalid("source.schema must be a lower-case name of PostgreSQL: [a-z_][a-z0-9_]{0,62}"));
    }
    if source.mapping.as_deref().is_some_and(|name| !is_set_name(name)) {
        return Err(invalid("source.mapping must be the name of a mapping set: [a-z0-9][a-z0-9-]{0,62}"));
    }
    let is_setting = |(name, value): (&String, &String)| {
        name.split_once('.')
            .is_some_and(|(class, rest)| is_identifier(class) && rest.split('.').all(is_identifier))
            && value.len() <= 1000
            && !value.contains('\0')
    };
    if !source.settings.iter().all(is_setting) {
        return Err(invalid("source.settings: a name must be like app.practice, a value at most 1000 bytes"));
    }
    if source.late_commit_allowance_s.is_some_and(|s| s > 366 * 24 * 3600) {
        return Err(invalid("source.late_commit_allowance_s must be at most a year"));
    }
    if body.options.max_exports_per_app == Some(0) || body.options.file_resources == Some(0) {
        return Err(invalid("options: a limit must be at least 1"));
    }
    Ok(NewPractice {
        practice: Practice {
            number,
            slug: body.slug,
            name: text("name", &body.name)?,
            base_url: base_url(&body.base_url)?,
            s3_prefix,
            history_since: source.history_since,
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

/// An absolute http(s) URL that requests can be matched with: no user, query or fragment, plain path segments.
fn base_url(given: &str) -> Result<Url, ApiError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~');
    let url: Option<Url> = given.trim_end_matches('/').parse().ok();
    url.filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.path().chars().all(plain)
            && !url.path().contains("//")
            && url.path().split('/').count() <= 8
            && url.as_str().len() <= 300
    })
    .ok_or_else(|| {
        ApiError::Invalid("base_url must be like https://fhir.example/pod21test/fhir/r4".to_owned())
    })
}

fn is_dsn_ref(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit())
    };
    match text.split_once(':') {
        Some(("env", name)) => is_name(name),
        Some(("file", path)) => {
            path.starts_with('/') && path.len() <= 1000 && !path.chars().any(char::is_control)
        }
        _ => false,
    }
}

fn is_identifier(name: &str) -> bool {
    let first = |c: char| c.is_ascii_lowercase() || c == '_';
    (1..=63).contains(&name.len())
        && name.starts_with(first)
        && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

/// `GET practices`
pub(crate) async fn list(State(state): State<ApiState>) -> Answer {
    let records = state.store().practices().await?;
    let practices: Vec<Value> = records.iter().map(|record| shown(&state, record)).collect();
    Ok(respond::json(StatusCode::OK, &json!({ "practices": practices })))
}

/// `GET practices/{number}`
pub(crate) async fn show(State(state): State<ApiState>, Path(number): Path<String>) -> Answer {
    let record = find(&state, id("practice", &number)?).await?;
    Ok(respond::json(StatusCode::OK, &shown(&state, &record)))
}

/// `POST practices/{number}/refresh`
pub(crate) async fn refresh(State(state): State<ApiState>, Path(number): Path<String>) -> Answer {
    let practice = practice(&state, &number).await?;
    let audit = Audit::new("operator", "source.refresh_requested").at(practice.number);
    state.store().request_refresh(practice.number, &audit).await?;
    Ok(respond::json(StatusCode::ACCEPTED, &source_shown(&state, practice.number).await?))
}

/// `GET practices/{number}/source`
pub(crate) async fn source(State(state): State<ApiState>, Path(number): Path<String>) -> Answer {
    let practice = practice(&state, &number).await?;
    Ok(respond::json(StatusCode::OK, &source_shown(&state, practice.number).await?))
}

async fn find(state: &ApiState, number: PracticeNumber) -> Result<PracticeRecord, ApiError> {
    state.store().practice(number).await?.ok_or(ApiError::Missing("practice"))
}

fn shown(state: &ApiState, record: &PracticeRecord) -> Value {
    let practice = &record.practice;
    let settings: BTreeMap<&str, &str> =
        record.source_settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    json!({
        "number": practice.number,
        "slug": practice.slug,
        "name": practice.name,
        "base_url": practice.base(),
        "token_url": format!("{}{}", practice.base(), state.config().token_path),
        "source": {
            "dsn_ref": record.source_dsn_ref,
            "schema": record.source_schema,
            "mapping": record.source_mapping,
            "settings": settings,
            "late_commit_allowance_s": record.late_commit_allowance_s,
            "history_since": record.practice.history_since,
        },
        "s3_prefix": practice.s3_prefix,
        "options": practice.options,
        "suspended": practice.suspended,
        "created_at": record.created_at,
    })
}

async fn source_shown(state: &ApiState, number: PracticeNumber) -> Result<Value, ApiError> {
    let entry: CatalogEntry = state.store().catalog(number).await?.ok_or(ApiError::Missing("source"))?;
    let types: Vec<&str> = entry.types.iter().flatten().map(|t| t.name()).collect();
    Ok(json!({
        "practice": number,
        "types": types,
        "unusable": entry.unusable,
        "refreshed_at": entry.refreshed_at,
        "requested_at": entry.requested_at,
        "changed_at": entry.changed_at,
        "failure": entry.failure,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_one_that_requests_can_be_matched_with() {
        for (given, kept) in [
            ("https://fhir.example/pod21test/fhir/r4", "https://fhir.example/pod21test/fhir/r4"),
            ("https://fhir.example:443/fhir/r4/", "https://fhir.example/fhir/r4"),
            ("http://127.0.0.1:8080/a/fhir/r4", "http://127.0.0.1:8080/a/fhir/r4"),
        ] {
            assert_eq!(base_url(given).unwrap().as_str(), kept);
        }
        for wrong in [
            "",
            "fhir.example",
            "ftp://a.example/x",
            "https://u:p@a.example/x",
            "https://a.example/x?y",
            "https://a.example/a//b",
            "https://a.example/a%20b",
        ] {
            assert!(base_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_dsn_is_given_by_reference_only() {
        assert!(is_dsn_ref("env:EHR_DSN") && is_dsn_ref("file:/run/secrets/ehr"));
        for wrong in ["postgres://u:p@h/d", "env:", "env:1X", "env:A B", "file:relative", ""] {
            assert!(!is_dsn_ref(wrong), "{wrong}");
        }
    }
}
