//! Reading bodies and paths.

use axum::extract::{FromRequest, Request};
use chrono::{DateTime, Datelike as _, Utc};
use headgate_domain::PracticeNumber;
use headgate_domain::practice::Practice;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::Problem;
use crate::body;
use crate::error::ApiError;
use crate::state::ApiState;

/// Longest name or address.
const MAX_TEXT: usize = 200;

/// A JSON body. Its content type does not matter; an empty body counts as `{}`.
pub(super) struct Input<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<ApiState> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Problem> {
        Ok(Input(json_body(state, request).await?))
    }
}

/// Reads a body as JSON.
///
/// # Errors
/// 400 when it is not of the shape, 413 when it is too large, 408 when it does not arrive.
pub(super) async fn json_body<T: DeserializeOwned>(
    state: &ApiState,
    request: Request,
) -> Result<T, ApiError> {
    let config = state.config();
    let bytes = body::read(request.into_body(), config.max_admin_body_bytes, config.body_timeout).await?;
    let bytes = if bytes.is_empty() { b"{}".as_slice() } else { &bytes };
    // A list would be read as an object's members in their order.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(ApiError::Invalid("the body must be a JSON object".to_owned()));
    }
    serde_json::from_slice(bytes).map_err(|error| ApiError::Invalid(json_error(&error)))
}

/// What is wrong with a body. The names of members are told, values never: they may be patients' ids.
fn json_error(error: &serde_json::Error) -> String {
    let place = format!("line {}, column {}", error.line(), error.column());
    let text = error.to_string();
    let about_names =
        ["unknown field", "missing field", "duplicate field"].iter().any(|start| text.starts_with(start));
    match error.classify() {
        serde_json::error::Category::Data if about_names => text.chars().take(MAX_TEXT).collect(),
        serde_json::error::Category::Data => format!("a value is not of its type or not permitted ({place})"),
        _ => format!("the body is not valid JSON ({place})"),
    }
}

/// A name or address: some characters, no control characters.
pub(super) fn text(name: &str, value: &str) -> Result<String, ApiError> {
    let value = value.trim();
    if value.is_empty() || value.len() > MAX_TEXT || value.chars().any(char::is_control) {
        return Err(ApiError::Invalid(format!("{name} must be a text of 1 to {MAX_TEXT} bytes")));
    }
    Ok(value.to_owned())
}

/// An e-mail address, roughly: whether it exists only a message can tell.
pub(super) fn email(name: &str, value: &str) -> Result<String, ApiError> {
    let value = text(name, value)?;
    match value.split_once('@') {
        Some((who, at)) if !who.is_empty() && !at.is_empty() && !value.contains(char::is_whitespace) => {
            Ok(value)
        }
        _ => Err(ApiError::Invalid(format!("{name} must be an e-mail address"))),
    }
}

/// A moment that must not lie in the past.
pub(super) fn coming(name: &str, at: Option<DateTime<Utc>>) -> Result<Option<DateTime<Utc>>, ApiError> {
    if at.is_some_and(|at| at <= Utc::now()) {
        return Err(ApiError::Invalid(format!("{name} lies in the past")));
    }
    instant(name, at)
}

/// A moment that databases and calendars of all kinds can hold.
pub(super) fn instant(name: &str, at: Option<DateTime<Utc>>) -> Result<Option<DateTime<Utc>>, ApiError> {
    if at.is_some_and(|at| !(1..=9999).contains(&at.year())) {
        return Err(ApiError::Invalid(format!("{name} must be in the years 1 to 9999")));
    }
    Ok(at)
}

/// A part of the path that is a text; one with control characters cannot exist.
pub(super) fn plain(what: &'static str, segment: String) -> Result<String, ApiError> {
    if segment.chars().any(char::is_control) { Err(ApiError::Missing(what)) } else { Ok(segment) }
}

/// Tells a member that was given as `null` (`Some(None)`) from one that was not given (`None`), together with
/// `#[serde(default)]`.
pub(super) fn given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// Reads a part of the path; what cannot be parsed cannot exist.
pub(super) fn id<T: std::str::FromStr>(what: &'static str, segment: &str) -> Result<T, ApiError> {
    segment.parse().map_err(|_| ApiError::Missing(what))
}

/// The practice that the path names.
pub(super) async fn practice(state: &ApiState, number: &str) -> Result<Practice, ApiError> {
    let number: PracticeNumber = id("practice", number)?;
    let record = state.store().practice(number).await?.ok_or(ApiError::Missing("practice"))?;
    Ok(record.practice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        #[expect(dead_code, reason = "only its reading is tested")]
        ids: Vec<u32>,
    }

    fn told(body: &str) -> String {
        json_error(&serde_json::from_str::<Shape>(body).unwrap_err())
    }

    #[test]
    fn a_body_is_faulted_by_names_and_places_never_by_values() {
        assert!(told(r#"{"idz":[]}"#).contains("idz"));
        assert!(told("{}").contains("missing field `ids`"));
        assert!(!told(r#"{"ids":["patient-7"]}"#).contains("patient-7"));
        assert!(told("{").contains("not valid JSON"));
    }

    #[test]
    fn null_is_not_the_same_as_nothing() {
        #[derive(Debug, Deserialize)]
        struct Change {
            #[serde(default, deserialize_with = "given")]
            until: Option<Option<u32>>,
        }
        let read = |body| serde_json::from_str::<Change>(body).unwrap().until;
        assert_eq!(read("{}"), None);
        assert_eq!(read(r#"{"until":null}"#), Some(None));
        assert_eq!(read(r#"{"until":7}"#), Some(Some(7)));
    }

    #[test]
    fn an_address_has_somebody_and_a_place() {
        assert!(email("contact", "a@b.example").is_ok());
        for wrong in ["", "a", "@b", "a@", "a @b", "a@b c"] {
            assert!(email("contact", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn texts_have_no_control_characters() {
        assert_eq!(text("name", " A ").unwrap(), "A");
        for wrong in ["", "  ", "a\nb", "a\0"] {
            assert!(text("name", wrong).is_err());
        }
        assert!(text("name", &"x".repeat(201)).is_err());
    }
}
