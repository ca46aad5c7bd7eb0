//! Which streams an export has, and how the rows of each are found.

use headgate_domain::ResourceType;
use headgate_domain::practice::{FileAccess, PracticeOptions};
use headgate_domain::request::Level;
use headgate_source::Catalog;
use headgate_store::{AccessPath, NewStream, PlanState, StreamType};

use crate::Error;

/// A stream for each relation of each type. Where an export is about chosen patients, the patients' types are read by
/// patient, Medication by the references of what is exported, and the directory whole or, as the practice chose, by
/// reference. Else everything is read whole. Attachments are read by the URLs of what is exported, where clients get at
/// the files with their token.
pub(super) fn of(
    catalog: &Catalog,
    state: &PlanState,
    options: &PracticeOptions,
) -> Result<Vec<NewStream>, Error> {
    let mut streams = Vec::new();
    for t in &state.types {
        let before = streams.len();
        for relation in catalog.relations_of(*t) {
            streams.push(NewStream {
                stream_type: StreamType::Resources(*t),
                relation: serde_json::to_value(relation)
                    .map_err(|source| Error::Stored { what: "relation", source })?,
                access_path: access_path(*t, state, options.directory_by_reference),
            });
        }
        if streams.len() == before {
            return Err(Error::NoRelation(*t));
        }
    }
    let leads = state.types.iter().any(|t| ResourceType::WITH_ATTACHMENTS.contains(t));
    if catalog.binary && leads && options.file_access == FileAccess::Token {
        streams.push(NewStream {
            stream_type: StreamType::Attachments,
            relation: serde_json::json!({ "name": "binary" }),
            access_path: AccessPath::Reference,
        });
    }
    Ok(streams)
}

fn access_path(t: ResourceType, state: &PlanState, directory_by_reference: bool) -> AccessPath {
    let by_patient = matches!(state.level, Level::Group(_)) || state.patients.is_some();
    let refers = |t: &ResourceType| match t {
        ResourceType::MedicationRequest | ResourceType::MedicationDispense => true,
        t => directory_by_reference && t.is_patient_owned(),
    };
    // Nothing could refer to it: then it is wanted for its own sake.
    let referred_to = match t {
        ResourceType::Medication => state.types.iter().any(refers),
        _ => directory_by_reference && state.types.iter().any(|t| t.is_patient_owned()),
    };
    match (by_patient, t.is_patient_owned()) {
        (false, _) => AccessPath::All,
        (true, true) => AccessPath::Cohort,
        (true, false) if referred_to => AccessPath::Reference,
        (true, false) => AccessPath::All,
    }
}

#[cfg(test)]
mod tests {
    use headgate_domain::request::Selection;

    use super::*;
    use ResourceType::{DocumentReference, Location, Medication, MedicationRequest, Organization, Patient};

    fn state(level: Level, types: &[ResourceType]) -> PlanState {
        PlanState {
            level,
            types: types.to_vec(),
            since: None,
            selection: Selection::default(),
            patients: None,
            own_group: true,
            transaction_time: None,
            source_replica: None,
            source_lsn: None,
        }
    }

    fn path(t: ResourceType, level: Level, types: &[ResourceType], directory: bool) -> AccessPath {
        access_path(t, &state(level, types), directory)
    }

    #[test]
    fn attachments_are_read_where_the_source_has_them_and_clients_come_with_their_token() {
        let catalog = |binary: bool| -> Catalog {
            let text = serde_json::json!({
                "schema": "fhir_export", "relations": [], "unusable": [], "tombstone": false,
                "group_member": false, "binary": binary, "horizon": false,
            });
            let mut catalog: Catalog = serde_json::from_value(text).unwrap();
            for t in [Patient, DocumentReference] {
                let relation = serde_json::json!({
                    "resource_type": t, "name": t.relation(), "content": { "ready": "text" },
                    "page_key": null, "key_not_null": true, "trusted": false,
                });
                catalog.relations.push(serde_json::from_value(relation).unwrap());
            }
            catalog
        };
        let attached = |binary: bool, file_access: FileAccess, types: &[ResourceType]| {
            let options = PracticeOptions { file_access, ..PracticeOptions::default() };
            let streams = of(&catalog(binary), &state(Level::System, types), &options).unwrap();
            let attachments = streams.iter().filter(|s| s.stream_type == StreamType::Attachments);
            attachments.map(|s| s.access_path).collect::<Vec<_>>()
        };
        let documents = [Patient, DocumentReference];
        assert_eq!(attached(true, FileAccess::Token, &documents), [AccessPath::Reference]);
        assert_eq!(attached(true, FileAccess::Token, &[Patient]), []);
        assert_eq!(attached(false, FileAccess::Token, &documents), []);
        assert_eq!(attached(true, FileAccess::Presigned, &documents), []);
    }

    #[test]
    fn medication_is_read_by_reference_where_an_export_is_about_chosen_patients() {
        let group = || Level::Group("g".into());
        let types = [Medication, MedicationRequest, Patient, Location];
        assert_eq!(path(Medication, group(), &types, false), AccessPath::Reference);
        assert_eq!(path(MedicationRequest, group(), &types, false), AccessPath::Cohort);
        assert_eq!(path(Location, group(), &types, false), AccessPath::All);
        assert_eq!(path(Location, group(), &types, true), AccessPath::Reference);
        assert_eq!(path(Medication, Level::Patient, &types, true), AccessPath::All);
    }

    #[test]
    fn a_type_to_which_nothing_exported_refers_is_read_whole() {
        let group = || Level::Group("g".into());
        assert_eq!(path(Medication, group(), &[Medication, Patient], false), AccessPath::All);
        assert_eq!(path(Organization, group(), &[Organization, Location], true), AccessPath::All);
    }
}
