use headgate_domain::practice::UsCore;

use crate::SourceConfig;
use crate::test_database::TestDatabase;

use super::*;

fn row<'r>(report: &'r CheckReport, what: &str) -> &'r Check {
    report.rows.iter().find(|r| r.what == what).unwrap_or_else(|| panic!("no row {what}: {report:#?}"))
}

#[tokio::test]
async fn a_practice_that_keeps_the_contract_gets_no_complaint() {
    let db = TestDatabase::create("check_good").await;
    db.execute(
        "CREATE TABLE fhir_export.patient (id text COLLATE \"C\" PRIMARY KEY, patient_id text,
                                           last_updated timestamptz NOT NULL, resource text);
         INSERT INTO fhir_export.patient
         SELECT 'p' || n, 'p' || n, now(), '{\"resourceType\":\"Patient\",\"id\":\"p' || n || '\"}'
         FROM generate_series(1, 50) n;
         CREATE INDEX ON fhir_export.patient (patient_id, id);
         CREATE INDEX ON fhir_export.patient (last_updated);
         CREATE TABLE fhir_export.observation (page_key uuid, id text, patient_id text,
                                               last_updated timestamptz NOT NULL, resource jsonb);
         INSERT INTO fhir_export.observation
         SELECT md5((n / 2)::text)::uuid, 'o' || n, 'p', now(),
                jsonb_build_object('resourceType', 'Observation', 'id', 'o' || n)
         FROM generate_series(1, 50) n;
         CREATE INDEX ON fhir_export.observation (page_key, id COLLATE \"C\");
         CREATE INDEX ON fhir_export.observation (patient_id, page_key, id COLLATE \"C\");
         CREATE INDEX ON fhir_export.observation (last_updated);
         CREATE TABLE fhir_export.tombstone (resource_type text, id text, patient_id text,
                                             deleted_at timestamptz);
         ANALYZE",
    )
    .await;
    let config = db.config_as_role("check_good").await;
    db.execute("GRANT pg_read_all_stats TO check_good").await;
    let report = Source::connect(config).unwrap().check(CheckOptions::default()).await;
    assert_eq!(report.worst(), Verdict::Ok, "{report:#?}");
    assert!(row(&report, "observation").detail.contains("page_key uuid"));
    assert!(serde_json::to_string(&report).unwrap().contains("\"verdict\":\"ok\""));
}

#[tokio::test]
async fn missing_indexes_and_bad_rows_are_named_without_their_data() {
    let db = TestDatabase::create("check_bad").await;
    db.execute(
        "CREATE TABLE fhir_export.device (id text PRIMARY KEY, patient_id text, last_updated timestamptz,
                                          resource text);
         INSERT INTO fhir_export.device
         SELECT 'secret' || n, 'p', now(), '{\"resourceType\":\"Device\",\"id\":\"secret' || n || '\"}'
         FROM generate_series(1, 20000) n;
         INSERT INTO fhir_export.device VALUES
             ('_Jane Doe', 'p', now(), '{'), ('0', NULL, NULL, '{\"resourceType\":\"Goal\",\n\"id\":\"1\"}');
         CREATE TABLE fhir_export.patient (id text);
         ANALYZE",
    )
    .await;
    let config = db.config_as_role("check_bad").await;
    db.execute("GRANT INSERT ON fhir_export.device TO check_bad").await;
    let report = Source::connect(config).unwrap().check(CheckOptions::default()).await;
    assert_eq!(report.worst(), Verdict::Fail);
    assert!(row(&report, "horizon").detail.contains("GRANT pg_read_all_stats"));
    assert_eq!(row(&report, "patient").verdict, Verdict::Fail);
    assert_eq!(row(&report, "tombstone").verdict, Verdict::Warn);
    assert!(row(&report, "device").detail.contains("may write"));
    assert_eq!(row(&report, "device: last_updated").verdict, Verdict::Fail);
    let indexes = row(&report, "device: indexes");
    assert_eq!(indexes.verdict, Verdict::Fail);
    let create = ["id COLLATE \"C\"", "patient_id, id COLLATE \"C\"", "last_updated"];
    let create = create.map(|columns| format!("CREATE INDEX ON fhir_export.device ({columns});"));
    assert_eq!(indexes.statements, create);
    let rows = row(&report, "device: rows");
    for finding in ["not well-formed", "FHIR does not allow", "no patient_id", "not Device", "line feeds"] {
        assert!(rows.detail.contains(finding), "{finding}: {rows:?}");
    }
    let all = serde_json::to_string(&report).unwrap();
    assert!(!all.contains("secret") && !all.contains("Jane"), "{all}");
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_one_finding() {
    let config = SourceConfig {
        connect_timeout: std::time::Duration::from_millis(300),
        ..SourceConfig::new("postgres://u:geheim@127.0.0.1:1/d", "fhir_export")
    };
    let report = Source::connect(config).unwrap().check(CheckOptions::default()).await;
    assert_eq!((report.rows.len(), report.worst(), report.connected), (1, Verdict::Fail, false));
    assert!(!serde_json::to_string(&report).unwrap().contains("geheim"));
}

const CONDITION: &str = r#"{
    "resourceType": "Condition",
    "codes": { "kind": { "p": "problem", "*": null } },
    "streams": [{ "relation": "condition", "resources": [
        {
            "resourceType": "Condition", "id": "{{id}}", "meta": { "lastUpdated": "{{last_updated | instant}}" },
            "code": { "text": "{{label}}" }, "category": "{{kind | code: kind}}", "evidence": "{{children}}",
            "subject": { "reference": "Patient/{{patient_id}}" }
        },
        {
            "$when": "kind = 'two'",
            "resourceType": "Condition", "id": "{{id}}-b", "meta": { "lastUpdated": "{{last_updated | instant}}" }
        }
    ] }]
}"#;

