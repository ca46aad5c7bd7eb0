//! The search parameters of FHIR R4 and US Core 6.1.0: which elements each looks at, and of which data type
//! they are. Written from the definitions, as far as they are tokens, dates and references.

use serde_json::Value;

/// A search parameter of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition {
    /// What its elements are.
    pub shape: Shape,
    paths: &'static str,
}

/// The data type of the elements that a parameter looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The id of the resource.
    Id,
    /// `CodeableConcept`.
    Concept,
    /// `Coding`.
    Coding,
    /// `Identifier`.
    Identifier,
    /// `code` or `string`.
    Code,
    /// `boolean`.
    Flag,
    /// `date`, `dateTime`, `instant`, `Period` or `Timing`.
    Date,
    /// `Reference`.
    Reference,
    /// `Reference`, as far as it is to a Patient.
    Patient,
}

impl Shape {
    /// Whether its values are tokens with a system.
    #[must_use]
    pub fn has_system(self) -> bool {
        matches!(self, Self::Concept | Self::Coding | Self::Identifier)
    }
}

use Shape::{Code, Coding, Concept, Date, Flag, Identifier, Patient, Reference};

/// Types, name, shape and paths. A path is of element names; `onset:DateTime,Period` are the choices of
/// `onset[x]`; `|` stands between paths.
const DEFINITIONS: &[(&str, &str, Shape, &str)] = &[
    ("*", "_id", Shape::Id, "id"),
    ("*", "_lastUpdated", Date, "meta.lastUpdated"),
    ("AllergyIntolerance Device Immunization RelatedPerson", "patient", Patient, "patient"),
    (
        "CarePlan CareTeam Condition DiagnosticReport DocumentReference Encounter Goal MedicationDispense \
         MedicationRequest Observation Procedure QuestionnaireResponse ServiceRequest Specimen",
        "patient",
        Patient,
        "subject",
    ),
    ("Coverage", "patient", Patient, "beneficiary"),
    ("Provenance", "patient", Patient, "target"),
    (
        "CarePlan CareTeam Condition DiagnosticReport DocumentReference Encounter Goal MedicationDispense \
         MedicationRequest Observation Procedure QuestionnaireResponse ServiceRequest Specimen",
        "subject",
        Reference,
        "subject",
    ),
    (
        "CarePlan CareTeam Condition DiagnosticReport MedicationRequest Observation Procedure \
         QuestionnaireResponse ServiceRequest",
        "encounter",
        Reference,
        "encounter",
    ),
    (
        "AllergyIntolerance CarePlan CareTeam Condition Coverage Device DiagnosticReport Encounter Goal \
         Immunization Location MedicationDispense MedicationRequest Observation Organization Patient \
         Practitioner PractitionerRole Procedure RelatedPerson ServiceRequest Specimen",
        "identifier",
        Identifier,
        "identifier",
    ),
    ("Medication QuestionnaireResponse", "identifier", Identifier, "identifier"),
    ("DocumentReference", "identifier", Identifier, "masterIdentifier|identifier"),
    (
        "CarePlan CareTeam Coverage Device DiagnosticReport DocumentReference Encounter Immunization Location \
         Medication MedicationDispense MedicationRequest Observation Procedure QuestionnaireResponse \
         ServiceRequest Specimen",
        "status",
        Code,
        "status",
    ),
    ("Goal", "lifecycle-status", Code, "lifecycleStatus"),
    ("CarePlan MedicationRequest ServiceRequest", "intent", Code, "intent"),
    ("AllergyIntolerance Condition", "clinical-status", Concept, "clinicalStatus"),
    ("AllergyIntolerance Condition", "verification-status", Concept, "verificationStatus"),
    ("AllergyIntolerance", "category", Code, "category"),
    ("AllergyIntolerance", "type", Code, "type"),
    ("AllergyIntolerance", "criticality", Code, "criticality"),
    ("AllergyIntolerance", "code", Concept, "code|reaction.substance"),
    ("AllergyIntolerance", "date", Date, "recordedDate"),
    ("AllergyIntolerance", "last-date", Date, "lastOccurrence"),
    (
        "CarePlan CareTeam Condition DiagnosticReport DocumentReference Goal MedicationRequest Observation \
         ServiceRequest",
        "category",
        Concept,
        "category",
    ),
    ("Procedure", "category", Concept, "category"),
    ("Condition DiagnosticReport Medication Observation Procedure ServiceRequest", "code", Concept, "code"),
    ("MedicationDispense MedicationRequest", "code", Concept, "medication:CodeableConcept"),
    ("CarePlan CareTeam Encounter PractitionerRole", "date", Date, "period"),
    ("CareTeam", "role", Concept, "participant.role"),
    ("Condition", "onset-date", Date, "onset:DateTime,Period"),
    ("Condition", "abatement-date", Date, "abatement:DateTime,Period"),
    ("Condition", "recorded-date", Date, "recordedDate"),
    ("Coverage", "beneficiary", Reference, "beneficiary"),
    (
        "Coverage Device DocumentReference Encounter Location MedicationDispense Organization Specimen",
        "type",
        Concept,
        "type",
    ),
    ("DiagnosticReport", "date", Date, "effective:DateTime,Period"),
    ("DiagnosticReport", "issued", Date, "issued"),
    ("DocumentReference", "encounter", Reference, "context.encounter"),
    ("DocumentReference", "date", Date, "date"),
    ("DocumentReference", "period", Date, "context.period"),
    ("Encounter", "class", Coding, "class"),
    ("Encounter", "location", Reference, "location.location"),
    ("Encounter", "discharge-disposition", Concept, "hospitalization.dischargeDisposition"),
    ("Goal", "achievement-status", Concept, "achievementStatus"),
    ("Goal", "description", Concept, "description"),
    ("Goal", "start-date", Date, "start:Date"),
    ("Goal", "target-date", Date, "target.due:Date"),
    ("Immunization", "vaccine-code", Concept, "vaccineCode"),
    ("Immunization", "date", Date, "occurrence:DateTime"),
    ("MedicationDispense", "whenprepared", Date, "whenPrepared"),
    ("MedicationDispense", "whenhandedover", Date, "whenHandedOver"),
    ("MedicationRequest", "authoredon", Date, "authoredOn"),
    ("Observation", "date", Date, "effective:DateTime,Period,Timing,Instant"),
    ("Organization Patient Practitioner PractitionerRole RelatedPerson", "active", Flag, "active"),
    ("Patient Practitioner RelatedPerson", "gender", Code, "gender"),
    ("Patient RelatedPerson", "birthdate", Date, "birthDate"),
    ("Patient", "death-date", Date, "deceased:DateTime"),
    ("PractitionerRole", "practitioner", Reference, "practitioner"),
    ("PractitionerRole", "organization", Reference, "organization"),
    ("PractitionerRole", "role", Concept, "code"),
    ("PractitionerRole", "specialty", Concept, "specialty"),
    ("Procedure", "date", Date, "performed:DateTime,Period"),
    ("Provenance", "target", Reference, "target"),
    ("Provenance", "recorded", Date, "recorded"),
    ("Provenance", "when", Date, "occurred:DateTime"),
    ("QuestionnaireResponse", "authored", Date, "authored"),
    ("RelatedPerson", "relationship", Concept, "relationship"),
    ("ServiceRequest", "authored", Date, "authoredOn"),
    ("ServiceRequest", "occurrence", Date, "occurrence:DateTime,Period,Timing"),
    ("Specimen", "collected", Date, "collection.collected:DateTime,Period"),
    ("Specimen", "accession", Identifier, "accessionIdentifier"),
];

