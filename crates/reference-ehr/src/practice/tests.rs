use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use headgate_local::postgres::{Cluster, Options};
use indicatif::ProgressBar;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::sync::{OnceCell, mpsc};

use super::*;

/// One cluster for all tests; it ends with the process.
static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A database of its own.
struct Place {
    dsn: String,
}

impl Place {
    async fn new() -> Self {
        let cluster = CLUSTER.get_or_init(async || Cluster::start(Options::default()).await.unwrap()).await;
        let name = format!("practice_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        cluster.create_database(&name).await.unwrap();
        Self { dsn: cluster.url(&name) }
    }

    /// A place with a practice.
    async fn with(patients: u64, seed: u64) -> Self {
        let place = Self::new().await;
        install(&place.dsn, &InstallOptions::default()).await.unwrap();
        place.populate(patients, seed).await.unwrap();
        place
    }

    async fn populate(&self, patients: u64, seed: u64) -> Result<PopulateReport, PracticeError> {
        populate(PopulateOptions::new(&self.dsn, patients, seed), ProgressBar::hidden()).await
    }

    /// The rows of a query, each as one text.
    async fn rows(&self, sql: &str) -> Vec<String> {
        let mut connection = PgConnection::connect(&self.dsn).await.unwrap();
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap()
    }

    async fn count(&self, sql: &str) -> i64 {
        let mut connection = PgConnection::connect(&self.dsn).await.unwrap();
        sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {sql}")))
            .fetch_one(&mut connection)
            .await
            .unwrap()
    }

    async fn run(&self, sql: &str) {
        let mut connection = PgConnection::connect(&self.dsn).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }

    /// The tables of the EHR.
    async fn tables(&self) -> Vec<String> {
        self.rows("SELECT tablename::text FROM pg_tables WHERE schemaname = 'ehr' ORDER BY 1").await
    }

    /// A digest of each table, without the stamps of the load.
    async fn digests(&self) -> Vec<String> {
        let mut digests = Vec::new();
        for table in self.tables().await {
            let sql = format!(
                "SELECT '{table} ' || count(*) || ' ' || md5(string_agg(row, '' ORDER BY row)) FROM (
                   SELECT (to_jsonb(t) - '{{created_at,updated_at,added_at,removed_at,deleted_at,at}}'::text[])::text AS row
                   FROM ehr.{table} t) rows"
            );
            digests.extend(self.rows(&sql).await);
        }
        digests
    }
}

#[tokio::test]
async fn the_same_patients_and_seed_give_the_same_practice() {
    let (one, same, other) = (Place::with(40, 7).await, Place::with(40, 7).await, Place::with(40, 8).await);
    let digests = one.digests().await;
    assert_eq!(digests, same.digests().await);
    assert!(other.digests().await.iter().all(|digest| !digests.contains(digest)), "another seed, all else");
}

#[tokio::test]
async fn every_table_of_a_small_practice_has_rows_and_the_report_counts_them() {
    let place = Place::new().await;
    install(&place.dsn, &InstallOptions::default()).await.unwrap();
    let report = place.populate(60, 1).await.unwrap();
    for table in place.tables().await {
        let count = place.count(&format!("ehr.{table}")).await;
        assert!(count > 0, "{table} is empty");
        assert_eq!(report.rows.get(&table).copied(), u64::try_from(count).ok(), "{table}");
    }
    assert_eq!(place.count("ehr.patient WHERE merged_into_id IS NULL").await, 60);
    assert!(place.count("ehr.patient WHERE merged_into_id IS NOT NULL").await > 0);
}

/// Every column of every table, but for a few that nothing here fills.
#[tokio::test]
async fn every_column_is_filled_somewhere_and_differs() {
    let place = Place::with(100, 1).await;
    let empty = [
        "ehr.audit_log.provider_id",
        "ehr.organization.line2",
        "ehr.facility.line2",
        "ehr.finding.comparator",
        "ehr.patient_identifier.valid_to",
        "ehr.patient_name.middle_name",
        "ehr.patient_name.suffix",
        "ehr.patient_telecom.valid_from",
    ];
    let columns = place
        .rows(
            "SELECT format('%I.%I.%I', table_schema, table_name, column_name) FROM information_schema.columns
             JOIN pg_tables ON schemaname = table_schema AND tablename = table_name
             WHERE table_schema = 'ehr' ORDER BY 1",
        )
        .await;
    let mut unfilled = Vec::new();
    for column in &columns {
        let (table, name) = column.rsplit_once('.').unwrap();
        if !empty.contains(&column.as_str())
            && place.count(&format!("{table} WHERE {name} IS NOT NULL")).await == 0
        {
            unfilled.push(column);
        }
    }
    assert!(unfilled.is_empty(), "{unfilled:?}");
}

