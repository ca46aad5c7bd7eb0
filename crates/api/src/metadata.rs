//! `[base]/metadata`: the CapabilityStatement (FHIR R4; Bulk Data IG, Server Capability Documentation).

use std::collections::BTreeSet;

use axum::response::Response;
use headgate_domain::practice::{FileAccess, Practice};
use headgate_domain::search::{self, Kind};
use headgate_domain::{ResourceType, instant};
use http::StatusCode;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;

const IG: &str = "http://hl7.org/fhir/uv/bulkdata";

/// The guide's own statement.
const BULK_DATA: &str = "http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data";

/// Answers with the statement. It needs no token: it says nothing about patients.
pub(crate) async fn show(state: &ApiState, practice: &Practice) -> Result<Response, ApiError> {
    let catalog = state.store().catalog(practice.number).await?;
    let (types, date) = match catalog {
        Some(entry) => (entry.types.unwrap_or_default(), entry.refreshed_at.unwrap_or(entry.requested_at)),
        None => (BTreeSet::new(), chrono::DateTime::UNIX_EPOCH),
    };
    let token_url = state.config().token_endpoint(practice.base());
    let mut statement =
        statement(practice.base(), &practice.name, &token_url, &types, &instant::format(date));
    if practice.options.file_access == FileAccess::Token
        && let Some(resources) = statement["rest"][0]["resource"].as_array_mut()
    {
        resources.push(binary());
    }
    Ok(respond::fhir(StatusCode::OK, &statement))
}

/// The statement of a practice. `types` are those of its source; Patient and Group are always listed, for
/// the operations stand on them.
fn statement(base: &str, name: &str, token_url: &str, types: &BTreeSet<ResourceType>, date: &str) -> Value {
    let mut listed = types.clone();
    listed.insert(ResourceType::Patient);
    let mut resources: Vec<Value> = listed.iter().map(|t| resource(*t, types.contains(t))).collect();
    resources.push(group());
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": date,
        "kind": "instance",
        "instantiates": [BULK_DATA],
        "software": { "name": "Headgate", "version": env!("CARGO_PKG_VERSION") },
        "implementation": { "description": format!("Bulk data export of {name}"), "url": base },
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [{
            "mode": "server",
            "documentation": DOCUMENTATION,
            "security": security(token_url),
            "resource": resources,
            "operation": [operation("export", "export")],
        }],
    })
}

/// What the guide wants to be documented (Bulk Data IG, Server Capability Documentation), in Markdown.
const DOCUMENTATION: &str = "\
Bulk export of all data (`$export`), of all patients (`Patient/$export`) and of a group (`Group/[id]/$export`), by GET \
with a query or by POST with a Parameters resource, with `Accept: application/fhir+json` and \
`Prefer: respond-async`. What is not supported is refused, or ignored and told with `Prefer: handling=lenient`; \
`Prefer: separate-export-status` is supported.

- `_outputFormat`: `application/fhir+ndjson`, `application/ndjson` or `ndjson`, which is the default and the only one.
- `_since`: an instant; only resources that changed after it. In a Group export everything of members who joined after \
it. What was deleted since then is listed in `deleted`.
- `_until`: an instant; only resources that changed before it.
- `_type`: a list of the resource types below; without it all of them that token and consent cover.
- `_typeFilter`: searches such as `Observation?category=laboratory`, by the search parameters below; several for the same \
type are alternatives.
- `_elements`: a list of root elements, as `element` or `Type.element`; mandatory elements are kept, and the resources are \
tagged SUBSETTED.
- `patient`: references to patients, by POST and not at the system level; only their data. Patients who are not there are told \
in the error file.
- `includeAssociatedData`: `LatestProvenanceResources` or `RelevantProvenanceResources`. Without it Provenance is a type \
like any other.
- `allowPartialManifests`: `true` lists files while the export runs, on pages of at most 1000 files.
- `organizeOutputBy` is not supported.

Output is NDJSON, in files of one resource type and at most 1000 resources, unless the practice says otherwise. Exports of \
patients and of groups hold the resources of the patients' compartments and, as context, the practice's directory \
(Location, Organization, Practitioner, PractitionerRole) and the Medication that is referred to or changed.";

/// A type that is exported, with the parameters that `_typeFilter` may have for it. It has no interactions: there is
/// no other way to its resources than an export.
fn resource(t: ResourceType, exported: bool) -> Value {
    let parameters: Vec<Value> = search::parameters(t)
        .iter()
        .map(|parameter| json!({ "name": parameter.name, "type": kind(parameter.kind) }))
        .collect();
    let mut resource = json!({ "type": t.name() });
    if !exported {
        resource["extension"] = not_exported();
    } else if !parameters.is_empty() {
        resource["searchParam"] = Value::Array(parameters);
    }
    if t == ResourceType::Patient {
        resource["operation"] = operations("patient-export");
    }
    resource
}

/// Group, which is the one type that is read and searched, and is not exported.
fn group() -> Value {
    json!({
        "extension": not_exported(),
        "type": "Group",
        "documentation": "The groups that this app may export, without their members: who they are is in the \
            export. Needs a token that covers Patient.",
        "interaction": [{ "code": "read" }, { "code": "search-type" }],
        "searchParam": [
            { "name": "_id", "type": "token", "documentation": "The id, as in Group/[id]/$export." },
            { "name": "identifier", "type": "token", "documentation": "The id as a business identifier." },
            { "name": "name", "type": "string", "documentation": "The beginning of the name, in either case." },
        ],
        "operation": operations("group-export"),
    })
}