fn conditions() -> MappingSet {
    MappingSet::parse([("Condition.json", CONDITION)], UsCore::default()).unwrap()
}

/// An EHR with a table that is made for something else than exports.
async fn ehr(name: &str) -> TestDatabase {
    let db = TestDatabase::create(name).await;
    db.execute(
        "CREATE SCHEMA ehr;
         CREATE TABLE ehr.problem (id bigint NOT NULL, patient int NOT NULL, kind text, label text, children jsonb,
                                   deleted boolean NOT NULL DEFAULT false,
                                   changed timestamptz NOT NULL DEFAULT now() - interval '1 day');
         INSERT INTO ehr.problem (id, patient, kind, label)
         SELECT n, n % 9, 'p', 'secret' || n FROM generate_series(1, 5000) n;
         CREATE VIEW fhir_export.condition AS
         SELECT p.id AS page_key, p.id::text AS id, p.patient::text AS patient_id, p.changed AS last_updated,
                p.kind, p.label, p.children
         FROM ehr.problem p WHERE NOT p.deleted;
         ANALYZE",
    )
    .await;
    db
}

async fn checked(db: &TestDatabase, mappings: &MappingSet, show_sample: bool) -> CheckReport {
    db.source().check(CheckOptions { mappings: Some(mappings), show_sample }).await
}

#[tokio::test]
async fn the_index_that_a_view_lacks_is_written_out_for_the_table_below_it() {
    let db = ehr("check_view").await;
    let mappings = conditions();
    let report = checked(&db, &mappings, false).await;
    let create = ["id", "(patient::text), id", "changed"];
    let create = create.map(|columns| format!("CREATE INDEX ON ehr.problem ({columns});"));
    assert_eq!(row(&report, "condition: indexes").statements, create);
    db.execute(&create.join(" ")).await;
    let report = checked(&db, &mappings, false).await;
    assert_eq!(row(&report, "condition: indexes").verdict, Verdict::Ok, "{report:#?}");
    assert!(
        row(&report, "condition: rows")
            .detail
            .contains("1000 looked at, which give 1000 resources, all well")
    );
    assert!(row(&report, "condition: codes").detail.contains("know every value"));
    assert!(row(&report, "export time").detail.contains("5000 rows"));
    assert_eq!(report.estimates[0].rows, 5000);
}

