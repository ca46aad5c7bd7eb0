//! Groups (Bulk Data IG, Endpoint - Group of Patients): `GET [base]/Group/[id]` and `GET [base]/Group`, with which a
//! client finds the id of the group that it is to export.
//!
//! A client sees the groups that it may export, and of others not even that they are there. How many patients a group
//! has, and often its name, speaks of patients, so token and consent have to cover Patient. The members
//! themselves are not listed: who they are is what an export is for, with its files, its audit trail and its
//! expiry.

mod query;

use axum::response::Response;
use headgate_domain::practice::Practice;
use headgate_domain::request::Prefer;
use headgate_domain::{ResourceType, instant};
use headgate_store::ExportableGroup;
use http::header::HeaderMap;
use http::request::Parts;
use http::{HeaderName, StatusCode};
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::extract::principal::{Bearer, Principal};
use crate::respond;
use crate::state::ApiState;

use query::Query;

/// Answers `GET [base]/Group/[id]`.
pub(crate) async fn read(
    state: &ApiState,
    practice: &Practice,
    id: &str,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let principal = authority(state, practice, headers).await?;
    if !principal.consent.groups.permits(id) {
        return Err(ApiError::NoSuchGroup);
    }
    let groups = state.store().exportable_groups(practice.number).await?;
    let group = groups.into_iter().find(|group| group.group_id == id).ok_or(ApiError::NoSuchGroup)?;
    Ok(respond::fhir(StatusCode::OK, &resource(practice.base(), &group)))
}

/// Answers `GET [base]/Group`.
pub(crate) async fn search(
    state: &ApiState,
    practice: &Practice,
    request: &Parts,
) -> Result<Response, ApiError> {
    let principal = authority(state, practice, &request.headers).await?;
    let lenient = prefers_lenient(&request.headers);
    let query =
        Query::parse(request.uri.query().unwrap_or_default(), lenient).map_err(ApiError::BadRequest)?;
    let mut groups = state.store().exportable_groups(practice.number).await?;
    let system = identifier_system(practice.base());
    groups.retain(|group| principal.consent.groups.permits(&group.group_id) && query.matches(group, &system));
    // The database's order may not be that of bytes, by which pages are cut.
    groups.sort_unstable_by(|a, b| a.group_id.cmp(&b.group_id));
    Ok(respond::fhir(StatusCode::OK, &bundle(practice.base(), &query, &groups)))
}

async fn authority(
    state: &ApiState,
    practice: &Practice,
    headers: &HeaderMap,
) -> Result<Principal, ApiError> {
    let bearer = Bearer::of(state, practice, headers).await?;
    let principal = bearer.consented(state, practice).await?.ok_or(ApiError::NoConsent)?;
    if principal.covers(ResourceType::Patient) { Ok(principal) } else { Err(ApiError::GroupsNeedPatient) }
}

fn prefers_lenient(headers: &HeaderMap) -> bool {
    let values = headers.get_all(HeaderName::from_static("prefer")).iter();
    values.filter_map(|value| value.to_str().ok()).any(|value| Prefer::parse(value).lenient)
}

/// The system of a group's identifier: within it, the practice's ids of groups are unique.
fn identifier_system(base: &str) -> String {
    format!("{base}/Group")
}

/// A group without its members; see the module's text. One that the EHR keeps has no name here, and when it
/// changed is not known.
fn resource(base: &str, group: &ExportableGroup) -> Value {
    let mut resource = json!({
        "resourceType": "Group",
        "id": group.group_id,
        "identifier": [{ "system": identifier_system(base), "value": group.group_id }],
        "type": "person",
        "actual": true,
        "quantity": group.member_count,
    });
    if let Some(updated_at) = group.updated_at {
        resource["meta"] = json!({ "lastUpdated": instant::format(updated_at) });
    }
    if let Some(name) = &group.name {
        resource["name"] = json!(name);
    }
    resource
}