/// Binary, which is read where exported resources lead to it, and is not exported.
fn binary() -> Value {
    json!({
        "extension": not_exported(),
        "type": "Binary",
        "documentation": "The content of an attachment to which a resource of an export leads by URL, as it is and by \
            a redirect, as long as the export is there. Needs the access token.",
        "interaction": [{ "code": "read" }],
    })
}

/// Says that resources of a type are not part of any export (Bulk Data IG, Server Capability Documentation).
fn not_exported() -> Value {
    json!([{
        "url": format!("{IG}/StructureDefinition/operation-not-supported"),
        "valueCanonical": BULK_DATA,
    }])
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Id | Kind::Token => "token",
        Kind::Date => "date",
        Kind::Reference => "reference",
    }
}

/// Guides of different versions name the operation of a type differently, so it is listed twice.
fn operations(definition: &str) -> Value {
    json!([operation("export", definition), operation(definition, definition)])
}

fn operation(name: &str, definition: &str) -> Value {
    json!({ "name": name, "definition": format!("{IG}/OperationDefinition/{definition}") })
}

fn security(token_url: &str) -> Value {
    json!({
        "extension": [{
            "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
            "extension": [{ "url": "token", "valueUri": token_url }],
        }],
        "service": [{
            "coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                "code": "SMART-on-FHIR",
            }],
            "text": "SMART Backend Services",
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(types: &[ResourceType]) -> Value {
        let types = types.iter().copied().collect();
        statement(
            "https://a.example/fhir/r4",
            "A",
            "https://a.example/fhir/r4/token",
            &types,
            "2026-11-23T00:00:00.000Z",
        )
    }

    fn operations(statement: &Value, resource: &str) -> Vec<String> {
        let resources = statement["rest"][0]["resource"].as_array().unwrap();
        let found = resources.iter().find(|r| r["type"] == resource).unwrap();
        let operations = found["operation"].as_array().map(Vec::as_slice).unwrap_or_default();
        operations.iter().map(|o| o["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn every_type_of_the_source_is_listed_once() {
        let statement = shown(&[ResourceType::Patient, ResourceType::Goal]);
        let names: Vec<&str> = statement["rest"][0]["resource"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["type"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["Goal", "Patient", "Group"]);
        assert_eq!(statement["rest"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn the_operations_are_named_as_each_version_of_the_guide_names_them() {
        let statement = shown(&[]);
        assert_eq!(operations(&statement, "Patient"), ["export", "patient-export"]);
        assert_eq!(operations(&statement, "Group"), ["export", "group-export"]);
        assert_eq!(statement["rest"][0]["operation"][0]["name"], "export");
    }

    #[test]
    fn a_type_shows_exactly_the_parameters_that_a_type_filter_may_have() {
        let statement = shown(ResourceType::ALL);
        let resources = statement["rest"][0]["resource"].as_array().unwrap();
        for (t, resource) in ResourceType::ALL.iter().zip(resources) {
            assert_eq!(resource["type"], t.name());
            assert!(resource.get("interaction").is_none() && resource.get("extension").is_none(), "{t}");
            let shown = resource["searchParam"].as_array().map(Vec::as_slice).unwrap_or_default();
            let names: Vec<&str> = shown.iter().map(|p| p["name"].as_str().unwrap()).collect();
            assert_eq!(names, search::parameters(*t).iter().map(|p| p.name).collect::<Vec<_>>(), "{t}");
        }
    }

    #[test]
    fn every_parameter_of_the_guide_is_documented() {
        let statement = shown(&[]);
        let text = statement["rest"][0]["documentation"].as_str().unwrap();
        for parameter in [
            "_outputFormat",
            "_since",
            "_until",
            "_type",
            "_typeFilter",
            "_elements",
            "patient",
            "includeAssociatedData",
            "allowPartialManifests",
            "organizeOutputBy",
        ] {
            assert!(text.contains(&format!("\n- `{parameter}`")), "{parameter}");
        }
    }

    #[test]
    fn what_is_not_exported_says_so() {
        let statement = shown(&[ResourceType::Goal]);
        let resources = statement["rest"][0]["resource"].as_array().unwrap();
        let marked: Vec<&str> = resources
            .iter()
            .filter(|r| r["extension"][0]["valueCanonical"] == BULK_DATA)
            .map(|r| r["type"].as_str().unwrap())
            .collect();
        assert_eq!(marked, ["Patient", "Group"]);
        assert_eq!(resources[2]["interaction"], json!([{ "code": "read" }, { "code": "search-type" }]));
    }

    #[test]
    fn the_token_endpoint_stands_in_the_security_extension() {
        let security = &shown(&[])["rest"][0]["security"];
        assert_eq!(security["extension"][0]["extension"][0]["valueUri"], "https://a.example/fhir/r4/token");
    }

    #[test]
    fn what_is_read_by_url_is_not_exported() {
        let binary = binary();
        assert_eq!(binary["extension"][0]["valueCanonical"], BULK_DATA);
        assert_eq!(binary["interaction"], json!([{ "code": "read" }]));
    }
}
