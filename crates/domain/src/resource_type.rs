//! The FHIR resource types that Headgate knows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Defines the enum and its two spellings from one table, so that they cannot drift apart.
macro_rules! resource_types {
    ($($(#[$doc:meta])* $name:ident $relation:literal,)*) => {
        /// A FHIR resource type that can be exported: the 20 types of the modelled product's USCDI set
        /// and the later USCDI types of US Core.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[expect(missing_docs, reason = "the variants are FHIR's own resource type names")]
        pub enum ResourceType { $($name,)* }

        impl ResourceType {
            /// Every known type, in alphabetical order.
            pub const ALL: &'static [ResourceType] = &[$(ResourceType::$name,)*];

            /// The name as FHIR spells it: `AllergyIntolerance`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(ResourceType::$name => stringify!($name),)* }
            }

            /// The name of the type's relation in a source: `allergy_intolerance`.
            #[must_use]
            pub fn relation(self) -> &'static str {
                match self { $(ResourceType::$name => $relation,)* }
            }
        }
    };
}

resource_types! {
    AllergyIntolerance "allergy_intolerance",
    CarePlan "care_plan",
    CareTeam "care_team",
    Condition "condition",
    Coverage "coverage",
    Device "device",
    DiagnosticReport "diagnostic_report",
    DocumentReference "document_reference",
    Encounter "encounter",
    Goal "goal",
    Immunization "immunization",
    Location "location",
    Medication "medication",
    MedicationDispense "medication_dispense",
    MedicationRequest "medication_request",
    Observation "observation",
    Organization "organization",
    Patient "patient",
    Practitioner "practitioner",
    PractitionerRole "practitioner_role",
    Procedure "procedure",
    Provenance "provenance",
    QuestionnaireResponse "questionnaire_response",
    RelatedPerson "related_person",
    ServiceRequest "service_request",
    Specimen "specimen",
}

impl ResourceType {
    /// The 20 types of the modelled product's USCDI set.
    pub const USCDI: [ResourceType; 20] = [
        ResourceType::AllergyIntolerance,
        ResourceType::CarePlan,
        ResourceType::CareTeam,
        ResourceType::Condition,
        ResourceType::Device,
        ResourceType::DiagnosticReport,
        ResourceType::DocumentReference,
        ResourceType::Encounter,
        ResourceType::Goal,
        ResourceType::Immunization,
        ResourceType::Location,
        ResourceType::Medication,
        ResourceType::MedicationRequest,
        ResourceType::Observation,
        ResourceType::Organization,
        ResourceType::Patient,
        ResourceType::Practitioner,
        ResourceType::PractitionerRole,
        ResourceType::Procedure,
        ResourceType::Provenance,
    ];

    /// The types whose attachments may be had by URL (Bulk Data IG, Attachments).
    pub const WITH_ATTACHMENTS: [ResourceType; 2] =
        [ResourceType::DiagnosticReport, ResourceType::DocumentReference];

    /// Whether rows of this type belong to one patient (`patient_id` set), as opposed to the practice's
    /// directory and its Medication rows (`patient_id` null).
    #[must_use]
    pub fn is_patient_owned(self) -> bool {
        !matches!(
            self,
            ResourceType::Location
                | ResourceType::Medication
                | ResourceType::Organization
                | ResourceType::Practitioner
                | ResourceType::PractitionerRole
        )
    }

    /// The name as object keys have it: `allergyintolerance`.
    #[must_use]
    pub fn lower_case(self) -> String {
        self.name().to_ascii_lowercase()
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is not the name of a resource type that Headgate knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown resource type")]
pub struct UnknownResourceType;

impl FromStr for ResourceType {
    type Err = UnknownResourceType;

    fn from_str(name: &str) -> Result<Self, UnknownResourceType> {
        Self::ALL.iter().copied().find(|t| t.name() == name).ok_or(UnknownResourceType)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_relation_is_the_snake_case_of_its_type() {
        for t in ResourceType::ALL {
            let snake: String = t
                .name()
                .chars()
                .enumerate()
                .flat_map(|(i, c)| {
                    let gap = (i > 0 && c.is_ascii_uppercase()).then_some('_');
                    gap.into_iter().chain([c.to_ascii_lowercase()])
                })
                .collect();
            assert_eq!(t.relation(), snake);
            assert_eq!(t.name().parse(), Ok(*t));
        }
    }

    #[test]
    fn type_names_are_case_sensitive() {
        assert!("patient".parse::<ResourceType>().is_err());
        assert!("MissingType".parse::<ResourceType>().is_err());
    }

    #[test]
    fn five_types_belong_to_no_patient() {
        assert_eq!(ResourceType::ALL.iter().filter(|t| !t.is_patient_owned()).count(), 5);
    }
}
