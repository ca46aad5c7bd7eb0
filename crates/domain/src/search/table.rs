//! The search parameters of each type: those that the US Core 6.1.0 server CapabilityStatement lists and FHIR R4's
//! own for patient, subject, encounter, status, category, code, type, intent, identifier and dates, as far as they
//! look at tokens, dates and references. Parameters that look at texts (names, addresses), at canonical URLs
//! (`questionnaire`) or at one extension among others (`asserted-date`, `race`) are not supported.

use super::{Kind, Parameter};
use crate::ResourceType;

type Paths = &'static [&'static [&'static str]];

/// The search parameters that are supported for a type, in the order in which they are listed to clients.
#[must_use]
pub fn parameters(resource_type: ResourceType) -> &'static [Parameter] {
    match resource_type {
        ResourceType::AllergyIntolerance => ALLERGY_INTOLERANCE,
        ResourceType::CarePlan => CARE_PLAN,
        ResourceType::CareTeam => CARE_TEAM,
        ResourceType::Condition => CONDITION,
        ResourceType::Coverage => COVERAGE,
        ResourceType::Device => DEVICE,
        ResourceType::DiagnosticReport => DIAGNOSTIC_REPORT,
        ResourceType::DocumentReference => DOCUMENT_REFERENCE,
        ResourceType::Encounter => ENCOUNTER,
        ResourceType::Goal => GOAL,
        ResourceType::Immunization => IMMUNIZATION,
        ResourceType::Location => LOCATION,
        ResourceType::Medication => MEDICATION,
        ResourceType::MedicationDispense => MEDICATION_DISPENSE,
        ResourceType::MedicationRequest => MEDICATION_REQUEST,
        ResourceType::Observation => OBSERVATION,
        ResourceType::Organization => ORGANIZATION,
        ResourceType::Patient => PATIENT,
        ResourceType::Practitioner => PRACTITIONER,
        ResourceType::PractitionerRole => PRACTITIONER_ROLE,
        ResourceType::Procedure => PROCEDURE,
        ResourceType::Provenance => PROVENANCE,
        ResourceType::QuestionnaireResponse => QUESTIONNAIRE_RESPONSE,
        ResourceType::RelatedPerson => RELATED_PERSON,
        ResourceType::ServiceRequest => SERVICE_REQUEST,
        ResourceType::Specimen => SPECIMEN,
    }
}

const ID: Parameter = Parameter { name: "_id", kind: Kind::Id, paths: &[&["id"]], has_system: false };
const LAST_UPDATED: Parameter = date("_lastUpdated", &[&["meta", "lastUpdated"]]);

/// A token of an element that carries systems: Coding, CodeableConcept, Identifier.
const fn token(name: &'static str, paths: Paths) -> Parameter {
    Parameter { name, kind: Kind::Token, paths, has_system: true }
}

/// A token of an element without a system: code, boolean.
const fn code(name: &'static str, paths: Paths) -> Parameter {
    Parameter { name, kind: Kind::Token, paths, has_system: false }
}

const fn date(name: &'static str, paths: Paths) -> Parameter {
    Parameter { name, kind: Kind::Date, paths, has_system: false }
}

const fn reference(name: &'static str, paths: Paths) -> Parameter {
    Parameter { name, kind: Kind::Reference, paths, has_system: false }
}

const ALLERGY_INTOLERANCE: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    reference("patient", &[&["patient"]]),
    token("clinical-status", &[&["clinicalStatus"]]),
    token("verification-status", &[&["verificationStatus"]]),
    code("category", &[&["category"]]),
    token("code", &[&["code"], &["reaction", "substance"]]),
    code("type", &[&["type"]]),
    code("criticality", &[&["criticality"]]),
    date("date", &[&["recordedDate"]]),
    date("last-date", &[&["lastOccurrence"]]),
    token("identifier", &[&["identifier"]]),
];

const CARE_PLAN: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    reference("patient", &[&["subject"]]),
    reference("subject", &[&["subject"]]),
    reference("encounter", &[&["encounter"]]),
    code("status", &[&["status"]]),
    code("intent", &[&["intent"]]),
    token("category", &[&["category"]]),
    date("date", &[&["period"]]),
    token("identifier", &[&["identifier"]]),
];

