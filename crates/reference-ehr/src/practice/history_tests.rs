//! The rules of history, each proved by a test: stamps, tombstones, authors, memberships, merges.

use std::collections::BTreeSet;

use headgate_domain::ResourceType;
use headgate_domain::mapping::MappingSet;
use headgate_domain::practice::UsCore;

use super::test_ehr::{Template, TestEhr};
use crate::MAPPING_FILES;

static PRACTICE: Template = Template::new("history", None, ROWS);

/// A practice with a doctor, a nurse and two patients; Ann has a record of each kind that is worth a rule.
const ROWS: &str = "
    INSERT INTO ehr.organization (id, kind, name) VALUES (':practice', 'practice', 'Elm Street Clinic');
    INSERT INTO ehr.provider (id, npi, last_name) VALUES
        (':doctor', '1234567893', 'Gray'), (':nurse', '1245319599', 'Reed');
    INSERT INTO ehr.patient (id, practice_id, mrn, last_name, admin_sex, pcp_id) VALUES
        (':ann', ':practice', 'M-1', 'Alder', 'female', ':doctor'),
        (':bob', ':practice', 'M-2', 'Birch', 'male', ':doctor');
    INSERT INTO ehr.patient_identifier (id, patient_id, type_code, system, value)
        VALUES (':ssn', ':ann', 'SS', 'http://hl7.org/fhir/sid/us-ssn', '999-00-0001');
    INSERT INTO ehr.encounter (id, patient_id, practice_id, provider_id, visit_number, status, class_code)
        VALUES (':visit', ':ann', ':practice', ':doctor', 'V-1', 'finished', 'AMB');
    INSERT INTO ehr.problem (id, patient_id, encounter_id, recorder_id, kind, text)
        VALUES (':hypertension', ':ann', ':visit', ':doctor', 'problem-list-item', 'Hypertension');
    INSERT INTO ehr.allergy (id, patient_id, recorder_id, text) VALUES
        (':penicillin', ':ann', ':doctor', 'Penicillin'), (':latex', ':ann', ':doctor', 'Latex');
    INSERT INTO ehr.allergy_reaction (id, allergy_id, text) VALUES (':hives', ':penicillin', 'Hives');
    INSERT INTO ehr.vital_set (id, patient_id, encounter_id, taken_by_id, taken_at, systolic, diastolic, heart_rate)
        VALUES (':vitals', ':ann', ':visit', ':nurse', now(), 120, 80, 66);
    INSERT INTO ehr.document (id, patient_id, practice_id, author_id, loinc, title, mime, body,
                              is_report, report_category, report_status)
        VALUES (':xray', ':ann', ':practice', ':doctor', '18748-4', 'Chest X-ray', 'text/plain', 'clear',
                true, 'LP29684-5', 'final');
    INSERT INTO ehr.lab_report (id, patient_id, ordering_id, text, status)
        VALUES (':bmp', ':ann', ':doctor', 'Basic metabolic panel', 'final');
    INSERT INTO ehr.lab_result (id, lab_report_id, patient_id, loinc, text, status)
        VALUES (':glucose', ':bmp', ':ann', '2345-7', 'Glucose', 'final');
    INSERT INTO ehr.care_team (id, patient_id, practice_id, status) VALUES (':team', ':ann', ':practice', 'active');
    INSERT INTO ehr.questionnaire_response (id, patient_id, questionnaire, status, authored_at)
        VALUES (':form', ':ann', 'http://loinc.org/q/44249-1', 'completed', now());
    INSERT INTO ehr.care_plan (id, patient_id, status, narrative) VALUES (':plan', ':ann', 'active', 'Walk daily');
    INSERT INTO ehr.finding (id, patient_id, category, loinc, text, status)
        VALUES (':phq9', ':ann', 'survey', '44249-1', 'PHQ-9', 'final');
    INSERT INTO ehr.patient_group (id, name) VALUES (':diabetics', 'Diabetes');";

/// The practice, in a database of the test's own.
async fn practice() -> TestEhr {
    PRACTICE.copy().await
}

/// Nothing, to be compared with what is there.
const NONE: [&str; 0] = [];

// Stamps.

#[tokio::test]
async fn what_was_just_entered_has_no_tombstone() {
    let mut ehr = practice().await;
    assert!(!ehr.has("fhir_export.tombstone").await);
}

#[tokio::test]
async fn inserts_and_updates_are_stamped_with_the_clock_whatever_the_writer_says() {
    let mut ehr = practice().await;
    let insert = "INSERT INTO ehr.problem (id, patient_id, kind, text, updated_at)
                  VALUES (':falls', ':ann', 'health-concern', 'Falls', '2001-01-01')";
    assert_eq!(ehr.stamped_by(insert).await, ["problem/falls"]);
    let update = "UPDATE ehr.problem SET text = 'Falls often', updated_at = '2001-01-01' WHERE id = ':falls'";
    assert_eq!(ehr.stamped_by(update).await, ["problem/falls"]);
}

