//! One EHR that practices share: row-level security keeps them apart.

use super::test_ehr::{Template, TestEhr};

static SHARED: Template = Template::new("shared", Some(7), ROWS);

/// Practices 7 and 8, each with a patient of the same number. They are written as one whom the policies bind.
const ROWS: &str = "
    CREATE ROLE test_reader;
    GRANT USAGE ON SCHEMA fhir_export TO test_reader;
    GRANT SELECT ON ALL TABLES IN SCHEMA fhir_export TO test_reader;
    SET ROLE reference_ehr_owner;

    SET app.practice = '7';
    INSERT INTO ehr.organization (id, kind, name) VALUES (':seven', 'practice', 'Seven');
    INSERT INTO ehr.patient (id, practice_id, mrn, last_name, admin_sex) VALUES
        (':ann', ':seven', 'M-1', 'Alder', 'female');
    INSERT INTO ehr.problem (id, patient_id, kind, text) VALUES (':gout', ':ann', 'health-concern', 'Gout');
    INSERT INTO ehr.patient_group (id, name) VALUES (':group', 'All');
    INSERT INTO ehr.patient_group_member (group_id, patient_id) VALUES (':group', ':ann');

    SET app.practice = '8';
    INSERT INTO ehr.organization (id, kind, name) VALUES (':eight', 'practice', 'Eight');
    INSERT INTO ehr.patient (id, practice_id, mrn, last_name, admin_sex) VALUES
        (':bob', ':eight', 'M-1', 'Birch', 'male'), (':bobby', ':eight', 'M-2', 'Birch', 'male');
    INSERT INTO ehr.problem (id, patient_id, kind, text) VALUES (':asthma', ':bob', 'health-concern', 'Asthma');";

/// Connected as the superuser, whom no policy binds.
async fn superuser() -> TestEhr {
    SHARED.copy().await
}

/// Connected as the application of practice 8.
async fn practice_8() -> TestEhr {
    let mut ehr = superuser().await;
    ehr.run("SET ROLE reference_ehr_owner; SET app.practice = '8'").await;
    ehr
}

/// Connected as one who may read the contract and has said nothing yet.
async fn reader() -> TestEhr {
    let mut ehr = superuser().await;
    ehr.run("SET ROLE test_reader").await;
    ehr
}

/// All problems, as the superuser sees them.
async fn problems(ehr: &mut TestEhr) -> Vec<String> {
    ehr.run("RESET ROLE").await;
    ehr.rows("SELECT concat_ws(' ', practice_number, id, text) FROM ehr.problem ORDER BY 1").await
}

const BOTH: [&str; 2] = ["7 gout Gout", "8 asthma Asthma"];

/// Nothing, to be compared with what is there.
const NONE: [&str; 0] = [];

const CONDITIONS: &str = "SELECT id FROM fhir_export.condition";

// What every table must have.

#[tokio::test]
async fn every_table_has_a_policy_that_binds_its_owner_too() {
    let mut ehr = superuser().await;
    let unbound = "SELECT relname::text FROM pg_class
                   WHERE relnamespace = 'ehr'::regnamespace AND relkind = 'r'
                     AND NOT (relrowsecurity AND relforcerowsecurity
                              AND EXISTS (SELECT FROM pg_policy WHERE polrelid = pg_class.oid))";
    assert_eq!(ehr.rows(unbound).await, NONE);
}

#[tokio::test]
async fn tables_views_and_functions_belong_to_one_whom_policies_bind() {
    let mut ehr = superuser().await;
    let owners = "SELECT DISTINCT concat_ws(' ', rolname, rolsuper, rolbypassrls, rolcanlogin)
                  FROM (SELECT relowner AS owner FROM pg_class
                        WHERE relnamespace IN ('ehr'::regnamespace, 'fhir_export'::regnamespace) AND relkind IN ('r', 'v')
                        UNION ALL
                        SELECT proowner FROM pg_proc
                        WHERE pronamespace IN ('ehr'::regnamespace, 'fhir_export'::regnamespace)) AS object
                  JOIN pg_roles ON pg_roles.oid = owner";
    assert_eq!(ehr.rows(owners).await, ["reference_ehr_owner f f f"]);
}

