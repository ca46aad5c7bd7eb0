//! Purging: an ended export's objects go.
//!
//! The prefix is emptied at once. While a lease may still be alive, a worker that has not heard of the end could
//! put one more object there; so the step comes again until none is, and only then is the export purged. A worker that
//! was paused for longer than its lease may put one there even then; so the prefixes of a week are swept daily.

use sqlx::PgConnection;

use crate::acquire::StepLease;
use crate::{Audit, Result, Store, audit};

impl Store {
    /// Whether nothing can be written below the export's prefix any more. Ask before emptying it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_quiet(&self, lease: &StepLease) -> Result<bool> {
        Ok(sqlx::query_scalar!(
            r#"/* is_quiet */
            SELECT coalesce(e.quiet_after <= clock_timestamp(), true)
                   AND NOT EXISTS (SELECT FROM headgate.shard s
                                    WHERE s.practice_number = e.practice_number AND s.export_id = e.export_id
                                      AND s.state = 'leased' AND s.lease_expires_at > clock_timestamp()) AS "quiet!"
              FROM headgate.export e WHERE practice_number = $1 AND export_id = $2"#,
            lease.practice.get(),
            lease.export.as_str(),
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// Notes that the export's objects are gone, and gives the lease back. `objects` were deleted now. Returns whether
    /// they had been gone before: then what was found now was nobody's, and nothing found is nothing to tell.
    ///
    /// # Errors
    /// [`crate::Error::LeaseLost`]; or when the database fails.
    pub async fn purged(&self, lease: &StepLease, objects: u64) -> Result<bool> {
        let mut tx = self.begin().await?;
        let again = was_purged(&mut tx, lease).await?;
        if !again {
            // Before the export is held: that may take long, and the lease is renewed meanwhile.
            forget_patients(&mut tx, lease).await?;
        }
        let moved = sqlx::query!(
            "/* purged */
             UPDATE headgate.export
                SET purged_at = coalesce(purged_at, clock_timestamp()), sweep_due_at = NULL, attempts = 0, retry_at = NULL,
                    lease_step = NULL, lease_token = NULL, lease_expires_at = NULL, lease_worker = NULL
              WHERE practice_number = $1 AND export_id = $2 AND (purged_at IS NULL OR sweep_due_at IS NOT NULL)
                AND lease_token = $3 AND lease_expires_at > clock_timestamp()",
            lease.practice.get(),
            lease.export.as_str(),
            lease.token,
        )
        .execute(&mut *tx)
        .await?;
        if moved.rows_affected() != 1 {
            return Err(crate::Error::LeaseLost);
        }
        if !again {
            forget_request(&mut tx, lease).await?;
        }
        if !again || objects > 0 {
            let fact = Audit::new("headgate", "export.purged")
                .at(lease.practice)
                .about_export(&lease.export)
                .with(serde_json::json!({ "objects": objects }));
            audit::record(&mut tx, &fact).await?;
        }
        tx.commit().await?;
        Ok(again)
    }
}

/// Whether the trail says that the export was purged before.
async fn was_purged(connection: &mut PgConnection, lease: &StepLease) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"/* was_purged */
        SELECT EXISTS (SELECT FROM headgate.audit_event
                        WHERE practice_number = $1 AND export_id = $2 AND action = 'export.purged') AS "again!""#,
        lease.practice.get(),
        lease.export.as_str(),
    )
    .fetch_one(connection)
    .await?)
}

/// An export that is purged needs neither its cohort nor its cursors any more, and both name patients. Only where
/// something was disclosed, because it was completed or links were handed out, the cohort stays: whose data went out
/// must be answerable for years (45 CFR 164.528).
async fn forget_patients(connection: &mut PgConnection, lease: &StepLease) -> Result<()> {
    let (practice, export) = (lease.practice.get(), lease.export.as_str());
    // First: it waits for a publication that still hangs, whose rows the deletions below then see.
    sqlx::query!(
        "/* forget_patients: shards */
         UPDATE headgate.shard SET slice = '{}', cursor = NULL WHERE practice_number = $1 AND export_id = $2",
        practice,
        export,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "/* forget_patients: streams */
         UPDATE headgate.export_stream SET plan_cursor = NULL WHERE practice_number = $1 AND export_id = $2",
        practice,
        export,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "/* forget_patients: members */
         DELETE FROM headgate.export_member m WHERE practice_number = $1 AND export_id = $2
            AND EXISTS (SELECT FROM headgate.export e
                         WHERE e.practice_number = m.practice_number AND e.export_id = m.export_id
                           AND e.completed_at IS NULL AND e.links_times = 0)",
        practice,
        export,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "/* forget_patients: patients */
         DELETE FROM headgate.export_patient WHERE practice_number = $1 AND export_id = $2",
        practice,
        export,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "/* forget_patients: references */
         DELETE FROM headgate.export_reference WHERE practice_number = $1 AND export_id = $2",
        practice,
        export,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "/* forget_patients: attachments */
         DELETE FROM headgate.file WHERE practice_number = $1 AND export_id = $2 AND kind = 'attachment'",
        practice,
        export,
    )
    .execute(&mut *connection)
    .await?;
    Ok(())
}

/// Filters may name patients, in the URL as well.
async fn forget_request(connection: &mut PgConnection, lease: &StepLease) -> Result<()> {
    sqlx::query!(
        "/* forget_request */
         UPDATE headgate.export SET selection = '{}', request_url = split_part(request_url, '?', 1)
          WHERE practice_number = $1 AND export_id = $2",
        lease.practice.get(),
        lease.export.as_str(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
