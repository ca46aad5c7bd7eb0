//! Reading what operators send.

use axum::extract::{FromRequest, Request};
use headgate_domain::PracticeNumber;
use headgate_domain::practice::Practice;
use serde::de::DeserializeOwned;

use super::Problem;
use crate::body;
use crate::error::ApiError;
use crate::state::ApiState;

/// Longest name or address.
const MAX_TEXT: usize = 200;

/// A JSON body. Its content type does not matter; an empty body counts as `{}`.
pub(crate) struct Input<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<ApiState> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Problem> {
        let config = state.config();
        let bytes = body::read(request.into_body(), config.max_admin_body_bytes, config.body_timeout).await?;
        let bytes = if bytes.is_empty() { b"{}".as_slice() } else { &bytes };
        Ok(Input(serde_json::from_slice(bytes).map_err(|error| ApiError::Invalid(json_error(&error)))?))
    }
}

/// What is wrong with a body. The names of members are told, values never: they may be patients' ids.
fn json_error(error: &serde_json::Error) -> String {
    let place = format!("line {}, column {}", error.line(), error.column());
    let text = error.to_string();
    let about_names =
        ["unknown field", "missing field", "duplicate field"].iter().any(|start| text.starts_with(start));
    match error.classify() {
        serde_json::error::Category::Data if about_names => text,
        serde_json::error::Category::Data => format!("a value is not of its type or not permitted ({place})"),
        _ => format!("the body is not valid JSON ({place})"),
    }
}

/// A name or address: some characters, no control characters.
pub(crate) fn text(name: &str, value: &str) -> Result<String, ApiError> {
    let value = value.trim();
    if value.is_empty() || value.len() > MAX_TEXT || value.chars().any(char::is_control) {
        return Err(ApiError::Invalid(format!("{name} must be a text of 1 to {MAX_TEXT} bytes")));
    }
    Ok(value.to_owned())
}

/// Reads a part of the path; what cannot be parsed cannot exist.
pub(crate) fn id<T: std::str::FromStr>(what: &'static str, segment: &str) -> Result<T, ApiError> {
    segment.parse().map_err(|_| ApiError::Missing(what))
}

/// The practice that the path names.
pub(crate) async fn practice(state: &ApiState, number: &str) -> Result<Practice, ApiError> {
    let number: PracticeNumber = id("practice", number)?;
    let record = state.store().practice(number).await?.ok_or(ApiError::Missing("practice"))?;
    Ok(record.practice)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

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
    fn texts_have_no_control_characters() {
        assert_eq!(text("name", " A ").unwrap(), "A");
        for wrong in ["", "  ", "a\nb", "a\0"] {
            assert!(text("name", wrong).is_err());
        }
        assert!(text("name", &"x".repeat(201)).is_err());
    }
}
