//! `/endpoints` below the public URL: the base URL of every practice, for whoever looks for one's records.
//!
//! A Bundle with an Endpoint and an Organization for each practice that is not suspended, the form in which
//! directories of FHIR servers are collected. It is public: that a practice is served here is no secret, and nothing
//! else about it is told. It is also the longest document that anybody may ask for, and leave unread: so it is written
//! once for each list that was read, and all answers share its bytes.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use headgate_domain::practice::Practice;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::state::ApiState;

/// The path of the document, below the public URL of the server.
pub(crate) const PATH: &str = "/endpoints";

/// The document that was written last.
#[derive(Debug, Default)]
pub(crate) struct Document(Mutex<Option<Written>>);

/// A document, and the list that it was written of.
#[derive(Debug)]
struct Written {
    of: Arc<[Practice]>,
    bytes: Bytes,
}

/// Answers with the document.
pub(crate) async fn show(state: &ApiState) -> Result<Response, ApiError> {
    let practices = state.directory().practices(state.store()).await?;
    let bytes = {
        let mut last = state.endpoints().0.lock().unwrap_or_else(PoisonError::into_inner);
        written(&mut last, &practices, || state.config().endpoints_url())
    };
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/fhir+json"));
    Ok(response)
}

/// The document of a list, as it was written before if the list is the same or says the same.
fn written(last: &mut Option<Written>, practices: &Arc<[Practice]>, url: impl FnOnce() -> String) -> Bytes {
    if let Some(before) = &*last
        && Arc::ptr_eq(&before.of, practices)
    {
        return before.bytes.clone();
    }
    let new = Bytes::from(bundle(&url(), practices).to_string());
    let before = last.take().map(|before| before.bytes).filter(|before| *before == new);
    let bytes = before.unwrap_or(new);
    *last = Some(Written { of: Arc::clone(practices), bytes: bytes.clone() });
    bytes
}

fn bundle(url: &str, practices: &[Practice]) -> Value {
    let served = practices.iter().filter(|practice| !practice.suspended);
    let entries: Vec<Value> = served.flat_map(|practice| entries(url, practice)).collect();
    let mut bundle = json!({ "resourceType": "Bundle", "type": "collection" });
    // FHIR has no empty lists.
    if !entries.is_empty() {
        bundle["entry"] = Value::Array(entries);
    }
    bundle
}

/// The two resources of a practice. They refer to each other by their URLs within this document.
fn entries(url: &str, practice: &Practice) -> [Value; 2] {
    let (slug, name) = (&practice.slug, &practice.name);
    let [endpoint, organization] = ["Endpoint", "Organization"].map(|t| format!("{url}/{t}/{slug}"));
    [
        json!({
            "fullUrl": endpoint,
            "resource": {
                "resourceType": "Endpoint",
                "id": slug,
                "status": "active",
                "connectionType": {
                    "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
                    "code": "hl7-fhir-rest",
                },
                "name": name,
                "managingOrganization": { "reference": organization, "display": name },
                "payloadType": [{
                    "coding": [{
                        "system": "http://terminology.hl7.org/CodeSystem/endpoint-payload-type",
                        "code": "none",
                    }],
                }],
                "payloadMimeType": ["application/fhir+json", "application/fhir+ndjson"],
                "address": practice.base(),
            },
        }),
        json!({
            "fullUrl": organization,
            "resource": {
                "resourceType": "Organization",
                "id": slug,
                "active": true,
                "name": name,
                "endpoint": [{ "reference": endpoint }],
            },
        }),
    ]
}

#[cfg(test)]
mod tests {
    use headgate_domain::PracticeNumber;
    use headgate_domain::practice::PracticeOptions;

    use super::*;

    fn practice(number: i64, slug: &str, suspended: bool) -> Practice {
        Practice {
            number: PracticeNumber::new(number).unwrap(),
            slug: slug.to_owned(),
            name: format!("Practice {slug}"),
            base_url: format!("https://fhir.example/{slug}/fhir/r4").parse().unwrap(),
            s3_prefix: format!("ema/{number}"),
            history_since: None,
            suspended,
            options: PracticeOptions::default(),
        }
    }

    #[test]
    fn every_practice_that_is_served_has_an_endpoint_and_an_organization_that_refer_to_each_other() {
        let practices = [practice(1, "a", false), practice(2, "b", true), practice(3, "c", false)];
        let bundle = bundle("https://fhir.example/endpoints", &practices);
        let entries = bundle["entry"].as_array().unwrap();
        assert_eq!(entries.len(), 4);
        let (endpoint, organization) = (&entries[2], &entries[3]);
        assert_eq!(endpoint["resource"]["address"], "https://fhir.example/c/fhir/r4");
        assert_eq!(endpoint["resource"]["managingOrganization"]["reference"], organization["fullUrl"]);
        assert_eq!(organization["resource"]["endpoint"][0]["reference"], endpoint["fullUrl"]);
        assert_eq!(organization["resource"]["name"], "Practice c");
    }

    #[test]
    fn a_document_is_written_once_for_a_list_and_its_bytes_are_shared_until_it_says_something_else() {
        let url = || "https://fhir.example/endpoints".to_owned();
        let list = |suspended| -> Arc<[Practice]> {
            Arc::from([practice(1, "a", false), practice(2, "b", suspended)])
        };
        let (mut last, first) = (None, list(true));
        let bytes = written(&mut last, &first, url);
        assert_eq!(bytes, bundle(&url(), &first).to_string());
        let again = written(&mut last, &first, || panic!("it is written already"));
        // Read again, and the same.
        let unchanged = written(&mut last, &list(true), url);
        for shared in [again, unchanged] {
            assert_eq!(shared.as_ptr(), bytes.as_ptr());
        }
        let changed = written(&mut last, &list(false), url);
        assert_eq!(changed, bundle(&url(), &list(false)).to_string());
        assert_ne!(changed, bytes);
    }

    #[test]
    fn what_only_operators_need_to_know_is_not_told() {
        let text = bundle("https://fhir.example/endpoints", &[practice(100_491, "a", false)]).to_string();
        assert!(!text.contains("100491") && !text.contains("ema"), "{text}");
        let nobody = bundle("https://fhir.example/endpoints", &[practice(1, "b", true)]);
        assert_eq!(nobody, json!({ "resourceType": "Bundle", "type": "collection" }));
    }
}
