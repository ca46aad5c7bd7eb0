//! Refusing a control database that this program does not know.

use crate::{Error, Result, Store};

/// Schema versions that this program works with. Besides, it works with the next one: a migration only adds, and what it
/// makes superfluous is removed by the one after it, so that the programs of two versions run side by side while the newer
/// is rolled out.
pub const SUPPORTED_SCHEMA_VERSIONS: [i64; 1] = [9];

/// The version that `headgate migrate` of this program brings a database to.
pub const NEWEST_SCHEMA_VERSION: i64 = SUPPORTED_SCHEMA_VERSIONS[SUPPORTED_SCHEMA_VERSIONS.len() - 1];

impl Store {
    /// Makes sure that this program works with the database's schema: it is one that it knows, or the next.
    ///
    /// # Errors
    /// [`Error::Unmigrated`] when the schema is absent, older or not ours to read, [`Error::Schema`] when it is newer by
    /// two or more; both say what to do.
    pub async fn check_schema(&self) -> Result<i64> {
        let Some(version) = self.schema_version().await? else {
            return Err(Error::Unmigrated(
                "the control database has no schema yet: run `headgate migrate`".to_owned(),
            ));
        };
        if is_workable(version) {
            return Ok(version);
        }
        Err(if version < NEWEST_SCHEMA_VERSION {
            Error::Unmigrated(format!(
                "the control database has schema version {version}, this program needs {NEWEST_SCHEMA_VERSION}: \
                 run `headgate migrate`"
            ))
        } else {
            Error::Schema(format!(
                "the control database has schema version {version}, this program works with {} at \
                 most: run a newer headgate",
                NEWEST_SCHEMA_VERSION + 1
            ))
        })
    }

    /// The version of the schema; `None` when there is none.
    async fn schema_version(&self) -> Result<Option<i64>> {
        let found: std::result::Result<Option<i64>, sqlx::Error> =
            sqlx::query_scalar("/* check_schema */ SELECT max(version) FROM _sqlx_migrations WHERE success")
                .fetch_one(&self.pool)
                .await;
        let code = match &found {
            Err(sqlx::Error::Database(error)) => error.code().map(std::borrow::Cow::into_owned),
            _ => None,
        };
        match code.as_deref() {
            // undefined_table
            Some("42P01") => Ok(None),
            // insufficient_privilege: migrated a moment ago, and the grants are still to come, or are not for us.
            Some("42501") => Err(Error::Unmigrated(
                "the control database's schema is not granted to the role that we connect as: run `headgate migrate`"
                    .to_owned(),
            )),
            _ => Ok(found?),
        }
    }
}

/// Whether this program works with this version.
fn is_workable(version: i64) -> bool {
    SUPPORTED_SCHEMA_VERSIONS.contains(&version) || version == NEWEST_SCHEMA_VERSION + 1
}
