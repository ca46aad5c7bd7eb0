//! Files behind the access token (Bulk Data IG, Output File Request, with `requiresAccessToken`):
//! `[base]/fhir-services/files/[export]/[name]`.
//!
//! The request is checked like a poll; of a file of resources the token has to cover the type, of any other file all
//! types of the export. Then the client is sent on to the bucket, by a link of a few minutes that is signed for the
//! method of the request. The bytes do not pass through this server.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use headgate_domain::practice::Practice;
use headgate_domain::{ExportId, ResourceType, file_name};
use headgate_store::{ClientFile, FileKind};
use http::header::{CACHE_CONTROL, HeaderMap, LOCATION};
use http::{HeaderValue, Method, StatusCode};

use crate::error::ApiError;
use crate::extract::principal::{Bearer, Principal};
use crate::state::ApiState;

/// Longest life of a link that a client is sent on to: it is followed at once.
const LONGEST: Duration = Duration::from_secs(300);

/// Answers a request for a file. An export or a name that cannot be one of ours is answered like an unknown one.
pub(crate) async fn file(
    state: &ApiState,
    practice: &Practice,
    id: Option<&ExportId>,
    name: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let bearer = Bearer::of(state, practice, headers).await?;
    let principal = bearer.consented(state, practice).await?.ok_or(ApiError::NoSuchFile)?;
    let id = id.ok_or(ApiError::NoSuchFile)?;
    let object_key = PublicFolder::of(practice, id).object_key(name).ok_or(ApiError::NoSuchFile)?;
    let file = state
        .store()
        .file_for_client(practice.number, id, &principal.client, &object_key)
        .await?
        .ok_or(ApiError::NoSuchFile)?;
    check_scope(&principal, &file)?;
    // HEAD fetches nothing.
    if method == Method::GET && !state.store().note_download(practice.number, id).await? {
        return Err(ApiError::NoSuchFile);
    }
    send_on(state, &object_key, method).await
}

/// Sends the client on to an object of the bucket.
pub(super) async fn send_on(
    state: &ApiState,
    object_key: &str,
    method: &Method,
) -> Result<Response, ApiError> {
    let signer = state.objects().signer(state.config().url_ttl.min(LONGEST)).await?;
    let link = if method == Method::HEAD { signer.head(object_key) } else { signer.get(object_key) };
    redirect(&link)
}

/// The token has to cover the type of a file of resources. What was deleted and what was wrong is told of every type of
/// the export, so it is for whoever may poll the export.
fn check_scope(principal: &Principal, file: &ClientFile) -> Result<(), ApiError> {
    if file.kind != FileKind::Output {
        return principal.check_covers(file.types.iter().copied());
    }
    let resource_type: ResourceType =
        file.resource_type.parse().map_err(|_| ApiError::Unexpected("a file is of an unknown type"))?;
    if principal.covers(resource_type) { Ok(()) } else { Err(ApiError::FileBeyondScope(resource_type)) }
}

