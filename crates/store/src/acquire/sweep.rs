//! Taking a purged export whose prefix is to be emptied once more.

use sqlx::PgConnection;
use uuid::Uuid;

use super::rows::StepRow;
use super::{Limits, interval};
use crate::Store;

impl Store {
    pub(super) async fn acquire_sweep(
        connection: &mut PgConnection,
        worker: Uuid,
        limits: &Limits,
    ) -> sqlx::Result<Option<StepRow>> {
        sqlx::query_as!(
            StepRow,
            r#"/* acquire_sweep */
            UPDATE headgate.export e
               SET lease_step = 'purge', lease_token = gen_random_uuid(), lease_worker = $1,
                   lease_expires_at = clock_timestamp() + $2, fence = fence + 1, attempts = attempts + 1
             WHERE (practice_number, export_id) = (
                   SELECT practice_number, export_id FROM headgate.export
                    WHERE sweep_due_at IS NOT NULL
                      AND state IN ('expired', 'cancelled', 'revoked', 'failed') AND purged_at IS NOT NULL
                      AND (lease_token IS NULL OR lease_expires_at <= clock_timestamp())
                      AND (retry_at IS NULL OR retry_at <= clock_timestamp())
                    ORDER BY sweep_due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING practice_number, export_id, lease_token AS "lease_token!", fence, attempts, trace_parent,
                      NULL::double precision AS waited_s"#,
            worker,
            interval(limits.lease),
        )
        .fetch_optional(connection)
        .await
    }
}
