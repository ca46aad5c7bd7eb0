//! Housekeeping: tasks that any worker runs when they are due, one at a time each.

use std::time::Duration;

use uuid::Uuid;

use crate::acquire::{interval, practice};
use crate::error::parsed;
use crate::{Audit, Result, Store, audit, doorbell, shards};

/// Messages that wait in the queue at most.
const MESSAGES: i64 = 1000;

/// A housekeeping task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Completed exports past their retention become expired.
    Expire,
    /// Exports without authority are revoked, hopeless ones failed, forgotten ones rung for again.
    Reconcile,
    /// Assertion ids that can no longer be replayed are forgotten.
    Replay,
    /// Messages and workers that the queue is done with are deleted.
    Queue,
    /// Catalogues are read again.
    Refresh,
    /// Prefixes of exports that ended lately are emptied once more.
    Sweep,
    /// Revoked tokens that would have ended by now, and idempotency keys of yesterday, are forgotten.
    Forget,
}

impl Task {
    const ALL: [Self; 7] =
        [Task::Expire, Task::Reconcile, Task::Replay, Task::Queue, Task::Refresh, Task::Sweep, Task::Forget];

    /// Its name in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Task::Expire => "expire",
            Task::Reconcile => "reconcile",
            Task::Replay => "replay",
            Task::Queue => "queue",
            Task::Refresh => "refresh",
            Task::Sweep => "sweep",
            Task::Forget => "forget",
        }
    }

    /// Whether it may take its time: it deletes what has gathered, and nobody waits for it. The others are short, and
    /// must soon be done by another worker when theirs dies.
    #[must_use]
    pub fn is_long(self) -> bool {
        matches!(self, Task::Replay | Task::Queue | Task::Forget)
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.name() == name)
    }
}

/// A task that this worker runs now.
#[derive(Debug, Clone, Copy)]
pub struct DueTask {
    /// Which.
    pub task: Task,
    token: Uuid,
}

/// What was given up because whoever took it stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// Shards that were quarantined.
    pub shards: u64,
    /// Steps of exports.
    pub steps: u64,
}

impl Store {
    /// Takes a due task, if there is one, for so long; one that [is long](Task::is_long), for `long`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn due_task(&self, lease: Duration, long: Duration) -> Result<Option<DueTask>> {
        let are_long = Task::ALL.into_iter().filter(|task| task.is_long());
        let are_long: Vec<String> = are_long.map(|task| task.name().to_owned()).collect();
        let row = sqlx::query!(
            r#"/* due_task */
            UPDATE headgate.maintenance
               SET lease_token = gen_random_uuid(), lease_expires_at = clock_timestamp() + CASE WHEN task = ANY ($3) THEN $2::interval ELSE $1::interval END
             WHERE task = (SELECT task FROM headgate.maintenance
                            WHERE due_at <= clock_timestamp()
                              AND (lease_token IS NULL OR lease_expires_at <= clock_timestamp())
                            ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING task, lease_token AS "lease_token!""#,
            interval(lease),
            interval(long),
            &are_long,
        )
        .fetch_optional(&self.pool)
        .await?;
        // A task that only a newer version knows is left to the newer version.
        Ok(row.and_then(|row| Some(DueTask { task: Task::from_name(&row.task)?, token: row.lease_token })))
    }

