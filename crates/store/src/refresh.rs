//! The refresh step's writes: what a practice's source has, or why it cannot be said.

use std::time::Duration;

use serde_json::Value;

use crate::acquire::{RefreshLease, interval};
use crate::{Error, Result, Store};

impl Store {
    /// Stores a catalogue and gives the lease back. Where types, columns or mapping are others than before,
    /// that is noted with its time.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; or when the database fails.
    pub async fn refreshed(&self, lease: &RefreshLease, catalog: &Value) -> Result<()> {
        let moved = sqlx::query!(
            "/* refreshed */
             UPDATE headgate.source_catalog
                SET changed_at = CASE WHEN catalog -> 'relations' IS DISTINCT FROM $3::jsonb -> 'relations'
                                       AND catalog IS NOT NULL
                                      THEN clock_timestamp() ELSE changed_at END,
                    catalog = $3, refreshed_at = clock_timestamp(), failure = NULL, attempts = 0, retry_at = NULL,
                    lease_token = NULL, lease_expires_at = NULL, lease_worker = NULL
              WHERE practice_number = $1 AND lease_token = $2 AND lease_expires_at > clock_timestamp()",
            lease.practice.get(),
            lease.token,
            catalog,
        )
        .execute(&self.pool)
        .await?;
        if moved.rows_affected() == 1 { Ok(()) } else { Err(Error::LeaseLost) }
    }

    /// Notes why a source could not be read, and when to try again. The catalogue of before stays.
    ///
    /// # Errors
    /// When the database fails. A lease that is lost already is fine.
    pub async fn refresh_failed(
        &self,
        lease: &RefreshLease,
        failure: &str,
        retry_after: Duration,
    ) -> Result<()> {
        sqlx::query!(
            "/* refresh_failed */
             UPDATE headgate.source_catalog
                SET failure = $3, retry_at = clock_timestamp() + $4,
                    lease_token = NULL, lease_expires_at = NULL, lease_worker = NULL
              WHERE practice_number = $1 AND lease_token = $2",
            lease.practice.get(),
            lease.token,
            failure,
            interval(retry_after),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