#[tokio::test]
async fn an_index_on_what_a_view_filters_by_does_not_serve_its_stamps() {
    let db = ehr("check_filter").await;
    db.execute(
        "CREATE INDEX ON ehr.problem (kind);
         CREATE OR REPLACE VIEW fhir_export.condition AS
         SELECT p.id AS page_key, p.id::text AS id, p.patient::text AS patient_id, p.changed AS last_updated,
                p.kind, p.label, p.children
         FROM ehr.problem p WHERE p.kind = 'p'",
    )
    .await;
    let report = checked(&db, &conditions(), false).await;
    assert_eq!(row(&report, "condition: indexes").statements.len(), 3, "{report:#?}");
}

#[tokio::test]
async fn an_index_that_is_there_is_not_asked_for_though_the_planner_prefers_a_smaller_one() {
    let db = ehr("check_partial").await;
    db.execute(
        "CREATE INDEX ON ehr.problem (id); CREATE INDEX ON ehr.problem ((patient::text), id);
         CREATE INDEX ON ehr.problem (changed);
         CREATE INDEX ON ehr.problem (id) WHERE kind = 'rare';
         CREATE OR REPLACE VIEW fhir_export.condition AS
         SELECT p.id AS page_key, p.id::text AS id, p.patient::text AS patient_id, p.changed AS last_updated,
                p.kind, p.label, p.children
         FROM ehr.problem p WHERE p.kind = 'rare'",
    )
    .await;
    let report = checked(&db, &conditions(), false).await;
    assert_eq!(row(&report, "condition: indexes").verdict, Verdict::Ok, "{report:#?}");
}

#[tokio::test]
async fn an_index_may_begin_with_what_the_view_compares_with_one_value() {
    let db = ehr("check_pinned").await;
    db.execute(
        "CREATE INDEX ON ehr.problem (kind, id); CREATE INDEX ON ehr.problem (kind, (patient::text), id);
         CREATE INDEX ON ehr.problem (kind, changed);
         CREATE OR REPLACE VIEW fhir_export.condition AS
         SELECT p.id AS page_key, p.id::text AS id, p.patient::text AS patient_id, p.changed AS last_updated,
                p.kind, p.label, p.children
         FROM ehr.problem p WHERE p.kind = 'rare'",
    )
    .await;
    let report = checked(&db, &conditions(), false).await;
    assert_eq!(row(&report, "condition: indexes").verdict, Verdict::Ok, "{report:#?}");
}

#[tokio::test]
async fn indexes_of_a_union_are_on_each_table_and_of_a_join_on_the_one_that_has_the_columns() {
    let db = ehr("check_union").await;
    db.execute(
        "CREATE TABLE ehr.diagnosis (id bigint, patient int, label text, at timestamp, region text)
                                    PARTITION BY LIST (region);
         CREATE TABLE ehr.diagnosis_a PARTITION OF ehr.diagnosis FOR VALUES IN ('a');
         CREATE TABLE ehr.diagnosis_b PARTITION OF ehr.diagnosis FOR VALUES IN ('b');
         CREATE TABLE ehr.label (label text PRIMARY KEY, text text);
         DROP VIEW fhir_export.condition;
         CREATE VIEW fhir_export.condition AS
         SELECT 'p-' || p.id AS id, p.patient::text AS patient_id, p.changed AS last_updated, p.kind, p.label, p.children
         FROM ehr.problem p
         UNION ALL
         SELECT 'd-' || d.id, d.patient::text, d.at AT TIME ZONE 'America/New_York', 'p', l.text, NULL
         FROM ehr.diagnosis d LEFT JOIN ehr.label l USING (label)",
    )
    .await;
    let report = checked(&db, &conditions(), false).await;
    let statements = &row(&report, "condition: indexes").statements;
    assert_eq!(statements.len(), 6, "{statements:?}");
    assert_eq!(statements[1], "CREATE INDEX ON ehr.problem (('p-'::text || (id)::text) COLLATE \"C\");");
    assert_eq!(statements[4], "CREATE INDEX ON ehr.diagnosis ((at AT TIME ZONE 'America/New_York'::text));");
    for statement in statements {
        db.execute(statement).await;
    }
}

