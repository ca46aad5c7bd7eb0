//! `[base]/metadata`: the CapabilityStatement (FHIR R4; Bulk Data IG, Server Capability Documentation).

use std::collections::BTreeSet;

use axum::response::Response;
use headgate_domain::practice::Practice;
use headgate_domain::{ResourceType, instant};
use http::StatusCode;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::respond;
use crate::state::ApiState;

const IG: &str = "http://hl7.org/fhir/uv/bulkdata";

/// Answers with the statement. It needs no token: it says nothing about patients.
pub(crate) async fn show(state: &ApiState, practice: &Practice) -> Result<Response, ApiError> {
    let catalog = state.store().catalog(practice.number).await?;
    let (types, date) = match catalog {
        Some(entry) => (entry.types.unwrap_or_default(), entry.refreshed_at.unwrap_or(entry.requested_at)),
        None => (BTreeSet::new(), chrono::DateTime::UNIX_EPOCH),
    };
    let token_url = format!("{}{}", practice.base(), state.config().token_path);
    let statement = statement(practice.base(), &practice.name, &token_url, &types, &instant::format(date));
    Ok(respond::fhir(StatusCode::OK, &statement))
}

/// The statement of a practice. `types` are those of its source; Patient and Group are always listed, for
/// the operations stand on them.
fn statement(base: &str, name: &str, token_url: &str, types: &BTreeSet<ResourceType>, date: &str) -> Value {
    let mut names: BTreeSet<&str> = types.iter().map(|t| t.name()).collect();
    names.extend(["Group", "Patient"]);
    let resources: Vec<Value> = names.into_iter().map(resource).collect();
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": date,
        "kind": "instance",
        "instantiates": [format!("{IG}/CapabilityStatement/bulk-data")],
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

const DOCUMENTATION: &str = "Bulk export of all data ($export), of all patients (Patient/$export) and of a group \
    (Group/[id]/$export), by GET with `Accept: application/fhir+json` and `Prefer: respond-async`. Parameters: \
    `_since` (instant: only what changed after it; in a Group export everything of members who joined after \
    it), `_type` (list of the resource types below) and `_outputFormat` (application/fhir+ndjson, \
    application/ndjson or ndjson, which is the default). Other parameters are refused, or ignored with \
    `Prefer: handling=lenient`. Output is NDJSON, in files of at most 1000 resources unless the practice says \
    otherwise. The directory (Location, Organization, Practitioner, PractitionerRole) and Medication are part \
    of every export.";

/// A resource type. Guides of different versions name the operations differently, so each is listed twice.
fn resource(name: &str) -> Value {
    match name {
        "Patient" => json!({
            "type": name,
            "operation": [operation("export", "patient-export"), operation("patient-export", "patient-export")],
        }),
        "Group" => json!({
            "type": name,
            "operation": [operation("export", "group-export"), operation("group-export", "group-export")],
        }),
        _ => json!({ "type": name }),
    }
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
        assert_eq!(names, ["Goal", "Group", "Patient"]);
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
    fn the_token_endpoint_stands_in_the_security_extension() {
        let security = &shown(&[])["rest"][0]["security"];
        assert_eq!(security["extension"][0]["extension"][0]["valueUri"], "https://a.example/fhir/r4/token");
    }
}