#[tokio::test]
async fn a_stamp_is_the_time_of_the_write_not_of_the_begin_of_its_transaction() {
    let mut ehr = practice().await;
    ehr.run("BEGIN; SELECT pg_sleep(0.01); UPDATE ehr.problem SET text = 'x' WHERE id = ':hypertension'")
        .await;
    assert!(ehr.has("ehr.problem WHERE id = ':hypertension' AND updated_at > now()").await);
    ehr.run("COMMIT").await;
}

#[tokio::test]
async fn the_id_of_a_record_never_changes() {
    let mut ehr = practice().await;
    let said = ehr.refusal("UPDATE ehr.problem SET id = ehr.uuid_v7() WHERE id = ':hypertension'").await;
    assert_eq!(said, "the id of a record never changes (problem.hypertension)");
}

#[tokio::test]
async fn a_new_name_in_the_directory_stamps_nobody_else_for_it_stands_nowhere_else() {
    let mut ehr = practice().await;
    let rename = "UPDATE ehr.provider SET last_name = 'Grey' WHERE id = ':doctor';
                  UPDATE ehr.organization SET name = 'Oak Street Clinic' WHERE id = ':practice'";
    assert_eq!(ehr.stamped_by(rename).await, ["organization/practice", "provider/doctor"]);
}

// Children.

#[tokio::test]
async fn a_new_a_changed_and_a_removed_child_stamp_the_parent() {
    let mut ehr = practice().await;
    for change in [
        "INSERT INTO ehr.allergy_reaction (id, allergy_id, text) VALUES (':nausea', ':penicillin', 'Nausea')",
        "UPDATE ehr.allergy_reaction SET severity = 'mild' WHERE id = ':nausea'",
        "DELETE FROM ehr.allergy_reaction WHERE id = ':nausea'",
    ] {
        assert_eq!(ehr.stamped_by(change).await, ["allergy/penicillin"], "{change}");
    }
}

#[tokio::test]
async fn a_child_that_moves_stamps_both_parents() {
    let mut ehr = practice().await;
    let moved =
        ehr.stamped_by("UPDATE ehr.allergy_reaction SET allergy_id = ':latex' WHERE id = ':hives'").await;
    assert_eq!(moved, ["allergy/latex", "allergy/penicillin"]);
}

/// Kinds of children: the parent, how one is entered, and whether it is a record of its own.
const CHILDREN: [(&str, &str, bool); 12] = [
    (
        "patient/ann",
        "patient_name (id, patient_id, use, last_name) VALUES (':child', ':ann', 'maiden', 'Ash')",
        false,
    ),
    (
        "patient/ann",
        "patient_identifier (id, patient_id, type_code, system, value)
         VALUES (':child', ':ann', 'DL', 'urn:oid:2.16.840.1.113883.4.3.25', 'S-1')",
        false,
    ),
    (
        "patient/ann",
        "patient_telecom (id, patient_id, kind, value) VALUES (':child', ':ann', 'phone', '555-0100')",
        false,
    ),
    ("patient/ann", "patient_address (id, patient_id, city) VALUES (':child', ':ann', 'Salem')", false),
    (
        "patient/ann",
        "patient_code (id, patient_id, kind, system, code, display)
         VALUES (':child', ':ann', 'race', 'urn:oid:2.16.840.1.113883.6.238', '2106-3', 'White')",
        false,
    ),
    (
        "allergy/penicillin",
        "allergy_reaction (id, allergy_id, text) VALUES (':child', ':penicillin', 'Nausea')",
        false,
    ),
    (
        "care_team/team",
        "care_team_member (id, care_team_id, provider_id, role_snomed, role_text)
         VALUES (':child', ':team', ':doctor', '446050000', 'Primary care provider')",
        false,
    ),
    (
        "questionnaire_response/form",
        "questionnaire_item (id, questionnaire_response_id, link_id, text, value_num)
         VALUES (':child', ':form', '/44250-9', 'Little interest', 1)",
        false,
    ),
    (
        "care_plan/plan",
        "goal (id, patient_id, care_plan_id, status, text) VALUES (':child', ':ann', ':plan', 'active', 'Walk 5 km')",
        true,
    ),
    (
        "lab_report/bmp",
        "lab_result (id, lab_report_id, patient_id, loinc, text, status)
         VALUES (':child', ':bmp', ':ann', '2951-2', 'Sodium', 'final')",
        true,
    ),
    (
        "finding/phq9",
        "finding (id, patient_id, parent_id, category, loinc, text, status)
         VALUES (':child', ':ann', ':phq9', 'survey', '44250-9', 'Little interest', 'final')",
        true,
    ),
    (
        "document/xray",
        "finding (id, patient_id, document_id, category, loinc, text, status)
         VALUES (':child', ':ann', ':xray', 'imaging', '10230-1', 'LVEF', 'final')",
        true,
    ),
];

