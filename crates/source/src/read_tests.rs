use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use headgate_domain::ResourceType;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::test_database::{TestDatabase, mapped, relation_and_marker, run};
use crate::{ContractProblem, SourceConfig};

use super::*;

/// What a read gave: ids in order, and how many pages it took.
struct Taken {
    ids: Vec<String>,
    pages: usize,
}

async fn take(source: &Source, read: &Read, limit: u32) -> Result<Taken, SourceError> {
    let mut taken = Taken { ids: Vec::new(), pages: 0 };
    let mut cursor = None;
    loop {
        let mut tx = source.begin(&read.marker).await?;
        let mut page = tx.page(read, cursor.as_ref(), limit)?;
        let before = taken.ids.len();
        let end = loop {
            match page.next().await? {
                PageItem::Row(row) => taken.ids.push(row.id.to_owned()),
                PageItem::End(end) => break end,
            }
        };
        drop(page);
        tx.finish().await?;
        taken.pages += 1;
        assert!(taken.pages < 10_000, "the read does not end");
        assert!(taken.ids.len() - before <= limit as usize);
        match end {
            PageEnd::More(next) => cursor = Some(next),
            PageEnd::End => return Ok(taken),
        }
    }
}

fn everything(relation: Relation, marker: Marker) -> Read {
    let scope = Scope::All { lower: None, upper: None, only_patient_rows: false };
    Read { relation, marker, since: None, until: None, narrow: Vec::new(), scope }
}

/// Pages through 1000 rows while others update them, for a page key of this type.
async fn pages_once_under_updates(name: &str, page_key: &str, value: &str) {
    let db = TestDatabase::create(name).await;
    db.execute(&format!(
        "CREATE TABLE fhir_export.observation (page_key {page_key} NOT NULL, id text, patient_id text,
                                               last_updated timestamptz, resource text);
         INSERT INTO fhir_export.observation
         SELECT {value}, 'o' || n, 'p', now(), '{{}}' FROM generate_series(1, 1000) n;
         CREATE UNIQUE INDEX ON fhir_export.observation (page_key, id COLLATE \"C\")"
    ))
    .await;
    let source = db.source();
    let (relation, marker) = relation_and_marker(&source, ResourceType::Observation).await;
    let done = Arc::new(AtomicBool::new(false));
    let updates = {
        let (done, mut connection) = (Arc::clone(&done), db.connection().await);
        async move {
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                n += 1;
                let sql = format!(
                    "UPDATE fhir_export.observation SET last_updated = clock_timestamp(), resource = '[{n}]'
                     WHERE id LIKE 'o%{}'",
                    n % 10
                );
                run(&mut connection, &sql).await;
            }
        }
    };
    let read = everything(relation, marker);
    let reading = async {
        let taken = take(&source, &read, 37).await;
        done.store(true, Ordering::Relaxed);
        taken.unwrap()
    };
    let ((), taken) = tokio::join!(updates, reading);
    let mut ids = taken.ids.clone();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((taken.ids.len(), ids.len(), taken.pages), (1000, 1000, 28));
}

#[tokio::test]
async fn a_uuid_page_key_gives_every_row_once_under_updates() {
    pages_once_under_updates("read_uuid", "uuid", "md5((n / 3)::text)::uuid").await;
}

#[tokio::test]
async fn a_timestamptz_page_key_gives_every_row_once_under_updates() {
    let value = "timestamptz '2024-03-10 06:59:59.000001+00' + (n / 4) * interval '7 minutes 1 microsecond'";
    pages_once_under_updates("read_timestamptz", "timestamptz", value).await;
}

#[tokio::test]
async fn a_bigint_page_key_gives_every_row_once_under_updates() {
    pages_once_under_updates("read_bigint", "bigint", "(n - 500) * 1000003 / 2").await;
}

#[tokio::test]
async fn a_numeric_page_key_gives_every_row_once_under_updates() {
    pages_once_under_updates("read_numeric", "numeric", "n / 7.0").await;
}

#[tokio::test]
async fn a_text_page_key_gives_every_row_once_under_updates() {
    let value = "CASE WHEN n % 2 = 0 THEN 'ä' ELSE 'Z ''\\' END || (n / 2)";
    pages_once_under_updates("read_text", "text", value).await;
}