const CARE_TEAM: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    reference("patient", &[&["subject"]]),
    reference("subject", &[&["subject"]]),
    reference("encounter", &[&["encounter"]]),
    code("status", &[&["status"]]),
    token("category", &[&["category"]]),
    token("role", &[&["participant", "role"]]),
    date("date", &[&["period"]]),
    token("identifier", &[&["identifier"]]),
];

const CONDITION: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    reference("patient", &[&["subject"]]),
    reference("subject", &[&["subject"]]),
    reference("encounter", &[&["encounter"]]),
    token("clinical-status", &[&["clinicalStatus"]]),
    token("verification-status", &[&["verificationStatus"]]),
    token("category", &[&["category"]]),
    token("code", &[&["code"]]),
    date("onset-date", &[&["onsetDateTime"], &["onsetPeriod"]]),
    date("abatement-date", &[&["abatementDateTime"], &["abatementPeriod"]]),
    date("recorded-date", &[&["recordedDate"]]),
    token("identifier", &[&["identifier"]]),
];

const COVERAGE: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    reference("patient", &[&["beneficiary"]]),
    reference("beneficiary", &[&["beneficiary"]]),
    code("status", &[&["status"]]),
    token("type", &[&["type"]]),
    token("identifier", &[&["identifier"]]),
];

const DEVICE: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    reference("patient", &[&["patient"]]),
    code("status", &[&["status"]]),
    token("type", &[&["type"]]),
    token("identifier", &[&["identifier"]]),
];

const DIAGNOSTIC_REPORT: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    reference("patient", &[&["subject"]]),
    reference("subject", &[&["subject"]]),
    reference("encounter", &[&["encounter"]]),
    code("status", &[&["status"]]),
    token("category", &[&["category"]]),
    token("code", &[&["code"]]),
    date("date", &[&["effectiveDateTime"], &["effectivePeriod"]]),
    date("issued", &[&["issued"]]),
    token("identifier", &[&["identifier"]]),
];

const DOCUMENT_REFERENCE: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    reference("patient", &[&["subject"]]),
    reference("subject", &[&["subject"]]),
    reference("encounter", &[&["context", "encounter"]]),
    code("status", &[&["status"]]),
    token("category", &[&["category"]]),
    token("type", &[&["type"]]),
    date("date", &[&["date"]]),
    date("period", &[&["context", "period"]]),
    token("identifier", &[&["masterIdentifier"], &["identifier"]]),
];

const ENCOUNTER: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    reference("patient", &[&["subject"]]),
    reference("subject", &[&["subject"]]),
    code("status", &[&["status"]]),
    token("class", &[&["class"]]),
    token("type", &[&["type"]]),
    date("date", &[&["period"]]),
    reference("location", &[&["location", "location"]]),
    token("discharge-disposition", &[&["hospitalization", "dischargeDisposition"]]),
    token("identifier", &[&["identifier"]]),
];

const GOAL: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    reference("patient", &[&["subject"]]),
    reference("subject", &[&["subject"]]),
    code("lifecycle-status", &[&["lifecycleStatus"]]),
    token("achievement-status", &[&["achievementStatus"]]),
    token("category", &[&["category"]]),
    token("description", &[&["description"]]),
    date("start-date", &[&["startDate"]]),
    date("target-date", &[&["target", "dueDate"]]),
    token("identifier", &[&["identifier"]]),
];

const IMMUNIZATION: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    reference("patient", &[&["patient"]]),
    code("status", &[&["status"]]),
    token("vaccine-code", &[&["vaccineCode"]]),
    date("date", &[&["occurrenceDateTime"]]),
    token("identifier", &[&["identifier"]]),
];

const LOCATION: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    code("status", &[&["status"]]),
    token("type", &[&["type"]]),
    token("identifier", &[&["identifier"]]),
];

const MEDICATION: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    code("status", &[&["status"]]),
    token("code", &[&["code"]]),
    token("identifier", &[&["identifier"]]),
];

const MEDICATION_DISPENSE: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    reference("patient", &[&["subject"]]),
    reference("subject", &[&["subject"]]),
    code("status", &[&["status"]]),
    token("type", &[&["type"]]),
    token("code", &[&["medicationCodeableConcept"]]),
    date("whenprepared", &[&["whenPrepared"]]),
    date("whenhandedover", &[&["whenHandedOver"]]),
    token("identifier", &[&["identifier"]]),
];

