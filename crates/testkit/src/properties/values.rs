//! Values of search parameters, drawn from what a practice holds, so that most of them match something.

use chrono::{DateTime, TimeDelta, Utc};
use headgate_domain::{ResourceType, search};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngCore as _};
use serde_json::Value;

use super::data::Data;
use crate::oracle::search::{Criterion, Definition, Prefix, Query, Shape, Wanted, definition};

/// Resources that are looked at to find one that has the element.
const TRIES: usize = 40;

/// The names of the parameters that the server says it supports for a type.
#[must_use]
pub fn supported(resource_type: &str) -> Vec<&'static str> {
    let known = resource_type.parse::<ResourceType>();
    known.map(|t| search::parameters(t).iter().map(|p| p.name).collect()).unwrap_or_default()
}

/// A query for a type with one or two criteria; none if nothing of it can be searched.
pub fn query(random: &mut StdRng, data: &Data, resource_type: &str) -> Option<Query> {
    let names = supported(resource_type);
    let mut criteria = Vec::new();
    for _ in 0..random.random_range(1..=2) {
        let name = names.choose(random)?;
        let mut values = Vec::new();
        for _ in 0..[1, 1, 1, 2, 3].choose(random).copied()? {
            values.push(wanted(random, data, resource_type, name)?);
        }
        criteria.push(Criterion { parameter: (*name).to_owned(), values });
    }
    Some(Query { resource_type: resource_type.to_owned(), criteria })
}

/// A value of a parameter; none if the oracle does not know the parameter.
pub fn wanted(random: &mut StdRng, data: &Data, resource_type: &str, name: &str) -> Option<Wanted> {
    let definition = definition(resource_type, name)?;
    let element = sample(random, data, resource_type, &definition);
    Some(match definition.shape {
        Shape::Id => {
            let id = element.as_ref().and_then(Value::as_str).unwrap_or("nothing");
            Wanted::Id(if random.random_bool(0.1) { "no-such-id".to_owned() } else { id.to_owned() })
        }
        Shape::Date => date(random, element.as_ref()),
        Shape::Reference | Shape::Patient => reference(random, definition.shape, element.as_ref()),
        shape => token(random, shape, element.as_ref()),
    })
}

/// An element that a parameter looks at, of any of the type's resources.
fn sample(random: &mut StdRng, data: &Data, resource_type: &str, definition: &Definition) -> Option<Value> {
    for _ in 0..TRIES {
        let n = usize::try_from(random.next_u32()).unwrap_or_default();
        let resource = data.nth(resource_type, n)?;
        if let Some(element) = definition.elements(&resource.body).choose(random) {
            return Some((*element).clone());
        }
    }
    None
}

fn token(random: &mut StdRng, shape: Shape, element: Option<&Value>) -> Wanted {
    let absent = random.random_bool(0.08);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let (system, code) = match (shape, element) {
        _ if absent => (Some("http://nothing.example".to_owned()), Some("no-such-code".to_owned())),
        (Shape::Concept, Some(concept)) => {
            let coding = concept["coding"].as_array().and_then(|all| all.choose(random));
            coding.map_or((None, None), |coding| (text(&coding["system"]), text(&coding["code"])))
        }
        (Shape::Coding, Some(coding)) => (text(&coding["system"]), text(&coding["code"])),
        (Shape::Identifier, Some(identifier)) => (text(&identifier["system"]), text(&identifier["value"])),
        (Shape::Flag, Some(flag)) => (None, flag.as_bool().map(|flag| flag.to_string())),
        (_, element) => (None, element.and_then(text)),
    };
    let default = if shape == Shape::Flag { "true" } else { "no-such-code" };
    let code = code.filter(|code| !code.is_empty());
    if !shape.has_system() {
        return Wanted::Token { system: None, code: Some(code.unwrap_or_else(|| default.to_owned())) };
    }
    let code = code.unwrap_or_else(|| default.to_owned());
    match (random.random_range(0..8), system) {
        (0 | 1, Some(system)) => Wanted::Token { system: Some(system), code: None },
        (2, _) => Wanted::Token { system: Some(String::new()), code: Some(code) },
        (3..=5, Some(system)) => Wanted::Token { system: Some(system), code: Some(code) },
        _ => Wanted::Token { system: None, code: Some(code) },
    }
}

fn reference(random: &mut StdRng, shape: Shape, element: Option<&Value>) -> Wanted {
    let text = element.and_then(|element| element["reference"].as_str()).unwrap_or("Patient/nobody");
    let current = text.split("/_history/").next().unwrap_or_default();
    let mut parts = current.rsplit('/');
    let (id, of) = (parts.next().unwrap_or("nobody"), parts.next().unwrap_or("Patient"));
    let patients_only = shape == Shape::Patient && of != "Patient";
    let id = if random.random_bool(0.05) { "nobody" } else { id };
    let resource_type = match random.random_range(0..6) {
        _ if patients_only => None,
        0 | 1 => None,
        2 if shape == Shape::Reference => Some("Organization"),
        _ => Some(of),
    };
    Wanted::Reference { resource_type: resource_type.map(str::to_owned), id: id.to_owned() }
}

fn date(random: &mut StdRng, element: Option<&Value>) -> Wanted {
    let text = element.and_then(moment).unwrap_or_else(|| "2015-06-15T12:00:00Z".to_owned());
    let prefix = [&[None], Prefix::ALL.map(Some).as_slice()].concat().choose(random).copied().flatten();
    let text = if random.random_bool(0.3) { shifted(random, &text).unwrap_or(text) } else { text };
    Wanted::Date { prefix, text: cut(random, &text) }
}

/// A date that an element holds.
fn moment(element: &Value) -> Option<String> {
    let held = match element {
        Value::String(_) => Some(element),
        Value::Object(_) => [&element["start"], &element["end"], &element["event"][0]]
            .into_iter()
            .chain([&element["repeat"]["boundsPeriod"]["start"]])
            .find(|value| value.is_string()),
        _ => None,
    };
    held.and_then(Value::as_str).map(str::to_owned)
}

/// The same some time earlier or later.
fn shifted(random: &mut StdRng, text: &str) -> Option<String> {
    let time: DateTime<Utc> = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    let seconds = [1, 3600, 86_400, 40 * 86_400].choose(random).copied()?;
    let by = TimeDelta::seconds(if random.random_bool(0.5) { seconds } else { -seconds });
    Some((time + by).format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

/// The same, less precise.
fn cut(random: &mut StdRng, text: &str) -> String {
    let zone = text.get(19..).and_then(|rest| rest.find(['Z', '+', '-']).map(|at| &rest[at..]));
    let precisions: &[usize] = match text.len() {
        ..=9 => return text.to_owned(),
        10 => &[4, 7, 10],
        _ => &[4, 7, 10, 10, 16, 19, usize::MAX],
    };
    let precision = precisions.choose(random).copied().unwrap_or(usize::MAX);
    match (text.get(..precision), zone) {
        (Some(start), Some(zone)) if precision > 10 => format!("{start}{zone}"),
        (Some(start), _) => start.to_owned(),
        (None, _) => text.to_owned(),
    }
}
