//! Revisions of objects: told as `ETag`, demanded by `If-Match` (RFC 9110, sections 8.8.3 and 13.1.1).

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::header::{ETAG, IF_MATCH};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::Problem;
use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;

/// An answer with one object, and its revision.
pub(super) fn tagged(status: StatusCode, revision: i64, body: &impl Serialize) -> Response {
    let mut response = respond::json(status, body);
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{revision}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// The revision that an object must have for it to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfMatch {
    /// None is demanded.
    Absent,
    /// The object must be there, at whatever revision.
    Any,
    /// It must have this one.
    Revision(i64),
    /// A tag that no object of ours ever has.
    Never,
}

impl IfMatch {
    /// The revision for the store to compare with, of an object that is there.
    ///
    /// # Errors
    /// 412 when no object can match.
    pub(super) fn of_existing(self) -> Result<Option<i64>, ApiError> {
        match self {
            IfMatch::Absent | IfMatch::Any => Ok(None),
            IfMatch::Revision(revision) => Ok(Some(revision)),
            IfMatch::Never => Err(ApiError::PreconditionFailed),
        }
    }

    fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?.trim();
        if text == "*" {
            return Some(IfMatch::Any);
        }
        let opaque = text.strip_prefix("W/").unwrap_or(text).strip_prefix('"')?.strip_suffix('"')?;
        if opaque.contains('"') {
            return None;
        }
        // A weak tag never matches in this comparison.
        let is_ours = |revision: &i64| !text.starts_with("W/") && revision.to_string() == opaque;
        Some(opaque.parse().ok().filter(is_ours).map_or(IfMatch::Never, IfMatch::Revision))
    }
}

impl FromRequestParts<ApiState> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(IF_MATCH).iter();
        let parsed = match (values.next(), values.next()) {
            (None, _) => Some(IfMatch::Absent),
            (Some(value), None) => Self::parse(value.as_bytes()),
            (Some(_), Some(_)) => None,
        };
        let text = "If-Match must be one ETag as it was answered, in quotation marks, or *";
        parsed.ok_or_else(|| Problem(ApiError::Invalid(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_strong_tag_or_a_star_is_a_condition() {
        for (value, read) in [
            ("*", Some(IfMatch::Any)),
            ("\"7\"", Some(IfMatch::Revision(7))),
            (" \"7\" ", Some(IfMatch::Revision(7))),
            ("W/\"7\"", Some(IfMatch::Never)),
            ("\"abc\"", Some(IfMatch::Never)),
            ("\"07\"", Some(IfMatch::Never)),
            ("\"+7\"", Some(IfMatch::Never)),
            ("\"99999999999999999999\"", Some(IfMatch::Never)),
            ("7", None),
            ("\"7", None),
            ("\"", None),
            ("\"7\", \"8\"", None),
            ("", None),
        ] {
            assert_eq!(IfMatch::parse(value.as_bytes()), read, "{value}");
        }
    }
}
