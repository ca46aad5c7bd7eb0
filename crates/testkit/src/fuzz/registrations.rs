//! The admin API: key sets, bodies, queries, uploads. What they change is a side of its own.

use anyhow::{Context as _, Result};
use headgate_auth::{Algorithm, PrivateKey};
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::site::{GROUP, Site};
use super::{Case, draw};

fn case(site: &Site<'_>, kind: &'static str, request: reqwest::RequestBuilder) -> Case {
    Case { kind, request, secrets: vec![site.app.admin().token().to_owned()], grants: false }
}

/// Keys that may be none.
pub(super) fn keys(site: &Site<'_>, random: &mut StdRng) -> Result<Case> {
    let key = PrivateKey::generate(Algorithm::Es384)?;
    let mut set = json!({ "keys": [key.public_jwk().to_json()] });
    match random.random_range(0..5) {
        0 => {}
        1 => set = draw::value(random, 3),
        2 => {
            let name =
                ["kty", "crv", "x", "y", "kid", "alg", "use", "key_ops", "n", "e", "k", "d"].choose(random);
            set["keys"][0][name.copied().unwrap_or("kty")] = draw::value(random, 1);
        }
        3 => {
            let member = if random.random_bool(0.5) { "x" } else { "y" };
            let point = set["keys"][0][member].as_str().context("a point")?.to_owned();
            set["keys"][0][member] = draw::damage(random, &point).into();
        }
        _ => draw::mutate(random, &mut set),
    }
    let path = format!("apps/{}/keys", site.victim.client_id);
    Ok(case(site, "key set", site.admin(Method::POST, &path).json(&json!({ "jwks": set }))))
}

/// A body that was changed.
pub(super) fn body(site: &Site<'_>, random: &mut StdRng) -> Result<Case> {
    let (method, path, mut body) = good(site, random)?;
    let request = site.admin(method, &path);
    let request = match random.random_range(0..8) {
        0 => request.body(draw::bytes(random, 500)),
        1 => request.body(draw::damage(random, &body.to_string())),
        2 => request.json(&draw::value(random, 4)),
        _ => {
            for _ in 0..random.random_range(1..4) {
                draw::mutate(random, &mut body);
            }
            request.json(&body)
        }
    };
    let request = match random.random_range(0..6) {
        0 => odd_header(request, "If-Match", &draw::one_of(random, &["*", "\"1\"", "\"", "W/\"1\""])),
        1 => odd_header(request, "Idempotency-Key", &draw::one_of(random, &["a", "b", "c d"])),
        _ => request,
    };
    Ok(case(site, "admin body", request))
}

fn odd_header(request: reqwest::RequestBuilder, name: &str, value: &str) -> reqwest::RequestBuilder {
    match reqwest::header::HeaderValue::from_str(value) {
        Ok(value) => request.header(name, value),
        Err(_) => request,
    }
}

/// A deed that would be right as it is.
fn good(site: &Site<'_>, random: &mut StdRng) -> Result<(Method, String, Value)> {
    let (client, vendor, number) = (&site.victim.client_id, &site.victim.vendor_id, site.victim_practice);
    let name = format!("Fuzz {}", random.random::<u64>());
    let deeds = [
        (Method::POST, "vendors".to_owned(), json!({ "name": name, "contact_email": "a@vendor.example" })),
        (Method::PATCH, format!("vendors/{vendor}"), json!({ "contact_email": "b@vendor.example" })),
        (
            Method::POST,
            "apps".to_owned(),
            json!({
                "vendor_id": vendor, "name": name, "security_contact": "s@vendor.example", "scopes": "system/Goal.rs",
                "jwks_url": "https://keys.vendor.example/jwks.json",
            }),
        ),
        (Method::PATCH, format!("apps/{client}"), json!({ "name": name, "scopes": "system/*.rs" })),
        (Method::POST, format!("apps/{client}/assertion-check"), json!({ "client_assertion": "a.b.c" })),
        (Method::POST, format!("apps/{client}/keys/x/revoke"), json!({ "at": "2099-01-01T00:00:00Z" })),
        (
            Method::POST,
            "practices".to_owned(),
            json!({
                "number": random.random_range(830_000..900_000_u32), "slug": "fuzz-it", "name": name,
                "base_url": "https://fuzz.example/a/fhir/r4",
                "source": { "dsn_ref": "env:FUZZ_DSN", "settings": { "app.practice": "1" } },
                "options": { "file_resources": 10 },
            }),
        ),
        (
            Method::PATCH,
            format!("practices/{number}"),
            json!({ "name": name, "options": { "gzip": true, "file_resources": null }, "source": { "schema": "a" } }),
        ),
        (
            Method::POST,
            format!("practices/{number}/consents"),
            json!({ "client_id": client, "scopes": "system/Goal.rs", "group_ids": ["1.1"] }),
        ),
        (
            Method::PUT,
            format!("practices/{number}/consents/{client}"),
            json!({ "scopes": "system/Patient.rs", "group_ids": null, "expires_at": "2099-01-01T00:00:00Z" }),
        ),
        (Method::PUT, format!("practices/{number}/groups/{GROUP}"), json!({ "name": name })),
        (
            Method::PUT,
            format!("practices/{number}/groups/{GROUP}/members"),
            json!({ "patient_ids": ["a", "b"] }),
        ),
        (
            Method::POST,
            format!("practices/{number}/groups/{GROUP}/members"),
            json!({ "add": ["c"], "remove": ["a"] }),
        ),
        (Method::POST, format!("practices/{number}/disclosures/search"), json!({ "patient_id": "p1" })),
        (
            Method::PUT,
            "mappings/fuzz".to_owned(),
            json!({ "files": { "Goal.json": {
            "resourceType": "Goal",
            "streams": [{ "relation": "goal", "resources": [{ "resourceType": "Goal", "id": "{{id}}",
                "meta": { "lastUpdated": "{{last_updated | instant}}" } }] }],
        } } }),
        ),
    ];
    deeds.choose(random).cloned().context("a deed")
}

