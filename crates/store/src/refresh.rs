//! The refresh step's writes: what a practice's source has, or why it cannot be said.

use std::time::Duration;

use headgate_domain::PracticeNumber;
use serde_json::Value;
use sqlx::PgConnection;

use crate::acquire::{RefreshLease, interval};
use crate::error::number;
use crate::{Error, Result, Store};

impl Store {
    /// Stores a catalogue and the source's groups (id and number of members), and gives the lease back. Where types, columns
    /// or mapping are others than before, that is noted with its time. It is as of when the lease was taken: what was asked
    /// for since is still to be done.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; or when the database fails.
    pub async fn refreshed(
        &self,
        lease: &RefreshLease,
        catalog: &Value,
        groups: &[(String, u64)],
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        let moved = sqlx::query!(
            "/* refreshed */
             UPDATE headgate.source_catalog
                SET changed_at = CASE WHEN catalog -> 'relations' IS DISTINCT FROM $3::jsonb -> 'relations'
                                       AND catalog IS NOT NULL
                                      THEN clock_timestamp() ELSE changed_at END,
                    catalog = $3, refreshed_at = $4, failure = NULL, attempts = 0, retry_at = NULL,
                    lease_token = NULL, lease_expires_at = NULL, lease_worker = NULL
              WHERE practice_number = $1 AND lease_token = $2 AND lease_expires_at > clock_timestamp()",
            lease.practice.get(),
            lease.token,
            catalog,
            lease.taken_at,
        )
        .execute(&mut *tx)
        .await?;
        if moved.rows_affected() != 1 {
            return Err(Error::LeaseLost);
        }
        replace_groups(&mut tx, lease.practice, groups).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Gives a lease back as if it had not been taken.
    ///
    /// # Errors
    /// When the database fails. A lease that is lost already is fine.
    pub async fn release_refresh(&self, lease: &RefreshLease) -> Result<()> {
        sqlx::query!(
            "/* release_refresh */
             UPDATE headgate.source_catalog
                SET attempts = greatest(attempts - 1, 0),
                    lease_token = NULL, lease_expires_at = NULL, lease_worker = NULL
              WHERE practice_number = $1 AND lease_token = $2",
            lease.practice.get(),
            lease.token,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
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

async fn replace_groups(
    connection: &mut PgConnection,
    practice: PracticeNumber,
    groups: &[(String, u64)],
) -> Result<()> {
    let ids: Vec<String> = groups.iter().map(|(id, _)| id.clone()).collect();
    let counts = groups
        .iter()
        .map(|(_, n)| number(*n, "source_group", "member_count"))
        .collect::<Result<Vec<i64>>>()?;
    sqlx::query!(
        "/* replace_groups: gone */
         DELETE FROM headgate.source_group WHERE practice_number = $1 AND group_id <> ALL($2)",
        practice.get(),
        &ids,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "/* replace_groups */
         INSERT INTO headgate.source_group (practice_number, group_id, member_count)
         SELECT $1, g.group_id, g.member_count FROM unnest($2::text[], $3::bigint[]) AS g(group_id, member_count)
         ON CONFLICT (practice_number, group_id) DO UPDATE SET member_count = excluded.member_count",
        practice.get(),
        &ids,
        &counts,
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
