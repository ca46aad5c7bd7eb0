//! Having a live export tried again at once, after what stood in its way was mended.

use headgate_domain::{ExportId, PracticeNumber};

use crate::audit::{self, Audit};
use crate::{Result, Store, doorbell};

impl Store {
    /// Takes the pauses and the counts of attempts off an export's steps and shards, those that nobody works on, and
    /// rings. `false` when the export is not live: what has ended does not come back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn requeue_export(
        &self,
        practice: PracticeNumber,
        export: &ExportId,
        audit: &Audit,
    ) -> Result<bool> {
        let mut tx = self.at(practice).await?;
        let live = sqlx::query!(
            "/* requeue_export */
             UPDATE headgate.export SET attempts = 0, retry_at = NULL, rung_at = clock_timestamp()
             WHERE practice_number = $1 AND export_id = $2 AND state IN ('accepted', 'planning', 'running', 'finishing')",
            practice.get(),
            export.as_str(),
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if live == 0 {
            return Ok(false);
        }
        let shards = sqlx::query!(
            "/* requeue_export: shards */
             UPDATE headgate.shard SET attempts = 0, retry_at = NULL
             WHERE practice_number = $1 AND export_id = $2 AND (attempts > 0 OR retry_at IS NOT NULL)
               AND (state = 'ready' OR state = 'leased' AND lease_expires_at <= clock_timestamp())",
            practice.get(),
            export.as_str(),
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        audit::record(&mut tx, &audit.clone().and(serde_json::json!({ "shards": shards }))).await?;
        doorbell::ring(&mut tx, practice).await?;
        tx.commit().await?;
        Ok(true)
    }
}
