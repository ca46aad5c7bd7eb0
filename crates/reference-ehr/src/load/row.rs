//! From a line to the columns of its row: type, id and the patient it belongs to.
//!
//! Only the few fields needed are parsed, borrowed from the line; the rest is skipped over, and the line
//! itself stays the body.

use std::borrow::Cow;

use headgate_domain::ResourceType;
use headgate_domain::ids::is_fhir_id;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::LineProblem;

/// What the columns of a line's row are, besides the body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub resource_type: ResourceType,
    pub id: Cow<'a, str>,
    pub owner: Owner<'a>,
}

/// Whose a resource is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Owner<'a> {
    /// The practice's: its directory and its Medication rows.
    Practice,
    /// This patient's.
    Patient(Cow<'a, str>),
    /// That of another resource, which the database must tell: a Provenance about an Encounter.
    SameAs(ResourceType, Cow<'a, str>),
}

/// The top-level fields of which one or the other names the owner. They stay raw until the type is
/// known, because a field of another type may have the same name and a different shape.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "resourceType")]
    resource_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    subject: Option<&'a RawValue>,
    #[serde(borrow)]
    patient: Option<&'a RawValue>,
    #[serde(borrow)]
    beneficiary: Option<&'a RawValue>,
    #[serde(borrow)]
    target: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Reference<'a> {
    #[serde(borrow)]
    reference: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    target_type: Option<Cow<'a, str>>,
}

/// Reads the columns out of one line.
///
/// # Errors
/// When the line is not a resource of a known type with a legal id, or its owner cannot be told.
pub(super) fn parse(line: &[u8]) -> Result<Row<'_>, LineProblem> {
    let line = std::str::from_utf8(line).map_err(|_| LineProblem::NotUtf8)?;
    let head: Head<'_> = serde_json::from_str(line).map_err(|e| LineProblem::NotAResource(e.column()))?;
    let resource_type = head.resource_type.as_ref().ok_or(LineProblem::NoType)?;
    let resource_type = resource_type.parse().map_err(|_| LineProblem::UnknownType)?;
    let id = head.id.clone().ok_or(LineProblem::NoId)?;
    if !is_fhir_id(&id) {
        return Err(LineProblem::InvalidId);
    }
    let owner = owner(resource_type, &id, &head)?;
    Ok(Row { resource_type, id, owner })
}

/// Whose the resource is: the compartment parameter of its type (FHIR R4, `CompartmentDefinition/patient`),
/// and for Device, which that list leaves out, `Device.patient`, which US Core requires.
fn owner<'a>(
    resource_type: ResourceType,
    id: &Cow<'a, str>,
    head: &Head<'a>,
) -> Result<Owner<'a>, LineProblem> {
    use ResourceType as T;
    let (path, reference) = match resource_type {
        T::Location | T::Medication | T::Organization | T::Practitioner | T::PractitionerRole => {
            return Ok(Owner::Practice);
        }
        T::Patient => return Ok(Owner::Patient(id.clone())),
        T::Provenance => return provenance_owner(head.target),
        T::AllergyIntolerance | T::Device | T::Immunization | T::RelatedPerson => ("patient", head.patient),
        T::Coverage => ("beneficiary", head.beneficiary),
        T::CarePlan
        | T::CareTeam
        | T::Condition
        | T::DiagnosticReport
        | T::DocumentReference
        | T::Encounter
        | T::Goal
        | T::MedicationDispense
        | T::MedicationRequest
        | T::Observation
        | T::Procedure
        | T::QuestionnaireResponse
        | T::ServiceRequest
        | T::Specimen => ("subject", head.subject),
    };
    reference
        .and_then(|raw| serde_json::from_str::<Reference<'a>>(raw.get()).ok())
        .and_then(|reference| match resolve(reference)? {
            (None | Some(T::Patient), patient) => Some(Owner::Patient(patient)),
            _ => None,
        })
        .ok_or(LineProblem::NoPatient(path))
}