#[tokio::test]
async fn every_kind_of_child_stamps_its_parent() {
    let mut ehr = practice().await;
    for (parent, row, is_record) in CHILDREN {
        let table = row.split(' ').next().unwrap();
        let mut expected = vec![parent.to_owned()];
        expected.extend(is_record.then(|| format!("{table}/child")));
        expected.sort();
        assert_eq!(ehr.stamped_by(&format!("INSERT INTO ehr.{row}")).await, expected, "{table}: insert");
        let update = format!("UPDATE ehr.{table} SET id = id WHERE id = ':child'");
        assert_eq!(ehr.stamped_by(&update).await, expected, "{table}: update");
        let delete = format!("DELETE FROM ehr.{table} WHERE id = ':child'");
        assert_eq!(ehr.stamped_by(&delete).await, [parent], "{table}: delete");
    }
    let kinds = ehr.rows("SELECT count(*)::text FROM pg_trigger WHERE tgname LIKE 'bump\\_%'").await;
    assert_eq!(kinds, [CHILDREN.len().to_string()]);
}

#[tokio::test]
async fn a_parent_that_goes_takes_its_children_along_and_leaves_one_tombstone() {
    let mut ehr = practice().await;
    ehr.run("DELETE FROM ehr.allergy WHERE id = ':penicillin'").await;
    assert!(!ehr.has("ehr.allergy_reaction").await);
    assert_eq!(ehr.tombstones().await, ["AllergyIntolerance/penicillin of ann"]);
}

// Hard deletes.

#[tokio::test]
async fn a_deleted_row_leaves_a_tombstone_in_the_same_transaction() {
    let mut ehr = practice().await;
    ehr.run("BEGIN; DELETE FROM ehr.problem WHERE id = ':hypertension'").await;
    assert_eq!(ehr.tombstones().await, ["Condition/hypertension of ann"]);
    ehr.run("ROLLBACK").await;
    assert_eq!(ehr.tombstones().await, NONE);
}

#[tokio::test]
async fn a_tombstone_is_stamped_with_the_time_of_the_delete_not_of_the_begin_of_its_transaction() {
    let mut ehr = practice().await;
    ehr.run("BEGIN; SELECT pg_sleep(0.01); DELETE FROM ehr.problem WHERE id = ':hypertension'").await;
    assert!(ehr.has("fhir_export.tombstone WHERE id = ':hypertension' AND deleted_at > now()").await);
    ehr.run("COMMIT").await;
}

#[tokio::test]
async fn a_lab_report_takes_its_results_along_and_each_of_them_leaves_a_tombstone() {
    let mut ehr = practice().await;
    ehr.run("DELETE FROM ehr.lab_report WHERE id = ':bmp'").await;
    assert_eq!(ehr.tombstones().await, ["DiagnosticReport/bmp of ann", "Observation/glucose of ann"]);
}

#[tokio::test]
async fn the_tombstone_of_a_directory_entry_belongs_to_no_patient() {
    let mut ehr = practice().await;
    ehr.run("INSERT INTO ehr.provider (id, npi, last_name) VALUES (':locum', '1003000126', 'Short')").await;
    ehr.run("DELETE FROM ehr.provider WHERE id = ':locum'").await;
    assert_eq!(ehr.tombstones().await, ["Practitioner/locum"]);
}

#[tokio::test]
async fn a_row_that_is_entered_again_takes_its_tombstone_away() {
    let mut ehr = practice().await;
    ehr.run("DELETE FROM ehr.allergy WHERE id = ':latex'").await;
    assert_eq!(ehr.tombstones().await, ["AllergyIntolerance/latex of ann"]);
    ehr.run("INSERT INTO ehr.allergy (id, patient_id, text) VALUES (':latex', ':ann', 'Latex')").await;
    assert_eq!(ehr.tombstones().await, NONE);
}

// Soft deletes.

#[tokio::test]
async fn a_soft_delete_hides_and_stamps_the_row_and_leaves_a_tombstone() {
    let mut ehr = practice().await;
    let deleted = ehr.stamped_by("UPDATE ehr.problem SET deleted = true WHERE id = ':hypertension'").await;
    assert_eq!(deleted, ["problem/hypertension"]);
    assert!(!ehr.has("fhir_export.condition").await);
    assert_eq!(ehr.tombstones().await, ["Condition/hypertension of ann"]);
}

#[tokio::test]
async fn writing_a_deleted_row_leaves_its_tombstone_as_it_is() {
    let mut ehr = practice().await;
    ehr.run("UPDATE ehr.problem SET deleted = true WHERE id = ':hypertension'").await;
    let tombstone = "SELECT deleted_at::text FROM fhir_export.tombstone WHERE id = ':hypertension'";
    let before = ehr.rows(tombstone).await;
    ehr.run("UPDATE ehr.problem SET text = 'x' WHERE id = ':hypertension'").await;
    assert_eq!(ehr.rows(tombstone).await, before);
    assert_eq!(before.len(), 1);
}

#[tokio::test]
async fn an_undelete_shows_and_stamps_the_row_and_takes_its_tombstone_away() {
    let mut ehr = practice().await;
    ehr.run("UPDATE ehr.problem SET deleted = true WHERE id = ':hypertension'").await;
    let undeleted = ehr.stamped_by("UPDATE ehr.problem SET deleted = false WHERE id = ':hypertension'").await;
    assert_eq!(undeleted, ["problem/hypertension"]);
    assert!(ehr.has("fhir_export.condition").await);
    assert_eq!(ehr.tombstones().await, NONE);
}

