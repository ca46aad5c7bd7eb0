//! One resource, looked at as far as that goes without its profile: is it JSON as FHIR has it, and does it say
//! the same as its row.

use chrono::DateTime;
use headgate_domain::{ResourceType, ids};
use serde_json::{Map, Value};

/// What can be wrong with a row or a resource; in the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    NoPatient,
    OtherPatient,
    IllegalId,
    NoResource,
    TooLong,
    NotJson,
    OtherType,
    OtherId,
    Empty,
    LineBreak,
    OtherStamp,
    NoStamp,
    Reference,
}

/// What the row says of its resource.
pub(super) struct Expected<'r> {
    pub resource_type: ResourceType,
    pub id: &'r str,
    /// What the template puts behind the id.
    pub suffix: &'r str,
    /// `last_updated` in milliseconds since 1970; none where it is unknown.
    pub stamp: Option<i64>,
}

/// Everything that is wrong with a resource.
pub(super) fn faults(json: &[u8], expected: &Expected<'_>) -> Vec<Fault> {
    let mut found = Vec::new();
    let mut found_if = |is: bool, fault| {
        if is {
            found.push(fault);
        }
    };
    found_if(json.iter().any(|b| matches!(b, b'\n' | b'\r')), Fault::LineBreak);
    found_if(!expected.suffix.is_empty() && !is_legal_id(expected), Fault::IllegalId);
    let Ok(Value::Object(resource)) = serde_json::from_slice(json) else {
        found.push(Fault::NotJson);
        return found;
    };
    let text = |name: &str| resource.get(name).and_then(Value::as_str);
    found_if(text("resourceType") != Some(expected.resource_type.name()), Fault::OtherType);
    let id = text("id").and_then(|id| id.strip_prefix(expected.id));
    found_if(id != Some(expected.suffix), Fault::OtherId);
    found_if(has_empty(&resource), Fault::Empty);
    found_if(has_foreign_reference(&resource), Fault::Reference);
    if let Some(stamp) = expected.stamp {
        match resource.get("meta").and_then(|meta| meta.get("lastUpdated")) {
            None => found_if(true, Fault::NoStamp),
            Some(told) => found_if(milliseconds(told) != Some(stamp), Fault::OtherStamp),
        }
    }
    found
}

fn is_legal_id(expected: &Expected<'_>) -> bool {
    ids::is_fhir_id(&format!("{}{}", expected.id, expected.suffix))
}

fn milliseconds(instant: &Value) -> Option<i64> {
    DateTime::parse_from_rfc3339(instant.as_str()?).ok().map(|moment| moment.timestamp_millis())
}

/// Whether there is a null, `{}`, `[]` or `""` anywhere. A null may stand in an array of primitives as long as
/// it has extensions there: `"given": [null], "_given": [{…}]`.
fn has_empty(object: &Map<String, Value>) -> bool {
    object.iter().any(|(name, value)| {
        let twin = name.strip_prefix('_').map_or_else(|| format!("_{name}"), str::to_owned);
        match value {
            Value::Array(elements) if object.contains_key(&twin) && !elements.is_empty() => {
                elements.iter().any(|element| !element.is_null() && is_empty(element))
            }
            value => is_empty(value),
        }
    })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty() || elements.iter().any(is_empty),
        Value::Object(members) => members.is_empty() || has_empty(members),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether a reference is anything but `Type/id` or `#id`: the receiver could not resolve it in the export.
fn has_foreign_reference(object: &Map<String, Value>) -> bool {
    object.iter().any(|(name, value)| match value {
        Value::String(text) => name == "reference" && !is_relative(text),
        Value::Array(elements) => elements.iter().filter_map(Value::as_object).any(has_foreign_reference),
        Value::Object(members) => has_foreign_reference(members),
        _ => false,
    })
}

fn is_relative(reference: &str) -> bool {
    let is_type = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_uppercase()) && name.bytes().all(|b| b.is_ascii_alphabetic())
    };
    reference.starts_with('#')
        || reference.split_once('/').is_some_and(|(name, id)| is_type(name) && ids::is_fhir_id(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str) -> Vec<Fault> {
        let expected = Expected {
            resource_type: ResourceType::Patient,
            id: "a",
            suffix: "-x",
            stamp: Some(1_773_000_000_123),
        };
        faults(json.as_bytes(), &expected)
    }

    const GOOD: &str =
        r#"{"resourceType":"Patient","id":"a-x","meta":{"lastUpdated":"2026-03-08T20:00:00.123Z"}"#;

    #[test]
    fn a_resource_that_agrees_with_its_row_has_no_fault() {
        assert_eq!(found(&format!("{GOOD}}}")), []);
        let full = r##","n":[{"given":["b",null],"_given":[null,{"id":"c"}]}],"o":{"reference":"Organization/1.a"},"c":{"reference":"#d"}}"##;
        assert_eq!(found(&format!("{GOOD}{full}")), []);
    }

    #[test]
    fn each_fault_is_found() {
        for (json, fault) in [
            ("{".to_owned(), Fault::NotJson),
            ("[]".to_owned(), Fault::NotJson),
            (GOOD.replace("Patient", "Device") + "}", Fault::OtherType),
            (GOOD.replace("a-x", "b-x") + "}", Fault::OtherId),
            (GOOD.replace(".123Z", "Z") + "}", Fault::OtherStamp),
            (GOOD.replace("lastUpdated", "versionId") + "}", Fault::NoStamp),
            (format!("{GOOD},\n\"b\":true}}"), Fault::LineBreak),
            (format!("{GOOD},\"b\":null}}"), Fault::Empty),
            (format!("{GOOD},\"b\":[{{\"c\":{{}}}}]}}"), Fault::Empty),
            (format!("{GOOD},\"b\":[]}}"), Fault::Empty),
            (format!("{GOOD},\"b\":\"\"}}"), Fault::Empty),
            (format!("{GOOD},\"b\":[null]}}"), Fault::Empty),
            (format!("{GOOD},\"b\":{{\"reference\":\"https://ehr.example/Patient/1\"}}}}"), Fault::Reference),
            (format!("{GOOD},\"b\":[{{\"reference\":\"Patient/1_2\"}}]}}"), Fault::Reference),
            (format!("{GOOD},\"b\":{{\"reference\":\"urn:uuid:1\"}}}}"), Fault::Reference),
        ] {
            assert_eq!(found(&json), [fault], "{json}");
        }
    }
}
