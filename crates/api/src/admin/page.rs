//! Lists in pages, and the parameters in a URL's query.

use axum::extract::{FromRequestParts, Query};
use headgate_auth::Keyring;
use headgate_store::Page;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::Problem;
use crate::error::ApiError;
use crate::state::ApiState;

/// Items of a page where the request does not say.
const DEFAULT_LIMIT: u32 = 100;

/// Items of a page at most.
const MAX_LIMIT: u32 = 1000;

/// The parameters of a query. An unknown name, one that stands twice and a value that is not permitted are errors.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<ApiState> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        let Ok(Query(params)) = Query::try_from_uri(&parts.uri) else {
            let text = "query: an unknown parameter, one given twice, or a value that is not permitted";
            return Err(Problem(ApiError::Invalid(text.to_owned())));
        };
        Ok(Params(params))
    }
}

/// The pages of one list. A cursor is sealed: nobody can read in it where a page ended, make one up, or use it for
/// another list.
pub(super) struct Paging {
    state: ApiState,
    context: String,
}

impl FromRequestParts<ApiState> for Paging {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        Ok(Self { state: state.clone(), context: format!("cursor {}", parts.uri.path()) })
    }
}

impl Paging {
    /// The page that is asked for.
    ///
    /// # Errors
    /// 400 when the limit is not 1 to 1000, or the cursor is not one of this list.
    pub(super) fn page(&self, limit: Option<u32>, cursor: Option<String>) -> Result<Page, ApiError> {
        let after = cursor.map(|cursor| open(self.state.keyring(), &self.context, &cursor)).transpose()?;
        Ok(Page { limit: checked(limit)?, after })
    }

    /// The cursor of the next page.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub(super) fn next(&self, next: Option<String>) -> Result<Option<String>, ApiError> {
        let seal = |next: String| self.state.keyring().seal(&self.context, next.as_bytes()).map(hex::encode);
        Ok(next.map(seal).transpose()?)
    }
}

fn checked(limit: Option<u32>) -> Result<u32, ApiError> {
    match limit.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => Err(ApiError::Invalid(format!("limit must be 1 to {MAX_LIMIT}"))),
    }
}

fn open(keyring: &Keyring, context: &str, cursor: &str) -> Result<String, ApiError> {
    let sealed = hex::decode(cursor).ok().and_then(|sealed| keyring.open(context, &sealed).ok());
    let next = sealed.and_then(|opened| String::from_utf8(opened.plain).ok());
    next.ok_or(ApiError::Store(headgate_store::Error::Cursor))
}

/// A list without further parameters.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Items of the page, 1 to 1000; 100 by default.
    pub(super) limit: Option<u32>,
    /// `next` of the page before.
    pub(super) cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Option<ListParams> {
        let uri: http::Uri = format!("/a?{query}").parse().unwrap();
        Query::<ListParams>::try_from_uri(&uri).ok().map(|Query(params)| params)
    }

    #[test]
    fn a_limit_is_a_number_from_1_to_1000() {
        for (query, good) in [("", true), ("limit=1", true), ("limit=1000", true), ("limit=0", false)] {
            let params = read(query).unwrap();
            assert_eq!(checked(params.limit).is_ok(), good, "{query}");
        }
        assert!(checked(Some(1001)).is_err());
        for wrong in
            ["limit=x", "limit=-1", "limit=1.5", "limit=", "limit=1&limit=2", "offset=3", "limit=4294967296"]
        {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_cursor_is_good_for_its_own_list_only() {
        let keyring = Keyring::new([7; 32], Vec::new()).unwrap();
        let cursor = hex::encode(keyring.seal("cursor /a", b"7").unwrap());
        assert_eq!(open(&keyring, "cursor /a", &cursor).unwrap(), "7");
        assert!(open(&keyring, "cursor /b", &cursor).is_err());
        for wrong in ["", "7", "zz", &cursor[2..]] {
            assert!(open(&keyring, "cursor /a", wrong).is_err(), "{wrong}");
        }
    }
}