#[tokio::test]
async fn a_view_whose_stamp_comes_from_two_tables_is_told_that_no_index_helps() {
    let db = ehr("check_two").await;
    db.execute(
        "CREATE TABLE ehr.note (problem bigint PRIMARY KEY, changed timestamptz);
         CREATE OR REPLACE VIEW fhir_export.condition AS
         SELECT p.id AS page_key, p.id::text AS id, p.patient::text AS patient_id,
                greatest(p.changed, n.changed) AS last_updated, p.kind, p.label, p.children
         FROM ehr.problem p LEFT JOIN ehr.note n ON n.problem = p.id",
    )
    .await;
    let report = checked(&db, &conditions(), false).await;
    let statements = &row(&report, "condition: indexes").statements;
    assert_eq!(statements[0], "CREATE INDEX ON ehr.problem (id);");
    assert!(statements[2].contains("(last_updated); -- a view"), "{statements:?}");
}

#[tokio::test]
async fn what_the_templates_make_is_looked_at_and_shown_only_when_asked_for() {
    let db = ehr("check_made").await;
    db.execute(
        "UPDATE ehr.problem SET children = '[{\"a\": null}]' WHERE id <= 3;
         UPDATE ehr.problem SET kind = 'two' WHERE id BETWEEN 4 AND 8;
         UPDATE ehr.problem SET children = '[{\"reference\": \"https://x/Patient/1\"}]' WHERE id = 9",
    )
    .await;
    let mappings = conditions();
    let report = checked(&db, &mappings, false).await;
    let rows = row(&report, "condition: rows");
    assert_eq!(rows.verdict, Verdict::Fail);
    for finding in ["which give 1005 resources", "3 hold null", "1 hold references"] {
        assert!(rows.detail.contains(finding), "{finding}: {rows:?}");
    }
    let codes = row(&report, "condition: codes");
    assert!(
        codes.verdict == Verdict::Warn && codes.detail.contains("kind leaves out the values of 5 rows"),
        "{codes:?}"
    );
    assert!(!serde_json::to_string(&report).unwrap().contains("secret"));
    let report = checked(&db, &mappings, true).await;
    let templates: Vec<&str> = report.samples.iter().filter_map(|s| s.template.as_deref()).collect();
    assert_eq!(templates, ["{{id}}", "{{id}}-b"]);
    assert!(
        report.samples[0].resource.contains("\n    \"text\": \"secret1\""),
        "{}",
        report.samples[0].resource
    );
    assert!(!format!("{report:?}").contains("secret"));
}

#[tokio::test]
async fn every_column_that_does_not_fit_is_a_finding_with_its_place() {
    let db = ehr("check_columns").await;
    db.execute(
        "DROP VIEW fhir_export.condition;
         CREATE VIEW fhir_export.condition AS
         SELECT p.id::text AS id, p.patient::text AS patient_id, p.changed AS last_updated, p.id::real AS label, p.kind
         FROM ehr.problem p",
    )
    .await;
    let report = checked(&db, &conditions(), false).await;
    let told: Vec<&str> =
        report.rows.iter().filter(|r| r.what == "condition").map(|r| r.detail.as_str()).collect();
    assert_eq!(told.len(), 2, "{report:#?}");
    assert!(
        told[0].starts_with("Condition.json: streams[0].resources[0].code.text: label has the type real"),
        "{told:?}"
    );
    assert!(told[1].contains("evidence: there is no column children"), "{told:?}");
}
