//! Beginning a transaction so that it cannot be left open.
//!
//! Whoever waits for the database may be dropped meanwhile: a client hangs up, a request times out, a worker
//! drains. The driver rolls a dropped transaction back, but it knows of a transaction only once `BEGIN` was
//! answered. One that is dropped in between stays open on a connection that returns to the pool, and whatever
//! is written there later, a lease that is given back or taken, is part of it and may never be committed.
//! So `BEGIN` is sent by a task of its own, which nobody drops.
//!
//! A transaction of the API says what it is for: one practice, one app, or expressly everything. Where the API
//! connects as a role of its own (`migrations/roles.sql`), row-level security shows it nothing else, so that a
//! condition which a statement forgets is no leak. A worker's transactions are for all practices.

use headgate_domain::{ClientId, PracticeNumber};
use sqlx::{AssertSqlSafe, Postgres, Transaction};

use crate::{Result, Store};

impl Store {
    /// Begins a transaction. It is rolled back when it is dropped, and also when the caller is dropped before
    /// this returns.
    ///
    /// # Errors
    /// When the database fails or no connection comes free in time.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Postgres>> {
        self.begin_with("BEGIN".to_owned()).await
    }

    /// Begins a transaction for one practice: the API sees and writes rows of no other.
    ///
    /// # Errors
    /// As [`Store::begin`].
    pub(crate) async fn at(&self, practice: PracticeNumber) -> Result<Transaction<'static, Postgres>> {
        self.begin_with(format!("BEGIN; SET LOCAL headgate.practice = '{}'", practice.get())).await
    }

    /// Begins a transaction for one app: the API sees its consents at all practices.
    ///
    /// # Errors
    /// As [`Store::begin`].
    pub(crate) async fn of_client(&self, client: &ClientId) -> Result<Transaction<'static, Postgres>> {
        // A client id is `fhir` and hex digits.
        self.begin_with(format!("BEGIN; SET LOCAL headgate.client = '{client}'")).await
    }

    /// Begins a transaction for all practices: for what operators ask, and for deeds that concern many.
    ///
    /// # Errors
    /// As [`Store::begin`].
    pub(crate) async fn everywhere(&self) -> Result<Transaction<'static, Postgres>> {
        self.begin_with("BEGIN; SET LOCAL headgate.scope = 'all'".to_owned()).await
    }

    /// Begins with a statement. Values in it are numbers, client ids and constants: nothing that could be SQL.
    pub(crate) async fn begin_with(&self, statement: String) -> Result<Transaction<'static, Postgres>> {
        let pool = self.pool.clone();
        let begun = tokio::spawn(async move { pool.begin_with(AssertSqlSafe(statement)).await }).await;
        // The task is never aborted: it can only be missing because it panicked or the runtime ends.
        Ok(begun.unwrap_or(Err(sqlx::Error::WorkerCrashed))?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::poll;
    use headgate_local::postgres::{Cluster, Options};

    use super::*;

    /// Outside a transaction each statement has a number of its own.
    async fn transaction_number(store: &Store) -> i64 {
        sqlx::query_scalar("SELECT txid_current()").fetch_one(&store.pool).await.unwrap()
    }

    #[tokio::test]
    async fn a_transaction_whose_caller_goes_away_while_it_begins_is_not_left_open() {
        let cluster = Cluster::start(Options::default()).await.unwrap();
        let store = Store::connect(&cluster.url("postgres"), 1, Duration::from_secs(10)).await.unwrap();
        let mut begun = 0;
        for polls in 1..=20 {
            let mut beginning = Box::pin(store.begin());
            for _ in 0..polls {
                if poll!(&mut beginning).is_ready() {
                    begun += 1;
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drop(beginning);
            let number = transaction_number(&store).await;
            assert_ne!(transaction_number(&store).await, number, "left open after {polls} polls");
        }
        assert!(begun > 0, "no transaction was ever begun: more polls are needed");
        store.close().await;
        cluster.stop().await.unwrap();
    }
}
