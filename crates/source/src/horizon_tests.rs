use sqlx::{Connection as _, PgConnection, Row as _};

use crate::test_database::{TestDatabase, run};

use super::*;

const PATIENT: &str =
    "CREATE TABLE fhir_export.patient (id text PRIMARY KEY, patient_id text, last_updated timestamptz NOT NULL,
                                       resource text)";

/// What `now()` is in the connection's transaction.
async fn stamp(connection: &mut PgConnection) -> DateTime<Utc> {
    sqlx::query("SELECT now()").fetch_one(connection).await.unwrap().get(0)
}

#[tokio::test]
async fn a_writer_that_stamps_and_commits_later_is_after_the_horizon() {
    let db = TestDatabase::create("horizon_late_writer").await;
    db.execute(PATIENT).await;
    let mut writer = db.connection().await;
    run(&mut writer, "BEGIN; INSERT INTO fhir_export.patient VALUES ('a', 'a', now(), '{}')").await;
    let stamp = stamp(&mut writer).await;

    let horizon = db.source().horizon().await.unwrap();
    run(&mut writer, "COMMIT").await;

    assert!(horizon.time < stamp, "{horizon:?} {stamp}");
    assert_eq!(horizon.limited_by, "open_transaction");
    assert!(!horizon.marker.replica);
}

#[tokio::test]
async fn a_transaction_that_has_not_written_yet_holds_the_horizon_back_too() {
    let db = TestDatabase::create("horizon_idle_writer").await;
    db.execute(PATIENT).await;
    let mut writer = db.connection().await;
    run(&mut writer, "BEGIN").await;
    let stamp = stamp(&mut writer).await;
    tokio::time::sleep(Duration::from_millis(50)).await;

    let horizon = db.source().horizon().await.unwrap();
    run(&mut writer, "INSERT INTO fhir_export.patient VALUES ('a', 'a', now(), '{}'); COMMIT").await;

    assert!(horizon.time < stamp, "{horizon:?} {stamp}");
    assert!(horizon.lag >= Duration::from_millis(50), "{horizon:?}");
}

#[tokio::test]
async fn without_open_transactions_the_horizon_is_the_clock_less_the_margin() {
    let db = TestDatabase::create("horizon_quiet").await;
    let source = Source::connect(SourceConfig { margin: Duration::from_secs(2), ..db.config() }).unwrap();
    let before = Utc::now();
    let horizon = source.horizon().await.unwrap();
    assert!(horizon.time <= Utc::now() - TimeDelta::seconds(2), "{horizon:?}");
    assert!(horizon.time >= before - TimeDelta::seconds(3), "{horizon:?}");
    assert_eq!(horizon.time.timestamp_subsec_micros() % 1000, 0);
}

#[tokio::test]
async fn a_transaction_in_another_database_does_not_hold_the_horizon_back() {
    let db = TestDatabase::create("horizon_here").await;
    let other = TestDatabase::create("horizon_elsewhere").await;
    let mut writer = other.connection().await;
    run(&mut writer, "BEGIN").await;
    let start = stamp(&mut writer).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let horizon = db.source().horizon().await.unwrap();
    assert!(horizon.time > start, "{horizon:?}");
    assert_eq!(horizon.limited_by, "now");
}

#[tokio::test]
async fn a_prepared_transaction_holds_the_horizon_back_after_its_session_has_gone() {
    let db = TestDatabase::create("horizon_prepared").await;
    db.execute(PATIENT).await;
    let mut writer = db.connection().await;
    run(&mut writer, "BEGIN; INSERT INTO fhir_export.patient VALUES ('a', 'a', now(), '{}')").await;
    let stamp = stamp(&mut writer).await;
    run(&mut writer, "PREPARE TRANSACTION 'horizon_prepared'").await;
    writer.close().await.unwrap();

    let allowance = Duration::from_secs(60);
    let source = Source::connect(SourceConfig { prepared_allowance: allowance, ..db.config() }).unwrap();
    let horizon = source.horizon().await.unwrap();
    db.execute("COMMIT PREPARED 'horizon_prepared'").await;

    assert!(horizon.time < stamp, "{horizon:?} {stamp}");
    assert_eq!(horizon.limited_by, "prepared_transaction");
    assert_eq!(source.horizon().await.unwrap().limited_by, "now");
}

