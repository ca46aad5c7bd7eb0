//! Finishing an export: its manifest becomes readable in the transaction that completes it.

use std::time::Duration;

use crate::acquire::{StepLease, interval};
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
            "/* complete */
             UPDATE headgate.export
                SET state = 'completed', completed_at = clock_timestamp(), expires_at = clock_timestamp() + $4,
                    attempts = 0, retry_at = NULL,
                    lease_step = NULL, lease_token = NULL, lease_expires_at = NULL, lease_worker = NULL
              WHERE practice_number = $1 AND export_id = $2 AND state = 'finishing'
                AND lease_token = $3 AND lease_expires_at > clock_timestamp()",
            lease.practice.get(),
            lease.export.as_str(),
            lease.token,
            interval(retention),
        )
        .execute(&mut *tx)
        .await?;
        if moved.rows_affected() != 1 {
            return Err(Error::LeaseLost);
        }
        for (kind, file) in files {
            insert_finished(&mut tx, lease, *kind, file).await?;
        }
        let totals = sqlx::query_as!(
            FinishedTotals,
            r#"/* complete: totals */
            SELECT coalesce(sum(resources), 0)::bigint AS "resources!", count(*) AS "files!",
                   coalesce(sum(bytes), 0)::bigint AS "bytes!"
              FROM headgate.file WHERE practice_number = $1 AND export_id = $2 AND kind = 'output'"#,
            lease.practice.get(),
            lease.export.as_str(),
        )
        .fetch_one(&mut *tx)
        .await?;
        let fact = Audit::new("headgate", "export.completed").at(lease.practice).about_export(&lease.export).with(
            serde_json::json!({ "resources": totals.resources, "files": totals.files, "bytes": totals.bytes }),
        );
        audit::record(&mut tx, &fact).await?;
        tx.commit().await?;
        Ok(totals)
    }
}