/// A page of those that match. `groups` are all of them, by id.
fn bundle(base: &str, query: &Query, groups: &[ExportableGroup]) -> Value {
    let (page, more) = query.page(groups);
    let mut entries: Vec<Value> = page
        .iter()
        .map(|group| {
            json!({
                "fullUrl": format!("{base}/Group/{}", group.group_id),
                "resource": resource(base, group),
                "search": { "mode": "match" },
            })
        })
        .collect();
    if let Some(ignored) = query.ignored() {
        entries.push(json!({ "resource": ignored, "search": { "mode": "outcome" } }));
    }
    let mut links = vec![json!({ "relation": "self", "url": query.url(base) })];
    if let (true, Some(last)) = (more, page.last()) {
        links.push(json!({ "relation": "next", "url": query.url_after(base, &last.group_id) }));
    }
    let mut bundle =
        json!({ "resourceType": "Bundle", "type": "searchset", "total": groups.len(), "link": links });
    // FHIR has no empty lists.
    if !entries.is_empty() {
        bundle["entry"] = Value::Array(entries);
    }
    bundle
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "https://a.example/fhir/r4";

    fn group(n: u32) -> ExportableGroup {
        ExportableGroup {
            group_id: format!("g-{n:03}"),
            name: Some(format!("Panel {n}")),
            updated_at: Some(chrono::DateTime::UNIX_EPOCH),
            member_count: u64::from(n),
        }
    }

    fn link(bundle: &Value, relation: &str) -> Option<String> {
        let mut links = bundle["link"].as_array().unwrap().iter();
        links.find(|link| link["relation"] == relation).map(|link| link["url"].as_str().unwrap().to_owned())
    }

    #[test]
    fn a_group_says_how_many_its_members_are_and_not_who() {
        let expected = json!({
            "resourceType": "Group",
            "id": "g-007",
            "meta": { "lastUpdated": "1970-01-01T00:00:00.000Z" },
            "identifier": [{ "system": "https://a.example/fhir/r4/Group", "value": "g-007" }],
            "type": "person",
            "actual": true,
            "name": "Panel 7",
            "quantity": 7,
        });
        assert_eq!(resource(BASE, &group(7)), expected);
        let of_the_ehr = ExportableGroup { name: None, updated_at: None, ..group(7) };
        let shown = resource(BASE, &of_the_ehr);
        assert!(shown.get("name").is_none() && shown.get("meta").is_none(), "{shown}");
    }

    #[test]
    fn following_the_links_gives_every_group_once() {
        let groups: Vec<_> = (0..25).map(group).collect();
        let mut url = format!("{BASE}/Group?_count=10&name=Panel");
        let mut seen = Vec::new();
        for length in [10, 10, 5] {
            let (_, text) = url.split_once('?').unwrap();
            let query = Query::parse(text, false).unwrap();
            let shown = bundle(BASE, &query, &groups);
            assert_eq!(shown["total"], 25);
            assert_eq!(link(&shown, "self").unwrap(), url);
            let entries = shown["entry"].as_array().unwrap();
            assert_eq!(entries.len(), length);
            seen.extend(entries.iter().map(|e| e["resource"]["id"].as_str().unwrap().to_owned()));
            url = link(&shown, "next").unwrap_or_default();
        }
        assert_eq!(url, "");
        assert_eq!(seen, groups.iter().map(|group| group.group_id.clone()).collect::<Vec<_>>());
    }

    #[test]
    fn a_count_of_zero_asks_for_the_number_alone() {
        let shown = bundle(BASE, &Query::parse("_count=0", false).unwrap(), &[group(1)]);
        assert_eq!(shown["total"], 1);
        assert!(shown.get("entry").is_none() && link(&shown, "next").is_none(), "{shown}");
    }

    #[test]
    fn what_was_ignored_is_told_within_the_answer() {
        let shown = bundle(BASE, &Query::parse("colour=blue", true).unwrap(), &[group(1)]);
        assert_eq!(link(&shown, "self").unwrap(), format!("{BASE}/Group"));
        assert_eq!(shown["entry"][1]["search"]["mode"], "outcome");
        assert_eq!(shown["entry"][1]["resource"]["resourceType"], "OperationOutcome");
    }
}