    /// Notes how a task went and when it is due again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn task_done(&self, due: &DueTask, result: &str) -> Result<()> {
        sqlx::query!(
            "/* task_done */
             UPDATE headgate.maintenance
                SET lease_token = NULL, lease_expires_at = NULL, last_run_at = clock_timestamp(), last_result = $2,
                    due_at = clock_timestamp() + make_interval(secs => every_s)
              WHERE lease_token = $1",
            due.token,
            result,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Expires completed exports past their retention; returns how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn expire_exports(&self) -> Result<u64> {
        let mut tx = self.begin().await?;
        let rows = sqlx::query!(
            "/* expire_exports */
             UPDATE headgate.export
                SET state = 'expired', ended_at = clock_timestamp(), attempts = 0, retry_at = NULL
              WHERE (practice_number, export_id) IN (
                    SELECT practice_number, export_id FROM headgate.export
                     WHERE state = 'completed' AND expires_at <= clock_timestamp()
                     ORDER BY expires_at LIMIT 500 FOR UPDATE SKIP LOCKED)
             RETURNING practice_number, export_id",
        )
        .fetch_all(&mut *tx)
        .await?;
        for row in &rows {
            let number = practice(row.practice_number, "export")?;
            let export = parsed(&row.export_id, "export", "export_id")?;
            audit::record(
                &mut tx,
                &Audit::new("headgate", "export.expired").at(number).about_export(&export),
            )
            .await?;
            doorbell::ring(&mut tx, number).await?;
        }
        tx.commit().await?;
        Ok(rows.len() as u64)
    }

    /// Revokes live and completed exports whose consent is no longer in force; returns how many.
    /// (Revoking a consent does so at once; this meets those that end by time.)
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_unauthorized(&self) -> Result<u64> {
        let mut tx = self.begin().await?;
        let rows = sqlx::query!(
            "/* revoke_unauthorized */
             UPDATE headgate.export
                SET state = 'revoked', ended_at = clock_timestamp(), attempts = 0, retry_at = NULL,
                    quiet_after = lease_expires_at,
                    lease_step = NULL, lease_token = NULL, lease_expires_at = NULL, lease_worker = NULL
              WHERE (practice_number, export_id) IN (
                    SELECT e.practice_number, e.export_id
                      FROM headgate.export e
                     WHERE e.state IN ('accepted', 'planning', 'running', 'finishing', 'completed')
                       AND NOT EXISTS (SELECT FROM headgate.authority a
                                        WHERE a.practice_number = e.practice_number AND a.consent_id = e.consent_id)
                     LIMIT 500 FOR NO KEY UPDATE OF e SKIP LOCKED)
             RETURNING practice_number, export_id",
        )
        .fetch_all(&mut *tx)
        .await?;
        for row in &rows {
            let number = practice(row.practice_number, "export")?;
            let export = parsed(&row.export_id, "export", "export_id")?;
            audit::record(
                &mut tx,
                &Audit::new("headgate", "export.revoked")
                    .at(number)
                    .about_export(&export)
                    .with(serde_json::json!({ "because": "the consent has ended by its time" })),
            )
            .await?;
            doorbell::ring(&mut tx, number).await?;
        }
        tx.commit().await?;
        Ok(rows.len() as u64)
    }

    /// Fails exports of which a step or shard was acquired too often without progress: whoever took it
    /// died each time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fail_exhausted(&self, max_attempts: i32) -> Result<Exhausted> {
        let mut tx = self.begin().await?;
        let mut shards = sqlx::query!(
            "/* fail_exhausted: shards */
             UPDATE headgate.shard s
                SET state = 'quarantined', lease_token = NULL, lease_expires_at = NULL,
                    failure = 'every worker that took it stopped',
                    busy_s = busy_s + coalesce(extract(epoch FROM s.lease_expires_at - s.leased_at), 0)
              WHERE s.state IN ('ready', 'leased') AND s.attempts >= $1
                AND (s.lease_token IS NULL OR s.lease_expires_at <= clock_timestamp())
                AND EXISTS (SELECT FROM headgate.export e
                             WHERE e.practice_number = s.practice_number AND e.export_id = s.export_id
                               AND e.state IN ('planning', 'running'))
             RETURNING practice_number, export_id, stream, shard",
            max_attempts,
        )
        .fetch_all(&mut *tx)
        .await?;
        // In the order in which exports are ended elsewhere.
        shards.sort_by(|a, b| (a.practice_number, &a.export_id).cmp(&(b.practice_number, &b.export_id)));
        for row in &shards {
            let text = format!(
                "stream {} shard {} could not be read: every worker that took it stopped",
                row.stream, row.shard
            );
            shards::fail_export(&mut tx, row.practice_number, &row.export_id, &text).await?;
        }
        let steps = sqlx::query!(
            r#"/* fail_exhausted: steps */
            SELECT practice_number, export_id, lease_step AS "lease_step?" FROM headgate.export
             WHERE state IN ('accepted', 'planning', 'running', 'finishing') AND attempts >= $1
               AND (lease_token IS NULL OR lease_expires_at <= clock_timestamp())
             FOR UPDATE SKIP LOCKED"#,
            max_attempts,
        )
        .fetch_all(&mut *tx)
        .await?;
        for row in &steps {
            let step = row.lease_step.as_deref().unwrap_or("planning");
            let text = format!("the {step} step could not be done: it was tried {max_attempts} times");
            shards::fail_export(&mut tx, row.practice_number, &row.export_id, &text).await?;
        }
        tx.commit().await?;
        Ok(Exhausted { shards: shards.len() as u64, steps: steps.len() as u64 })
    }

