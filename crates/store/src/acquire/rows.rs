//! What was acquired, as it stands in the database, and how it is read.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{Acquired, RefreshLease, ShardLease, StepLease, practice, seconds};
use crate::error::{json, number, parsed};
use crate::plan::AccessPath;
use crate::{Error, Result};

/// A step that was taken.
pub(super) enum Taken {
    Purge(StepRow),
    Refresh(RefreshRow),
    Finish(StepRow),
    Plan(StepRow),
}

impl TryFrom<Taken> for Acquired {
    type Error = Error;

    fn try_from(taken: Taken) -> Result<Self> {
        Ok(match taken {
            Taken::Purge(row) => Acquired::Purge(row.try_into()?),
            Taken::Refresh(row) => Acquired::Refresh(row.try_into()?),
            Taken::Finish(row) => Acquired::Finish(row.try_into()?),
            Taken::Plan(row) => Acquired::Plan(row.try_into()?),
        })
    }
}

pub(super) struct StepRow {
    pub(super) practice_number: i64,
    pub(super) export_id: String,
    pub(super) lease_token: Uuid,
    pub(super) fence: i64,
    pub(super) attempts: i32,
    pub(super) trace_parent: Option<String>,
    pub(super) waited_s: Option<f64>,
}

impl TryFrom<StepRow> for StepLease {
    type Error = Error;

    fn try_from(row: StepRow) -> Result<Self> {
        Ok(Self {
            practice: practice(row.practice_number, "export")?,
            export: parsed(&row.export_id, "export", "export_id")?,
            token: row.lease_token,
            fence: row.fence,
            attempts: row.attempts,
            trace_parent: row.trace_parent,
            waited: row.waited_s.map(seconds),
        })
    }
}

pub(super) struct RefreshRow {
    pub(super) practice_number: i64,
    pub(super) lease_token: Uuid,
    pub(super) attempts: i32,
    pub(super) taken_at: DateTime<Utc>,
}

impl TryFrom<RefreshRow> for RefreshLease {
    type Error = Error;

    fn try_from(row: RefreshRow) -> Result<Self> {
        Ok(Self {
            practice: practice(row.practice_number, "source_catalog")?,
            token: row.lease_token,
            taken_at: row.taken_at,
            attempts: row.attempts,
        })
    }
}

pub(super) struct ShardRow {
    pub(super) practice_number: i64,
    pub(super) export_id: String,
    pub(super) stream: i16,
    pub(super) shard: i32,
    pub(super) lease_token: Uuid,
    pub(super) fence: i64,
    pub(super) attempts: i32,
    pub(super) slice: Value,
    pub(super) cursor: Option<Value>,
    pub(super) first_number: i32,
    pub(super) number_count: i32,
    pub(super) resource_type: String,
    pub(super) relation: Value,
    pub(super) level: String,
    pub(super) of_patients: bool,
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) selection: Value,
    pub(super) types: Vec<String>,
    pub(super) source_replica: Option<bool>,
    pub(super) source_lsn: Option<String>,
    pub(super) access_path: String,
    pub(super) by_reference: Vec<String>,
    pub(super) trace_parent: Option<String>,
    pub(super) abandoned: bool,
    pub(super) waited_s: Option<f64>,
}

impl TryFrom<ShardRow> for ShardLease {
    type Error = Error;

    fn try_from(row: ShardRow) -> Result<Self> {
        let unplanned = |column| Error::Inconsistent { table: "export", column };
        Ok(Self {
            practice: practice(row.practice_number, "shard")?,
            export: parsed(&row.export_id, "shard", "export_id")?,
            stream: row.stream,
            shard: row.shard,
            token: row.lease_token,
            fence: row.fence,
            attempts: row.attempts,
            stream_type: parsed(&row.resource_type, "export_stream", "resource_type")?,
            relation: row.relation,
            slice: row.slice,
            cursor: row.cursor,
            first_number: number(row.first_number, "shard", "first_number")?,
            number_count: number(row.number_count, "shard", "number_count")?,
            patient_level: row.level == "patient",
            by_members: row.of_patients || row.level == "group",
            access_path: AccessPath::from_name(&row.access_path)?,
            selection: json(row.selection, "export", "selection")?,
            by_reference: each(&row.by_reference, "export_stream", "resource_type")?,
            types: each(&row.types, "export", "types")?,
            since: row.since,
            source_replica: row.source_replica.ok_or_else(|| unplanned("source_replica"))?,
            source_lsn: row.source_lsn.ok_or_else(|| unplanned("source_lsn"))?,
            trace_parent: row.trace_parent,
            rescued: row.abandoned,
            waited: row.waited_s.map(seconds),
        })
    }
}

fn each<T: std::str::FromStr>(names: &[String], table: &'static str, column: &'static str) -> Result<Vec<T>> {
    names.iter().map(|name| parsed(name, table, column)).collect()
}
