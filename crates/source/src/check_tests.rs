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
    let report = Source::connect(config).unwrap().check().await;
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
    let report = Source::connect(config).unwrap().check().await;
    assert_eq!(report.worst(), Verdict::Fail);
    assert!(row(&report, "horizon").detail.contains("GRANT pg_read_all_stats"));
    assert_eq!(row(&report, "patient").verdict, Verdict::Fail);
    assert_eq!(row(&report, "tombstone").verdict, Verdict::Warn);
    assert!(row(&report, "device").detail.contains("may write"));
    assert_eq!(row(&report, "device: last_updated").verdict, Verdict::Fail);
    let indexes = row(&report, "device: indexes");
    assert_eq!(indexes.verdict, Verdict::Fail);
    for index in ["(id COLLATE \"C\")", "(patient_id, id COLLATE \"C\")", "(last_updated)"] {
        assert!(indexes.detail.contains(index), "{indexes:?}");
    }
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
    let report = Source::connect(config).unwrap().check().await;
    assert_eq!((report.rows.len(), report.worst()), (1, Verdict::Fail));
    assert!(!serde_json::to_string(&report).unwrap().contains("geheim"));
}
