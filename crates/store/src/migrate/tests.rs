use headgate_local::postgres::{Cluster, Options};
use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType};

use super::*;

/// Ours, and one of a later version, which alters a table.
fn next_version() -> Migrator {
    let alter = "ALTER TABLE headgate.practice ADD COLUMN of_the_next_version text".into_sql_str();
    let next = Migration::new(NEWEST_SCHEMA_VERSION + 1, "next".into(), MigrationType::Simple, alter, false);
    Migrator::with_migrations(MIGRATOR.iter().cloned().chain([next]).collect())
}

fn impatient(total: Duration) -> Patience {
    let pause = Duration::from_millis(300);
    Patience { lock: Duration::from_millis(300), pauses: (pause, pause), total }
}

async fn store(cluster: &Cluster) -> Store {
    Store::connect(&cluster.url("postgres"), 8, Duration::from_secs(10)).await.unwrap()
}

#[tokio::test]
async fn a_migration_that_has_to_wait_for_a_table_lets_everybody_else_through() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let store = store(&cluster).await;
    store.migrate().await.unwrap();

    // A dump holds its tables like this.
    let mut dump = store.begin().await.unwrap();
    sqlx::query("LOCK TABLE headgate.practice IN ACCESS SHARE MODE").execute(&mut *dump).await.unwrap();
    let gave_up =
        store.migrate_within(&next_version(), &impatient(Duration::from_secs(1))).await.unwrap_err();
    assert!(matches!(&gave_up, Error::Schema(text) if text.contains("pg_terminate_backend")), "{gave_up}");
    assert_eq!(store.check_schema().await.unwrap(), NEWEST_SCHEMA_VERSION);

    let migrating = {
        let store = store.clone();
        tokio::spawn(async move {
            store.migrate_within(&next_version(), &impatient(Duration::from_secs(60))).await
        })
    };
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    while begun.elapsed() < Duration::from_secs(4) {
        let asked = Instant::now();
        sqlx::query("SELECT FROM headgate.practice").execute(&store.pool).await.unwrap();
        longest = longest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!migrating.is_finished(), "the table is still held");
    assert!(longest < Duration::from_secs(2), "a statement waited for {longest:?} behind the migration");
    assert!(longest > Duration::from_millis(100), "no statement met the migration: {longest:?}");
    dump.commit().await.unwrap();
    assert_eq!(migrating.await.unwrap().unwrap(), NEWEST_SCHEMA_VERSION + 1);
    store.close().await;
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_database_of_the_next_version_is_left_as_it_is_and_one_beyond_is_refused() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let store = store(&cluster).await;
    assert_eq!(store.migrate().await.unwrap(), NEWEST_SCHEMA_VERSION);
    store.migrate_within(&next_version(), &PATIENCE).await.unwrap();
    assert_eq!(store.migrate().await.unwrap(), NEWEST_SCHEMA_VERSION + 1);
    assert_eq!(store.check_schema().await.unwrap(), NEWEST_SCHEMA_VERSION + 1);

    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES ($1, 'later', true, '', 0)";
    sqlx::query(later).bind(NEWEST_SCHEMA_VERSION + 2).execute(&store.pool).await.unwrap();
    assert!(matches!(store.migrate().await, Err(Error::Schema(_))));
    let refused = store.check_schema().await.unwrap_err();
    assert!(matches!(&refused, Error::Schema(text) if text.contains("run a newer headgate")), "{refused}");

    // Nor is one that is unknown for another reason ignored.
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version >= $1")
        .bind(NEWEST_SCHEMA_VERSION)
        .execute(&store.pool)
        .await
        .unwrap();
    assert!(matches!(store.check_schema().await, Err(Error::Unmigrated(_))));
    sqlx::query(later).bind(0_i64).execute(&store.pool).await.unwrap();
    assert!(matches!(store.migrate().await, Err(Error::Schema(_))));
    store.close().await;
    cluster.stop().await.unwrap();
}
