//! The mapping set of the reference EHR, as it is in `config/mappings`.

/// The name of the set.
pub const MAPPING: &str = "reference-ehr";

/// Its files: name and text.
pub const MAPPING_FILES: &[(&str, &str)] = &[
    (
        "AllergyIntolerance.json",
        include_str!("../../../config/mappings/reference-ehr/AllergyIntolerance.json"),
    ),
    ("CarePlan.json", include_str!("../../../config/mappings/reference-ehr/CarePlan.json")),
    ("CareTeam.json", include_str!("../../../config/mappings/reference-ehr/CareTeam.json")),
    ("Condition.json", include_str!("../../../config/mappings/reference-ehr/Condition.json")),
    ("Coverage.json", include_str!("../../../config/mappings/reference-ehr/Coverage.json")),
    ("Device.json", include_str!("../../../config/mappings/reference-ehr/Device.json")),
    ("DiagnosticReport.json", include_str!("../../../config/mappings/reference-ehr/DiagnosticReport.json")),
    ("DocumentReference.json", include_str!("../../../config/mappings/reference-ehr/DocumentReference.json")),
    ("Encounter.json", include_str!("../../../config/mappings/reference-ehr/Encounter.json")),
    ("Goal.json", include_str!("../../../config/mappings/reference-ehr/Goal.json")),
    ("Immunization.json", include_str!("../../../config/mappings/reference-ehr/Immunization.json")),
    ("Location.json", include_str!("../../../config/mappings/reference-ehr/Location.json")),
    ("Medication.json", include_str!("../../../config/mappings/reference-ehr/Medication.json")),
    (
        "MedicationDispense.json",
        include_str!("../../../config/mappings/reference-ehr/MedicationDispense.json"),
    ),
    ("MedicationRequest.json", include_str!("../../../config/mappings/reference-ehr/MedicationRequest.json")),
    ("Observation.json", include_str!("../../../config/mappings/reference-ehr/Observation.json")),
    ("Organization.json", include_str!("../../../config/mappings/reference-ehr/Organization.json")),
    ("Patient.json", include_str!("../../../config/mappings/reference-ehr/Patient.json")),
    ("Practitioner.json", include_str!("../../../config/mappings/reference-ehr/Practitioner.json")),
    ("PractitionerRole.json", include_str!("../../../config/mappings/reference-ehr/PractitionerRole.json")),
    ("Procedure.json", include_str!("../../../config/mappings/reference-ehr/Procedure.json")),
    ("Provenance.json", include_str!("../../../config/mappings/reference-ehr/Provenance.json")),
    (
        "QuestionnaireResponse.json",
        include_str!("../../../config/mappings/reference-ehr/QuestionnaireResponse.json"),
    ),
    ("RelatedPerson.json", include_str!("../../../config/mappings/reference-ehr/RelatedPerson.json")),
    ("ServiceRequest.json", include_str!("../../../config/mappings/reference-ehr/ServiceRequest.json")),
    ("Specimen.json", include_str!("../../../config/mappings/reference-ehr/Specimen.json")),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use headgate_domain::ResourceType;
    use headgate_domain::mapping::MappingSet;
    use headgate_domain::practice::UsCore;

    use super::*;

    #[test]
    fn the_set_maps_every_type_in_both_versions_and_holds_every_file() {
        for version in [UsCore::V6_1_0, UsCore::V7_0_0] {
            let set =
                MappingSet::parse(MAPPING_FILES.iter().copied(), version).unwrap_or_else(|e| panic!("{e}"));
            for resource_type in ResourceType::ALL {
                assert!(set.streams(*resource_type).is_some(), "{resource_type}");
            }
        }
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/mappings/reference-ehr");
        let there: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        assert_eq!(there, MAPPING_FILES.iter().map(|(name, _)| (*name).to_owned()).collect());
    }
}