/// A Provenance belongs to the owner of its target: a target that is a Patient decides, else the first
/// target of a type that belongs to patients.
fn provenance_owner(target: Option<&RawValue>) -> Result<Owner<'_>, LineProblem> {
    let targets: Vec<Reference<'_>> =
        target.and_then(|raw| serde_json::from_str(raw.get()).ok()).ok_or(LineProblem::NoOwnedTarget)?;
    let mut first = None;
    for (resource_type, id) in targets.into_iter().filter_map(resolve) {
        match resource_type {
            Some(ResourceType::Patient) => return Ok(Owner::Patient(id)),
            Some(ResourceType::Provenance) | None => {}
            Some(owned) if owned.is_patient_owned() => {
                first.get_or_insert(Owner::SameAs(owned, id));
            }
            Some(_) => {}
        }
    }
    first.ok_or(LineProblem::NoOwnedTarget)
}

/// The type and id of a literal reference (FHIR R4, References): relative (`Patient/1`), absolute
/// (`https://ehr.example.org/fhir/Patient/1`), of a version (`Patient/1/_history/2`), or `urn:uuid:…`,
/// whose type is that of `Reference.type` or not known. `None` for anything else.
fn resolve(reference: Reference<'_>) -> Option<(Option<ResourceType>, Cow<'_, str>)> {
    let named_type = reference.target_type.as_deref().map(str::parse);
    let text = reference.reference?;
    if let Some(uuid) = text.strip_prefix("urn:uuid:") {
        let named_type = named_type.transpose().ok()?;
        return is_fhir_id(uuid).then(|| (named_type, part(&text, "urn:uuid:".len(), uuid.len())));
    }
    let current = text.split_once("/_history/").map_or(&*text, |(current, _)| current);
    let (before, id) = current.rsplit_once('/')?;
    let name = before.rsplit_once('/').map_or(before, |(_, name)| name);
    let resource_type = name.parse().ok()?;
    is_fhir_id(id).then(|| (Some(resource_type), part(&text, before.len() + 1, id.len())))
}

