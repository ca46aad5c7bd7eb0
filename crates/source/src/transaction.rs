//! One short read-only transaction.
//!
//! `BEGIN READ ONLY`, one statement that sets what the transaction needs and proves that the connection leads
//! to the right server, the reading, `COMMIT`. Settings are local to the transaction, so that a pooler between
//! here and the server may hand the connection to somebody else afterwards.
//!
//! A connection goes back to the pool only after a clean `COMMIT`. After an error, or when the transaction is
//! dropped half-read (its task was cancelled), it is closed: draining the rest of a page would only burden the
//! clinical database.

use std::future::Future;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgRow, Postgres};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::catalog::get;
use crate::statement::Statement;
use crate::{Marker, Source, SourceError};

/// A short read-only transaction on one connection of the practice's pool.
pub struct ReadTransaction {
    pub(crate) connection: PoolConnection<Postgres>,
    /// The schema of the source, which statements name.
    pub(crate) schema: String,
    /// Longest resource to fetch, in bytes.
    pub(crate) resource_bytes: i32,
    /// How long to wait for an answer: longer than the server's own timeout, so that it bites only where the
    /// server, or the way to it, is gone.
    pub(crate) patience: Duration,
    clean: bool,
}

impl Source {
    /// Begins a transaction on a server that has seen at least what the marker says.
    ///
    /// # Errors
    /// [`SourceError::Behind`] when this connection leads to another server or one that lags; transient, as
    /// are most others here.
    pub async fn begin(&self, marker: &Marker) -> Result<ReadTransaction, SourceError> {
        self.begin_with(Some(marker), &[]).await
    }

    /// Begins a transaction on any server, with further settings.
    pub(crate) async fn begin_unmarked(
        &self,
        settings: &[(&str, &str)],
    ) -> Result<ReadTransaction, SourceError> {
        self.begin_with(None, settings).await
    }

    async fn begin_with(
        &self,
        marker: Option<&Marker>,
        settings: &[(&str, &str)],
    ) -> Result<ReadTransaction, SourceError> {
        let mut tx = self.open().await?;
        tx.set_up(self.settings(), settings, marker).await?;
        Ok(tx)
    }

    /// A connection on which `BEGIN` has succeeded. A pooled connection whose server has gone away meanwhile
    /// is found out by that, and thrown away; this saves asking before every page whether it still lives.
    async fn open(&self) -> Result<ReadTransaction, SourceError> {
        let mut stale = self.max_connections();
        loop {
            let connection = self.pool().acquire().await.map_err(|e| SourceError::from_sqlx(e, None))?;
            let mut tx = ReadTransaction {
                connection,
                schema: self.schema().to_owned(),
                resource_bytes: self.resource_bytes(),
                patience: self.patience(),
                clean: false,
            };
            match tx.run("BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY").await {
                Ok(()) => return Ok(tx),
                Err(e) if stale > 0 && is_broken(&e) => stale -= 1,
                Err(e) => return Err(e),
            }
        }
    }
}

/// Whether the error says that the connection was dead before the transaction began.
fn is_broken(error: &SourceError) -> bool {
    matches!(error, SourceError::Io(_)) || error.sqlstate().is_some_and(|s| s.starts_with("57P"))
}

impl ReadTransaction {
    /// Ends the transaction and gives the connection back.
    ///
    /// # Errors
    /// When the connection breaks now; what was read stays valid all the same.
    pub async fn finish(mut self) -> Result<(), SourceError> {
        self.run("COMMIT").await?;
        self.clean = true;
        Ok(())
    }

    /// Sets what the transaction needs, and checks that the server has seen what the marker says.
    async fn set_up(
        &mut self,
        settings: &[(String, String)],
        more: &[(&str, &str)],
        marker: Option<&Marker>,
    ) -> Result<(), SourceError> {
        let pairs = settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).chain(more.iter().copied());
        let (names, values): (Vec<&str>, Vec<&str>) = pairs.unzip();
        // Names are qualified because the search path is set only here.
        let mut statement = Statement::new("SELECT pg_catalog.pg_is_in_recovery() AS replica, ");
        match marker {
            Some(marker) => {
                let lsn = statement.bind(marker.lsn.as_str());
                statement
                    .push(&format!("coalesce({LSN} >= {lsn}::text::pg_catalog.pg_lsn, false) AS reached"));
            }
            None => statement.push("true AS reached"),
        }
        let names = statement.bind(names);
        let values = statement.bind(values);
        statement.push(&format!(
            ", (SELECT pg_catalog.count(pg_catalog.set_config(s.name, s.value, true)) \
             FROM ROWS FROM (pg_catalog.unnest({names}::text[]), pg_catalog.unnest({values}::text[])) \
             AS s(name, value)) AS settings"
        ));
        let row = self.fetch_one(statement, None).await?;
        let same_role = marker.is_none_or(|m| get::<bool>(&row, "replica").is_ok_and(|r| r == m.replica));
        if same_role && get::<bool>(&row, "reached")? { Ok(()) } else { Err(SourceError::Behind) }
    }

    /// Runs a statement without values and without rows.
    async fn run(&mut self, sql: &'static str) -> Result<(), SourceError> {
        let statement = sqlx::raw_sql(AssertSqlSafe(sql));
        answer(self.patience, None, self.connection.execute(statement)).await.map(drop)
    }

    pub(crate) async fn fetch_all(
        &mut self,
        statement: Statement,
        relation: Option<&str>,
    ) -> Result<Vec<PgRow>, SourceError> {
        let (sql, arguments) = statement.into_parts();
        let query = sqlx::query_with(sql, arguments);
        answer(self.patience, relation, query.fetch_all(&mut *self.connection)).await
    }

    pub(crate) async fn fetch_optional(
        &mut self,
        statement: Statement,
        relation: Option<&str>,
    ) -> Result<Option<PgRow>, SourceError> {
        Ok(self.fetch_all(statement, relation).await?.pop())
    }

    pub(crate) async fn fetch_one(
        &mut self,
        statement: Statement,
        relation: Option<&str>,
    ) -> Result<PgRow, SourceError> {
        self.fetch_optional(statement, relation)
            .await?
            .ok_or_else(|| SourceError::unexpected("no row", relation))
    }
}

/// The server's log position: what it has written, or replayed.
pub(crate) const LSN: &str = "CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
                              ELSE pg_catalog.pg_current_wal_lsn() END";

/// Waits for the database, but not for ever.
pub(crate) async fn answer<T>(
    patience: Duration,
    relation: Option<&str>,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, SourceError> {
    match tokio::time::timeout(patience, work).await {
        Ok(answer) => answer.map_err(|e| SourceError::from_sqlx(e, relation)),
        Err(_) => Err(SourceError::NoAnswer { relation: relation.map(str::to_owned) }),
    }
}

impl Drop for ReadTransaction {
    fn drop(&mut self) {
        if !self.clean {
            self.connection.close_on_drop();
        }
    }
}