    /// Rings again for exports that could be worked on, and have not been for so long, nor were rung for; returns how
    /// many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ring_again(&self, quiet_for: Duration) -> Result<u64> {
        let mut tx = self.begin().await?;
        let rows = sqlx::query!(
            "/* ring_again */
             UPDATE headgate.export SET rung_at = clock_timestamp()
              WHERE (practice_number, export_id) IN (
                    SELECT e.practice_number, e.export_id
                      FROM headgate.export e
                     WHERE (e.state IN ('accepted', 'planning', 'running', 'finishing')
                            OR (e.state IN ('expired', 'cancelled', 'revoked', 'failed') AND e.purged_at IS NULL))
                       AND e.rung_at < clock_timestamp() - $1::interval
                       AND (e.lease_token IS NULL OR e.lease_expires_at <= clock_timestamp())
                       AND NOT EXISTS (SELECT FROM headgate.shard s
                                        WHERE s.practice_number = e.practice_number AND s.export_id = e.export_id
                                          AND s.state = 'leased' AND s.lease_expires_at > clock_timestamp())
                       AND (e.practice_number, e.export_id) IN (
                           SELECT r.practice_number, r.export_id FROM headgate.runnable_step r
                            WHERE r.since IS NULL OR r.since < clock_timestamp() - $1::interval)
                     LIMIT 100 FOR UPDATE OF e SKIP LOCKED)
             RETURNING practice_number",
            interval(quiet_for),
        )
        .fetch_all(&mut *tx)
        .await?;
        let mut practices: Vec<i64> = rows.iter().map(|row| row.practice_number).collect();
        practices.sort_unstable();
        practices.dedup();
        for number in practices {
            doorbell::ring(&mut tx, practice(number, "export")?).await?;
        }
        tx.commit().await?;
        Ok(rows.len() as u64)
    }

    /// Forgets assertion ids whose assertions are past their expiry; returns how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_assertions(&self) -> Result<u64> {
        let gone = sqlx::query!(
            "/* forget_assertions */
             DELETE FROM headgate.assertion_replay WHERE expires_at < clock_timestamp() - interval '10 minutes'",
        )
        .execute(&self.pool)
        .await?;
        Ok(gone.rows_affected())
    }

    /// Forgets revoked tokens that would have ended by now, and idempotency keys that are older than a day; returns how
    /// many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_old(&self) -> Result<u64> {
        let tokens = sqlx::query!(
            "/* forget_old: tokens */
             DELETE FROM headgate.revoked_token WHERE expires_at < clock_timestamp() - interval '10 minutes'",
        )
        .execute(&self.pool)
        .await?;
        let keys = sqlx::query!(
            "/* forget_old: keys */
             DELETE FROM headgate.idempotency WHERE created_at < clock_timestamp() - interval '24 hours'",
        )
        .execute(&self.pool)
        .await?;
        Ok(tokens.rows_affected() + keys.rows_affected())
    }

    /// Deletes messages and workers that the queue is done with; it has no way of its own. Where nobody takes messages, the
    /// newest stay, and workers look without being told. Returns how many messages.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn clean_queue(&self) -> Result<u64> {
        // The queue's tables belong to apalis and are not there when statements are checked.
        let messages = sqlx::query(
            "/* clean_queue: messages */
             DELETE FROM apalis.jobs WHERE job_type = $1
                AND (status IN ('Done', 'Killed', 'Failed')
                     OR id IN (SELECT j.id FROM apalis.jobs j WHERE j.job_type = $1 ORDER BY j.id DESC OFFSET $2))",
        )
        .bind(crate::QUEUE)
        .bind(MESSAGES)
        .execute(&self.pool)
        .await?;
        sqlx::query(
            "/* clean_queue: workers */
             DELETE FROM apalis.workers w
              WHERE w.worker_type = $1 AND w.last_seen < now() - interval '10 minutes'
                AND NOT EXISTS (SELECT FROM apalis.jobs j WHERE j.lock_by = w.id)",
        )
        .bind(crate::QUEUE)
        .execute(&self.pool)
        .await?;
        Ok(messages.rows_affected())
    }

    /// Asks for every practice's catalogue to be read again; returns how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn request_refreshes(&self) -> Result<u64> {
        let asked = sqlx::query!(
            "/* request_refreshes */
             UPDATE headgate.source_catalog SET requested_at = clock_timestamp()
              WHERE refreshed_at IS NOT NULL AND requested_at <= refreshed_at",
        )
        .execute(&self.pool)
        .await?;
        Ok(asked.rows_affected())
    }

    /// Has the prefixes of exports that ended in the last week emptied once more: a worker that was
    /// paused for longer than its lease may have put an object there after the purge. They stay purged. Returns how
    /// many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep_again(&self) -> Result<u64> {
        let asked = sqlx::query!(
            "/* sweep_again */
             UPDATE headgate.export SET sweep_due_at = clock_timestamp()
              WHERE state IN ('expired', 'cancelled', 'revoked', 'failed')
                AND purged_at IS NOT NULL AND sweep_due_at IS NULL AND ended_at > clock_timestamp() - interval '7 days'",
        )
        .execute(&self.pool)
        .await?;
        Ok(asked.rows_affected())
    }
}

#[cfg(test)]
mod tests;
