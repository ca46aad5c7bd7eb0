//! Planning an export: fixing its transactionTime and cohort, and cutting its streams into shards.
//!
//! transactionTime, cohort and streams are written once, in one transaction, before the first shard. A
//! plan that is repeated finds them and goes on from its last boundary. Streams that are read by reference are
//! planned last, when the shards are done that refer to their resources: see [`references`](crate::references).

use chrono::{DateTime, Utc};
use headgate_domain::ResourceType;
use headgate_domain::request::{Level, Selection};
use serde_json::Value;
use sqlx::{PgConnection, Postgres, Transaction};
use std::time::Duration;

use crate::acquire::{PlanLease, interval};
use crate::cohort::{self, Members};
use crate::error::{json, number, parsed};
use crate::{Error, Result, Store, StreamType};

/// What a plan step starts from.
#[derive(Debug, Clone)]
pub struct PlanState {
    /// The level.
    pub level: Level,
    /// The types to export.
    pub types: Vec<ResourceType>,
    /// The client's `_since`.
    pub since: Option<DateTime<Utc>>,
    /// Which resources of the types.
    pub selection: Selection,
    /// The patients that the request named.
    pub patients: Option<Vec<String>>,
    /// Whether the group is one of the control database; else the source defines it.
    pub own_group: bool,
    /// `None`: nothing is fixed yet.
    pub transaction_time: Option<DateTime<Utc>>,
    /// What the source was when the time was fixed.
    pub source_replica: Option<bool>,
    /// How far it had come.
    pub source_lsn: Option<String>,
}

/// What the source says when transactionTime is fixed.
#[derive(Debug, Clone)]
pub struct Cohort {
    /// The source's horizon.
    pub horizon: DateTime<Utc>,
    /// Whether the source is a replica.
    pub replica: bool,
    /// How far every reading connection must have come.
    pub lsn: String,
    /// Margin that is taken off this database's clock for the members' stamps.
    pub margin: Duration,
    /// Whether the source keeps tombstones: then deletions are told, or the export fails.
    pub tombstones: bool,
    /// Whose resources are read by patient.
    pub members: Members,
}

/// How the rows of a stream are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessPath {
    /// The relation is walked.
    All,
    /// By the members of the cohort.
    Cohort,
    /// By the ids that exported resources refer to.
    Reference,
}

impl AccessPath {
    fn name(self) -> &'static str {
        match self {
            AccessPath::All => "all",
            AccessPath::Cohort => "cohort",
            AccessPath::Reference => "reference",
        }
    }

    pub(crate) fn from_name(name: &str) -> Result<Self> {
        [AccessPath::All, AccessPath::Cohort, AccessPath::Reference]
            .into_iter()
            .find(|path| path.name() == name)
            .ok_or(Error::Inconsistent { table: "export_stream", column: "access_path" })
    }
}

/// A stream to be planned.
#[derive(Debug, Clone)]
pub struct NewStream {
    /// What its rows give.
    pub stream_type: StreamType,
    /// The relation as the catalogue describes it.
    pub relation: Value,
    /// How its rows are found.
    pub access_path: AccessPath,
}

/// A stream and how far its planning is.
#[derive(Debug, Clone)]
pub struct StreamPlan {
    /// Its number.
    pub stream: i16,
    /// What its rows give.
    pub stream_type: StreamType,
    /// The relation as the catalogue described it.
    pub relation: Value,
    /// How its rows are found.
    pub access_path: AccessPath,
    /// Where the walk goes on.
    pub plan_cursor: Option<Value>,
    /// Whether every shard is known.
    pub planned: bool,
}

/// A shard to be added.
#[derive(Debug, Clone)]
pub struct NewShard {
    /// The slice of the relation.
    pub slice: Value,
    /// Rows that were counted in it.
    pub rows: u64,
    /// File numbers to reserve.
    pub numbers: u32,
}