#[tokio::test]
async fn ids_alone_are_paged_in_byte_order_whatever_the_database_collates() {
    let db = TestDatabase::create("read_ids").await;
    db.execute(
        "CREATE TABLE fhir_export.patient (id text COLLATE \"C\" PRIMARY KEY, patient_id text,
                                           last_updated timestamptz, resource text);
         INSERT INTO fhir_export.patient
         SELECT x || n, x || n, now(), '{}' FROM generate_series(1, 50) n, unnest('{a,A,-,.,Z,b-}'::text[]) x",
    )
    .await;
    let source = db.source();
    let (relation, marker) = relation_and_marker(&source, ResourceType::Patient).await;
    let taken = take(&source, &everything(relation, marker), 17).await.unwrap();
    let mut sorted = taken.ids.clone();
    sorted.sort_unstable();
    assert_eq!(taken.ids, sorted);
    assert_eq!(taken.ids.len(), 300);
}

#[tokio::test]
async fn since_leaves_out_what_has_not_changed_and_nothing_bounds_from_above() {
    let db = TestDatabase::create("read_since").await;
    db.execute(
        "CREATE TABLE fhir_export.patient (id text COLLATE \"C\" PRIMARY KEY, patient_id text,
                                           last_updated timestamptz, resource text);
         INSERT INTO fhir_export.patient VALUES
             ('before', 'x', '2024-01-01T00:00:00Z', '{}'), ('exactly', 'x', '2024-01-02T00:00:00Z', '{}'),
             ('after', 'x', '2024-01-02T00:00:00.000001Z', '{}'), ('ahead', NULL, '2999-01-01T00:00:00Z', '{}'),
             ('unstamped', 'x', NULL, '{}')",
    )
    .await;
    let source = db.source();
    let (relation, marker) = relation_and_marker(&source, ResourceType::Patient).await;
    let mut read = everything(relation, marker);
    read.since = Some("2024-01-02T00:00:00Z".parse().unwrap());
    assert_eq!(take(&source, &read, 2).await.unwrap().ids, ["after", "ahead", "unstamped"]);
    read.scope = Scope::All { lower: None, upper: None, only_patient_rows: true };
    assert_eq!(take(&source, &read, 2).await.unwrap().ids, ["after", "unstamped"]);
}

#[tokio::test]
async fn until_leaves_out_what_changed_at_that_time_or_later_whoever_is_read() {
    let db = TestDatabase::create("read_until").await;
    db.execute(
        "CREATE TABLE fhir_export.goal (id text COLLATE \"C\" PRIMARY KEY, patient_id text,
                                        last_updated timestamptz, resource text);
         INSERT INTO fhir_export.goal VALUES
             ('a-old', 'x', '2024-01-01T00:00:00Z', '{}'), ('b-last', 'x', '2024-01-01T23:59:59.999999Z', '{}'),
             ('c-exactly', 'x', '2024-01-02T00:00:00Z', '{}'), ('d-unstamped', 'x', NULL, '{}')",
    )
    .await;
    let source = db.source();
    let (relation, marker) = relation_and_marker(&source, ResourceType::Goal).await;
    let mut read = everything(relation, marker);
    read.until = Some("2024-01-02T00:00:00Z".parse().unwrap());
    let member = |full_history| Member { patient_id: "x".to_owned(), full_history };
    for scope in [
        read.scope.clone(),
        Scope::Cohort { members: vec![member(false)] },
        Scope::Cohort { members: vec![member(true)] },
        Scope::Ids {
            ids: ["a-old", "b-last", "c-exactly", "d-unstamped"].map(str::to_owned).to_vec(),
            patients: None,
        },
    ] {
        read.scope = scope;
        // In pages of one row too, where a cohort goes on within a patient.
        for limit in [1, 10] {
            let ids = take(&source, &read, limit).await.unwrap().ids;
            assert_eq!(ids, ["a-old", "b-last", "d-unstamped"], "{:?}", read.scope);
        }
    }
    read.since = Some("2024-01-01T00:00:00Z".parse().unwrap());
    let ids = take(&source, &read, 10).await.unwrap().ids;
    assert_eq!(ids, ["b-last", "d-unstamped"]);
}

