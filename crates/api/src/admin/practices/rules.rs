//! What the settings of a practice may be.

use std::collections::BTreeMap;

use headgate_domain::practice::PracticeOptions;
use serde_json::{Map, Value};
use url::Url;

use super::super::mappings::is_set_name;
use crate::error::ApiError;

/// Longest pause after which a transaction of the EHR may still commit: a year.
const MAX_ALLOWANCE_S: u32 = 366 * 24 * 3600;

/// Refuses settings of a source that cannot be right; those that are absent are not looked at.
pub(super) fn check_source(
    dsn_ref: Option<&str>,
    schema: Option<&str>,
    mapping: Option<&str>,
    settings: Option<&BTreeMap<String, String>>,
    late_commit_allowance_s: Option<u32>,
) -> Result<(), ApiError> {
    let invalid = |text: &str| Err(ApiError::Invalid(text.to_owned()));
    if dsn_ref.is_some_and(|dsn_ref| !is_dsn_ref(dsn_ref)) {
        return invalid("source.dsn_ref must be env:NAME or file:/path, never the DSN itself");
    }
    if schema.is_some_and(|schema| !is_identifier(schema)) {
        return invalid("source.schema must be a lower-case name of PostgreSQL: [a-z_][a-z0-9_]{0,62}");
    }
    if mapping.is_some_and(|name| !is_set_name(name)) {
        return invalid("source.mapping must be the name of a mapping set: [a-z0-9][a-z0-9-]{0,62}");
    }
    let is_setting = |(name, value): (&String, &String)| {
        name.split_once('.')
            .is_some_and(|(class, rest)| is_identifier(class) && rest.split('.').all(is_identifier))
            && value.len() <= 1000
            && !value.contains('\0')
    };
    if !settings.into_iter().flatten().all(is_setting) {
        return invalid("source.settings: a name must be like app.practice, a value at most 1000 bytes");
    }
    if late_commit_allowance_s.is_some_and(|s| s > MAX_ALLOWANCE_S) {
        return invalid("source.late_commit_allowance_s must be at most a year");
    }
    Ok(())
}

/// The options with those changes; `null` resets one to its default.
pub(super) fn options(
    current: &PracticeOptions,
    changes: Map<String, Value>,
) -> Result<PracticeOptions, ApiError> {
    let mut members = match serde_json::to_value(current) {
        Ok(Value::Object(members)) => members,
        _ => return Err(ApiError::Unexpected("the options of a practice have no JSON form")),
    };
    for (name, value) in changes {
        if value.is_null() {
            // A name that no option has is faulted all the same.
            let known = members.remove(&name).is_some();
            if !known {
                return Err(ApiError::Invalid("options: null for an option that does not exist".to_owned()));
            }
        } else {
            members.insert(name, value);
        }
    }
    let options: PracticeOptions = serde_json::from_value(Value::Object(members)).map_err(|_| {
        ApiError::Invalid("options: an unknown option, or a value that is not permitted".to_owned())
    })?;
    check_options(&options)?;
    Ok(options)
}

/// Refuses limits of zero.
pub(super) fn check_options(options: &PracticeOptions) -> Result<(), ApiError> {
    if options.max_exports_per_app == Some(0) || options.file_resources == Some(0) {
        return Err(ApiError::Invalid("options: a limit must be at least 1".to_owned()));
    }
    Ok(())
}

/// An absolute http(s) URL that requests can be matched with: no user, query or fragment, plain path segments.
pub(super) fn base_url(given: &str) -> Result<Url, ApiError> {
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

    #[test]
    fn null_resets_an_option_and_the_others_stay() {
        let current =
            PracticeOptions { gzip: true, max_exports_per_app: Some(3), ..PracticeOptions::default() };
        let changes = |text| serde_json::from_str::<Map<String, Value>>(text).unwrap();
        let changed =
            options(&current, changes(r#"{"max_exports_per_app":null,"us_core":"7.0.0"}"#)).unwrap();
        assert!(changed.gzip && changed.max_exports_per_app.is_none());
        assert_eq!(changed.us_core.as_str(), "7.0.0");
        for wrong in [r#"{"gzib":true}"#, r#"{"gzib":null}"#, r#"{"gzip":"yes"}"#, r#"{"file_resources":0}"#]
        {
            assert!(options(&current, changes(wrong)).is_err(), "{wrong}");
        }
    }
}
