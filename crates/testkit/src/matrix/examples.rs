//! A well-formed request for every operation, and how what it did is undone, so that the next caller finds the same.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use headgate_auth::{Algorithm, PrivateKey};
use reqwest::Method;
use serde_json::{Value, json};

use super::estate::{Ids, consent_to};
use crate::TestApp;

/// The mapping set that operations name.
pub(super) const MAPPING: &str = "matrix";

static NUMBERS: AtomicU32 = AtomicU32::new(0);

/// Makes the body of a request.
type Body = fn(&Ids) -> Result<Value>;

/// Makes the body of a request that undoes another.
type Undo = fn(&Ids) -> Value;

/// A request.
pub(super) struct Example {
    body: Option<Body>,
    /// An operation that brings back what a success took away: its path and body.
    restore: Option<(&'static str, Undo)>,
    /// Whether the body names whose it is, where the path does not.
    pub(super) body_is_bound: bool,
    /// Whether it makes what does not exist.
    pub(super) creates: bool,
}

impl Example {
    pub(super) fn body(&self, ids: &Ids) -> Result<Option<Value>> {
        self.body.map(|body| body(ids)).transpose()
    }

    /// Undoes it, as an operator.
    pub(super) async fn restore(&self, app: &TestApp, ids: &Ids) -> Result<()> {
        let Some((path, body)) = self.restore else { return Ok(()) };
        let answer = app.admin().post(&ids.fill(path), &body(ids)).await?;
        if answer.status == 201 { Ok(()) } else { answer.expect(200).map(drop) }
    }
}

const READ: Example = Example { body: None, restore: None, body_is_bound: false, creates: false };

fn deed(body: Body) -> Example {
    Example { body: Some(body), ..READ }
}

fn undone(body: Body, path: &'static str, undo: Undo) -> Example {
    Example { restore: Some((path, undo)), ..deed(body) }
}

fn nothing(_: &Ids) -> Value {
    json!({})
}

/// The example for a method and a path template.
pub(super) fn of(method: &Method, path: &str) -> Option<Example> {
    let example = match (method.as_str(), path) {
        ("GET", path) if KNOWN_READS.contains(&path) => READ,
        ("POST", path) => post(path)?,
        ("PUT", path) => put(path)?,
        ("PATCH", "/vendors/{vendor_id}") => {
            deed(|_| Ok(json!({ "contact_email": "matrix@vendor.example" })))
        }
        ("PATCH", "/apps/{client_id}") => deed(|_| Ok(json!({ "name": "Matrix" }))),
        ("PATCH", "/practices/{number}") => deed(|_| Ok(json!({ "name": "Matrix" }))),
        _ => return None,
    };
    Some(example)
}

const KNOWN_READS: [&str; 32] = [
    "/me",
    "/openapi.json",
    "/vendors",
    "/vendors/{vendor_id}",
    "/apps",
    "/apps/{client_id}",
    "/apps/{client_id}/refusals",
    "/practices",
    "/practices/{number}",
    "/practices/{number}/source",
    "/practices/{number}/apps/{client_id}",
    "/practices/{number}/consents",
    "/practices/{number}/groups",
    "/practices/{number}/groups/{group_id}",
    "/practices/{number}/groups/{group_id}/members",
    "/practices/{number}/exports",
    "/practices/{number}/exports/{export_id}",
    "/practices/{number}/exports/{export_id}/files",
    "/practices/{number}/exports/{export_id}/waiting",
    "/exports/{export_id}",
    "/practices/{number}/disclosures",
    "/operations/status",
    "/operations/leases",
    "/operations/stuck",
    "/operations/waits",
    "/operations/costs",
    "/audit",
    "/audit/seals",
    "/audit/verify",
    "/signing-keys",
    "/mappings",
    "/mappings/{name}",
];

fn post(path: &str) -> Option<Example> {
    let reason: Body = |_| Ok(json!({ "reason": "matrix" }));
    let empty: Body = |_| Ok(json!({}));
    let example = match path {
        "/vendors" => {
            deed(|_| Ok(json!({ "name": unique("Vendor"), "contact_email": "matrix@vendor.example" })))
        }
        "/vendors/{vendor_id}/suspend" => undone(reason, "vendors/{vendor_id}/resume", nothing),
        "/apps" => Example { body_is_bound: true, ..deed(new_app) },
        "/apps/{client_id}/suspend" => undone(reason, "apps/{client_id}/resume", nothing),
        "/practices/{number}/suspend" => undone(reason, "practices/{number}/resume", nothing),
        "/practices/{number}/pause" => undone(reason, "practices/{number}/unpause", nothing),
        "/operations/pause" => undone(reason, "operations/resume", nothing),
        "/apps/{client_id}/keys" => deed(|_| Ok(json!({ "jwks": new_keys()? }))),
        // In a while: the app's assertions are good until then.
        "/apps/{client_id}/keys/{kid}/revoke" => deed(|_| {
            let at = chrono::Utc::now() + chrono::Duration::hours(1);
            Ok(json!({ "at": at.to_rfc3339() }))
        }),
        "/apps/{client_id}/assertion-check" => deed(|_| Ok(json!({ "client_assertion": "a.b.c" }))),
        "/practices" => deed(new_practice),
        "/practices/{number}/consents" => deed(|ids| Ok(consent_to(&ids.client_id))),
        "/practices/{number}/consents/{client_id}/revoke" => {
            undone(empty, "practices/{number}/consents", |ids| consent_to(&ids.client_id))
        }
        "/practices/{number}/groups/{group_id}/members" => {
            deed(|_| Ok(json!({ "add": ["p2"], "remove": [] })))
        }
        "/practices/{number}/disclosures/search" => deed(|_| Ok(json!({ "patient_id": "p1" }))),
        "/signing-keys" | "/signing-keys/{kid}/retire" => deed(empty),
        "/vendors/{vendor_id}/resume"
        | "/apps/{client_id}/resume"
        | "/practices/{number}/resume"
        | "/practices/{number}/unpause"
        | "/operations/resume"
        | "/practices/{number}/refresh"
        | "/practices/{number}/exports/{export_id}/cancel"
        | "/practices/{number}/exports/{export_id}/requeue" => deed(empty),
        _ => return None,
    };
    Some(example)
}

fn put(path: &str) -> Option<Example> {
    let example = match path {
        "/practices/{number}/consents/{client_id}" => deed(|_| Ok(json!({ "expires_at": null }))),
        "/practices/{number}/groups/{group_id}" => deed(|_| Ok(json!({ "name": "Matrix" }))),
        "/practices/{number}/groups/{group_id}/members" => deed(|_| Ok(json!({ "patient_ids": ["p1"] }))),
        "/mappings/{name}" => Example { creates: true, ..deed(|_| Ok(mapping())) },
        _ => return None,
    };
    Some(example)
}

fn unique(what: &str) -> String {
    format!("{what} of the matrix {}", NUMBERS.fetch_add(1, Ordering::Relaxed))
}

fn new_keys() -> Result<Value> {
    Ok(json!({ "keys": [PrivateKey::generate(Algorithm::Es384)?.public_jwk().to_json()] }))
}

fn new_app(ids: &Ids) -> Result<Value> {
    Ok(json!({
        "vendor_id": ids.vendor_id, "name": "Matrix", "security_contact": "matrix@vendor.example", "jwks": new_keys()?,
    }))
}

fn new_practice(_: &Ids) -> Result<Value> {
    let number = 810_000 + NUMBERS.fetch_add(1, Ordering::Relaxed);
    Ok(json!({
        "number": number,
        "slug": format!("matrix{number}"),
        "name": "Matrix",
        "base_url": format!("https://matrix.example/{number}/fhir/r4"),
        "source": { "dsn_ref": "env:MATRIX_DSN" },
    }))
}

/// Stores the set that operations name.
pub(super) async fn put_mapping(app: &TestApp) -> Result<()> {
    let answer = app.admin().put(&format!("mappings/{MAPPING}"), &mapping()).await?;
    if answer.status == 201 { Ok(()) } else { answer.expect(200).map(drop) }
}

fn mapping() -> Value {
    json!({ "files": { "Goal.json": {
        "resourceType": "Goal",
        "streams": [{ "relation": "goal", "resources": [{
            "resourceType": "Goal", "id": "{{id}}", "meta": { "lastUpdated": "{{last_updated | instant}}" },
            "subject": { "reference": "Patient/{{patient_id}}" },
        }] }],
    } } })
}
