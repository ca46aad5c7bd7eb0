//! Kick-offs, polls and the rest of the public side, with odd headers and parameters.

use anyhow::Result;
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::json;

use super::site::Site;
use super::{Case, draw};

/// A good request but for its headers.
pub(super) fn headers(site: &Site<'_>, random: &mut StdRng) -> Result<Case> {
    let base = &site.practice.base_url;
    let urls = [
        format!("{base}/Patient/$export"),
        format!("{base}/$export"),
        site.status_url.clone(),
        format!("{base}/metadata"),
        format!("{base}/Group"),
        format!("{base}/.well-known/smart-configuration"),
        format!("{base}/fhir-services/$export-status"),
    ];
    let url = urls.choose(random).map_or(base.as_str(), String::as_str);
    let method = if url == site.status_url || random.random_bool(0.8) { Method::GET } else { Method::POST };
    let mut request = site.app.http().request(method, url);
    let mut secrets = vec![site.token.clone()];
    if random.random_bool(0.7) {
        request = request.bearer_auth(&site.token);
    } else {
        let damaged = draw::damage(random, &site.token);
        let value = format!(
            "{} {damaged}",
            draw::one_of(random, &["Bearer", "bearer", "Basic", "DPoP", "Bearer Bearer"])
        );
        request = with(request, "authorization", value.as_bytes());
        secrets.push(damaged);
    }
    for _ in 0..random.random_range(0..5) {
        let (name, value) = header(random);
        request = with(request, name, &value);
    }
    Ok(Case { kind: "headers", request, secrets, grants: false })
}

fn header(random: &mut StdRng) -> (&'static str, Vec<u8>) {
    let (name, usual): (_, &[&str]) = [
        (
            "prefer",
            &[
                "respond-async",
                "respond-async, handling=lenient",
                "handling=strict",
                "wait=10",
                "separate-export-status",
                ";=,",
            ][..],
        ),
        (
            "accept",
            &[
                "application/fhir+json",
                "application/json;q=0",
                "*/*;q=1e9",
                "text/html",
                ",,;q=",
                "application/fhir+ndjson",
            ],
        ),
        ("authorization", &["Bearer", "Bearer ", "", "Bearer a b", "Basic Og=="]),
        ("content-type", &["application/fhir+json", "application/json; charset=\"", "text/plain"]),
        ("x-forwarded-for", &["127.0.0.1", "::1, ::2", "unknown", ",,,"]),
        ("x-forwarded-host", &["evil.example"]),
        ("forwarded", &["for=\"[::1]\";host=evil.example"]),
        ("traceparent", &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0-0-0"]),
        ("if-none-match", &["*", "\"a\"", "W/"]),
        ("range", &["bytes=0-", "bytes=-1", "bytes=5-2"]),
        ("accept-encoding", &["gzip;q=0, *;q=0", "br"]),
        ("expect", &["100-continue"]),
    ]
    .choose(random)
    .copied()
    .unwrap_or(("accept", &[]));
    let value = match random.random_range(0..6) {
        0 => draw::bytes(random, 60),
        1 => usual
            .iter()
            .map(|v| (*v).to_owned())
            .cycle()
            .take(200)
            .collect::<Vec<_>>()
            .join(", ")
            .into_bytes(),
        _ => draw::one_of(random, usual).into_bytes(),
    };
    (name, value)
}

/// Adds a header, without the bytes that cannot be sent in one.
fn with(request: reqwest::RequestBuilder, name: &'static str, value: &[u8]) -> reqwest::RequestBuilder {
    let sendable: Vec<u8> =
        value.iter().copied().filter(|b| *b == b'\t' || (*b >= 0x20 && *b != 0x7f)).collect();
    match HeaderValue::from_bytes(&sendable) {
        // A server may rightly wait for the body of who expects to be asked for it.
        Ok(_) if name == "expect" => request,
        Ok(value) => request.header(HeaderName::from_static(name), value),
        Err(_) => request,
    }
}

const NAMES: [&str; 16] = [
    "_since",
    "_until",
    "_type",
    "_typeFilter",
    "_elements",
    "_outputFormat",
    "patient",
    "includeAssociatedData",
    "organizeOutputBy",
    "allowPartialManifests",
    "_format",
    "_pretty",
    "_since:x",
    "__proto__",
    "x",
    "",
];

const VALUES: [&str; 22] = [
    "2022-10-01T00:00:00Z",
    "2022-10-01T00:00:00",
    "2022-10-01",
    "9999-12-31T23:59:60Z",
    "0000-01-01T00:00:00Z",
    "2022-10-01T24:00:00+99:99",
    "-2022-10-01T00:00:00Z",
    "Patient",
    "Patient,Goal",
    "Patient,,Goal",
    "Device",
    "*",
    "Patient?gender=male",
    "Goal?lifecycle-status=active&_id=1",
    "Patient?",
    "Patient?name=%",
    "Patient.id,Patient.name",
    "ndjson",
    "application/fhir+ndjson",
    "csv",
    "Patient/p1",
    "true",
];

/// A kick-off with odd parameters, by GET or by POST.
pub(super) fn parameters(site: &Site<'_>, random: &mut StdRng) -> Result<Case> {
    let base = &site.practice.base_url;
    let path =
        draw::one_of(random, &["Patient/$export", "$export", "Group/1.1/$export", "Patient/%24export"]);
    // What would lead to another host or another place is none of this kind.
    let path = if path.contains(['/', '$', '%']) && !path.contains("..") && path.is_ascii() {
        path
    } else {
        "$export".to_owned()
    };
    let given: Vec<(String, String)> = (0..random.random_range(0..5))
        .map(|_| (draw::one_of(random, &NAMES), draw::one_of(random, &VALUES)))
        .collect();
    let url = reqwest::Url::parse(&format!("{base}/{path}"))
        .or_else(|_| reqwest::Url::parse(&format!("{base}/$export")))?;
    let mut request = match random.random_range(0..4) {
        0 => {
            let parameters: Vec<_> =
                given.iter().map(|(name, value)| json!({ "name": name, "valueString": value })).collect();
            let mut body = json!({ "resourceType": "Parameters", "parameter": parameters });
            if random.random_bool(0.6) {
                draw::mutate(random, &mut body);
            }
            site.app.http().post(url).header("Content-Type", "application/fhir+json").body(body.to_string())
        }
        1 => site
            .app
            .http()
            .post(url)
            .header("Content-Type", "application/fhir+json")
            .body(draw::bytes(random, 400)),
        _ => {
            let mut url = url;
            url.query_pairs_mut().extend_pairs(&given);
            site.app.http().get(url)
        }
    };
    request = request.bearer_auth(&site.token).header("Accept", "application/fhir+json");
    let prefer = if random.random_bool(0.5) { "respond-async" } else { "respond-async, handling=lenient" };
    let request = request.header("Prefer", prefer);
    Ok(Case { kind: "parameters", request, secrets: vec![site.token.clone()], grants: false })
}