#[tokio::test]
async fn rows_are_read_by_id_once_and_in_order_whatever_the_caller_asks_for() {
    let db = TestDatabase::create("read_by_id").await;
    db.execute(
        "CREATE TABLE fhir_export.medication (id text COLLATE \"C\" PRIMARY KEY, patient_id text,
                                              last_updated timestamptz, resource text);
         CREATE TABLE fhir_export.practitioner (page_key bigint, id text, patient_id text,
                                                last_updated timestamptz, resource text);
         INSERT INTO fhir_export.medication
         SELECT 'm' || n, CASE n % 3 WHEN 1 THEN 'p' WHEN 2 THEN 'q' END, now(), '{}' FROM generate_series(1, 60) n;
         INSERT INTO fhir_export.practitioner
         SELECT 100 - n / 2, 'm' || n, NULL, now(), '{}' FROM generate_series(1, 60) n",
    )
    .await;
    let source = db.source();
    let ids: Vec<String> =
        ["m9", "m31", "nobody", "m1", "m31", "m\0", "", "m10", "m5", "m60"].map(str::to_owned).to_vec();
    for (resource_type, patients, expected) in [
        (ResourceType::Medication, None, vec!["m1", "m10", "m31", "m5", "m60", "m9"]),
        (ResourceType::Medication, Some(vec!["q".to_owned(), "q\0".to_owned()]), vec!["m5", "m60", "m9"]),
        (ResourceType::Medication, Some(vec![]), vec!["m60", "m9"]),
        (ResourceType::Practitioner, None, vec!["m60", "m31", "m10", "m9", "m5", "m1"]),
    ] {
        let (relation, marker) = relation_and_marker(&source, resource_type).await;
        let mut read = everything(relation, marker);
        read.scope = Scope::Ids { ids: ids.clone(), patients };
        for limit in [1, 2, 100] {
            let taken = take(&source, &read, limit).await.unwrap();
            assert_eq!(taken.ids, expected, "{resource_type}, pages of {limit}");
        }
        let shown = format!("{:?}", read.scope);
        assert!(!shown.contains("m9") && !shown.contains('q'), "{shown}");
    }
}

#[tokio::test]
async fn a_mapped_row_is_read_for_any_id_that_one_of_its_templates_gives() {
    let db = TestDatabase::create("read_by_template_id").await;
    db.execute(
        "CREATE TABLE fhir_export.vitals (id text, patient_id text, last_updated timestamptz);
         INSERT INTO fhir_export.vitals SELECT x, 'p', now() FROM unnest('{a,a-bp,a-bp-bp,b,c,-bp}'::text[]) x",
    )
    .await;
    let source = db.source();
    let relation = mapped(
        &source,
        "Observation",
        r#"{"relation": "vitals", "resources": [
            {"resourceType": "Observation", "id": "{{id}}", "meta": {"lastUpdated": "{{last_updated | instant}}"}},
            {"resourceType": "Observation", "id": "{{id}}-bp", "meta": {"lastUpdated": "{{last_updated | instant}}"}}]}"#,
    )
    .await;
    let mut read = everything(relation, source.marker().await.unwrap());
    for (asked, expected) in [
        (vec!["a-bp", "c"], vec!["a", "a-bp", "c"]),
        (vec!["a-bp-bp"], vec!["a-bp", "a-bp-bp"]),
        (vec!["b-hr", "-bp"], vec!["-bp"]),
        (vec![], vec![]),
    ] {
        read.scope = Scope::Ids { ids: asked.iter().map(|id| (*id).to_owned()).collect(), patients: None };
        assert_eq!(take(&source, &read, 1).await.unwrap().ids, expected, "{asked:?}");
    }
}

