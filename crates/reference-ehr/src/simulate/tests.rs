use headgate_local::postgres::{Cluster, Options};
use sqlx::{AssertSqlSafe, Connection as _};

use super::*;
use crate::practice::{InstallOptions, PopulateOptions, install, populate};

#[test]
fn the_shares_of_the_actions_come_to_a_hundred() {
    assert_eq!(SHARES.iter().map(|(_, share)| share).sum::<i64>(), 100);
    let mut rng = Rng::new(1, 0);
    let drawn: Vec<Action> = (0..2000).map(|_| Action::draw(&mut rng)).collect();
    assert!(SHARES.iter().all(|(action, _)| drawn.contains(action)));
}

#[tokio::test]
async fn a_busy_minute_leaves_every_kind_of_trace() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    cluster.create_database("busy").await.unwrap();
    let dsn = cluster.url("busy");
    assert!(matches!(
        simulate(SimulateOptions::new(&dsn, Duration::from_secs(1)), ProgressBar::hidden()).await,
        Err(PracticeError::NotInstalled(_))
    ));
    install(&dsn, &InstallOptions::default()).await.unwrap();
    assert!(matches!(
        simulate(SimulateOptions::new(&dsn, Duration::from_secs(1)), ProgressBar::hidden()).await,
        Err(PracticeError::NoPatients)
    ));
    populate(PopulateOptions::new(&dsn, 40, 1), ProgressBar::hidden()).await.unwrap();
    let options = SimulateOptions { rate: 60.0, ..SimulateOptions::new(&dsn, Duration::from_secs(8)) };
    let report = simulate(options, ProgressBar::hidden()).await.unwrap();
    let committed: u64 = report.committed.values().sum();
    assert!(committed > 50, "{report:?}");
    assert!(report.held_open > 0 && report.idle + report.refused < committed, "{report:?}");
    assert!(report.committed.len() >= 10, "{report:?}");

    let mut connection = sqlx::PgConnection::connect(&dsn).await.unwrap();
    for trace in [
        "ehr.deleted_record WHERE fhir_id LIKE '%-%-%-%-%-%'",
        "ehr.audit_log WHERE action = 'update'",
        "ehr.audit_log WHERE action = 'delete'",
        "ehr.encounter WHERE visit_number LIKE 'W%'",
        "ehr.record_author WHERE updated_at > (SELECT min(updated_at) FROM ehr.record_author)",
    ] {
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {trace}")))
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert!(count > 0, "{trace}");
    }
}

#[tokio::test]
async fn in_a_shared_ehr_a_practice_writes_to_its_own_rows_only() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    cluster.create_database("shared").await.unwrap();
    let dsn = cluster.url("shared");
    install(&dsn, &InstallOptions { shared: Some(1), ..InstallOptions::default() }).await.unwrap();
    for practice in [1, 2] {
        let options = PopulateOptions { practice: Some(practice), ..PopulateOptions::new(&dsn, 12, 1) };
        populate(options, ProgressBar::hidden()).await.unwrap();
    }
    let options = SimulateOptions {
        rate: 30.0,
        practice: Some(2),
        ..SimulateOptions::new(&dsn, Duration::from_secs(3))
    };
    let report = simulate(options, ProgressBar::hidden()).await.unwrap();
    assert!(report.committed.len() > 5, "{report:?}");
    let mut connection = sqlx::PgConnection::connect(&dsn).await.unwrap();
    let writers: Vec<i64> = sqlx::query_scalar(
        "SELECT DISTINCT practice_number FROM ehr.audit_log WHERE provider_id IS NOT NULL
             AND at > (SELECT max(created_at) FROM ehr.drug)",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(writers, [2]);
}