#[tokio::test]
async fn purging_a_deleted_row_adds_no_second_tombstone() {
    let mut ehr = practice().await;
    ehr.run("UPDATE ehr.allergy SET deleted = true WHERE id = ':latex'").await;
    ehr.run("DELETE FROM ehr.allergy WHERE id = ':latex'").await;
    assert_eq!(ehr.tombstones().await, ["AllergyIntolerance/latex of ann"]);
}

#[tokio::test]
async fn entered_in_error_is_a_status_and_no_delete() {
    let mut ehr = practice().await;
    let sql = "UPDATE ehr.problem SET verification = 'entered-in-error' WHERE id = ':hypertension';
               UPDATE ehr.vital_set SET entered_in_error = true WHERE id = ':vitals'";
    assert_eq!(ehr.stamped_by(sql).await, ["problem/hypertension", "vital_set/vitals"]);
    assert!(ehr.has("fhir_export.condition WHERE verification = 'entered-in-error'").await);
    assert!(ehr.has("fhir_export.observation_vitals WHERE entered_in_error").await);
    assert_eq!(ehr.tombstones().await, NONE);
}

#[tokio::test]
async fn a_deleted_report_leaves_the_tombstones_of_both_its_resources_and_takes_both_away_again() {
    let mut ehr = practice().await;
    ehr.run("UPDATE ehr.document SET deleted = true WHERE id = ':xray'").await;
    assert_eq!(ehr.tombstones().await, ["DiagnosticReport/xray of ann", "DocumentReference/xray of ann"]);
    ehr.run("UPDATE ehr.document SET deleted = false WHERE id = ':xray'").await;
    assert_eq!(ehr.tombstones().await, NONE);
}

#[tokio::test]
async fn a_document_that_is_no_report_any_more_leaves_the_tombstone_of_the_report_only() {
    let mut ehr = practice().await;
    ehr.run("UPDATE ehr.document SET is_report = false WHERE id = ':xray'").await;
    assert_eq!(ehr.tombstones().await, ["DiagnosticReport/xray of ann"]);
    ehr.run("UPDATE ehr.document SET is_report = true WHERE id = ':xray'").await;
    assert_eq!(ehr.tombstones().await, NONE);
}

// Vital signs.

#[tokio::test]
async fn a_vital_sign_set_to_null_leaves_a_tombstone_of_its_own_and_the_others_stay() {
    let mut ehr = practice().await;
    let gone = ehr.stamped_by("UPDATE ehr.vital_set SET heart_rate = NULL WHERE id = ':vitals'").await;
    assert_eq!(gone, ["vital_set/vitals"]);
    assert_eq!(ehr.tombstones().await, ["Observation/vitals-hr of ann"]);
}

#[tokio::test]
async fn a_vital_sign_that_comes_back_takes_its_tombstone_away() {
    let mut ehr = practice().await;
    ehr.run("UPDATE ehr.vital_set SET heart_rate = NULL WHERE id = ':vitals'").await;
    ehr.run("UPDATE ehr.vital_set SET heart_rate = 70 WHERE id = ':vitals'").await;
    assert_eq!(ehr.tombstones().await, NONE);
}

#[tokio::test]
async fn half_a_blood_pressure_is_one_still() {
    let mut ehr = practice().await;
    ehr.run("UPDATE ehr.vital_set SET diastolic = NULL WHERE id = ':vitals'").await;
    assert_eq!(ehr.tombstones().await, NONE);
    ehr.run("UPDATE ehr.vital_set SET systolic = NULL WHERE id = ':vitals'").await;
    assert_eq!(ehr.tombstones().await, ["Observation/vitals-bp of ann"]);
    ehr.run("UPDATE ehr.vital_set SET diastolic = 80 WHERE id = ':vitals'").await;
    assert_eq!(ehr.tombstones().await, NONE);
}

#[tokio::test]
async fn zero_is_a_value() {
    let mut ehr = practice().await;
    ehr.run("UPDATE ehr.vital_set SET bmi_pct = 0, heart_rate = 0 WHERE id = ':vitals'").await;
    let targets = "SELECT array_to_string(targets, ' ') FROM ehr.record_author WHERE record_id = ':vitals'";
    assert_eq!(
        ehr.rows(targets).await,
        ["Observation/vitals-bp Observation/vitals-hr Observation/vitals-bmi-pct"]
    );
    assert_eq!(ehr.tombstones().await, NONE);
}

#[tokio::test]
async fn a_deleted_set_of_vital_signs_leaves_a_tombstone_for_each_sign_that_was_there() {
    let mut ehr = practice().await;
    ehr.run("UPDATE ehr.vital_set SET spo2 = 98, wfl_pct = 40 WHERE id = ':vitals'").await;
    ehr.run("DELETE FROM ehr.vital_set WHERE id = ':vitals'").await;
    let expected = ["-bp", "-hr", "-spo2", "-wfl-pct"].map(|sign| format!("Observation/vitals{sign} of ann"));
    assert_eq!(ehr.tombstones().await, expected);
}

