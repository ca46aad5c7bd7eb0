//! What `_elements` leaves of a resource (Bulk Data IG, `_elements`; FHIR R4 for the elements that are mandatory).

use serde_json::{Value, json};

/// An element as a request names it: for one type or for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// The type; none: every type that has it.
    pub resource_type: Option<String>,
    /// The name of a root element, without `[x]`.
    pub name: String,
    /// Of a choice, the one member that is named: `valueQuantity`. Whether others stay is left open.
    pub member: Option<String>,
}

/// What always stays, beside what is mandatory.
const ALWAYS: [&str; 5] = ["resourceType", "id", "meta", "implicitRules", "modifierExtension"];

/// Elements with a choice of data types, as far as the types here have them.
const CHOICES: [&str; 11] = [
    "value",
    "effective",
    "onset",
    "abatement",
    "performed",
    "medication",
    "deceased",
    "multipleBirth",
    "occurrence",
    "occurred",
    "start",
];

/// The root elements that base R4 demands.
fn mandatory(resource_type: &str) -> &'static [&'static str] {
    match resource_type {
        "AllergyIntolerance" | "RelatedPerson" => &["patient"],
        "CarePlan" | "ServiceRequest" => &["status", "intent", "subject"],
        "Condition" => &["subject"],
        "Coverage" => &["status", "beneficiary", "payor"],
        "DiagnosticReport" | "Observation" => &["status", "code"],
        "DocumentReference" => &["status", "content"],
        "Encounter" => &["status", "class"],
        "Goal" => &["lifecycleStatus", "description", "subject"],
        "Immunization" => &["status", "vaccineCode", "patient", "occurrence"],
        "MedicationDispense" => &["status", "medication"],
        "MedicationRequest" => &["status", "intent", "medication", "subject"],
        "Procedure" => &["status", "subject"],
        "Provenance" => &["target", "recorded", "agent"],
        "QuestionnaireResponse" => &["status"],
        _ => &[],
    }
}

/// Whether a member is the element: itself, a choice of it, or what is said beside its value (`_birthDate`).
fn is(member: &str, element: &str) -> bool {
    let member = member.strip_prefix('_').unwrap_or(member);
    let choice = CHOICES.contains(&element)
        && member
            .strip_prefix(element)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()));
    member == element || choice
}

/// The name of the element that a member is of.
#[must_use]
pub fn element_of(member: &str) -> &str {
    CHOICES.into_iter().find(|choice| *choice != member && is(member, choice)).unwrap_or(member)
}

/// Whether `found` is what may come of `whole` where these elements were asked for.
pub(super) fn check(
    resource_type: &str,
    whole: &Value,
    elements: &[Element],
    found: &Value,
) -> Result<(), String> {
    let of_type: Vec<&Element> = elements
        .iter()
        .filter(|element| element.resource_type.as_deref().is_none_or(|t| t == resource_type))
        .collect();
    let (Some(whole_members), Some(found_members)) = (whole.as_object(), found.as_object()) else {
        return Err("it is no object".to_owned());
    };
    let asked_for = |member: &str| of_type.iter().any(|element| is(member, &element.name));
    let left_open = |member: &str| {
        let plain = member.trim_start_matches('_');
        of_type
            .iter()
            .filter(|element| is(member, &element.name))
            .all(|element| element.member.as_deref().is_some_and(|named| named != plain))
    };
    if whole == found && !whole_members.keys().any(|member| asked_for(member)) {
        // Nothing was asked of this type: the guide leaves open whether it stays whole.
        return Ok(());
    }
    for member in whole_members.keys().chain(found_members.keys()) {
        let stays = ALWAYS.contains(&member.as_str())
            || mandatory(resource_type).iter().any(|element| is(member, element))
            || asked_for(member);
        let expected = if stays && member != "meta" { whole_members.get(member) } else { None };
        if asked_for(member) && left_open(member) && !found_members.contains_key(member) {
            continue;
        }
        if member != "meta" && found_members.get(member) != expected {
            return Err(format!("its element {member} is wrong"));
        }
    }
    meta(whole, found)
}

fn meta(whole: &Value, found: &Value) -> Result<(), String> {
    let mut expected = if whole["meta"].is_object() { whole["meta"].clone() } else { json!({}) };
    let subsetted =
        json!({ "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED" });
    let same = |tag: &Value| tag["system"] == subsetted["system"] && tag["code"] == subsetted["code"];
    let tags = expected["tag"].as_array().cloned().unwrap_or_default();
    let found_tags = found["meta"]["tag"].as_array().cloned().unwrap_or_default();
    if !found_tags.iter().any(same) {
        return Err("it has no tag SUBSETTED".to_owned());
    }
    let without = |tags: &[Value]| tags.iter().filter(|tag| !same(tag)).cloned().collect::<Vec<_>>();
    let mut rest = found["meta"].clone();
    for meta in [&mut expected, &mut rest] {
        if let Some(members) = meta.as_object_mut() {
            members.remove("tag");
        }
    }
    if without(&tags) != without(&found_tags) || expected != rest {
        return Err("its meta lost something".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_asked_for_must_be_gone_and_what_was_must_be_there() {
        let whole = json!({ "resourceType": "Observation", "id": "1", "status": "final", "code": {},
            "valueQuantity": { "value": 1 }, "note": [{}] });
        let tag = json!({ "tag": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
            "code": "SUBSETTED" }] });
        let asked = [Element { resource_type: None, name: "value".into(), member: None }];
        let right = json!({ "resourceType": "Observation", "id": "1", "status": "final", "code": {},
            "valueQuantity": { "value": 1 }, "meta": tag });
        assert_eq!(check("Observation", &whole, &asked, &right), Ok(()));
        assert!(check("Observation", &whole, &asked, &whole).is_err());
        for member in ["status", "valueQuantity", "meta"] {
            let mut wrong = right.clone();
            wrong.as_object_mut().unwrap().remove(member);
            assert!(check("Observation", &whole, &asked, &wrong).is_err(), "{member}");
        }
        let mut more = right.clone();
        more["note"] = json!([{}]);
        assert!(check("Observation", &whole, &asked, &more).is_err());
    }

    #[test]
    fn a_member_tells_which_element_it_is_of() {
        assert_eq!(element_of("valueQuantity"), "value");
        assert_eq!(element_of("startDate"), "start");
        assert_eq!(element_of("status"), "status");
        assert_eq!(element_of("value"), "value");
    }
}
