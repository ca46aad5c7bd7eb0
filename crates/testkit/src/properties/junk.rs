//! Requests that no program would write by intention.

use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngCore as _};

use super::ask::{Ask, Case, Form, Given, Verdict, Wire, body, encoded};
use super::generate::Draw;

/// A case of random bytes, or of a body that is no `Parameters` resource.
pub(super) fn case(mut draw: Draw<'_>, mut ask: Ask, number: u64, site: usize, client: usize) -> Case {
    ask.partial = false;
    let (mut headers, refused) = draw.headers(&ask);
    let path = ask.level.path();
    let mut verdict = Verdict::Open;
    let wire = if draw.random.random_bool(0.5) {
        let path = format!("{path}?{}", random_query(&mut draw));
        Wire { form: Form::Get, path, headers, body: Vec::new() }
    } else {
        let (body, content, must_fail) = random_body(&mut draw);
        if must_fail {
            verdict = Verdict::Refused("the body is no list of parameters");
        }
        headers.push(("content-type", content.to_owned()));
        Wire { form: Form::Post, path, headers, body }
    };
    if let Some(why) = refused {
        verdict = Verdict::Refused(why);
    }
    Case { number, site, client, ask, wires: vec![wire], verdict }
}

fn random_query(draw: &mut Draw<'_>) -> String {
    let names =
        ["_type", "_since", "_until", "_typeFilter", "_elements", "_outputFormat", "patient", "x", ""];
    let mut parts = Vec::new();
    for _ in 0..draw.random.random_range(1..5) {
        let name = names.choose(&mut draw.random).copied().unwrap_or_default();
        let mut value = String::new();
        for _ in 0..draw.random.random_range(0..24) {
            match draw.random.random_range(0..5) {
                0 => value.push_str(&format!("%{:02X}", draw.random.next_u32() & 0xff)),
                1 => value.push_str(
                    ["%", "%2", "%zz", "+", ";", "?", "=", "%00", "%E2%80%A8"]
                        .choose(&mut draw.random)
                        .copied()
                        .unwrap_or("%"),
                ),
                2 => value.push_str(
                    ["Patient", "Patient?", "Goal?_id=", "2020-01-01", "|", ",", "%26"]
                        .choose(&mut draw.random)
                        .copied()
                        .unwrap_or(","),
                ),
                _ => value.push(char::from(draw.random.random_range(b'!'..=b'~'))),
            }
        }
        let between = ["=", "", "=="].choose(&mut draw.random).copied().unwrap_or("=");
        parts.push(format!("{name}{between}{}", value.replace('#', "!")));
    }
    parts.join(["&", "&&", ";"].choose(&mut draw.random).copied().unwrap_or("&"))
}

/// A body, its content type, and whether it has to be refused.
fn random_body(draw: &mut Draw<'_>) -> (Vec<u8>, &'static str, bool) {
    const FHIR: &str = "application/fhir+json";
    let parameters =
        |list: &str| format!(r#"{{"resourceType":"Parameters","parameter":[{list}]}}"#).into_bytes();
    let good = body(&[Given::text("_type", "Patient")]);
    let of_patient = |member: &str| parameters(&format!(r#"{{"name":"patient",{member}}}"#));
    let texts: [&[u8]; 12] = [
        b"[]",
        b"{",
        b"null",
        b"\"x\"",
        b"{\"resourceType\":\"Patient\"}",
        b"{\"parameter\":[]}",
        b"{\"resourceType\":\"Parameters\",\"parameter\":{}}",
        b"{\"resourceType\":\"Parameters\",\"parameter\":[1]}",
        b"{\"resourceType\":7}",
        b"\xef\xbb\xbf[]",
        b"_type=Patient",
        b"\0\0\0",
    ];
    match draw.random.random_range(0..10) {
        0 | 1 => (texts.choose(&mut draw.random).map(|text| text.to_vec()).unwrap_or_default(), FHIR, true),
        2 => {
            let mut bytes = vec![0; draw.random.random_range(8..200)];
            draw.random.fill_bytes(&mut bytes);
            (bytes, FHIR, true)
        }
        3 => (good[..draw.random.random_range(1..good.len())].to_vec(), FHIR, true),
        4 => {
            let types = [
                "text/plain",
                "application/xml",
                "application/x-www-form-urlencoded",
                "application/fhir+xml",
                "json",
            ];
            (good, types.choose(&mut draw.random).copied().unwrap_or("text/plain"), true)
        }
        5 => {
            let members = [
                r#""valueString":"Patient/1""#,
                r#""valueReference":{"reference":"Group/1"}"#,
                r#""valueReference":{}"#,
                r#""valueReference":{"reference":"1"}"#,
                r#""valueReference":"Patient/1""#,
                r#""valueBoolean":true"#,
            ];
            (
                of_patient(members.choose(&mut draw.random).copied().unwrap_or(r#""valueReference":{}"#)),
                FHIR,
                true,
            )
        }
        6 => {
            let lists = [
                r#"{"valueString":"Patient"}"#,
                r#"{"name":"_type"}"#,
                r#"{"name":"_type","valueInteger":1}"#,
                r#"{"name":"_type","valueString":"Patient","valueCode":"Goal"}"#,
                r#"{"name":1,"valueString":"x"}"#,
                r#"{"name":"_since","valueInstant":"2020-01-01"}"#,
                r#"{"name":"_type","valueString":null}"#,
            ];
            (parameters(lists.choose(&mut draw.random).copied().unwrap_or("1")), FHIR, true)
        }
        7 => (format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000)).into_bytes(), FHIR, true),
        8 => (Vec::new(), FHIR, false),
        _ => (encoded("Parameters", false).into_bytes(), FHIR, true),
    }
}
