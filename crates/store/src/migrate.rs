//! Migrating the control database, without standing in anybody's way for long.
//!
//! Whoever waits for a table makes everybody behind wait as well, and a dump or a long report holds its tables for as
//! long as it takes. So a migration waits briefly, lets everybody through, and tries again. Each is a transaction of its
//! own: what was tried in vain leaves nothing behind.

use std::time::Duration;

use apalis_postgres::PostgresStorage;
use sqlx::PgConnection;
use sqlx::migrate::{MigrateError, Migrator};
use tokio::time::Instant;

use crate::{Error, NEWEST_SCHEMA_VERSION, Result, Store};

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/control");

/// How long to wait for tables that others hold.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For one lock: as long as that, everybody else waits behind.
    lock: Duration,
    /// First and longest pause between two tries.
    pauses: (Duration, Duration),
    /// No further try begins after so long.
    total: Duration,
}

const PATIENCE: Patience = Patience {
    lock: Duration::from_secs(5),
    pauses: (Duration::from_secs(2), Duration::from_secs(30)),
    total: Duration::from_secs(600),
};

impl Store {
    /// Brings the schema up to date: the queue's tables and ours. Runs under a lock; running it twice,
    /// or twice at once, does no harm. A database that the next version has migrated already is left as it is; the
    /// version is returned.
    ///
    /// # Errors
    /// [`Error::Schema`] when a migration fails, when one that was applied was changed since, when the database is newer
    /// by two versions or more, or when others held a table all the time. Else when the database fails.
    pub async fn migrate(&self) -> Result<i64> {
        self.migrate_within(&MIGRATOR, &PATIENCE).await
    }

    async fn migrate_within(&self, ours: &Migrator, patience: &Patience) -> Result<i64> {
        let begun = Instant::now();
        let (mut pause, longest) = patience.pauses;
        loop {
            let error = match self.try_to_migrate(ours, patience.lock).await {
                Err(error) if is_held_up(&error) => error,
                Err(MigrateError::Execute(error)) => return Err(error.into()),
                Err(error) => {
                    return Err(Error::Schema(format!("the control database cannot be migrated: {error}")));
                }
                // Refuses one that is newer by more than a version.
                Ok(()) => return self.check_schema().await,
            };
            if begun.elapsed() + pause > patience.total {
                return Err(Error::Schema(format!(
                    "the control database cannot be migrated: for {} s others have held a table that a migration \
                     needs. See who (SELECT pid, usename, application_name, state, xact_start FROM pg_stat_activity \
                     WHERE datname = current_database() ORDER BY xact_start), wait until a dump or report is over or \
                     end it with pg_terminate_backend(pid), and run `headgate migrate` again",
                    begun.elapsed().as_secs()
                )));
            }
            let (tried_s, again_in_s) = (begun.elapsed().as_secs(), pause.as_secs());
            let sqlstate = sqlstate(&error).unwrap_or_default();
            tracing::warn!(
                tried_s,
                again_in_s,
                sqlstate,
                "others hold what the migration needs; it will be tried again"
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    async fn try_to_migrate(&self, ours: &Migrator, lock: Duration) -> std::result::Result<(), MigrateError> {
        // Not the pool's any more: the lock on migrating goes with the connection, however this ends.
        let mut connection = self.pool.acquire().await.map_err(MigrateError::Execute)?.detach();
        let lock = format!("{}ms", lock.as_millis());
        sqlx::query("/* migrate: patience */ SELECT set_config('lock_timeout', $1, false)")
            .bind(lock)
            .execute(&mut connection)
            .await?;
        apply(ours, &mut connection).await
    }
}

/// Applies what is missing. After the program was rolled back by a version, the database has one migration more than
/// this program, which works with it; one that is newer yet is refused, as is one that has another past.
async fn apply(ours: &Migrator, connection: &mut PgConnection) -> std::result::Result<(), MigrateError> {
    let is_ahead = newest_applied(connection).await? == Some(NEWEST_SCHEMA_VERSION + 1);
    let mut queue = PostgresStorage::<()>::migrations();
    // The next version may have brought a newer queue along.
    queue.set_ignore_missing(is_ahead);
    queue.run_direct(None, connection, false).await?;
    let mut ours = Migrator::with_migrations(ours.iter().cloned().collect());
    ours.set_ignore_missing(is_ahead).run_direct(None, connection, false).await
}

/// The version of the newest migration that was applied; `None` before the first.
async fn newest_applied(connection: &mut PgConnection) -> std::result::Result<Option<i64>, sqlx::Error> {
    let there: bool =
        sqlx::query_scalar("/* migrate: look */ SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
            .fetch_one(&mut *connection)
            .await?;
    if !there {
        return Ok(None);
    }
    sqlx::query_scalar("/* migrate: newest */ SELECT max(version) FROM _sqlx_migrations")
        .fetch_one(connection)
        .await
}

/// Whether it was only that others held what was needed: a lock that did not come in time, or a deadlock with them.
fn is_held_up(error: &MigrateError) -> bool {
    matches!(sqlstate(error).as_deref(), Some("55P03" | "40P01"))
}

fn sqlstate(error: &MigrateError) -> Option<String> {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            Some(error.as_database_error()?.code()?.into_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