#[tokio::test]
async fn every_key_and_index_leads_with_the_practice_and_no_foreign_key_leaves_it() {
    let mut ehr = superuser().await;
    let others = r"SELECT indexdef FROM pg_indexes
                   WHERE schemaname = 'ehr' AND indexdef !~ 'btree \(practice_number, '";
    assert_eq!(ehr.rows(others).await, NONE);
    let leaving = r"SELECT pg_get_constraintdef(oid) FROM pg_constraint
                    WHERE connamespace = 'ehr'::regnamespace AND contype = 'f'
                      AND pg_get_constraintdef(oid)
                          !~ '^FOREIGN KEY \(practice_number, \w+\) REFERENCES [a-z_.]+\(practice_number, '";
    assert_eq!(ehr.rows(leaving).await, NONE);
}

// Who writes.

#[tokio::test]
async fn each_practice_sees_its_own_rows_only_and_numbers_may_be_the_same() {
    let mut ehr = practice_8().await;
    assert_eq!(ehr.rows("SELECT id::text FROM ehr.problem").await, ["asthma"]);
    assert_eq!(ehr.rows("SELECT id::text FROM ehr.patient WHERE mrn = 'M-1'").await, ["bob"]);
    ehr.run("SET app.practice = '7'").await;
    assert_eq!(ehr.rows("SELECT id::text FROM ehr.problem").await, ["gout"]);
    assert_eq!(ehr.rows("SELECT id::text FROM ehr.patient WHERE mrn = 'M-1'").await, ["ann"]);
}

#[tokio::test]
async fn a_provenance_names_the_practice_of_its_record() {
    let mut ehr = practice_8().await;
    let provenance = "SELECT practice_id::text FROM ehr.record_author WHERE record_id = ':asthma'";
    assert_eq!(ehr.rows(provenance).await, ["eight"]);
}

#[tokio::test]
async fn a_row_of_another_practice_cannot_be_referred_to() {
    let mut ehr = practice_8().await;
    let said = ehr
        .refusal("INSERT INTO ehr.problem (patient_id, kind, text) VALUES (':ann', 'health-concern', 'x')")
        .await;
    assert!(said.contains("foreign key"), "{said}");
}

#[tokio::test]
async fn a_row_cannot_be_written_into_another_practice_nor_moved_there() {
    let mut ehr = practice_8().await;
    for sql in [
        "INSERT INTO ehr.problem (patient_id, kind, text, practice_number) VALUES (':ann', 'health-concern', 'x', 7)",
        "UPDATE ehr.problem SET practice_number = 7",
    ] {
        let said = ehr.refusal(sql).await;
        assert!(said.contains("row-level security"), "{said}");
    }
    assert_eq!(problems(&mut ehr).await, BOTH);
}

#[tokio::test]
async fn a_row_of_another_practice_is_neither_changed_nor_deleted() {
    let mut ehr = practice_8().await;
    ehr.run(
        "UPDATE ehr.problem SET text = 'x' WHERE id = ':gout'; DELETE FROM ehr.problem WHERE id = ':gout'",
    )
    .await;
    assert_eq!(problems(&mut ehr).await, BOTH);
}

#[tokio::test]
async fn a_patient_of_another_practice_is_not_merged() {
    let mut ehr = practice_8().await;
    for merge in ["SELECT ehr.merge_patient(':ann', ':bob')", "SELECT ehr.merge_patient(':bob', ':ann')"] {
        assert!(ehr.refusal(merge).await.starts_with("only two different patients can be merged"));
    }
}

#[tokio::test]
async fn without_a_practice_nothing_is_written() {
    let mut ehr = superuser().await;
    ehr.run("SET ROLE reference_ehr_owner").await;
    let said = ehr.refusal("INSERT INTO ehr.organization (kind, name) VALUES ('practice', 'Nobody')").await;
    assert!(said.contains("app.practice"), "{said}");
}

#[tokio::test]
async fn deletes_undeletes_and_merges_leave_their_tombstones_in_the_practice() {
    let mut ehr = practice_8().await;
    ehr.run("UPDATE ehr.problem SET deleted = true WHERE id = ':asthma'").await;
    assert_eq!(ehr.tombstones().await, ["Condition/asthma of bob"]);
    ehr.run("UPDATE ehr.problem SET deleted = false WHERE id = ':asthma'").await;
    assert_eq!(ehr.tombstones().await, NONE);
    ehr.run("SELECT ehr.merge_patient(':bob', ':bobby')").await;
    assert_eq!(ehr.tombstones().await, ["Condition/asthma of bob", "Patient/bob of bob"]);
    ehr.run("SET app.practice = '7'").await;
    assert_eq!(ehr.tombstones().await, NONE);
}