#[tokio::test]
async fn without_the_privilege_there_is_no_horizon_unless_a_delay_is_promised() {
    let db = TestDatabase::create("horizon_unprivileged").await;
    let config = db.config_as_role("horizon_unprivileged").await;
    let error = Source::connect(config.clone()).unwrap().horizon().await.unwrap_err();
    assert!(matches!(error, SourceError::Horizon(HorizonProblem::NotPrivileged)), "{error:?}");
    assert!(error.to_string().contains("GRANT pg_read_all_stats"), "{error}");

    let allowance = Some(Duration::from_secs(600));
    let promised = SourceConfig { late_commit_allowance: allowance, ..config.clone() };
    let horizon = Source::connect(promised).unwrap().horizon().await.unwrap();
    assert_eq!(horizon.limited_by, "late_commit_allowance");
    assert!(horizon.lag >= Duration::from_secs(600), "{horizon:?}");

    db.execute("GRANT pg_read_all_stats TO horizon_unprivileged").await;
    let mut writer = db.connection().await;
    run(&mut writer, "BEGIN").await;
    let start = stamp(&mut writer).await;
    let horizon = Source::connect(config).unwrap().horizon().await.unwrap();
    assert!(horizon.time < start, "{horizon:?} {start}");
}

#[tokio::test]
async fn a_session_that_hides_its_transactions_is_found_out() {
    let db = TestDatabase::create("horizon_hidden").await;
    let mut writer = db.connection().await;
    run(&mut writer, "SET track_activities = off").await;
    run(&mut writer, "BEGIN").await;
    let error = db.source().horizon().await.unwrap_err();
    assert!(matches!(error, SourceError::Horizon(HorizonProblem::NotTracked)), "{error:?}");
}

#[tokio::test]
async fn the_function_of_the_contract_replaces_what_the_role_cannot_see() {
    let db = TestDatabase::create("horizon_function").await;
    db.execute(
        "CREATE FUNCTION fhir_export.horizon() RETURNS timestamptz LANGUAGE sql STABLE
         AS $$ SELECT timestamptz '2024-02-29 12:00:00.1239+00' $$",
    )
    .await;
    let config = db.config_as_role("horizon_function").await;
    let horizon = Source::connect(config).unwrap().horizon().await.unwrap();
    assert_eq!(horizon.limited_by, "horizon_function");
    assert_eq!(horizon.time.to_rfc3339(), "2024-02-29T12:00:00.123+00:00");
}

#[tokio::test]
async fn a_function_that_names_no_time_gives_no_horizon() {
    let db = TestDatabase::create("horizon_no_time").await;
    for (body, type_name, problem) in [
        ("NULL::timestamptz", "timestamptz", HorizonProblem::NullHorizon),
        ("timestamptz '-infinity'", "timestamptz", HorizonProblem::NullHorizon),
        ("timestamptz 'infinity'", "timestamptz", HorizonProblem::NullHorizon),
        ("localtimestamp", "timestamp", HorizonProblem::HorizonType),
    ] {
        db.execute(&format!(
            "DROP FUNCTION IF EXISTS fhir_export.horizon();
             CREATE FUNCTION fhir_export.horizon() RETURNS {type_name} LANGUAGE sql AS $$ SELECT {body} $$"
        ))
        .await;
        let error = db.source().horizon().await.unwrap_err();
        assert!(matches!(error, SourceError::Horizon(p) if p == problem), "{body}: {error:?}");
    }
    db.execute(
        "CREATE OR REPLACE FUNCTION fhir_export.wrong() RETURNS void LANGUAGE sql AS '';
         DROP FUNCTION fhir_export.horizon();
         CREATE FUNCTION fhir_export.horizon() RETURNS timestamptz LANGUAGE sql
         AS $$ SELECT timestamptz '200000-01-01 00:00+00' $$",
    )
    .await;
    assert_eq!(db.source().horizon().await.unwrap().limited_by, "now");
}