/// A list with an odd query, or something at an odd path.
pub(super) fn query(site: &Site<'_>, random: &mut StdRng) -> Result<Case> {
    let number = site.victim_practice;
    let lists = [
        "vendors".to_owned(),
        "apps".to_owned(),
        "practices".to_owned(),
        "audit".to_owned(),
        "audit/seals".to_owned(),
        "audit/verify".to_owned(),
        format!("practices/{number}/consents"),
        format!("practices/{number}/groups/{GROUP}/members"),
        format!("practices/{number}/exports"),
        format!("practices/{number}/disclosures"),
    ];
    if random.random_bool(0.3) {
        let kinds = ["practices", "apps", "vendors", "mappings", "signing-keys"];
        let odd: String = draw::text(random).bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("{}/{odd}", kinds.choose(random).copied().unwrap_or("apps"));
        return Ok(case(site, "admin path", site.admin(Method::GET, &path)));
    }
    let names = [
        "limit",
        "cursor",
        "client_id",
        "practice",
        "since",
        "until",
        "state",
        "action",
        "actor",
        "export_id",
        "from",
    ];
    let usual = ["1", "1000", "0", "2024-01-01T00:00:00Z", "00", "completed", "fhir00"];
    let given: Vec<(String, String)> = (0..random.random_range(0..4))
        .map(|_| (draw::one_of(random, &names), draw::one_of(random, &usual)))
        .collect();
    let list = lists.choose(random).context("a list")?;
    let url = reqwest::Url::parse_with_params(&format!("{}/{list}", site.app.admin().url()), &given)?;
    let request = site.app.http().get(url).bearer_auth(site.app.admin().token());
    Ok(case(site, "admin query", request))
}

/// Lines of ids, most of them ids.
pub(super) fn members(site: &Site<'_>, random: &mut StdRng) -> Result<Case> {
    let path = format!("practices/{}/groups/{GROUP}/members", site.victim_practice);
    let ndjson = random.random_bool(0.5);
    let mut body = Vec::new();
    for n in 0..random.random_range(0..400) {
        let line = match random.random_range(0..60) {
            0 => draw::text(random),
            1 => draw::value(random, 2).to_string(),
            _ if ndjson => format!("\"patient-{n}\""),
            _ => format!("patient-{n},x"),
        };
        body.extend_from_slice(line.as_bytes());
        let end: &[u8] = if random.random_bool(0.9) { b"\n" } else { b"\r\n" };
        body.extend_from_slice(end);
    }
    if random.random_bool(0.1) {
        body.extend(draw::bytes(random, 3_000));
    }
    let request = match random.random_range(0..3) {
        0 => site.admin(Method::PUT, &path),
        1 => site.admin(Method::POST, &format!("{path}?action=add")),
        _ => site.admin(Method::POST, &format!("{path}?action=remove")),
    };
    let content_type = if ndjson { "application/x-ndjson" } else { "text/csv" };
    Ok(case(site, "members", request.header("Content-Type", content_type).body(body)))
}
