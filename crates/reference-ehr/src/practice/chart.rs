//! A patient's chart being written: whom it is about, what it may refer to, and where its rows go.

use uuid::Uuid;

use super::directory::Directory;
use super::person::Person;
use super::rows::{Rows, Value};
use super::turns::Turns;
use crate::generate::moment::Moment;
use crate::generate::rng::Rng;

/// Columns and their values.
pub(super) type Values<'a> = [(&'static str, &'a dyn Value)];

/// The chart.
pub(super) struct Chart<'a> {
    pub person: Person,
    pub directory: &'a Directory,
    pub rng: Rng,
    pub turns: &'a mut Turns,
    pub rows: &'a mut Rows,
}

impl Chart<'_> {
    /// Writes a record of this patient, and who wrote it. Returns its id.
    pub(super) fn record(
        &mut self,
        table: &'static str,
        by: Option<Uuid>,
        at: Moment,
        values: &Values<'_>,
    ) -> Uuid {
        let id = self.rows.key();
        self.record_as(id, table, by, at, values);
        id
    }

    /// As [`record`](Self::record), where the id was needed before.
    pub(super) fn record_as(
        &mut self,
        id: Uuid,
        table: &'static str,
        by: Option<Uuid>,
        at: Moment,
        values: &Values<'_>,
    ) {
        self.write(table, id, values);
        self.author(id, &format!("{}/{id}", resource_type(table)), by, at);
    }

    /// Writes a record that nobody sees: it was deleted later. What it was exported as leaves a tombstone.
    pub(super) fn deleted(&mut self, table: &'static str, values: &Values<'_>) {
        let id = self.rows.key();
        self.write(table, id, values);
        self.bury(resource_type(table), id);
    }

    /// A tombstone of this patient.
    pub(super) fn bury(&mut self, resource_type: &'static str, id: Uuid) {
        let stamp = self.rows.stamp();
        let values: &Values<'_> = &[
            ("resource_type", &resource_type),
            ("fhir_id", &id),
            ("patient_fhir_id", &self.person.id),
            ("deleted_at", &stamp),
        ];
        self.rows.insert("deleted_record", values);
    }

    /// Writes a record without noting its author.
    pub(super) fn write(&mut self, table: &'static str, id: Uuid, values: &Values<'_>) {
        let patient = self.person.id;
        let mut row: Vec<(&'static str, &dyn Value)> = vec![("patient_id", &patient)];
        row.extend_from_slice(values);
        self.rows.record(table, id, &row);
    }

    /// Notes who wrote a record: `targets` are the resources that it is exported as, separated by commas.
    pub(super) fn author(&mut self, record: Uuid, targets: &str, by: Option<Uuid>, at: Moment) {
        let (id, patient, practice) = (self.rows.key(), self.person.id, self.directory.practice);
        self.rows.record(
            "record_author",
            id,
            &[
                ("record_id", &record),
                ("patient_id", &patient),
                ("targets", &format!("{{{targets}}}")),
                ("recorded_at", &at),
                ("provider_id", &by),
                ("practice_id", &practice),
            ],
        );
    }

    /// True in `percent` of all cases.
    pub(super) fn happens(&mut self, percent: i64) -> bool {
        self.rng.chance(percent)
    }

    /// True once in `every` cases, at the latest.
    pub(super) fn turn(&mut self, thing: &'static str, every: u64) -> bool {
        self.turns.take(thing, every)
    }
}

/// What the rows of a table are exported as.
fn resource_type(table: &str) -> &'static str {
    match table {
        "patient" => "Patient",
        "related_person" => "RelatedPerson",
        "coverage" => "Coverage",
        "encounter" => "Encounter",
        "problem" => "Condition",
        "allergy" => "AllergyIntolerance",
        "care_team" => "CareTeam",
        "care_plan" => "CarePlan",
        "goal" => "Goal",
        "service_order" => "ServiceRequest",
        "specimen" => "Specimen",
        "lab_report" => "DiagnosticReport",
        "questionnaire_response" => "QuestionnaireResponse",
        "document" => "DocumentReference",
        "immunization" => "Immunization",
        "prescription" => "MedicationRequest",
        "dispense" => "MedicationDispense",
        "procedure_done" => "Procedure",
        "implant" => "Device",
        _ => "Observation",
    }
}