#[tokio::test]
async fn every_resource_that_the_mapping_makes_has_its_rule_for_tombstones() {
    let mut ehr = practice().await;
    let rules = ehr
        .rows(
            "SELECT DISTINCT split_part(rule, ' ', 1)
             FROM pg_trigger, unnest(string_to_array(encode(tgargs, 'escape'), '\\000')) AS rule
             WHERE tgname = 'history' AND rule <> ''",
        )
        .await;
    let set = MappingSet::parse(MAPPING_FILES.iter().copied(), UsCore::V6_1_0).unwrap();
    let mut made = BTreeSet::new();
    for resource_type in ResourceType::ALL {
        for stream in set.streams(*resource_type).unwrap() {
            let templates = stream.templates().unwrap();
            made.extend(templates.iter().map(|template| format!("{resource_type}{}", template.suffix())));
        }
    }
    assert_eq!(rules.into_iter().collect::<BTreeSet<_>>(), made);
}

// Other hands.

#[tokio::test]
async fn a_record_that_changes_hands_is_stamped_and_leaves_a_tombstone_with_the_old_patient() {
    let mut ehr = practice().await;
    let moved = ehr.stamped_by("UPDATE ehr.allergy SET patient_id = ':bob' WHERE id = ':latex'").await;
    assert_eq!(moved, ["allergy/latex"]);
    assert_eq!(ehr.tombstones().await, ["AllergyIntolerance/latex of ann"]);
}

#[tokio::test]
async fn a_record_that_comes_back_to_its_patient_is_gone_for_the_other_one() {
    let mut ehr = practice().await;
    ehr.run("UPDATE ehr.allergy SET patient_id = ':bob' WHERE id = ':latex'").await;
    ehr.run("UPDATE ehr.allergy SET patient_id = ':ann' WHERE id = ':latex'").await;
    assert_eq!(ehr.tombstones().await, ["AllergyIntolerance/latex of bob"]);
}

#[tokio::test]
async fn the_provenance_of_a_record_that_changes_hands_goes_with_it() {
    let mut ehr = practice().await;
    let provenance = "SELECT id::text || ' of ' || patient_id FROM fhir_export.provenance
                      WHERE targets::text LIKE '%/:latex\"%'";
    let before = ehr.rows(provenance).await;
    ehr.run("UPDATE ehr.allergy SET patient_id = ':bob' WHERE id = ':latex'").await;
    assert_eq!(ehr.rows(provenance).await, [before[0].replace("of ann", "of bob")]);
    let buried = ehr.rows(
        "SELECT id || ' of ' || patient_id FROM fhir_export.tombstone WHERE resource_type = 'Provenance'",
    );
    assert_eq!(buried.await, before);
}

// Groups.

/// Memberships, as `patient in` or `patient left`.
const MEMBERS: &str = "SELECT patient_id || CASE WHEN member_until IS NULL THEN ' in' ELSE ' left' END
                       FROM fhir_export.group_member ORDER BY member_since";

#[tokio::test]
async fn joining_and_leaving_a_group_are_stamped_with_the_clock() {
    let mut ehr = practice().await;
    ehr.run(
        "INSERT INTO ehr.patient_group_member (group_id, patient_id, added_at, removed_at)
         VALUES (':diabetics', ':ann', '2001-01-01', '2001-01-01')",
    )
    .await;
    assert!(ehr.has("fhir_export.group_member WHERE member_since > now() - interval '1 min'").await);
    assert_eq!(ehr.rows(MEMBERS).await, ["ann in"]);
    ehr.run("UPDATE ehr.patient_group_member SET removed_at = '2001-01-01'").await;
    assert!(ehr.has("fhir_export.group_member WHERE member_until > member_since").await);
    assert_eq!(ehr.rows(MEMBERS).await, ["ann left"]);
}

#[tokio::test]
async fn leaving_a_group_is_no_delete() {
    let mut ehr = practice().await;
    ehr.run("INSERT INTO ehr.patient_group_member (group_id, patient_id) VALUES (':diabetics', ':ann')")
        .await;
    assert_eq!(ehr.stamped_by("UPDATE ehr.patient_group_member SET removed_at = now()").await, NONE);
    assert!(!ehr.has("fhir_export.tombstone").await);
}

#[tokio::test]
async fn coming_back_to_a_group_is_a_new_membership() {
    let mut ehr = practice().await;
    let join = "INSERT INTO ehr.patient_group_member (group_id, patient_id) VALUES (':diabetics', ':ann')";
    ehr.run(join).await;
    assert!(ehr.refusal(join).await.contains("patient_group_member_once"));
    ehr.run("UPDATE ehr.patient_group_member SET removed_at = now()").await;
    ehr.run(join).await;
    assert_eq!(ehr.rows(MEMBERS).await, ["ann left", "ann in"]);
}

#[tokio::test]
async fn a_membership_is_neither_deleted_nor_revived_nor_changed() {
    let mut ehr = practice().await;
    ehr.run("INSERT INTO ehr.patient_group_member (group_id, patient_id) VALUES (':diabetics', ':ann')")
        .await;
    let (said, change) = ("a membership is ended, once", "UPDATE ehr.patient_group_member SET");
    assert!(ehr.refusal("DELETE FROM ehr.patient_group_member").await.starts_with(said));
    assert!(ehr.refusal(&format!("{change} patient_id = ':bob'")).await.starts_with(said));
    ehr.run(&format!("{change} removed_at = now()")).await;
    assert!(ehr.refusal(&format!("{change} removed_at = NULL")).await.starts_with(said));
    assert_eq!(ehr.rows(MEMBERS).await, ["ann left"]);
}