/// 307, so that the method stays the one that the link is signed for.
fn redirect(link: &str) -> Result<Response, ApiError> {
    let mut location =
        HeaderValue::from_str(link).map_err(|_| ApiError::Unexpected("a link cannot stand in a header"))?;
    location.set_sensitive(true);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(LOCATION, location);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The files of an export as URLs of this server. A name is that of the object, with the folder of its fence before it,
/// for there may be one of the same name in another: `r2/patient_1.ndjson` is `r2-patient_1.ndjson`.
pub(super) struct PublicFolder {
    url: String,
    prefix: String,
}

impl PublicFolder {
    pub(super) fn of(practice: &Practice, id: &ExportId) -> Self {
        Self {
            url: format!("{}/fhir-services/files/{id}/", practice.base()),
            prefix: file_name::export_prefix(&practice.s3_prefix, id),
        }
    }

    /// The URL of an object of the export; `None` for another one.
    pub(super) fn url(&self, object_key: &str) -> Option<String> {
        let name = object_key.strip_prefix(&self.prefix)?.replacen('/', "-", 1);
        // What does not lead back to the object is not one of ours.
        (self.object_key(&name).as_deref() == Some(object_key)).then(|| format!("{}{name}", self.url))
    }

    /// The key of the object that a name stands for; `None` for a name that no file of ours has.
    fn object_key(&self, name: &str) -> Option<String> {
        let plain = |name: &str| {
            name.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.'))
                && name.ends_with(".ndjson")
        };
        if !plain(name) {
            return None;
        }
        // No type's name begins with an `r` and a digit.
        let fenced = name.strip_prefix('r').and_then(|rest| rest.split_once('-'));
        let fenced =
            fenced.filter(|(fence, _)| !fence.is_empty() && fence.bytes().all(|b| b.is_ascii_digit()));
        Some(match fenced {
            Some((fence, name)) => format!("{}r{fence}/{name}", self.prefix),
            None => format!("{}{name}", self.prefix),
        })
    }
}

#[cfg(test)]
mod tests {
    use headgate_domain::PracticeNumber;
    use headgate_domain::file_name::{FileNumber, deleted_key, error_key, output_key};
    use headgate_domain::practice::PracticeOptions;

    use super::*;

    fn id() -> ExportId {
        "d60cbaa19d337fbfb8ba2677d4dc30a4".parse().unwrap()
    }

    fn folder() -> PublicFolder {
        let practice = Practice {
            number: PracticeNumber::new(1).unwrap(),
            slug: "a".to_owned(),
            name: "A".to_owned(),
            base_url: "https://a.example/fhir/r4".parse().unwrap(),
            s3_prefix: "ema/1".to_owned(),
            history_since: None,
            suspended: false,
            options: PracticeOptions::default(),
        };
        PublicFolder::of(&practice, &id())
    }

    #[test]
    fn every_key_that_is_ever_written_has_a_url_of_its_own_that_leads_back() {
        let (folder, id) = (folder(), id());
        let mut keys = Vec::new();
        for fence in [1, 2, 31] {
            for number in [FileNumber { number: 1, part: 1 }, FileNumber { number: 12, part: 3 }] {
                keys.extend(ResourceType::ALL.iter().map(|t| output_key("ema/1", &id, fence, *t, number)));
            }
            keys.extend([error_key("ema/1", &id, fence, 1), deleted_key("ema/1", &id, fence, 1)]);
        }
        let urls: std::collections::BTreeSet<String> =
            keys.iter().map(|key| folder.url(key).unwrap_or_else(|| panic!("{key}"))).collect();
        assert_eq!(urls.len(), keys.len());
        for key in &keys {
            let url = folder.url(key).unwrap();
            let (_, name) = url.rsplit_once('/').unwrap();
            assert_eq!(folder.object_key(name).as_ref(), Some(key));
        }
        assert_eq!(
            folder.url("ema/1/d60cbaa19d337fbfb8ba2677d4dc30a4/r2/patient_1-2.ndjson").unwrap(),
            "https://a.example/fhir/r4/fhir-services/files/d60cbaa19d337fbfb8ba2677d4dc30a4/r2-patient_1-2.ndjson"
        );
    }

    #[test]
    fn no_name_leads_out_of_the_folder_of_the_export() {
        let folder = folder();
        for name in
            ["", ".", "..", "../x.ndjson", "r2/x.ndjson", "a b.ndjson", "X.ndjson", "patient_1", "é.ndjson"]
        {
            assert_eq!(folder.object_key(name), None, "{name}");
        }
        for key in [
            "ema/1/other/patient_1.ndjson",
            "ema/10/d60cbaa19d337fbfb8ba2677d4dc30a4/patient_1.ndjson",
            "ema/1/d60cbaa19d337fbfb8ba2677d4dc30a4/r2/r3/patient_1.ndjson",
            "ema/1/d60cbaa19d337fbfb8ba2677d4dc30a4/x/patient_1.ndjson",
        ] {
            assert_eq!(folder.url(key), None, "{key}");
        }
    }

    #[test]
    fn the_client_is_sent_on_by_the_same_method_and_nothing_is_kept() {
        let response = redirect("https://s3.example/a?b=c").unwrap();
        assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(response.headers()["location"], "https://s3.example/a?b=c");
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
}
