//! The scheduler: what a worker does next.
//!
//! Steps of exports (plan, finish, purge) and refreshes are few and short: the oldest due one is taken with
//! `SKIP LOCKED`. Sweeps are many once a day, and nobody waits for them: they come last. Shards are the work: the
//! practice with the fewest running shards goes first, then the app, so that a huge practice cannot starve small ones,
//! whatever worker asks. Choosing the fairest needs a settled count, so shard acquisitions queue on one advisory lock,
//! taken in a statement of its own: the choosing statement then sees everything that was chosen before.
//!
//! Acquiring counts an attempt, grows the fence and draws a new token. An expired lease is as good as none.
//!
//! What is acquired is committed last, and the server ends what takes long before the worker gives up waiting for it. So
//! a worker that gave up has taken nothing, unless the commit's answer was lost on a connection that died: then there is a
//! lease that nobody knows of, which expires, and counts as an attempt like that of a worker which died.

mod rows;
mod sweep;

use std::time::Duration;

use chrono::{DateTime, Utc};
use headgate_domain::request::Selection;
use headgate_domain::{ExportId, PracticeNumber, ResourceType};
use serde_json::Value;
use sqlx::postgres::types::PgInterval;
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use crate::plan::AccessPath;
use crate::{Result, Store, StreamType};
use rows::{RefreshRow, ShardRow, StepRow, Taken};

/// The lock that shard acquisitions queue on: "headgate" in ASCII.
const ACQUIRE_LOCK: i64 = 0x6865_6164_6761_7465;

/// What bounds an acquisition.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a lease lasts without renewal.
    pub lease: Duration,
    /// Acquisitions without progress before a step or shard is given up.
    pub max_attempts: i32,
    /// Shards of one practice that may run at a time, fleet-wide.
    pub shards_per_practice: i64,
    /// Shards of one app that may run at a time, fleet-wide.
    pub shards_per_app: i64,
}

impl Limits {
    /// How long an acquisition is worth waiting for: the time of the lease that it gives, and not less than a busy
    /// database may need.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.lease.max(Duration::from_secs(12))
    }

    /// What each of its statements may take; there are at most seven, the commit and a connection counted.
    fn statement(&self) -> Duration {
        self.patience() / 7
    }
}

/// Which steps may be taken that no export waits for. They ask other machines, which may not answer.
#[derive(Debug, Clone, Copy)]
pub struct Besides {
    /// Refreshes, which ask the database of a practice.
    pub refresh: bool,
    /// Purges and sweeps, which ask the bucket.
    pub purge: bool,
}

impl Besides {
    /// All of them.
    pub const ALL: Self = Self { refresh: true, purge: true };
}

/// A lease of an export's plan, finish or purge step.
#[derive(Debug, Clone)]
pub struct StepLease {
    /// The practice.
    pub practice: PracticeNumber,
    /// The export.
    pub export: ExportId,
    /// Drawn anew at each acquisition; every write carries it.
    pub token: Uuid,
    /// Grows with every acquisition.
    pub fence: i64,
    /// Acquisitions of this step without success, this one included.
    pub attempts: i32,
    /// W3C trace context of the kick-off.
    pub trace_parent: Option<String>,
    /// How long planning was runnable before it was taken for the first time; none: it is not the first time.
    pub waited: Option<Duration>,
}

/// A lease of the plan step.
pub type PlanLease = StepLease;

/// A lease of a practice's refresh step.
#[derive(Debug, Clone)]
pub struct RefreshLease {
    /// The practice.
    pub practice: PracticeNumber,
    /// Drawn anew at each acquisition.
    pub token: Uuid,
    /// Acquisitions without success, this one included.
    pub attempts: i32,
    /// When it was taken: what is asked for later is not answered by it.
    pub taken_at: DateTime<Utc>,
}