const MEDICATION_REQUEST: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    reference("patient", &[&["subject"]]),
    reference("subject", &[&["subject"]]),
    reference("encounter", &[&["encounter"]]),
    code("status", &[&["status"]]),
    code("intent", &[&["intent"]]),
    token("category", &[&["category"]]),
    token("code", &[&["medicationCodeableConcept"]]),
    date("authoredon", &[&["authoredOn"]]),
    token("identifier", &[&["identifier"]]),
];

const OBSERVATION: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    reference("patient", &[&["subject"]]),
    reference("subject", &[&["subject"]]),
    reference("encounter", &[&["encounter"]]),
    code("status", &[&["status"]]),
    token("category", &[&["category"]]),
    token("code", &[&["code"]]),
    date(
        "date",
        &[&["effectiveDateTime"], &["effectivePeriod"], &["effectiveTiming"], &["effectiveInstant"]],
    ),
    token("identifier", &[&["identifier"]]),
];

const ORGANIZATION: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    code("active", &[&["active"]]),
    token("type", &[&["type"]]),
    token("identifier", &[&["identifier"]]),
];

const PATIENT: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    code("active", &[&["active"]]),
    code("gender", &[&["gender"]]),
    date("birthdate", &[&["birthDate"]]),
    date("death-date", &[&["deceasedDateTime"]]),
    token("identifier", &[&["identifier"]]),
];

const PRACTITIONER: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    code("active", &[&["active"]]),
    code("gender", &[&["gender"]]),
    token("identifier", &[&["identifier"]]),
];

const PRACTITIONER_ROLE: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    code("active", &[&["active"]]),
    reference("practitioner", &[&["practitioner"]]),
    reference("organization", &[&["organization"]]),
    token("role", &[&["code"]]),
    token("specialty", &[&["specialty"]]),
    date("date", &[&["period"]]),
    token("identifier", &[&["identifier"]]),
];

const PROCEDURE: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    reference("patient", &[&["subject"]]),
    reference("subject", &[&["subject"]]),
    reference("encounter", &[&["encounter"]]),
    code("status", &[&["status"]]),
    token("category", &[&["category"]]),
    token("code", &[&["code"]]),
    date("date", &[&["performedDateTime"], &["performedPeriod"]]),
    token("identifier", &[&["identifier"]]),
];

const PROVENANCE: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    reference("patient", &[&["target"]]),
    reference("target", &[&["target"]]),
    date("recorded", &[&["recorded"]]),
    date("when", &[&["occurredPeriod"], &["occurredDateTime"]]),
];

const QUESTIONNAIRE_RESPONSE: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    reference("patient", &[&["subject"]]),
    reference("subject", &[&["subject"]]),
    reference("encounter", &[&["encounter"]]),
    code("status", &[&["status"]]),
    date("authored", &[&["authored"]]),
    token("identifier", &[&["identifier"]]),
];

const RELATED_PERSON: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    reference("patient", &[&["patient"]]),
    code("active", &[&["active"]]),
    token("relationship", &[&["relationship"]]),
    code("gender", &[&["gender"]]),
    date("birthdate", &[&["birthDate"]]),
    token("identifier", &[&["identifier"]]),
];

const SERVICE_REQUEST: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    reference("patient", &[&["subject"]]),
    reference("subject", &[&["subject"]]),
    reference("encounter", &[&["encounter"]]),
    code("status", &[&["status"]]),
    code("intent", &[&["intent"]]),
    token("category", &[&["category"]]),
    token("code", &[&["code"]]),
    date("authored", &[&["authoredOn"]]),
    date("occurrence", &[&["occurrenceDateTime"], &["occurrencePeriod"], &["occurrenceTiming"]]),
    token("identifier", &[&["identifier"]]),
];

const SPECIMEN: &[Parameter] = &[
    ID,
    LAST_UPDATED,
    reference("patient", &[&["subject"]]),
    reference("subject", &[&["subject"]]),
    code("status", &[&["status"]]),
    token("type", &[&["type"]]),
    date("collected", &[&["collection", "collectedDateTime"], &["collection", "collectedPeriod"]]),
    token("identifier", &[&["identifier"]]),
    token("accession", &[&["accessionIdentifier"]]),
];