/// What a parameter of a type means.
#[must_use]
pub fn definition(resource_type: &str, name: &str) -> Option<Definition> {
    DEFINITIONS
        .iter()
        .find(|(types, parameter, ..)| {
            *parameter == name && (*types == "*" || types.split_whitespace().any(|t| t == resource_type))
        })
        .map(|(_, _, shape, paths)| Definition { shape: *shape, paths })
}

impl Definition {
    /// The elements of a resource that it looks at.
    #[must_use]
    pub fn elements<'a>(&self, resource: &'a Value) -> Vec<&'a Value> {
        let mut found = Vec::new();
        for path in self.paths.split('|') {
            let mut elements = vec![resource];
            for step in path.split('.') {
                elements = elements.into_iter().flat_map(|element| children(element, step)).collect();
            }
            found.extend(elements);
        }
        found
    }
}

/// The members that a step names; the items of an array one by one.
fn children<'a>(element: &'a Value, step: &str) -> Vec<&'a Value> {
    let (name, choices) = step.split_once(':').unwrap_or((step, ""));
    choices
        .split(',')
        .filter_map(|choice| element.get(format!("{name}{choice}")))
        .flat_map(|child| match child {
            Value::Array(items) => items.iter().collect(),
            other => vec![other],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_pass_through_arrays_and_choices() {
        let goal = json!({ "target": [{ "dueDate": "2020" }, { "dueDuration": {} }, { "dueDate": "2021" }] });
        assert_eq!(
            definition("Goal", "target-date").unwrap().elements(&goal),
            [&json!("2020"), &json!("2021")]
        );
        let condition = json!({ "onsetPeriod": { "start": "2020" }, "onset": "no" });
        assert_eq!(definition("Condition", "onset-date").unwrap().elements(&condition).len(), 1);
        let allergy = json!({ "code": {}, "reaction": [{ "substance": {} }, {}] });
        assert_eq!(definition("AllergyIntolerance", "code").unwrap().elements(&allergy).len(), 2);
    }

    #[test]
    fn no_parameter_of_a_type_is_defined_twice() {
        for (at, (types, name, ..)) in DEFINITIONS.iter().enumerate() {
            for (others, other, ..) in &DEFINITIONS[..at] {
                let twice = types.split_whitespace().find(|t| others.split_whitespace().any(|o| o == *t));
                assert!(name != other || twice.is_none(), "{name} of {twice:?}");
            }
        }
    }
}