/// A lease of a shard, with everything needed to read it.
#[derive(Debug, Clone)]
pub struct ShardLease {
    /// The practice.
    pub practice: PracticeNumber,
    /// The export.
    pub export: ExportId,
    /// The stream's number within the export.
    pub stream: i16,
    /// The shard's number within the stream.
    pub shard: i32,
    /// Drawn anew at each acquisition; every write carries it.
    pub token: Uuid,
    /// Grows with every acquisition; part of the object keys from the second on.
    pub fence: i64,
    /// Acquisitions since the last publication, this one included.
    pub attempts: i32,
    /// What its rows give.
    pub stream_type: StreamType,
    /// The relation as the catalogue described it when the export was planned.
    pub relation: Value,
    /// The slice of the relation.
    pub slice: Value,
    /// Where the published files end; `None`: at the start.
    pub cursor: Option<Value>,
    /// First of the reserved file numbers.
    pub first_number: u32,
    /// How many file numbers are reserved.
    pub number_count: u32,
    /// Whether it is of a Patient level export.
    pub patient_level: bool,
    /// Whether its export is of the members of a cohort.
    pub by_members: bool,
    /// How its rows are found.
    pub access_path: AccessPath,
    /// Which resources of the type, and what of them.
    pub selection: Selection,
    /// What of the export is read by reference.
    pub by_reference: Vec<StreamType>,
    /// All types of the export.
    pub types: Vec<ResourceType>,
    /// The client's `_since`.
    pub since: Option<DateTime<Utc>>,
    /// Whether the source was a replica when the export was planned.
    pub source_replica: bool,
    /// How far every reading connection must have come.
    pub source_lsn: String,
    /// W3C trace context of the kick-off.
    pub trace_parent: Option<String>,
    /// Whether it was taken from a worker whose lease had expired.
    pub rescued: bool,
    /// How long it was runnable before it was taken.
    pub waited: Option<Duration>,
}

/// What [`Store::acquire_step`] handed out.
#[derive(Debug, Clone)]
pub enum Acquired {
    /// Fix transactionTime and find the shards.
    Plan(PlanLease),
    /// Write the error file and the totals.
    Finish(StepLease),
    /// Delete the objects of an ended export, or what came to lie there since.
    Purge(StepLease),
    /// Read a practice's catalogue.
    Refresh(RefreshLease),
}