#[tokio::test]
async fn foreign_keys_indexes_and_triggers_are_as_the_installation_made_them() {
    let (bare, full) = (Place::new().await, Place::with(12, 1).await);
    install(&bare.dsn, &InstallOptions::default()).await.unwrap();
    for sql in [
        "SELECT conrelid::regclass::text || conname::text || pg_get_constraintdef(oid) FROM pg_constraint
         WHERE connamespace = 'ehr'::regnamespace ORDER BY 1",
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'ehr' ORDER BY 1",
        "SELECT tgrelid::regclass::text || tgname::text || tgenabled::text FROM pg_trigger
         WHERE NOT tgisinternal ORDER BY 1",
    ] {
        let made = bare.rows(sql).await;
        assert!(made.len() > 20);
        assert_eq!(made, full.rows(sql).await);
    }
}

#[tokio::test]
async fn authors_are_noted_as_the_triggers_would_have_noted_them() {
    let place = Place::with(40, 3).await;
    let authors = "SELECT concat_ws(' ', record_id, patient_id, targets, provider_id, practice_id)
                   FROM ehr.record_author ORDER BY record_id";
    let noted = place.rows(authors).await;
    let tombstones = "SELECT concat_ws(' ', resource_type, fhir_id, patient_fhir_id) FROM ehr.deleted_record
                      ORDER BY 1";
    let buried = place.rows(tombstones).await;
    for table in place.tables().await {
        let has_id = format!("pg_trigger WHERE tgrelid = 'ehr.{table}'::regclass AND tgname = 'history'");
        if place.count(&has_id).await > 0 && table != "record_author" {
            place.run(&format!("UPDATE ehr.{table} SET updated_at = updated_at")).await;
        }
    }
    let renoted = place.rows(authors).await;
    for (before, after) in noted.iter().zip(&renoted) {
        assert_eq!(before, after);
    }
    assert_eq!(noted.len(), renoted.len());
    assert_eq!(buried, place.rows(tombstones).await);
}

#[tokio::test]
async fn values_agree_with_each_other() {
    let place = Place::with(100, 2).await;
    for never in [
        "vital_set WHERE bmi <> round(weight_kg / (height_cm / 100) ^ 2, 1)",
        "vital_set WHERE bmi IS NOT NULL AND (height_cm IS NULL OR weight_kg IS NULL)",
        "vital_set WHERE diastolic >= systolic",
        "vital_set v JOIN ehr.patient p ON p.id = v.patient_id WHERE v.taken_at::date < p.birth_date",
        "problem WHERE verification = 'entered-in-error' AND (clinical_status, abated) IS DISTINCT FROM (NULL, NULL)",
        "problem WHERE verification <> 'entered-in-error' AND clinical_status IS NULL",
        "problem WHERE abated IS NOT NULL AND clinical_status NOT IN ('inactive', 'remission', 'resolved')",
        "problem WHERE abated < onset",
        "allergy WHERE (verification = 'entered-in-error') = (clinical_status IS NOT NULL)",
        "prescription WHERE intent = 'order' AND prescriber_id IS NULL",
        "dispense WHERE status = 'completed' AND handed_over_at IS NULL",
        "procedure_done WHERE status = 'completed' AND starts_at IS NULL",
        "lab_report WHERE status <> 'registered' AND (collected_at IS NULL OR issued_at IS NULL)",
        "lab_result WHERE num_nonnulls(value_num, value_code, value_text, absent_reason) = 0",
        "document WHERE size_bytes <> length(body) OR body IS NULL AND storage_url IS NULL",
        "document WHERE mime = 'application/pdf' AND (substr(body, 1, 5) <> '%PDF-' OR position('startxref' IN body) = 0)",
        "document WHERE body IS NOT NULL AND length(sha1) <> 20",
        "encounter e JOIN ehr.problem p ON p.id = e.reason_problem_id WHERE p.patient_id <> e.patient_id OR p.deleted",
        "encounter WHERE ends_at <= starts_at",
        "encounter e JOIN ehr.patient p ON p.id = e.patient_id WHERE e.status = 'finished' AND e.starts_at > p.deceased_at",
        "encounter WHERE status = 'finished' AND
           extract(hour FROM starts_at AT TIME ZONE 'America/New_York') NOT BETWEEN 8 AND 16",
        "encounter WHERE extract(isodow FROM starts_at AT TIME ZONE 'America/New_York') > 5",
        "coverage WHERE num_nonnulls(member_id, subscriber_id) = 0",
        "finding WHERE num_nonnulls(value_num, value_code, value_text, value_bool, absent_reason, mean_systolic) = 0
           AND NOT EXISTS (SELECT FROM ehr.finding m WHERE m.parent_id = finding.id)",
    ] {
        assert_eq!(place.count(&format!("ehr.{never}")).await, 0, "{never}");
    }
    for always in [
        "vital_set WHERE spo2::text LIKE '%.0'",
        "vital_set WHERE head_pct IS NOT NULL AND wfl_pct IS NOT NULL AND bmi IS NULL",
        "vital_set WHERE bmi_pct IS NOT NULL",
        "lab_result WHERE value_num::text LIKE '%.%0'",
        "patient WHERE last_name !~ '^[ -~]*$'",
        "patient WHERE deceased_at IS NOT NULL",
        "patient p WHERE NOT EXISTS (SELECT FROM ehr.encounter e WHERE e.patient_id = p.id)",
        "document WHERE mime LIKE 'text/plain%' AND convert_from(body, 'UTF8') LIKE E'%\"%\\n%'",
    ] {
        assert!(place.count(&format!("ehr.{always}")).await > 0, "{always}");
    }
}

