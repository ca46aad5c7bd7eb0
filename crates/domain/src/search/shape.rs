//! How a value of a query compares with an element, by the element's shape.

use serde_json::{Map, Value as Json};

use super::Value;
use super::date::{self, Range};

/// Whether an element (no array) is what the value asks for. An element of another shape is not.
pub(super) fn matches(value: &Value, element: &Json) -> bool {
    match value {
        Value::Id(id) => element.as_str() == Some(id),
        Value::Token { system, code } => token(system.as_deref(), code.as_deref(), element),
        Value::Date { prefix, from, to } => {
            range(element).is_some_and(|range| range.compares(*prefix, *from, *to))
        }
        Value::Reference { resource_type, id } => refers(resource_type.as_deref(), id, element),
    }
}

/// `code`, `boolean`, CodeableConcept (any of its codings), Coding and Identifier.
fn token(system: Option<&str>, code: Option<&str>, element: &Json) -> bool {
    match element {
        Json::String(text) => system.is_none() && code == Some(text),
        Json::Bool(flag) => system.is_none() && code == Some(if *flag { "true" } else { "false" }),
        Json::Object(members) => match members.get("coding") {
            Some(Json::Array(codings)) => {
                codings.iter().filter_map(Json::as_object).any(|coding| is_coded(system, code, coding))
            }
            Some(_) => false,
            None => is_coded(system, code, members),
        },
        _ => false,
    }
}

/// Whether a Coding (`code`) or an Identifier (`value`) has the code and the system.
fn is_coded(system: Option<&str>, code: Option<&str>, members: &Map<String, Json>) -> bool {
    let text = |name| members.get(name).and_then(Json::as_str);
    let same_system = match system {
        None => true,
        Some("") => text("system").is_none_or(str::is_empty),
        Some(system) => text("system") == Some(system),
    };
    same_system && (code.is_none() || text("code").or_else(|| text("value")) == code)
}

/// The range of a `date`, `dateTime`, `instant`, Period or Timing.
fn range(element: &Json) -> Option<Range> {
    match element {
        Json::String(text) => date::range(text).map(Range::from),
        Json::Object(members) if members.contains_key("event") || members.contains_key("repeat") => {
            timing(members)
        }
        Json::Object(members) => period(members),
        _ => None,
    }
}

/// A bound that a Period lacks is no bound; a Period without both says nothing. A bound that cannot be read
/// makes the Period unreadable.
fn period(members: &Map<String, Json>) -> Option<Range> {
    let bound =
        |name| members.get(name).map(|text| text.as_str().and_then(date::range).ok_or(())).transpose();
    let (start, end) = (bound("start").ok()?, bound("end").ok()?);
    (start.is_some() || end.is_some())
        .then(|| Range { from: start.map(|(from, _)| from), to: end.map(|(_, to)| to) })
}

/// The outer limits of a Timing: its events and the period that its repetition is bound to.
fn timing(members: &Map<String, Json>) -> Option<Range> {
    let events = members.get("event").and_then(Json::as_array).into_iter().flatten();
    let events = events.filter_map(Json::as_str).filter_map(date::range).map(Range::from);
    let bounds = members.get("repeat").and_then(|repeat| repeat.get("boundsPeriod"));
    events.chain(bounds.and_then(Json::as_object).and_then(period)).reduce(Range::around)
}

/// Whether a Reference leads to the resource. A text without a type is of the type that `type` names, or else
/// may be of any.
fn refers(resource_type: Option<&str>, id: &str, element: &Json) -> bool {
    let text = |name| element.get(name).and_then(Json::as_str);
    let Some((found_type, found_id)) = text("reference").and_then(target) else { return false };
    let found_type = found_type.or_else(|| text("type"));
    found_id == id && resource_type.zip(found_type).is_none_or(|(wanted, found)| wanted == found)
}

/// Type and id that a reference names: `Type/id`, `id` or a URL that ends so; a version at its end is ignored.
/// Contained resources, URNs and queries name none.
pub(super) fn target(reference: &str) -> Option<(Option<&str>, &str)> {
    let mut parts = reference.rsplit('/');
    let mut id = parts.next()?;
    let mut before = parts.next();
    if before == Some("_history") {
        id = parts.next()?;
        before = parts.next();
    }
    if !is_id(id) {
        return None;
    }
    let Some(resource_type) = before else { return Some((None, id)) };
    let capital = resource_type.as_bytes().first().is_some_and(u8::is_ascii_uppercase);
    let is_type = capital && resource_type.bytes().all(|b| b.is_ascii_alphabetic());
    let is_whole = reference.starts_with("http://") || reference.starts_with("https://");
    (is_type && (is_whole || parts.next().is_none())).then_some((Some(resource_type), id))
}

/// Whether the text is a legal FHIR id.
pub(super) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}