#[tokio::test]
async fn a_cohort_equals_a_query_of_the_same_rows() {
    let db = TestDatabase::create("read_cohort").await;
    db.execute(
        "CREATE TABLE fhir_export.observation (page_key uuid, id text, patient_id text,
                                               last_updated timestamptz, resource text);
         SELECT setseed(0.25);
         INSERT INTO fhir_export.observation
         SELECT md5((n / 2)::text)::uuid, 'o' || n, 'p' || floor(random() * random() * 60)::int,
                timestamptz '2024-01-01Z' + random() * interval '100 days', '{}'
         FROM generate_series(1, 2000) n;
         CREATE INDEX ON fhir_export.observation (patient_id, page_key, id COLLATE \"C\")",
    )
    .await;
    let source = db.source();
    let (relation, marker) = relation_and_marker(&source, ResourceType::Observation).await;
    let mut random = StdRng::seed_from_u64(7);
    for round in 0..12 {
        let members: BTreeMap<String, bool> = (0..random.random_range(1..40))
            .map(|_| (format!("p{}", random.random_range(0..70)), random.random_bool(0.3)))
            .collect();
        let since = (round % 3 > 0).then(|| "2024-03-01T00:00:00Z".parse().unwrap());
        let condition = |(patient, full): (&String, &bool)| match (full, since) {
            (false, Some(_)) => format!("patient_id = '{patient}' AND last_updated > '2024-03-01Z'"),
            _ => format!("patient_id = '{patient}'"),
        };
        let conditions: Vec<String> = members.iter().map(condition).collect();
        let mut expected = db
            .texts(&format!("SELECT id FROM fhir_export.observation WHERE {}", conditions.join(" OR ")))
            .await;
        let members =
            members.into_iter().map(|(patient_id, full_history)| Member { patient_id, full_history });
        let scope = Scope::Cohort { members: members.collect() };
        let (relation, marker) = (relation.clone(), marker.clone());
        let read = Read { relation, marker, since, until: None, narrow: Vec::new(), scope };
        for limit in [1 + round * 5, 1000] {
            let mut ids = take(&source, &read, limit).await.unwrap().ids;
            ids.sort_unstable();
            expected.sort_unstable();
            assert_eq!(ids, expected, "round {round}, pages of {limit}");
        }
    }
}

#[tokio::test]
async fn a_cohort_larger_than_a_batch_is_read_to_its_end() {
    let db = TestDatabase::create("read_large_cohort").await;
    db.execute(
        "CREATE TABLE fhir_export.device (id text COLLATE \"C\" PRIMARY KEY, patient_id text,
                                          last_updated timestamptz, resource text);
         INSERT INTO fhir_export.device
         SELECT 'd' || n, 'p' || lpad(n::text, 5, '0'), now(), '{}' FROM generate_series(0, 1999, 700) n;
         CREATE INDEX ON fhir_export.device (patient_id, id COLLATE \"C\")",
    )
    .await;
    let source = db.source();
    let (relation, marker) = relation_and_marker(&source, ResourceType::Device).await;
    let members = (0..2000).map(|n| Member { patient_id: format!("p{n:05}"), full_history: false }).collect();
    let scope = Scope::Cohort { members };
    let read = Read { relation, marker, since: None, until: None, narrow: Vec::new(), scope };
    let taken = take(&source, &read, 100).await.unwrap();
    assert_eq!(taken.ids, ["d0", "d700", "d1400"]);
    assert_eq!(taken.pages, 4);
}

#[tokio::test]
async fn a_cohort_out_of_order_and_a_foreign_cursor_are_refused() {
    let db = TestDatabase::create("read_refused").await;
    db.execute(
        "CREATE TABLE fhir_export.device (id text, patient_id text, last_updated timestamptz, resource text)",
    )
    .await;
    let source = db.source();
    let (relation, marker) = relation_and_marker(&source, ResourceType::Device).await;
    let member = |id: &str| Member { patient_id: id.to_owned(), full_history: false };
    let cohort = |members| Read {
        relation: relation.clone(),
        marker: marker.clone(),
        since: None,
        until: None,
        narrow: Vec::new(),
        scope: Scope::Cohort { members },
    };
    let key = Key { page_key: String::new(), id: "a".to_owned() };
    let mut tx = source.begin(&marker).await.unwrap();
    assert!(tx.page(&cohort(vec![member("b"), member("a")]), None, 10).is_err());
    assert!(tx.page(&cohort(vec![member("a"), member("a")]), None, 10).is_err());
    assert!(tx.page(&cohort(vec![member("a")]), Some(&Cursor::After(key.clone())), 10).is_err());
    let other = Cursor::Within { patient_id: "z".to_owned(), key };
    assert!(tx.page(&cohort(vec![member("a")]), Some(&other), 10).is_err());
    assert!(tx.page(&everything(relation.clone(), marker.clone()), Some(&other), 10).is_err());
    assert!(tx.page(&everything(relation.clone(), marker.clone()), None, 0).is_err());
}