#[tokio::test]
async fn hypertension_and_diabetes_show_in_the_numbers() {
    let place = Place::with(200, 4).await;
    let compared = |value: &str, of: &str, snomed: &str| {
        format!(
            "SELECT (avg({value}) FILTER (WHERE ill) > avg({value}) FILTER (WHERE NOT ill))::text FROM (
               SELECT {value}, patient_id IN (SELECT patient_id FROM ehr.problem WHERE snomed = '{snomed}') AS ill
               FROM ehr.{of}) x"
        )
    };
    let pressure = place.rows(&compared("systolic", "vital_set", "59621000")).await;
    let sugar = place.rows(&compared("value_num", "lab_result WHERE loinc = '2339-0'", "44054006")).await;
    assert_eq!((pressure, sugar), (vec!["true".to_owned()], vec!["true".to_owned()]));
    let metformin = "ehr.prescription WHERE drug_id IN (SELECT id FROM ehr.drug WHERE rxnorm = '861007')
         AND patient_id NOT IN (SELECT patient_id FROM ehr.problem WHERE snomed = '44054006')";
    assert_eq!(place.count(metformin).await, 0);
}

#[test]
fn keys_ascend_within_each_table_in_the_order_of_insertion() {
    let (filled, mut chunks) = mpsc::channel(1000);
    let options = PopulateOptions::new("", 30, 5);
    populate::generate(&options, "now".to_owned(), filled, &ProgressBar::hidden());
    let mut last: BTreeMap<&str, String> = BTreeMap::new();
    while let Ok(chunk) = chunks.try_recv() {
        if chunk.columns[0] != "id" {
            continue;
        }
        for line in String::from_utf8(chunk.data).unwrap().lines() {
            let id = line[..36].to_owned();
            let before = last.insert(chunk.table, id.clone()).unwrap_or_default();
            assert!(before < id, "{}", chunk.table);
        }
    }
    assert!(last.len() > 30, "{last:?}");
}

#[tokio::test]
async fn an_ehr_is_installed_once_and_filled_once() {
    let place = Place::new().await;
    assert!(!is_installed(&place.dsn, "ehr").await.unwrap());
    assert!(matches!(place.populate(5, 1).await, Err(PracticeError::NotInstalled(_))));
    install(&place.dsn, &InstallOptions::default()).await.unwrap();
    assert!(is_installed(&place.dsn, "ehr").await.unwrap());
    let again = install(&place.dsn, &InstallOptions::default()).await;
    assert!(matches!(again, Err(PracticeError::Installed(schema)) if schema == "ehr"));
    assert!(matches!(place.populate(0, 1).await, Err(PracticeError::NoPatients)));
    place.populate(5, 1).await.unwrap();
    assert!(matches!(place.populate(5, 1).await, Err(PracticeError::NotEmpty(_))));
}

#[tokio::test]
async fn two_practices_live_in_one_database_under_other_names() {
    let place = Place::new().await;
    for name in ["alpha", "beta"] {
        let options = InstallOptions {
            ehr_schema: name.to_owned(),
            export_schema: format!("{name}_export"),
            shared: None,
        };
        install(&place.dsn, &options).await.unwrap();
        let options = PopulateOptions { schema: name.to_owned(), ..PopulateOptions::new(&place.dsn, 10, 1) };
        populate(options, ProgressBar::hidden()).await.unwrap();
        assert!(place.count(&format!("{name}_export.observation_vitals")).await > 10);
        place.run(&format!("UPDATE {name}.vital_set SET heart_rate = NULL")).await;
        assert!(place.count(&format!("{name}_export.tombstone WHERE id LIKE '%-hr'")).await > 10);
    }
    assert_eq!(place.count("pg_namespace WHERE nspname IN ('ehr', 'fhir_export')").await, 0);
}

#[tokio::test]
async fn two_practices_share_one_ehr() {
    let place = Place::new().await;
    install(&place.dsn, &InstallOptions { shared: Some(1), ..InstallOptions::default() }).await.unwrap();
    for practice in [1, 2] {
        let options = PopulateOptions {
            practice: Some(practice),
            ..PopulateOptions::new(&place.dsn, 10, practice.unsigned_abs())
        };
        populate(options, ProgressBar::hidden()).await.unwrap();
    }
    let counts = place
        .rows("SELECT practice_number || ' ' || count(*) FROM ehr.patient WHERE NOT deleted GROUP BY practice_number ORDER BY 1")
        .await;
    assert_eq!(counts, ["1 10", "2 10"]);
}
