//! Finishing an export: its manifest becomes readable in the transaction that completes it.

use std::time::Duration;

use crate::acquire::{StepLease, interval, seconds};
use crate::files::FileKind;
use crate::shards::{PublishedFile, insert_finished};
use crate::{Audit, Error, Result, Store, audit};

/// What a completed export amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinishedTotals {
    /// Resources in output files.
    pub resources: i64,
    /// Output files.
    pub files: i64,
    /// Their bytes.
    pub bytes: i64,
    /// Time from the kick-off until now.
    pub took: Duration,
    /// The same, or the time since a pause that ended later.
    pub took_unpaused: Duration,
}

impl Store {
    /// Completes an export: files of deletions and problems, totals in the audit trail, retention begins.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]: it was ended or another worker finishes it; or when the database fails.
    pub async fn complete(
        &self,
        lease: &StepLease,
        files: &[(FileKind, PublishedFile)],
        retention: Duration,
    ) -> Result<FinishedTotals> {
        let mut tx = self.begin().await?;
        let moved = sqlx::query!(
            r#"/* complete */
             UPDATE headgate.export e
                SET state = 'completed', completed_at = clock_timestamp(), expires_at = clock_timestamp() + $4,
                    attempts = 0, retry_at = NULL,
                    lease_step = NULL, lease_token = NULL, lease_expires_at = NULL, lease_worker = NULL
              WHERE practice_number = $1 AND export_id = $2 AND state = 'finishing'
                AND lease_token = $3 AND lease_expires_at > clock_timestamp()
              RETURNING extract(epoch FROM completed_at - accepted_at)::double precision AS "took_s!",
                        extract(epoch FROM completed_at - greatest(
                            accepted_at, (SELECT r.resumed_at FROM headgate.resumption r
                                           WHERE r.practice_number = e.practice_number)))::double precision AS "took_unpaused_s!""#,
            lease.practice.get(),
            lease.export.as_str(),
            lease.token,
            interval(retention),
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(Error::LeaseLost)?;
        for (kind, file) in files {
            insert_finished(&mut tx, lease, *kind, file).await?;
        }
        let sums = sqlx::query!(
            r#"/* complete: totals */
            SELECT coalesce(sum(resources), 0)::bigint AS "resources!", count(*) AS "files!",
                   coalesce(sum(bytes), 0)::bigint AS "bytes!"
              FROM headgate.file WHERE practice_number = $1 AND export_id = $2 AND kind = 'output'"#,
            lease.practice.get(),
            lease.export.as_str(),
        )
        .fetch_one(&mut *tx)
        .await?;
        let fact =
            Audit::new("headgate", "export.completed").at(lease.practice).about_export(&lease.export).with(
                serde_json::json!({ "resources": sums.resources, "files": sums.files, "bytes": sums.bytes }),
            );
        audit::record(&mut tx, &fact).await?;
        tx.commit().await?;
        Ok(FinishedTotals {
            resources: sums.resources,
            files: sums.files,
            bytes: sums.bytes,
            took: seconds(moved.took_s),
            took_unpaused: seconds(moved.took_unpaused_s),
        })
    }
}