#[tokio::test]
async fn a_chain_of_exports_sees_every_row_of_writers_that_commit_late() {
    let db = TestDatabase::create("horizon_chain").await;
    db.execute(PATIENT).await;
    let writers: Vec<_> = (0..8)
        .map(|writer: u64| {
            let connection = db.connection();
            async move {
                let mut connection = connection.await;
                for row in 0..15_u64 {
                    run(&mut connection, "BEGIN").await;
                    tokio::time::sleep(Duration::from_millis((writer * 7 + row * 3) % 20)).await;
                    let id = format!("w{writer}-{row}");
                    let insert =
                        format!("INSERT INTO fhir_export.patient VALUES ('{id}', '{id}', now(), '')");
                    run(&mut connection, &insert).await;
                    tokio::time::sleep(Duration::from_millis((writer * 5 + row) % 25)).await;
                    run(&mut connection, "COMMIT").await;
                }
            }
        })
        .collect();
    let source = db.source();
    let export = async {
        // Each round reads what has changed since the horizon of the round before.
        let mut seen = std::collections::HashSet::new();
        let mut since: Option<DateTime<Utc>> = None;
        let mut rounds = 0;
        while seen.len() < 120 && rounds < 2000 {
            let time = source.horizon().await.unwrap().time;
            let mut connection = db.connection().await;
            let rows =
                sqlx::query("SELECT id FROM fhir_export.patient WHERE $1 IS NULL OR last_updated > $1")
                    .bind(since)
                    .fetch_all(&mut connection)
                    .await
                    .unwrap();
            seen.extend(rows.iter().map(|row| row.get::<String, _>(0)));
            connection.close().await.unwrap();
            since = Some(time);
            rounds += 1;
        }
        seen.len()
    };
    let (_, seen) = tokio::join!(futures_util::future::join_all(writers), export);
    assert_eq!(seen, 120);
}

fn facts() -> Facts {
    Facts {
        now: "2024-05-01T12:00:00Z".parse().unwrap(),
        replica: false,
        privileged: true,
        tracked: true,
        oldest: None,
        replayed: None,
        prepared: None,
        function: None,
    }
}

fn config() -> SourceConfig {
    SourceConfig { margin: Duration::ZERO, ..SourceConfig::new("", "s") }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[test]
fn a_start_on_a_whole_millisecond_is_still_after_the_horizon() {
    let facts = Facts { oldest: Some(at("2024-05-01T11:00:00.500Z")), ..facts() };
    let (time, limited_by) = choose(&facts, &config()).unwrap();
    assert_eq!(time, at("2024-05-01T11:00:00.499Z"));
    assert_eq!(limited_by, "open_transaction");
}

#[test]
fn the_least_of_all_bounds_wins() {
    let facts = Facts {
        oldest: Some(at("2024-05-01T11:59:00Z")),
        prepared: Some(at("2024-05-01T11:58:00Z")),
        ..facts()
    };
    let (time, limited_by) = choose(&facts, &config()).unwrap();
    assert_eq!((time, limited_by), (at("2024-05-01T11:52:59.999Z"), "prepared_transaction"));
    let config = SourceConfig { late_commit_allowance: Some(Duration::from_secs(3600)), ..config() };
    assert_eq!(choose(&facts, &config).unwrap().1, "late_commit_allowance");
}

#[test]
fn a_replica_needs_an_allowance_and_counts_from_what_it_has_replayed() {
    let replica = Facts { replica: true, replayed: Some(at("2024-05-01T11:50:00Z")), ..facts() };
    assert_eq!(choose(&replica, &config()).unwrap_err(), HorizonProblem::ReplicaNeedsAllowance);
    let config = SourceConfig { late_commit_allowance: Some(Duration::from_secs(60)), ..config() };
    let (time, limited_by) = choose(&replica, &config).unwrap();
    assert_eq!((time, limited_by), (at("2024-05-01T11:48:59.999Z"), "replay"));
    let fresh = Facts { replayed: None, ..replica.clone() };
    assert_eq!(choose(&fresh, &config).unwrap_err(), HorizonProblem::NothingReplayed);
    let function = Facts { function: Some(at("2024-05-01T11:30:00Z")), ..replica };
    assert_eq!(choose(&function, &config).unwrap().1, "horizon_function");
}