// Authors.

/// The author of a record and its targets.
fn author_of(name: &str) -> String {
    format!(
        "SELECT provider_id || ': ' || array_to_string(targets, ' ') FROM ehr.record_author WHERE record_id = ':{name}'"
    )
}

/// The Provenance of a record.
fn provenance_of(name: &str) -> String {
    format!("SELECT id::text FROM ehr.record_author WHERE record_id = ':{name}'")
}

#[tokio::test]
async fn a_record_has_one_provenance_that_names_patient_author_practice_and_target() {
    let mut ehr = practice().await;
    let provenance =
        "SELECT concat_ws(' ', patient_id, author, practice_id, targets) FROM fhir_export.provenance
                      WHERE targets::text LIKE '%:hypertension%'";
    let expected = r#"ann Practitioner/doctor practice [{"reference": "Condition/hypertension"}]"#;
    assert_eq!(ehr.rows(provenance).await, [expected]);
}

#[tokio::test]
async fn who_wrote_is_who_the_session_says_and_without_it_the_rows_own_provider() {
    let mut ehr = practice().await;
    let provenance = ehr.rows(&provenance_of("hypertension")).await;
    assert_eq!(ehr.rows(&author_of("hypertension")).await, ["doctor: Condition/hypertension"]);
    ehr.run(
        "BEGIN; SET LOCAL app.provider = ':nurse';
         UPDATE ehr.problem SET text = 'Essential hypertension' WHERE id = ':hypertension'; COMMIT",
    )
    .await;
    assert_eq!(ehr.rows(&author_of("hypertension")).await, ["nurse: Condition/hypertension"]);
    ehr.run("UPDATE ehr.problem SET text = 'Hypertension' WHERE id = ':hypertension'").await;
    assert_eq!(ehr.rows(&author_of("hypertension")).await, ["doctor: Condition/hypertension"]);
    assert_eq!(ehr.rows(&provenance_of("hypertension")).await, provenance, "it is one Provenance all along");
}

#[tokio::test]
async fn who_writes_a_child_is_the_author_of_its_parent_and_the_provenance_is_stamped() {
    let mut ehr = practice().await;
    let stamps = "SELECT concat_ws(' ', last_updated, recorded_at) FROM fhir_export.provenance
                  WHERE targets::text LIKE '%:penicillin%'";
    let before = ehr.rows(stamps).await;
    ehr.run("SET app.provider = ':nurse'").await;
    ehr.run("UPDATE ehr.allergy_reaction SET severity = 'severe' WHERE id = ':hives'").await;
    assert_eq!(ehr.rows(&author_of("penicillin")).await, ["nurse: AllergyIntolerance/penicillin"]);
    assert!(ehr.rows(stamps).await > before);
}

#[tokio::test]
async fn every_write_of_a_patients_record_is_logged_with_its_writer() {
    let mut ehr = practice().await;
    ehr.run(
        "UPDATE ehr.problem SET text = 'x' WHERE id = ':hypertension';
         SET app.provider = ':nurse';
         DELETE FROM ehr.problem WHERE id = ':hypertension'",
    )
    .await;
    let log = "SELECT concat_ws(' ', action, table_name, patient_id, provider_id) FROM ehr.audit_log
               WHERE record_id = ':hypertension' ORDER BY id";
    assert_eq!(
        ehr.rows(log).await,
        ["insert problem ann doctor", "update problem ann doctor", "delete problem ann nurse"]
    );
}

#[tokio::test]
async fn the_targets_of_a_set_of_vital_signs_are_the_signs_that_are_there() {
    let mut ehr = practice().await;
    assert_eq!(ehr.rows(&author_of("vitals")).await, ["nurse: Observation/vitals-bp Observation/vitals-hr"]);
    ehr.run("UPDATE ehr.vital_set SET heart_rate = NULL, bmi = 22 WHERE id = ':vitals'").await;
    assert_eq!(ehr.rows(&author_of("vitals")).await, ["nurse: Observation/vitals-bp Observation/vitals-bmi"]);
}

#[tokio::test]
async fn a_report_is_one_record_with_two_targets() {
    let mut ehr = practice().await;
    assert_eq!(ehr.rows(&author_of("xray")).await, ["doctor: DocumentReference/xray DiagnosticReport/xray"]);
}

#[tokio::test]
async fn patients_have_authors_and_directory_entries_have_none() {
    let mut ehr = practice().await;
    assert_eq!(ehr.rows(&author_of("ann")).await, ["doctor: Patient/ann"]);
    assert!(!ehr.has("ehr.record_author WHERE record_id IN (':practice', ':doctor', ':nurse')").await);
}

