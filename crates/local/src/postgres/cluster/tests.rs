use std::time::{Duration, Instant};

use super::*;

/// Waits until a condition holds, at most 20 s.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: not within 20 s");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn one(url: &str, sql: &'static str) -> Result<i32, sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::query_scalar(sql).fetch_one(&mut connection).await
}

#[tokio::test]
async fn a_cluster_serves_databases_until_it_is_stopped() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    cluster.create_database("first").await.unwrap();
    let mut connection = PgConnection::connect(&cluster.url("first")).await.unwrap();
    sqlx::query("CREATE TABLE answer AS SELECT 42 AS number").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    cluster.create_database_from_template("second", "first").await.unwrap();
    assert_eq!(one(&cluster.url("second"), "SELECT number FROM answer").await.unwrap(), 42);
    cluster.drop_database("second").await.unwrap();
    assert!(one(&cluster.url("second"), "SELECT 1").await.is_err());

    let (url, folder) = (cluster.url("first"), cluster.socket_folder.clone());
    cluster.stop().await.unwrap();
    assert!(!folder.exists());
    assert!(one(&url, "SELECT 1").await.is_err());
}

#[tokio::test]
async fn a_dropped_cluster_is_stopped_and_its_folder_removed() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let pid_file = std::fs::read_to_string(cluster.data_folder().join("postmaster.pid")).unwrap();
    let server = PathBuf::from("/proc").join(pid_file.lines().next().unwrap());
    let folder = cluster.socket_folder.clone();
    assert!(server.exists());
    drop(cluster);
    eventually("the server is gone", || !server.exists()).await;
    eventually("the folder is gone", || !folder.exists()).await;
}

#[tokio::test]
async fn a_named_folder_is_used_again_and_never_by_two() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { data: Some(folder.path().join("pg")), ..Options::default() };
    let cluster = Cluster::start(options.clone()).await.unwrap();
    cluster.create_database("kept").await.unwrap();
    let refused = Cluster::start(options.clone()).await.unwrap_err();
    let Error::AlreadyRunning { stop, .. } = refused else { panic!("{refused}") };
    assert!(stop.contains("pg_ctl stop") && stop.contains("rmdir"), "{stop}");
    cluster.stop().await.unwrap();

    let cluster = Cluster::start(options.clone()).await.unwrap();
    assert_eq!(one(&cluster.url("kept"), "SELECT 1").await.unwrap(), 1);
    let sockets = cluster.socket_folder.clone();
    let stop = cluster.keep().unwrap();
    let stopped = Command::new("sh").args(["-c", &stop]).output().await.unwrap();
    assert!(stopped.status.success(), "{stopped:?}");
    assert!(!sockets.exists());

    let cluster = Cluster::start(options).await.unwrap();
    let data = cluster.data_folder().to_path_buf();
    cluster.stop().await.unwrap();
    // Where this test runs as root, the folder is a link to a place the server's user can enter.
    std::fs::remove_dir_all(data).unwrap();
}

#[tokio::test]
async fn the_log_says_what_went_wrong_but_holds_no_value() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { data: Some(folder.path().join("pg")), ..Options::default() };
    let cluster = Cluster::start(options).await.unwrap();
    let mut connection = PgConnection::connect(&cluster.url("postgres")).await.unwrap();
    sqlx::query("CREATE TEMP TABLE person (name text PRIMARY KEY)").execute(&mut connection).await.unwrap();
    let insert = "INSERT INTO person VALUES ($1), ($1)";
    sqlx::query(insert).bind("Ottilie").execute(&mut connection).await.unwrap_err();
    drop(connection);
    let data = cluster.data_folder().to_path_buf();
    cluster.stop().await.unwrap();
    let log = std::fs::read_to_string(data.join("server.log")).unwrap();
    assert!(log.contains("person_pkey"), "{log}");
    assert!(!log.contains("Ottilie"), "{log}");
    assert!(!log.contains("INSERT"), "{log}");
    std::fs::remove_dir_all(data).unwrap();
}

#[test]
fn a_database_name_that_could_end_the_statement_is_refused() {
    for name in ["", "9lives", "Upper", "a\"b", "a b", "a;b", &"n".repeat(64)] {
        assert!(matches!(quoted(name), Err(Error::DatabaseName)), "{name}");
    }
    assert_eq!(quoted("ema_100491").unwrap(), "\"ema_100491\"");
}

#[test]
fn throwaway_settings_never_reach_a_durable_cluster() {
    assert!(THROWAWAY.iter().all(|setting| !SETTINGS.contains(setting)));
}