// Who reads.

#[tokio::test]
async fn without_a_practice_or_with_an_empty_one_nothing_is_seen() {
    let mut ehr = reader().await;
    let views = ehr.rows("SELECT viewname::text FROM pg_views WHERE schemaname = 'fhir_export'").await;
    assert!(views.len() > 25);
    for setting in ["RESET app.practice", "SET app.practice = ''"] {
        ehr.run(setting).await;
        for view in &views {
            assert!(!ehr.has(&format!("fhir_export.{view}")).await, "{view}");
        }
    }
}

#[tokio::test]
async fn a_reader_sees_the_practice_that_it_names_for_as_long_as_it_does() {
    let mut ehr = reader().await;
    ehr.run("BEGIN; SET LOCAL app.practice = '7'").await;
    assert_eq!(ehr.rows(CONDITIONS).await, ["gout"]);
    assert_eq!(ehr.rows("SELECT patient_id FROM fhir_export.group_member").await, ["ann"]);
    ehr.run("COMMIT").await;
    assert_eq!(ehr.rows(CONDITIONS).await, NONE);
    ehr.run("SET app.practice = '8'").await;
    assert_eq!(ehr.rows(CONDITIONS).await, ["asthma"]);
    assert_eq!(ehr.rows("SELECT patient_id FROM fhir_export.group_member").await, NONE);
}

#[tokio::test]
async fn a_reader_reads_no_table() {
    let mut ehr = reader().await;
    let said = ehr.refusal("SELECT count(*) FROM ehr.problem").await;
    assert!(said.contains("permission denied"), "{said}");
}

#[tokio::test]
async fn a_condition_that_tells_what_it_looks_at_learns_nothing_of_other_practices() {
    let mut ehr = superuser().await;
    // So cheap that the planner would ask it before any other condition.
    ehr.run(
        "CREATE TABLE public.seen (text text);
         CREATE FUNCTION public.peek(t text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 SECURITY DEFINER AS
         'BEGIN INSERT INTO public.seen VALUES (t); RETURN true; END';
         SET ROLE test_reader; SET app.practice = '7'",
    )
    .await;
    assert!(ehr.has("fhir_export.condition WHERE public.peek(text)").await);
    ehr.run("RESET ROLE").await;
    assert_eq!(ehr.rows("SELECT DISTINCT text FROM public.seen").await, ["Gout"]);
}

#[tokio::test]
async fn exports_of_groups_with_since_and_of_everything_go_by_an_index_that_begins_with_the_practice() {
    let mut ehr = superuser().await;
    ehr.run(
        "SET session_replication_role = replica;
         INSERT INTO ehr.problem (practice_number, patient_id, kind, text, updated_at)
             SELECT number, ehr.uuid_v7(), 'health-concern', 'x', now() - n * interval '1 min'
             FROM generate_series(1, 5000) n, generate_series(7, 8) number;
         RESET session_replication_role;
         ANALYZE ehr.problem;
         SET ROLE test_reader; SET app.practice = '7'",
    )
    .await;
    for (what, index, condition) in [
        ("WHERE patient_id = 'x' ORDER BY page_key", "problem_cohort", "patient_id)::text = "),
        ("WHERE last_updated > now()", "problem_stamp", "updated_at > "),
        ("WHERE page_key >= ':ann' ORDER BY page_key, id COLLATE \"C\" LIMIT 1000", "problem_pkey", "id >= "),
    ] {
        let explain = format!("EXPLAIN (COSTS OFF) SELECT * FROM fhir_export.condition {what}");
        let plan = ehr.rows(&explain).await;
        let by_index = plan.windows(2).any(|lines| {
            lines[0].contains(index)
                && lines[1].contains("Index Cond: ((practice_number = ")
                && lines[1].contains(condition)
        });
        assert!(by_index, "{what}:\n{}", plan.join("\n"));
    }
}