#[tokio::test]
async fn the_provenance_of_a_deleted_record_leaves_a_tombstone_and_an_undeleted_one_gets_another() {
    let mut ehr = practice().await;
    let first = ehr.rows(&provenance_of("hypertension")).await;
    ehr.run("UPDATE ehr.problem SET deleted = true WHERE id = ':hypertension'").await;
    assert_eq!(ehr.rows(&provenance_of("hypertension")).await, NONE);
    let buried =
        "SELECT id FROM fhir_export.tombstone WHERE resource_type = 'Provenance' AND patient_id = ':ann'";
    assert_eq!(ehr.rows(buried).await, first);
    ehr.run("UPDATE ehr.problem SET deleted = false WHERE id = ':hypertension'").await;
    let second = ehr.rows(&provenance_of("hypertension")).await;
    assert!(second.len() == 1 && second != first);
    assert_eq!(ehr.rows(buried).await, first, "the first one stays deleted");
}

#[tokio::test]
async fn vital_signs_that_are_all_gone_have_no_provenance() {
    let mut ehr = practice().await;
    let all =
        "UPDATE ehr.vital_set SET systolic = NULL, diastolic = NULL, heart_rate = NULL WHERE id = ':vitals'";
    ehr.run(all).await;
    assert_eq!(ehr.rows(&provenance_of("vitals")).await, NONE);
    assert!(ehr.has("fhir_export.tombstone WHERE resource_type = 'Provenance'").await);
}

// Merges.

/// Ann turns out to be Bob's duplicate.
const MERGE: &str = "SELECT ehr.merge_patient(':ann', ':bob')";

#[tokio::test]
async fn a_merged_patient_leaves_a_tombstone_and_is_kept_out_of_sight() {
    let mut ehr = practice().await;
    ehr.run(MERGE).await;
    assert!(ehr.tombstones().await.contains(&"Patient/ann of ann".to_owned()));
    assert_eq!(ehr.rows("SELECT id FROM fhir_export.patient").await, ["bob"]);
    assert_eq!(ehr.rows("SELECT merged_into_id::text FROM ehr.patient WHERE deleted").await, ["bob"]);
}

#[tokio::test]
async fn the_winner_of_a_merge_has_the_records_with_new_stamps() {
    let mut ehr = practice().await;
    let all = ehr.rows("SELECT record_id::text FROM ehr.record_author WHERE record_id <> ':bob'").await;
    let stamped = ehr.stamped_by(MERGE).await;
    let ids: BTreeSet<&str> = stamped.iter().map(|record| record.split_once('/').unwrap().1).collect();
    let expected: BTreeSet<&str> = all.iter().map(String::as_str).chain(["bob"]).collect();
    assert_eq!(ids, expected, "Bob himself is stamped for the identifiers");
    assert_eq!(ehr.rows("SELECT DISTINCT patient_id::text FROM ehr.record_author").await, ["bob"]);
}

#[tokio::test]
async fn every_record_of_a_merge_leaves_a_tombstone_with_the_loser_and_none_with_the_winner() {
    let mut ehr = practice().await;
    let mut records = ehr
        .rows(
            "SELECT target || ' of ann' FROM ehr.record_author, unnest(targets) AS target
             WHERE record_id <> ':bob'",
        )
        .await;
    records.sort();
    ehr.run(MERGE).await;
    assert_eq!(ehr.tombstones().await, records);
    assert!(records.len() >= 14);
}

#[tokio::test]
async fn every_provenance_of_a_merge_leaves_a_tombstone_with_the_loser_and_goes_to_the_winner() {
    let mut ehr = practice().await;
    let before =
        ehr.rows("SELECT id::text FROM ehr.record_author WHERE patient_id = ':ann' ORDER BY id").await;
    ehr.run(MERGE).await;
    let buried = "SELECT id FROM fhir_export.tombstone
                  WHERE resource_type = 'Provenance' AND patient_id = ':ann' ORDER BY id";
    assert_eq!(ehr.rows(buried).await, before);
    let now = "SELECT count(*)::text FROM fhir_export.provenance WHERE patient_id = ':bob'";
    // The loser's own is gone, the winner's own was there.
    assert_eq!(ehr.rows(now).await, [before.len().to_string()]);
}

#[tokio::test]
async fn the_winner_of_a_merge_takes_over_identifiers_and_groups() {
    let mut ehr = practice().await;
    ehr.run("INSERT INTO ehr.patient_group_member (group_id, patient_id) VALUES (':diabetics', ':ann')")
        .await;
    ehr.run(MERGE).await;
    assert_eq!(ehr.rows("SELECT patient_id::text FROM ehr.patient_identifier").await, ["bob"]);
    assert_eq!(ehr.rows(MEMBERS).await, ["ann left", "bob in"]);
}

#[tokio::test]
async fn a_merge_knows_every_table_with_records_of_patients() {
    let mut ehr = practice().await;
    let forgotten = ehr
        .rows(
            "SELECT tgrelid::regclass::text FROM pg_trigger
             JOIN pg_attribute ON attrelid = tgrelid AND attname = 'patient_id'
             WHERE tgname = 'history' AND tgrelid <> 'ehr.record_author'::regclass
               AND position(quote_literal(split_part(tgrelid::regclass::text, '.', 2))
                            IN pg_get_functiondef('ehr.merge_patient'::regproc)) = 0",
        )
        .await;
    assert_eq!(forgotten, NONE);
}

