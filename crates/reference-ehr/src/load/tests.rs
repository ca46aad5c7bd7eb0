use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use headgate_local::postgres::{Cluster, Options};
use sqlx::{AssertSqlSafe, Connection};
use tokio::sync::OnceCell;

use super::*;
use crate::{GenerateOptions, Generator};

/// One cluster for all tests; it ends with the process.
static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A database of its own, and a folder to load from.
struct Place {
    dsn: String,
    folder: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let cluster = CLUSTER.get_or_init(async || Cluster::start(Options::default()).await.unwrap()).await;
        let name = format!("ehr_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        cluster.create_database(&name).await.unwrap();
        Self { dsn: cluster.url(&name), folder: tempfile::tempdir().unwrap() }
    }

    fn dsn(&self) -> String {
        self.dsn.clone()
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    async fn load(&self) -> Result<LoadReport, LoadError> {
        load(LoadOptions::new(self.dsn(), self.path()), ProgressBar::hidden()).await
    }

    async fn replace(&self) -> Result<LoadReport, LoadError> {
        let options = LoadOptions { replace: true, ..LoadOptions::new(self.dsn(), self.path()) };
        load(options, ProgressBar::hidden()).await
    }

    /// The rows of a query, each as one text.
    async fn rows(&self, sql: &str) -> Vec<String> {
        let mut connection = PgConnection::connect(&self.dsn()).await.unwrap();
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap()
    }
}

fn patient(id: &str, rest: &str) -> String {
    format!("{{\"resourceType\":\"Patient\",\"id\":\"{id}\"{rest}}}\n")
}

#[tokio::test]
async fn what_is_stored_is_what_the_files_hold_byte_for_byte() {
    let place = Place::new().await;
    let generator = Generator::new(GenerateOptions::patients(1, 6)).unwrap();
    let generated = generator.write_ndjson(place.path(), &ProgressBar::hidden()).unwrap();
    let mut lines: Vec<String> = Vec::new();
    for (number, t) in ResourceType::USCDI.iter().enumerate() {
        let plain = place.path().join(format!("{t}.ndjson"));
        let text = std::fs::read_to_string(&plain).unwrap();
        lines.extend(text.split_terminator('\n').map(str::to_owned));
        if number % 2 == 0 {
            let packed = place.path().join(format!("export_{number}.ndjson.gz"));
            let mut packed = GzEncoder::new(File::create(packed).unwrap(), Compression::fast());
            packed.write_all(text.as_bytes()).unwrap();
            packed.finish().unwrap();
            std::fs::remove_file(plain).unwrap();
        }
    }
    place.write("notes.txt", "not NDJSON");

    let report = place.load().await.unwrap();
    assert_eq!(report.rows, generated.by_type);
    assert_eq!((report.bytes, report.written), (generated.bytes, generated.resources));
    let mut stored = Vec::new();
    for t in ResourceType::USCDI {
        let relation = t.relation();
        stored.extend(place.rows(&format!("SELECT resource FROM fhir_export.{relation}")).await);
        let owned =
            if t.is_patient_owned() { "NOT IN (SELECT id FROM fhir_export.patient)" } else { "IS NOT NULL" };
        let strays = format!("SELECT id FROM fhir_export.{relation} WHERE patient_id {owned}");
        assert!(place.rows(&strays).await.is_empty(), "a {t} belongs to somebody else");
    }
    lines.sort();
    stored.sort();
    assert!(lines == stored, "the stored bodies are not the lines of the files");

    let unlike = "SELECT p.id FROM fhir_export.provenance p JOIN fhir_export.encounter e
         ON p.resource LIKE '%\"Encounter/' || e.id || '\"%' WHERE p.patient_id <> e.patient_id";
    assert!(place.rows(unlike).await.is_empty(), "a Provenance does not follow its target");
}

#[tokio::test]
async fn the_stamp_is_the_clock_of_the_load_and_every_relation_has_its_three_indexes() {
    let place = Place::new().await;
    place.write("a.ndjson", &patient("p", r#","meta":{"lastUpdated":"1999-01-01T00:00:00Z"}"#));
    place.load().await.unwrap();
    let recent = "SELECT id FROM fhir_export.patient WHERE last_updated > now() - interval '1 minute'";
    assert_eq!(place.rows(recent).await, ["p"]);
    let indexes = "SELECT indexname::text FROM pg_indexes WHERE tablename = 'patient' ORDER BY 1";
    assert_eq!(place.rows(indexes).await, ["patient_id_key", "patient_last_updated", "patient_patient_id"]);
    let relations =
        "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'fhir_export'";
    assert_eq!(place.rows(relations).await.len(), 22, "20 types, tombstone and group_member");
}

#[tokio::test]
async fn a_repeated_load_stamps_only_what_changed() {
    let place = Place::new().await;
    let goal = |id: &str, owner: &str| {
        format!(
            "{{\"resourceType\":\"Goal\",\"id\":\"{id}\",\"subject\":{{\"reference\":\"Patient/{owner}\"}}}}\n"
        )
    };
    place.write("a.ndjson", &[patient("same", ""), patient("changed", ""), goal("g", "same")].concat());
    assert_eq!(place.load().await.unwrap().written, 3);
    let stamps = "SELECT id || last_updated FROM fhir_export.patient WHERE id = 'same'";
    let before = place.rows(stamps).await;

    let lines =
        [patient("same", ""), patient("changed", r#","active":true"#), patient("new", ""), goal("g", "new")];
    place.write("a.ndjson", &lines.concat());
    let report = place.load().await.unwrap();
    assert_eq!((report.written, report.rows[&ResourceType::Patient]), (3, 3));
    assert_eq!(place.rows(stamps).await, before);
    let newer = "SELECT id FROM fhir_export.patient WHERE last_updated >
         (SELECT last_updated FROM fhir_export.patient WHERE id = 'same') ORDER BY id";
    assert_eq!(place.rows(newer).await, ["changed", "new"]);
    let buried = "SELECT resource_type || ' ' || id || ' ' || patient_id FROM fhir_export.tombstone";
    assert_eq!(place.rows(buried).await, ["Goal g same"], "a row that changes hands leaves a tombstone");
}

#[tokio::test]
async fn a_replacing_load_leaves_tombstones_of_what_did_not_come_back() {
    let place = Place::new().await;
    place.write("a.ndjson", &[patient("stays", ""), patient("goes", "")].concat());
    place.load().await.unwrap();
    place.write("a.ndjson", &[patient("stays", ""), patient("comes", "")].concat());
    assert_eq!(place.replace().await.unwrap().written, 2);
    assert_eq!(place.rows("SELECT id FROM fhir_export.patient ORDER BY id").await, ["comes", "stays"]);
    let buried = "SELECT resource_type || ' ' || id || ' ' || patient_id FROM fhir_export.tombstone";
    assert_eq!(place.rows(buried).await, ["Patient goes goes"]);
}

#[tokio::test]
async fn a_broken_line_is_named_by_file_and_number_and_nothing_is_loaded() {
    let place = Place::new().await;
    place.write("a.ndjson", &patient("kept", ""));
    place.load().await.unwrap();
    place.write("a.ndjson", &patient("dropped", ""));
    place.write("b.ndjson", "\n  \n{\"resourceType\":\"Goal\",\"id\":\"secret\"}\n");
    let error = place.load().await.unwrap_err().to_string();
    assert!(error.ends_with("b.ndjson line 3: subject names no patient"), "{error}");
    assert!(!error.contains("secret"));
    assert_eq!(place.rows("SELECT id FROM fhir_export.patient").await, ["kept"]);
}

#[tokio::test]
async fn a_provenance_of_a_missing_target_is_named_by_file_and_number() {
    let place = Place::new().await;
    let of = |id: &str, target: &str| {
        format!(
            "{{\"resourceType\":\"Provenance\",\"id\":\"{id}\",\"target\":[{{\"reference\":\"{target}\"}}]}}\n"
        )
    };
    let lines = [patient("p", ""), of("v", "Patient/p"), of("w", "Encounter/none")].concat();
    place.write("a.ndjson", &lines);
    let error = place.load().await.unwrap_err();
    assert!(
        matches!(&error, LoadError::Line { line: 3, problem: LineProblem::MissingTarget, file } if file.ends_with("a.ndjson")),
        "{error}"
    );
    let encounter =
        "{\"resourceType\":\"Encounter\",\"id\":\"none\",\"subject\":{\"reference\":\"Patient/p\"}}\n";
    place.write("b.ndjson", encounter);
    assert_eq!(place.load().await.unwrap().written, 4);
    let again = place.load().await.unwrap();
    assert_eq!((again.written, again.rows[&ResourceType::Provenance]), (0, 2));
}

#[tokio::test]
async fn two_lines_of_one_id_are_refused_whether_the_table_is_empty_or_not() {
    let place = Place::new().await;
    let twice = [patient("p", ""), patient("p", r#","active":true"#)].concat();
    for existing in [None, Some("q"), Some("p")] {
        if let Some(id) = existing {
            place.write("a.ndjson", &patient(id, ""));
            place.load().await.unwrap();
        }
        place.write("a.ndjson", &twice);
        let error = place.load().await.unwrap_err();
        assert!(matches!(error, LoadError::DuplicateId(ResourceType::Patient)), "{error}");
    }
}

#[tokio::test]
async fn a_body_keeps_its_carriage_return_and_a_later_type_gets_a_table() {
    let place = Place::new().await;
    let coverage = r#"{"resourceType":"Coverage","id":"c","beneficiary":{"reference":"Patient/p"}} "#;
    place.write("a.ndjson", &format!("{coverage}\r\n\r\n{}", patient("p", "").trim_end()));
    place.load().await.unwrap();
    assert_eq!(place.rows("SELECT resource FROM fhir_export.coverage").await, [format!("{coverage}\r")]);
    assert_eq!(place.rows("SELECT resource FROM fhir_export.patient").await, [patient("p", "").trim_end()]);
}

#[tokio::test]
async fn a_folder_without_ndjson_and_a_cut_gzip_file_are_refused() {
    let place = Place::new().await;
    assert!(matches!(place.load().await, Err(LoadError::NoFiles(_))));
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(patient("p", "").as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    std::fs::write(place.path().join("a.ndjson.gz"), &packed[..packed.len() - 4]).unwrap();
    assert!(matches!(place.load().await, Err(LoadError::Read { .. })));
}

#[tokio::test]
async fn the_reader_reads_and_does_not_write() {
    let place = Place::new().await;
    place.write("a.ndjson", &patient("p", ""));
    place.load().await.unwrap();
    let role = "reader\"'1";
    for _ in 0..2 {
        crate::grant_reader(&place.dsn(), DEFAULT_SCHEMA, role).await.unwrap();
    }
    let mut connection = PgConnection::connect(&place.dsn()).await.unwrap();
    let as_reader = format!("SET ROLE {}", crate::database::quoted(role));
    sqlx::raw_sql(AssertSqlSafe(as_reader)).execute(&mut connection).await.unwrap();
    let id: String =
        sqlx::query_scalar("SELECT id FROM fhir_export.patient").fetch_one(&mut connection).await.unwrap();
    assert_eq!(id, "p");
    let may_see: bool = sqlx::query_scalar("SELECT pg_has_role('pg_read_all_stats', 'USAGE')")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(may_see);
    assert!(sqlx::raw_sql("DELETE FROM fhir_export.patient").execute(&mut connection).await.is_err());
}