impl Store {
    /// What the plan step has to do.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; or when the database fails.
    pub async fn plan_state(&self, lease: &PlanLease) -> Result<PlanState> {
        let row = sqlx::query!(
            "/* plan_state */
             SELECT level, group_id, types, since, selection, transaction_time, source_replica, source_lsn,
                    CASE WHEN of_patients THEN
                        ARRAY(SELECT p.patient_id FROM headgate.export_patient p
                               WHERE p.practice_number = e.practice_number AND p.export_id = e.export_id
                               ORDER BY p.patient_id)
                    END AS patients,
                    EXISTS (SELECT FROM headgate.patient_group g
                             WHERE g.practice_number = e.practice_number AND g.group_id = e.group_id) AS \"own_group!\"
               FROM headgate.export e
              WHERE practice_number = $1 AND export_id = $2 AND lease_token = $3",
            lease.practice.get(),
            lease.export.as_str(),
            lease.token,
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or(Error::LeaseLost)?;
        let level = match (row.level.as_str(), row.group_id) {
            ("system", None) => Level::System,
            ("patient", None) => Level::Patient,
            ("group", Some(id)) => Level::Group(id),
            _ => return Err(Error::Inconsistent { table: "export", column: "level" }),
        };
        Ok(PlanState {
            level,
            types: row.types.iter().map(|t| parsed(t, "export", "types")).collect::<Result<_>>()?,
            since: row.since,
            selection: json(row.selection, "export", "selection")?,
            patients: row.patients,
            own_group: row.own_group,
            transaction_time: row.transaction_time,
            source_replica: row.source_replica,
            source_lsn: row.source_lsn,
        })
    }

    /// Fixes transactionTime, the cohort and the streams, in one transaction; returns the time.
    ///
    /// At Group level the statements run in this order, each seeing what was committed before it: lock
    /// the group row against member writers, read the clock, read the members. So a member write is either wholly
    /// seen, or stamped after the clock that was read.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; or when the database fails.
    pub async fn fix_horizon(
        &self,
        lease: &PlanLease,
        level: &Level,
        source: &Cohort,
        streams: &[NewStream],
    ) -> Result<DateTime<Utc>> {
        let mut tx = self.begin().await?;
        let mut time = source.horizon;
        match (&source.members, level.group_id()) {
            (Members::Everybody, _) => hold(&mut tx, lease, "accepted").await?,
            (Members::OfGroup, Some(group)) => {
                // Before the export is held: an upload may keep the group for minutes, and whoever ends the export, or
                // renews the leases of this worker, must not wait for that too.
                let clock = cohort::lock_group(&mut tx, lease.practice, group).await?;
                hold(&mut tx, lease, "accepted").await?;
                let margin = chrono::TimeDelta::from_std(source.margin)
                    .map_err(|_| Error::Inconsistent { table: "config", column: "source.margin_ms" })?;
                time = time.min(clock - margin);
                cohort::insert_group(&mut tx, lease, group).await?;
            }
            (Members::OfGroup, None) => {
                return Err(Error::Inconsistent { table: "export", column: "group_id" });
            }
            (Members::Listed(members), _) => {
                hold(&mut tx, lease, "accepted").await?;
                cohort::insert_listed(&mut tx, lease, members).await?;
            }
        }
        insert_streams(&mut tx, lease, streams).await?;
        let row = sqlx::query!(
            r#"/* fix_horizon */
            UPDATE headgate.export
               SET state = 'planning', transaction_time = date_trunc('milliseconds', $3::timestamptz),
                   source_replica = $4, source_lsn = $5, source_tombstones = $6, attempts = 0
             WHERE practice_number = $1 AND export_id = $2 AND state = 'accepted'
            RETURNING transaction_time AS "transaction_time!""#,
            lease.practice.get(),
            lease.export.as_str(),
            time,
            source.replica,
            source.lsn,
            source.tombstones,
        )
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(row.transaction_time)
    }

    /// The streams of an export, in their order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stream_plans(&self, lease: &PlanLease) -> Result<Vec<StreamPlan>> {
        let rows = sqlx::query!(
            "/* stream_plans */
             SELECT stream, resource_type, relation, access_path, plan_cursor, planned_at
               FROM headgate.export_stream
              WHERE practice_number = $1 AND export_id = $2 ORDER BY stream",
            lease.practice.get(),
            lease.export.as_str(),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(StreamPlan {
                    stream: row.stream,
                    stream_type: parsed(&row.resource_type, "export_stream", "resource_type")?,
                    relation: row.relation,
                    access_path: AccessPath::from_name(&row.access_path)?,
                    plan_cursor: row.plan_cursor,
                    planned: row.planned_at.is_some(),
                })
            })
            .collect()
    }

    /// Adds shards to a stream and moves its plan cursor, in one transaction. Each shard is runnable from
    /// then on. With `cursor` `None` the stream is planned.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; or when the database fails.
    pub async fn add_shards(
        &self,
        lease: &PlanLease,
        stream: i16,
        shards: &[NewShard],
        cursor: Option<&Value>,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        hold(&mut tx, lease, "planning").await?;
        insert_shards(&mut tx, lease, stream, shards, cursor.is_none(), cursor).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Ends planning: every shard is known. Gives the lease back.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; or when the database fails.
    pub async fn finish_planning(&self, lease: &PlanLease) -> Result<()> {
        let done = sqlx::query!(
            "/* finish_planning */
             UPDATE headgate.export e
                SET state = 'running', planned_at = clock_timestamp(), attempts = 0, retry_at = NULL,
                    lease_step = NULL, lease_token = NULL, lease_expires_at = NULL, lease_worker = NULL
              WHERE practice_number = $1 AND export_id = $2 AND state = 'planning'
                AND lease_token = $3 AND lease_expires_at > clock_timestamp()
                AND NOT EXISTS (SELECT FROM headgate.export_stream s
                                 WHERE s.practice_number = e.practice_number AND s.export_id = e.export_id
                                   AND s.planned_at IS NULL)",
            lease.practice.get(),
            lease.export.as_str(),
            lease.token,
        )
        .execute(&self.pool)
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(Error::LeaseLost) }
    }

    /// Gives a plan, finish or purge lease back. With `retry_after` the step rests that long; with
    /// `give_back` this acquisition does not count as an attempt (a clean drain).
    ///
    /// # Errors
    /// When the database fails. A lease that is lost already is fine.
    pub async fn release_step(
        &self,
        lease: &crate::StepLease,
        retry_after: Duration,
        give_back: bool,
    ) -> Result<()> {
        sqlx::query!(
            "/* release_step */
             UPDATE headgate.export
                SET lease_step = NULL, lease_token = NULL, lease_expires_at = NULL, lease_worker = NULL,
                    retry_at = clock_timestamp() + $4,
                    attempts = greatest(attempts - CASE WHEN $5 THEN 1 ELSE 0 END, 0)
              WHERE practice_number = $1 AND export_id = $2 AND lease_token = $3",
            lease.practice.get(),
            lease.export.as_str(),
            lease.token,
            interval(retry_after),
            give_back,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// Makes sure that the lease is held and keeps it from being taken until the transaction ends.
/// A step that gets here made progress: its attempts start anew.
pub(crate) async fn hold(tx: &mut Transaction<'_, Postgres>, lease: &PlanLease, state: &str) -> Result<()> {
    let held = sqlx::query!(
        "/* hold */
         UPDATE headgate.export SET attempts = 0
          WHERE practice_number = $1 AND export_id = $2 AND state = $4
            AND lease_token = $3 AND lease_expires_at > clock_timestamp()",
        lease.practice.get(),
        lease.export.as_str(),
        lease.token,
        state,
    )
    .execute(&mut **tx)
    .await?;
    if held.rows_affected() == 1 { Ok(()) } else { Err(Error::LeaseLost) }
}

/// Adds shards to a stream that is not planned yet; with `planned` it is from now on.
pub(crate) async fn insert_shards(
    connection: &mut PgConnection,
    lease: &PlanLease,
    stream: i16,
    shards: &[NewShard],
    planned: bool,
    cursor: Option<&Value>,
) -> Result<()> {
    let next = sqlx::query!(
        "/* insert_shards: numbers */
         SELECT s.next_shard,
                -- Streams of one type share its numbers: each begins where the one before it ended. Those that
                -- are read by reference get their shards in turns.
                (SELECT max(p.next_number) FROM headgate.export_stream p
                  WHERE p.practice_number = s.practice_number AND p.export_id = s.export_id
                    AND p.resource_type = s.resource_type
                    AND (p.stream <= s.stream OR s.access_path = 'reference')) AS \"next_number!\"
           FROM headgate.export_stream s
          WHERE s.practice_number = $1 AND s.export_id = $2 AND s.stream = $3 AND s.planned_at IS NULL
            FOR UPDATE",
        lease.practice.get(),
        lease.export.as_str(),
        stream,
    )
    .fetch_one(&mut *connection)
    .await?;
    let (mut shard, mut first_number, mut rows) = (next.next_shard, next.next_number, 0_i64);
    for new in shards {
        let planned_rows: i64 = number(new.rows, "shard", "planned_rows")?;
        let numbers: i32 = number(new.numbers, "shard", "number_count")?;
        sqlx::query!(
            "/* insert_shards */
             INSERT INTO headgate.shard (practice_number, export_id, stream, shard, slice, planned_rows, first_number, number_count)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            lease.practice.get(),
            lease.export.as_str(),
            stream,
            shard,
            new.slice,
            planned_rows,
            first_number,
            numbers,
        )
        .execute(&mut *connection)
        .await?;
        shard += 1;
        first_number += numbers;
        rows += planned_rows;
    }
    sqlx::query!(
        "/* insert_shards: cursor */
         UPDATE headgate.export_stream
            SET next_shard = $4, next_number = $5, planned_rows = planned_rows + $6,
                plan_cursor = coalesce($7, plan_cursor),
                planned_at = CASE WHEN $8 THEN clock_timestamp() END
          WHERE practice_number = $1 AND export_id = $2 AND stream = $3",
        lease.practice.get(),
        lease.export.as_str(),
        stream,
        shard,
        first_number,
        rows,
        cursor,
        planned,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_streams(
    connection: &mut PgConnection,
    lease: &PlanLease,
    streams: &[NewStream],
) -> Result<()> {
    for (stream, new) in (1_i16..).zip(streams) {
        sqlx::query!(
            "/* insert_streams */
             INSERT INTO headgate.export_stream (practice_number, export_id, stream, resource_type, relation, access_path)
             VALUES ($1, $2, $3, $4, $5, $6)",
            lease.practice.get(),
            lease.export.as_str(),
            stream,
            new.stream_type.name(),
            new.relation,
            new.access_path.name(),
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