#[tokio::test]
async fn nothing_is_written_to_a_patient_who_was_merged() {
    let mut ehr = practice().await;
    ehr.run(MERGE).await;
    let said = ehr
        .refusal(
            "INSERT INTO ehr.problem (patient_id, kind, text) VALUES (':ann', 'health-concern', 'Too late')",
        )
        .await;
    assert_eq!(said, "patient ann has been merged into another one");
}

#[tokio::test]
async fn a_write_that_waited_for_a_merge_is_refused() {
    let mut ehr = practice().await;
    ehr.run("BEGIN").await;
    ehr.run(MERGE).await;
    let mut writer = ehr.another().await;
    let (said, ()) = tokio::join!(
        writer.refusal(
            "INSERT INTO ehr.problem (patient_id, kind, text) VALUES (':ann', 'health-concern', 'Late')"
        ),
        async {
            while !ehr.has("pg_locks WHERE NOT granted").await {}
            ehr.run("COMMIT").await;
        }
    );
    assert_eq!(said, "patient ann has been merged into another one");
}

#[tokio::test]
async fn only_two_different_patients_are_merged_and_none_twice() {
    let mut ehr = practice().await;
    let said = "only two different patients can be merged";
    assert!(ehr.refusal("SELECT ehr.merge_patient(':bob', ':bob')").await.starts_with(said));
    ehr.run(MERGE).await;
    assert!(ehr.refusal(MERGE).await.starts_with(said));
    assert!(ehr.refusal("SELECT ehr.merge_patient(':bob', ':ann')").await.starts_with(said));
}

#[tokio::test]
async fn nobody_is_deleted_without_his_records() {
    let mut ehr = practice().await;
    assert!(
        ehr.refusal("UPDATE ehr.patient SET deleted = true WHERE id = ':bob'")
            .await
            .contains("check constraint")
    );
    assert!(ehr.refusal("DELETE FROM ehr.patient WHERE id = ':ann'").await.contains("foreign key"));
}

#[tokio::test]
async fn a_purged_patient_leaves_a_tombstone_and_his_groups() {
    let mut ehr = practice().await;
    ehr.run("INSERT INTO ehr.patient_group_member (group_id, patient_id) VALUES (':diabetics', ':bob')")
        .await;
    ehr.run("DELETE FROM ehr.patient WHERE id = ':bob'").await;
    assert_eq!(ehr.tombstones().await, ["Patient/bob of bob"]);
    assert_eq!(ehr.rows(MEMBERS).await, ["bob left"]);
}

// Drugs.

#[tokio::test]
async fn a_drug_is_exported_while_something_uses_it() {
    let mut ehr = practice().await;
    let drugs = "SELECT id FROM fhir_export.medication";
    ehr.run("INSERT INTO ehr.drug (id, name) VALUES (':metformin', 'Metformin 500 mg')").await;
    assert_eq!(ehr.rows(drugs).await, NONE);
    let prescribe = "INSERT INTO ehr.prescription (id, patient_id, drug_id, status, intent)
                     VALUES (':order', ':ann', ':metformin', 'active', 'order')";
    assert_eq!(ehr.stamped_by(prescribe).await, ["drug/metformin", "prescription/order"]);
    assert_eq!(ehr.rows(drugs).await, ["metformin"]);
    ehr.run("DELETE FROM ehr.prescription WHERE id = ':order'").await;
    assert_eq!(ehr.rows(drugs).await, NONE);
    assert_eq!(ehr.tombstones().await, ["Medication/metformin", "MedicationRequest/order of ann"]);
    ehr.run(prescribe).await;
    assert_eq!(ehr.tombstones().await, NONE);
}

// Bulk loads.

/// A row that comes without triggers.
const LOAD: &str = "
    BEGIN; SET LOCAL session_replication_role = replica;
    INSERT INTO ehr.problem (id, patient_id, kind, text, updated_at)
        VALUES (':loaded', ':bob', 'health-concern', 'Loaded', '2001-01-01');
    COMMIT";

#[tokio::test]
async fn a_bulk_load_without_triggers_keeps_its_stamps_and_writes_no_history() {
    let mut ehr = practice().await;
    ehr.run(LOAD).await;
    assert!(ehr.has("fhir_export.condition WHERE id = ':loaded' AND last_updated = '2001-01-01'").await);
    assert!(!ehr.has("ehr.audit_log WHERE record_id = ':loaded'").await);
    assert!(!ehr.has("ehr.record_author WHERE record_id = ':loaded'").await);
}

#[tokio::test]
async fn a_write_after_a_bulk_load_makes_up_for_the_author() {
    let mut ehr = practice().await;
    ehr.run(LOAD).await;
    let change = "UPDATE ehr.problem SET recorder_id = ':doctor' WHERE id = ':loaded'";
    assert_eq!(ehr.stamped_by(change).await, ["problem/loaded"]);
    assert_eq!(ehr.rows(&author_of("loaded")).await, ["doctor: Condition/loaded"]);
}
