//! Migrating the control database, and refusing one that this program does not know.

use apalis_postgres::PostgresStorage;
use sqlx::migrate::Migrator;

use crate::{Error, Result, Store, doorbell};

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/control");

/// Schema versions that this program works with. While a new version is rolled out, the program of the
/// version before must still be listed here for the newer schema.
pub const SUPPORTED_SCHEMA_VERSIONS: [i64; 1] = [6];

impl Store {
    /// Brings the schema up to date: the queue's tables and ours. Runs under a lock; running it twice,
    /// or twice at once, does no harm.
    ///
    /// # Errors
    /// When a migration fails, or one that was applied was changed since.
    pub async fn migrate(&self) -> Result<()> {
        PostgresStorage::setup(&self.pool).await.map_err(doorbell::error)?;
        MIGRATOR.run(&self.pool).await.map_err(|e| match e {
            sqlx::migrate::MigrateError::Execute(e) => e.into(),
            e => Error::Schema(format!("the control database cannot be migrated: {e}")),
        })
    }

    /// Makes sure that this program knows the database's schema.
    ///
    /// # Errors
    /// [`Error::Schema`] when the schema is absent, older or newer; it says what to do.
    pub async fn check_schema(&self) -> Result<i64> {
        let missing =
            || Error::Schema("the control database has no schema yet: run `headgate migrate`".to_owned());
        let found: std::result::Result<Option<i64>, sqlx::Error> =
            sqlx::query_scalar("/* check_schema */ SELECT max(version) FROM _sqlx_migrations WHERE success")
                .fetch_one(&self.pool)
                .await;
        let version = match found {
            Ok(version) => version.ok_or_else(missing)?,
            // undefined_table
            Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some("42P01") => return Err(missing()),
            Err(e) => return Err(e.into()),
        };
        if SUPPORTED_SCHEMA_VERSIONS.contains(&version) {
            return Ok(version);
        }
        let newest = SUPPORTED_SCHEMA_VERSIONS[SUPPORTED_SCHEMA_VERSIONS.len() - 1];
        Err(Error::Schema(if version < newest {
            format!(
                "the control database has schema version {version}, this program needs {newest}: run `headgate migrate`"
            )
        } else {
            format!(
                "the control database has schema version {version}, this program knows up to {newest}: run a newer headgate"
            )
        }))
    }
}