/// A part of a text, borrowed from the line where the text is.
fn part<'a>(text: &Cow<'a, str>, start: usize, len: usize) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[start..start + len]),
        Cow::Owned(text) => Cow::Owned(text[start..start + len].to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner_of(line: &str) -> Result<Owner<'_>, LineProblem> {
        parse(line.as_bytes()).map(|row| row.owner)
    }

    fn patient(id: &str) -> Owner<'_> {
        Owner::Patient(Cow::Borrowed(id))
    }

    #[test]
    fn every_type_has_the_owner_that_its_compartment_parameter_names() {
        for t in ResourceType::ALL {
            let (field, expected) = match t.name() {
                "Location" | "Medication" | "Organization" | "Practitioner" | "PractitionerRole" => {
                    ("", Owner::Practice)
                }
                "Patient" => ("", patient("x.1")),
                "AllergyIntolerance" | "Device" | "Immunization" | "RelatedPerson" => {
                    (r#","patient":{"reference":"Patient/p-1"}"#, patient("p-1"))
                }
                "Coverage" => (r#","beneficiary":{"reference":"Patient/p-1"}"#, patient("p-1")),
                "Provenance" => (r#","target":[{"reference":"Patient/p-1"}]"#, patient("p-1")),
                _ => (r#","subject":{"reference":"Patient/p-1"}"#, patient("p-1")),
            };
            let line = format!(r#"{{"resourceType":"{t}","id":"x.1"{field}}}"#);
            let row = parse(line.as_bytes()).unwrap();
            assert_eq!((row.resource_type, &*row.id, row.owner), (*t, "x.1", expected), "{t}");
            assert_eq!(t.is_patient_owned(), owner_of(&line) != Ok(Owner::Practice), "{t}");
            if !field.is_empty() {
                let line = format!(r#"{{"resourceType":"{t}","id":"x.1"}}"#);
                assert!(owner_of(&line).is_err(), "a {t} of nobody was accepted");
            }
        }
    }

    #[test]
    fn a_patient_is_found_behind_every_form_of_reference() {
        for reference in [
            "Patient/p-1",
            "https://ehr.example.org/fhir/r4/Patient/p-1",
            "Patient/p-1/_history/7",
            "urn:uuid:p-1",
            r"Patient\/p-1",
            r"\u0050atient/p-1",
        ] {
            let line =
                format!(r#"{{"resourceType":"Goal","subject":{{"reference":"{reference}"}},"id":"g"}}"#);
            assert_eq!(owner_of(&line), Ok(patient("p-1")), "{reference}");
        }
    }

    #[test]
    fn a_reference_that_is_not_to_a_patient_is_refused() {
        for reference in ["Group/1", "Patient/", "Patient", "#p1", "Patient?identifier=1", "Patient/a b", ""]
        {
            let line =
                format!(r#"{{"resourceType":"Goal","id":"g","subject":{{"reference":"{reference}"}}}}"#);
            assert_eq!(owner_of(&line), Err(LineProblem::NoPatient("subject")), "{reference}");
        }
        let typed = r#"{"resourceType":"Goal","id":"g","subject":{"reference":"urn:uuid:1","type":"Group"}}"#;
        assert_eq!(owner_of(typed), Err(LineProblem::NoPatient("subject")));
    }

    #[test]
    fn a_nested_field_of_the_same_name_is_not_the_owner() {
        let line = r#"{"resourceType":"Condition","id":"c","contained":[{"subject":{"reference":"Patient/no"}}],"subject":{"reference":"Patient/yes"}}"#;
        assert_eq!(owner_of(line), Ok(patient("yes")));
    }

    #[test]
    fn a_provenance_belongs_to_its_patient_target_or_to_the_owner_of_its_first_owned_target() {
        let with =
            |targets: &str| format!(r#"{{"resourceType":"Provenance","id":"v","target":[{targets}]}}"#);
        let organization = r#"{"reference":"Organization/o"}"#;
        let claim = r#"{"reference":"Claim/1"}"#;
        let encounter = r#"{"reference":"Encounter/e"}"#;
        let visitor = r#"{"reference":"Patient/p"}"#;
        let line = with(&[organization, encounter, visitor].join(","));
        assert_eq!(owner_of(&line), Ok(patient("p")));
        let line = with(&[claim, organization, encounter].join(","));
        assert_eq!(owner_of(&line), Ok(Owner::SameAs(ResourceType::Encounter, "e".into())));
        let line = with(&[claim, organization].join(","));
        assert_eq!(owner_of(&line), Err(LineProblem::NoOwnedTarget));
    }

    #[test]
    fn a_line_that_is_no_resource_is_refused_for_what_is_missing() {
        let cases: [(&[u8], LineProblem); 6] = [
            (br#"{"id":"1"}"#, LineProblem::NoType),
            (br#"{"resourceType":"Claim","id":"1"}"#, LineProblem::UnknownType),
            (br#"{"resourceType":"Patient"}"#, LineProblem::NoId),
            (br#"{"resourceType":"Patient","id":"a_b"}"#, LineProblem::InvalidId),
            (b"{\"resourceType\":\"Patient\",\"id\":\"\xFF\"}", LineProblem::NotUtf8),
            (br#"{"resourceType":"Patient","id":"1""#, LineProblem::NotAResource(34)),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line), Err(expected));
        }
        for line in [&b"[1]"[..], br#"{"resourceType":"Patient","id":1}"#, b"{} {}", b"\xEF\xBB\xBF{}"] {
            assert!(matches!(parse(line), Err(LineProblem::NotAResource(_))));
        }
    }

    #[test]
    fn a_trailing_carriage_return_belongs_to_the_body() {
        assert!(parse(b"{\"resourceType\":\"Patient\",\"id\":\"1\"}\r").is_ok());
    }
}
