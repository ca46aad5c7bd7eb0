//! Databases for the tests of triggers and policies: copies of an EHR with a few rows.
//!
//! The SQL of these tests calls rows by name: `:ann` stands for an id, the same one wherever it is written. What
//! comes back has names in place of ids, too, so that a test can be read without knowing any.

use std::sync::atomic::{AtomicU32, Ordering};

use headgate_local::postgres::{Cluster, Options};
use sqlx::postgres::PgConnection;
use sqlx::types::chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::sync::OnceCell;

use super::*;

/// One cluster for all tests; it ends with the process.
static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static COPIES: AtomicU32 = AtomicU32::new(0);

/// An installed EHR to be copied, made when the first test asks for it.
pub(super) struct Template {
    name: &'static str,
    shared: Option<i64>,
    rows: &'static str,
    made: OnceCell<()>,
}

impl Template {
    /// An EHR with the rows that this SQL inserts; with a number, one that practices share.
    pub(super) const fn new(name: &'static str, shared: Option<i64>, rows: &'static str) -> Self {
        Self { name, shared, rows, made: OnceCell::const_new() }
    }

    /// A database of the caller's own.
    pub(super) async fn copy(&self) -> TestEhr {
        let cluster = CLUSTER.get_or_init(async || Cluster::start(Options::default()).await.unwrap()).await;
        self.made.get_or_init(async || self.make(cluster).await).await;
        let name = format!("{}_{}", self.name, COPIES.fetch_add(1, Ordering::Relaxed));
        cluster.create_database_from_template(&name, self.name).await.unwrap();
        let mut ehr = TestEhr::connect(cluster.url(&name)).await;
        ehr.ids(self.rows);
        ehr
    }

    async fn make(&self, cluster: &Cluster) {
        cluster.create_database(self.name).await.unwrap();
        let url = cluster.url(self.name);
        let options = InstallOptions { shared: self.shared, ..InstallOptions::default() };
        install(&url, &options).await.unwrap();
        let mut ehr = TestEhr::connect(url).await;
        ehr.run(self.rows).await;
        // What is connected to cannot be copied.
        ehr.connection.close().await.unwrap();
    }
}

/// A connection to a database of a test's own.
pub(super) struct TestEhr {
    url: String,
    connection: PgConnection,
    /// The n-th name has the n-th id.
    names: Vec<String>,
}

impl TestEhr {
    async fn connect(url: String) -> Self {
        let connection = PgConnection::connect(&url).await.unwrap();
        Self { url, connection, names: Vec::new() }
    }

    /// A second connection to the same database, which knows the same names.
    pub(super) async fn another(&self) -> Self {
        Self { names: self.names.clone(), ..Self::connect(self.url.clone()).await }
    }

    /// Runs statements.
    pub(super) async fn run(&mut self, sql: &str) {
        if let Err(error) = self.attempt(sql).await {
            panic!("{error}\n{sql}");
        }
    }

    /// Runs statements that the database must refuse; returns what it says.
    pub(super) async fn refusal(&mut self, sql: &str) -> String {
        match self.attempt(sql).await {
            Err(sqlx::Error::Database(refusal)) => self.named(refusal.message()),
            other => panic!("not refused, but {other:?}: {sql}"),
        }
    }

    async fn attempt(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = self.ids(sql);
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection).await.map(|_| ())
    }

    /// The rows of a query with one column of text.
    pub(super) async fn rows(&mut self, sql: &str) -> Vec<String> {
        let query = AssertSqlSafe(self.ids(sql));
        let rows: Vec<String> = match sqlx::query_scalar(query).fetch_all(&mut self.connection).await {
            Ok(rows) => rows,
            Err(error) => panic!("{error}\n{sql}"),
        };
        rows.iter().map(|row| self.named(row)).collect()
    }

    /// Whether there is a row: `ehr.patient WHERE deleted`.
    pub(super) async fn has(&mut self, rows: &str) -> bool {
        self.rows(&format!("SELECT count(*)::text FROM {rows}")).await != ["0"]
    }

    /// Which records the statements stamp, as `table/id`; a Provenance is no record.
    pub(super) async fn stamped_by(&mut self, sql: &str) -> Vec<String> {
        let all: String = sqlx::query_scalar(
            "SELECT string_agg(format('SELECT %L || id FROM ehr.%I WHERE updated_at > $1', table_name || '/', table_name),
                               ' UNION ALL ')
             FROM information_schema.columns
             WHERE table_schema = 'ehr' AND column_name = 'updated_at' AND table_name <> 'record_author'",
        )
        .fetch_one(&mut self.connection)
        .await
        .unwrap();
        let before: DateTime<Utc> =
            sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut self.connection).await.unwrap();
        self.run(sql).await;
        let stamped: Vec<String> = sqlx::query_scalar(AssertSqlSafe(all))
            .bind(before)
            .fetch_all(&mut self.connection)
            .await
            .unwrap();
        let mut stamped: Vec<String> = stamped.iter().map(|record| self.named(record)).collect();
        stamped.sort();
        stamped
    }

    /// The tombstones, as `type/id of patient`; without those of Provenances, whose ids nobody chose.
    pub(super) async fn tombstones(&mut self) -> Vec<String> {
        let mut tombstones = self
            .rows(
                "SELECT resource_type || '/' || id || coalesce(' of ' || patient_id, '') FROM fhir_export.tombstone
                 WHERE resource_type <> 'Provenance'",
            )
            .await;
        tombstones.sort();
        tombstones
    }

    /// The SQL with ids in place of names.
    fn ids(&mut self, sql: &str) -> String {
        let mut out = String::with_capacity(sql.len());
        let mut rest = sql;
        while let Some((before, after)) = rest.split_once(':') {
            out.push_str(before);
            let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
            let (name, behind) = after.split_at(end);
            let begins = |c: char| c.is_ascii_lowercase();
            // Neither a cast nor the colon of a URL.
            if name.starts_with(begins) && !out.ends_with(|c: char| c.is_ascii_alphanumeric() || c == ':') {
                out.push_str(&self.id(name));
                rest = behind;
            } else {
                out.push(':');
                rest = after;
            }
        }
        out.push_str(rest);
        out
    }

    fn id(&mut self, name: &str) -> String {
        let place = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        id(place)
    }

    /// The text with names in place of ids.
    fn named(&self, text: &str) -> String {
        let names = self.names.iter().enumerate();
        names.fold(text.to_owned(), |text, (place, name)| text.replace(&id(place), name))
    }
}

fn id(place: usize) -> String {
    format!("01900000-0000-7000-8000-{place:012x}")
}