#[tokio::test]
async fn reading_goes_on_after_any_row_by_its_own_cursor() {
    let db = TestDatabase::create("read_resume").await;
    db.execute(
        "CREATE TABLE fhir_export.device (page_key int, id text, patient_id text, last_updated timestamptz,
                                          resource text);
         INSERT INTO fhir_export.device
         SELECT n / 2, 'd' || n, 'p' || n % 3, now(), '{}' FROM generate_series(1, 30) n",
    )
    .await;
    let source = db.source();
    let (relation, marker) = relation_and_marker(&source, ResourceType::Device).await;
    let members =
        ["p0", "p1", "p2"].map(|p| Member { patient_id: p.to_owned(), full_history: false }).to_vec();
    let mut cohort = everything(relation.clone(), marker.clone());
    cohort.scope = Scope::Cohort { members };
    for read in [everything(relation, marker), cohort] {
        let whole = take(&source, &read, 100).await.unwrap().ids;
        assert_eq!(whole.len(), 30);
        let mut cursor: Option<Cursor> = None;
        let mut ids = Vec::new();
        // One row of each page of ten, as if the process had died after it.
        while ids.len() < 30 {
            let mut tx = source.begin(&read.marker).await.unwrap();
            let mut page = tx.page(&read, cursor.as_ref(), 10).unwrap();
            match page.next().await.unwrap() {
                PageItem::Row(row) => {
                    ids.push(row.id.to_owned());
                    cursor = Some(row.cursor());
                }
                PageItem::End(PageEnd::More(next)) => cursor = Some(next),
                PageItem::End(PageEnd::End) => panic!("ended after {} rows", ids.len()),
            }
        }
        assert_eq!(ids, whole);
    }
}

#[tokio::test]
async fn bodies_come_as_they_are_and_an_over_long_one_is_only_measured() {
    let db = TestDatabase::create("read_bodies").await;
    for (name, column) in [("device", "text"), ("goal", "json"), ("patient", "jsonb")] {
        db.execute(&format!(
            "CREATE TABLE fhir_export.{name} (id text COLLATE \"C\" PRIMARY KEY, patient_id text,
                                              last_updated timestamptz, resource {column});
             INSERT INTO fhir_export.{name} VALUES
                 ('a', 'p', now(), '{{\"b\":  1.10, \"a\": \"ä\"}}'),
                 ('b', 'p', now(), ('\"' || repeat('x', 98) || '\"')::{column}),
                 ('c', 'p', now(), ('\"' || repeat('y', 3000000) || '\"')::{column}),
                 ('d', 'p', now(), NULL)"
        ))
        .await;
    }
    let source = Source::connect(SourceConfig { resource_bytes: 100, ..db.config() }).unwrap();
    for (resource_type, first, trusted) in [
        (ResourceType::Device, "{\"b\":  1.10, \"a\": \"ä\"}", false),
        (ResourceType::Goal, "{\"b\":  1.10, \"a\": \"ä\"}", true),
        (ResourceType::Patient, "{\"a\": \"ä\", \"b\": 1.10}", true),
    ] {
        let (relation, marker) = relation_and_marker(&source, resource_type).await;
        let read = everything(relation, marker);
        let mut tx = source.begin(&read.marker).await.unwrap();
        let mut page = tx.page(&read, None, 10).unwrap();
        let mut bodies = Vec::new();
        while let PageItem::Row(row) = page.next().await.unwrap() {
            assert_eq!((row.trusted, row.patient_id, row.page_key), (trusted, Some("p"), ""));
            bodies.push(match row.body {
                Body::Json(json) => String::from_utf8(json.to_vec()).unwrap(),
                Body::TooLong(bytes) => bytes.to_string(),
                Body::Null => "null".to_owned(),
                Body::Columns(_) => unreachable!("the resources are finished"),
            });
        }
        assert_eq!(bodies, [first, &format!("\"{}\"", "x".repeat(98)), "3000002", "null"], "{resource_type}");
    }
}