impl Store {
    /// Takes the next due step, if there is one: purge before refresh before finish before plan, because
    /// ending things is short and frees what others wait for. Prefixes that were emptied are swept when nothing
    /// else is due. What no export waits for only as far as `besides` allows.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn acquire_step(
        &self,
        worker: Uuid,
        limits: &Limits,
        besides: Besides,
    ) -> Result<Option<Acquired>> {
        let mut tx = self.begin_acquisition(limits).await?;
        let taken = Self::take_step(&mut tx, worker, limits, besides).await?;
        // Before it is looked at: what cannot be read counts as an attempt too, and does not stand before all others.
        tx.commit().await?;
        taken.map(Acquired::try_from).transpose()
    }

    /// Begins a transaction of which no part holds others up for long.
    async fn begin_acquisition(&self, limits: &Limits) -> Result<Transaction<'static, Postgres>> {
        let bound = limits.statement().as_millis();
        self.begin_with(format!(
            "BEGIN; SET LOCAL statement_timeout = {bound}; SET LOCAL idle_in_transaction_session_timeout = {bound}"
        ))
        .await
    }

    async fn take_step(
        connection: &mut PgConnection,
        worker: Uuid,
        limits: &Limits,
        besides: Besides,
    ) -> sqlx::Result<Option<Taken>> {
        if besides.purge
            && let Some(row) = Self::acquire_purge(connection, worker, limits).await?
        {
            return Ok(Some(Taken::Purge(row)));
        }
        if besides.refresh
            && let Some(row) = Self::acquire_refresh(connection, worker, limits).await?
        {
            return Ok(Some(Taken::Refresh(row)));
        }
        if let Some(row) = Self::acquire_finish(connection, worker, limits).await? {
            return Ok(Some(Taken::Finish(row)));
        }
        if let Some(row) = Self::acquire_plan(connection, worker, limits).await? {
            return Ok(Some(Taken::Plan(row)));
        }
        if !besides.purge {
            return Ok(None);
        }
        Ok(Self::acquire_sweep(connection, worker, limits).await?.map(Taken::Purge))
    }

    async fn acquire_purge(
        connection: &mut PgConnection,
        worker: Uuid,
        limits: &Limits,
    ) -> sqlx::Result<Option<StepRow>> {
        sqlx::query_as!(
            StepRow,
            r#"/* acquire_purge */
            UPDATE headgate.export e
               SET lease_step = 'purge', lease_token = gen_random_uuid(), lease_worker = $1,
                   lease_expires_at = clock_timestamp() + $2, fence = fence + 1, attempts = attempts + 1
             WHERE (practice_number, export_id) = (
                   SELECT practice_number, export_id FROM headgate.export
                    WHERE state IN ('expired', 'cancelled', 'revoked', 'failed') AND purged_at IS NULL
                      AND (lease_token IS NULL OR lease_expires_at <= clock_timestamp())
                      AND (retry_at IS NULL OR retry_at <= clock_timestamp())
                    ORDER BY ended_at LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING practice_number, export_id, lease_token AS "lease_token!", fence, attempts, trace_parent,
                      NULL::double precision AS waited_s"#,
            worker,
            interval(limits.lease),
        )
        .fetch_optional(connection)
        .await
    }

    async fn acquire_finish(
        connection: &mut PgConnection,
        worker: Uuid,
        limits: &Limits,
    ) -> sqlx::Result<Option<StepRow>> {
        sqlx::query_as!(
            StepRow,
            r#"/* acquire_finish */
            UPDATE headgate.export e
               SET state = 'finishing', lease_step = 'finish', lease_token = gen_random_uuid(), lease_worker = $1,
                   lease_expires_at = clock_timestamp() + $2, fence = fence + 1, attempts = attempts + 1
             WHERE (practice_number, export_id) = (
                   SELECT practice_number, export_id FROM headgate.export x
                    WHERE state IN ('running', 'finishing')
                      AND (lease_token IS NULL OR lease_expires_at <= clock_timestamp())
                      AND (retry_at IS NULL OR retry_at <= clock_timestamp())
                      AND attempts < $3
                      AND EXISTS (SELECT FROM headgate.authority a
                                   WHERE a.practice_number = x.practice_number AND a.consent_id = x.consent_id)
                      AND NOT EXISTS (SELECT FROM headgate.pause p WHERE p.practice_number = x.practice_number)
                      AND NOT EXISTS (SELECT FROM headgate.shard s
                                       WHERE s.practice_number = x.practice_number AND s.export_id = x.export_id
                                         AND s.state <> 'done')
                    ORDER BY accepted_at LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING practice_number, export_id, lease_token AS "lease_token!", fence, attempts, trace_parent,
                      NULL::double precision AS waited_s"#,
            worker,
            interval(limits.lease),
            limits.max_attempts,
        )
        .fetch_optional(connection)
        .await
    }

    async fn acquire_plan(
        connection: &mut PgConnection,
        worker: Uuid,
        limits: &Limits,
    ) -> sqlx::Result<Option<StepRow>> {
        sqlx::query_as!(
            StepRow,
            r#"/* acquire_plan */
            UPDATE headgate.export e
               SET lease_step = 'plan', lease_token = gen_random_uuid(), lease_worker = $1,
                   lease_expires_at = clock_timestamp() + $2, fence = fence + 1, attempts = attempts + 1
             WHERE (practice_number, export_id) = (
                   SELECT x.practice_number, x.export_id FROM headgate.export x
                    WHERE x.state IN ('accepted', 'planning')
                      AND (x.lease_token IS NULL OR x.lease_expires_at <= clock_timestamp())
                      AND (x.retry_at IS NULL OR x.retry_at <= clock_timestamp())
                      AND x.attempts < $3
                      AND EXISTS (SELECT FROM headgate.authority a
                                   WHERE a.practice_number = x.practice_number AND a.consent_id = x.consent_id)
                      AND NOT EXISTS (SELECT FROM headgate.pause p WHERE p.practice_number = x.practice_number)
                      -- What is left is read by reference, and shards are still to be done that refer to it.
                      AND NOT (x.state = 'planning'
                               AND NOT EXISTS (SELECT FROM headgate.export_stream t
                                                WHERE t.practice_number = x.practice_number
                                                  AND t.export_id = x.export_id AND t.planned_at IS NULL
                                                  AND t.access_path <> 'reference')
                               AND EXISTS (SELECT FROM headgate.shard s
                                            WHERE s.practice_number = x.practice_number
                                              AND s.export_id = x.export_id AND s.state <> 'done'))
                    ORDER BY (SELECT count(*) FROM headgate.export p
                               WHERE p.practice_number = x.practice_number AND p.state IN ('accepted', 'planning')
                                 AND p.lease_expires_at > clock_timestamp()),
                             x.accepted_at
                    LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING practice_number, export_id, lease_token AS "lease_token!", fence, attempts, trace_parent,
                      CASE WHEN state = 'accepted' AND fence = 1 THEN extract(epoch FROM clock_timestamp() - greatest(
                          accepted_at, (SELECT r.resumed_at FROM headgate.resumption r
                                         WHERE r.practice_number = e.practice_number)))
                      END::double precision AS waited_s"#,
            worker,
            interval(limits.lease),
            limits.max_attempts,
        )
        .fetch_optional(connection)
        .await
    }

    async fn acquire_refresh(
        connection: &mut PgConnection,
        worker: Uuid,
        limits: &Limits,
    ) -> sqlx::Result<Option<RefreshRow>> {
        sqlx::query_as!(
            RefreshRow,
            r#"/* acquire_refresh */
            UPDATE headgate.source_catalog c
               SET lease_token = gen_random_uuid(), lease_worker = $1, attempts = attempts + 1,
                   lease_expires_at = clock_timestamp() + $2
             WHERE practice_number = (
                   SELECT practice_number FROM headgate.source_catalog
                    WHERE (refreshed_at IS NULL OR requested_at > refreshed_at)
                      AND NOT EXISTS (SELECT FROM headgate.pause p
                                       WHERE p.practice_number = headgate.source_catalog.practice_number)
                      AND (lease_token IS NULL OR lease_expires_at <= clock_timestamp())
                      AND (retry_at IS NULL OR retry_at <= clock_timestamp())
                    ORDER BY requested_at LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING practice_number, lease_token AS "lease_token!", attempts, clock_timestamp() AS "taken_at!""#,
            worker,
            interval(limits.lease),
        )
        .fetch_optional(connection)
        .await
    }

    /// Takes the fairest runnable shard, if there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn acquire_shard(&self, worker: Uuid, limits: &Limits) -> Result<Option<ShardLease>> {
        let mut tx = self.begin_acquisition(limits).await?;
        sqlx::query!("/* acquire_shard: lock */ SELECT pg_advisory_xact_lock($1)", ACQUIRE_LOCK)
            .execute(&mut *tx)
            .await?;
        let row = sqlx::query_as!(
            ShardRow,
            r#"/* acquire_shard */
            WITH running AS (
                SELECT s.practice_number, e.client_id, count(*) AS shards
                  FROM headgate.shard s JOIN headgate.export e USING (practice_number, export_id)
                 WHERE s.state = 'leased' AND s.lease_expires_at > clock_timestamp()
                 GROUP BY s.practice_number, e.client_id),
            of_practice AS (SELECT practice_number, sum(shards)::bigint AS shards FROM running GROUP BY practice_number),
            of_app AS (SELECT client_id, sum(shards)::bigint AS shards FROM running GROUP BY client_id),
            chosen AS (
                SELECT e.practice_number, e.export_id, next.stream, next.shard, next.ready_since, next.abandoned
                  FROM headgate.export e
                  JOIN headgate.authority USING (practice_number, consent_id)
                 CROSS JOIN LATERAL (
                       SELECT s.stream, s.shard,
                              greatest(s.ready_since, s.retry_at,
                                       CASE WHEN s.state = 'leased' THEN s.lease_expires_at END) AS ready_since,
                              s.state = 'leased' AS abandoned
                         FROM headgate.shard s
                        WHERE s.practice_number = e.practice_number AND s.export_id = e.export_id
                          AND s.state IN ('ready', 'leased')
                          AND (s.state = 'ready' OR s.lease_expires_at <= clock_timestamp())
                          AND (s.retry_at IS NULL OR s.retry_at <= clock_timestamp())
                          AND s.attempts < $3
                        ORDER BY s.stream, s.shard LIMIT 1) next
                  JOIN headgate.shard s ON s.practice_number = e.practice_number AND s.export_id = e.export_id
                                       AND s.stream = next.stream AND s.shard = next.shard
                                       AND (s.state = 'ready' OR s.state = 'leased' AND s.lease_expires_at <= clock_timestamp())
                  LEFT JOIN of_practice ON of_practice.practice_number = e.practice_number
                  LEFT JOIN of_app ON of_app.client_id = e.client_id
                 WHERE e.state IN ('planning', 'running')
                   AND NOT EXISTS (SELECT FROM headgate.pause p WHERE p.practice_number = e.practice_number)
                   AND coalesce(of_practice.shards, 0) < $4 AND coalesce(of_app.shards, 0) < $5
                 ORDER BY coalesce(of_practice.shards, 0), coalesce(of_app.shards, 0), e.accepted_at, e.export_id
                 -- A row that a worker locked which then vanished must not hold up all others.
                 LIMIT 1 FOR UPDATE OF s SKIP LOCKED)
            UPDATE headgate.shard s
               SET state = 'leased', lease_token = gen_random_uuid(), lease_worker = $1,
                   lease_expires_at = clock_timestamp() + $2, fence = s.fence + 1, attempts = s.attempts + 1,
                   acquisitions = s.acquisitions + 1, retry_at = NULL, leased_at = clock_timestamp(),
                   busy_s = s.busy_s + CASE WHEN chosen.abandoned AND s.leased_at IS NOT NULL
                       THEN extract(epoch FROM s.lease_expires_at - s.leased_at) ELSE 0 END
              FROM chosen
              JOIN headgate.export e USING (practice_number, export_id)
              JOIN headgate.export_stream t USING (practice_number, export_id, stream)
             WHERE s.practice_number = chosen.practice_number AND s.export_id = chosen.export_id
               AND s.stream = chosen.stream AND s.shard = chosen.shard
               AND (s.state = 'ready' OR (s.state = 'leased' AND s.lease_expires_at <= clock_timestamp()))
            RETURNING s.practice_number, s.export_id, s.stream, s.shard, s.lease_token AS "lease_token!", s.fence,
                      s.attempts, s.slice, s.cursor, s.first_number, s.number_count, t.resource_type, t.relation,
                      e.level, e.of_patients, e.since, e.selection, e.types, e.source_replica, e.source_lsn, t.access_path,
                      e.trace_parent, chosen.abandoned AS "abandoned!",
                      extract(epoch FROM clock_timestamp() - greatest(
                          chosen.ready_since, (SELECT r.resumed_at FROM headgate.resumption r
                                                WHERE r.practice_number = s.practice_number)))::double precision AS waited_s,
                      ARRAY(SELECT DISTINCT r.resource_type FROM headgate.export_stream r
                             WHERE r.practice_number = e.practice_number AND r.export_id = e.export_id
                               AND r.access_path = 'reference') AS "by_reference!""#,
            worker,
            interval(limits.lease),
            limits.max_attempts,
            limits.shards_per_practice,
            limits.shards_per_app,
        )
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        row.map(ShardLease::try_from).transpose()
    }
}

/// A span of time as the database gives it, in seconds.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

/// Reads a practice number from a row.
pub(crate) fn practice(number: i64, table: &'static str) -> Result<PracticeNumber> {
    PracticeNumber::new(number).map_err(|_| crate::Error::Inconsistent { table, column: "practice_number" })
}

/// A duration as the database takes it. Durations here are configuration: far below i64 microseconds.
pub(crate) fn interval(duration: Duration) -> PgInterval {
    let microseconds = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}

#[cfg(test)]
mod tests;