#[tokio::test]
async fn a_view_that_doubles_or_unnames_a_row_is_an_error_and_not_a_loss() {
    let db = TestDatabase::create("read_contract").await;
    db.execute(
        "CREATE VIEW fhir_export.device AS SELECT 'd' || n / 2 AS id, 'p' AS patient_id, now() AS last_updated,
             '{}' AS resource FROM generate_series(2, 5) n;
         CREATE VIEW fhir_export.goal AS SELECT n AS page_key, CASE WHEN n < 3 THEN 'g' || n END AS id,
             'p' AS patient_id, now() AS last_updated, '{}' AS resource FROM generate_series(1, 3) n",
    )
    .await;
    let source = db.source();
    for (resource_type, problem) in [
        (ResourceType::Device, ContractProblem::DuplicateKey),
        (ResourceType::Goal, ContractProblem::NullKey),
    ] {
        let (relation, marker) = relation_and_marker(&source, resource_type).await;
        let Err(error) = take(&source, &everything(relation, marker), 10).await else {
            panic!("{resource_type} was read");
        };
        assert!(
            matches!(&error, SourceError::Contract { problem: p, .. } if *p == problem),
            "{resource_type}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_slow_statement_is_a_timeout_and_a_missing_relation_is_permanent() {
    let db = TestDatabase::create("read_errors").await;
    db.execute(
        "CREATE VIEW fhir_export.device AS SELECT 'd' || n AS id, 'p' || pg_sleep(1)::text AS patient_id,
             now() AS last_updated, '{}' AS resource FROM generate_series(1, 5) n",
    )
    .await;
    // What the catalogue asks may take longer than the read is given.
    let source = db.source();
    let (relation, marker) = relation_and_marker(&source, ResourceType::Device).await;
    let read = everything(relation, marker);
    let config = SourceConfig { statement_timeout: Duration::from_millis(100), ..db.config() };
    let hurried = Source::connect(config).unwrap();
    let error = take(&hurried, &read, 10).await.err().unwrap();
    assert!(error.is_timeout() && error.is_transient(), "{error:?}");
    db.execute("DROP VIEW fhir_export.device").await;
    let error = take(&source, &read, 10).await.err().unwrap();
    assert_eq!((error.sqlstate(), error.is_transient()), (Some("42P01"), false));
    assert!(error.to_string().contains("device"), "{error}");
}

#[tokio::test]
async fn session_settings_hold_in_every_transaction_and_only_there() {
    let db = TestDatabase::create("read_settings").await;
    db.execute(
        "CREATE TABLE fhir_export.patient (id text COLLATE \"C\" PRIMARY KEY, patient_id text,
                                           last_updated timestamptz, resource text, practice text);
         INSERT INTO fhir_export.patient
         SELECT 'p' || n, 'p' || n, now(), '{}', (n % 2)::text FROM generate_series(1, 9) n;
         ALTER TABLE fhir_export.patient ENABLE ROW LEVEL SECURITY;
         CREATE POLICY one ON fhir_export.patient USING (practice = current_setting('app.practice'))",
    )
    .await;
    let mut config = db.config_as_role("read_settings").await;
    config.settings = vec![("app.practice".to_owned(), "1".to_owned())];
    let source = Source::connect(config).unwrap();
    let (relation, marker) = relation_and_marker(&source, ResourceType::Patient).await;
    let taken = take(&source, &everything(relation, marker), 2).await.unwrap();
    assert_eq!(taken.ids, ["p1", "p3", "p5", "p7", "p9"]);
}

#[tokio::test]
async fn a_half_read_page_costs_the_connection_and_leaves_no_transaction_behind() {
    let db = TestDatabase::create("read_dropped").await;
    db.execute(
        "CREATE TABLE fhir_export.patient (id text COLLATE \"C\" PRIMARY KEY, patient_id text,
                                           last_updated timestamptz, resource text);
         INSERT INTO fhir_export.patient
         SELECT 'p' || n, 'p' || n, now(), repeat('x', 10000) FROM generate_series(1, 2000) n",
    )
    .await;
    let source = Source::connect(SourceConfig { max_connections: 1, ..db.config() }).unwrap();
    let (relation, marker) = relation_and_marker(&source, ResourceType::Patient).await;
    let read = everything(relation, marker);
    let mut tx = source.begin(&read.marker).await.unwrap();
    let mut page = tx.page(&read, None, 2000).unwrap();
    assert!(matches!(page.next().await.unwrap(), PageItem::Row(_)));
    drop(page);
    drop(tx);
    assert_eq!(take(&source, &read, 500).await.unwrap().ids.len(), 2000);
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'read_dropped'
                AND application_name = 'headgate' AND state <> 'idle'";
    let mut waited = 0;
    while db.number(open).await > 0 && waited < 100 {
        waited += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(db.number(open).await, 0);
}

#[tokio::test]
async fn connections_that_died_in_the_pool_are_replaced_without_an_error() {
    let db = TestDatabase::create("read_restart").await;
    db.execute(
        "CREATE TABLE fhir_export.patient (id text, patient_id text, last_updated timestamptz, resource text)",
    )
    .await;
    let source = db.source();
    let (relation, marker) = relation_and_marker(&source, ResourceType::Patient).await;
    let read = everything(relation, marker);
    take(&source, &read, 10).await.unwrap();
    db.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    take(&source, &read, 10).await.unwrap();
}
