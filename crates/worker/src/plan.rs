//! The plan step: fix transactionTime, then cut every stream into shards.
//!
//! Each shard becomes runnable as it is found, so reading begins while planning goes on. A plan that is
//! interrupted goes on from its last boundary: transactionTime, cohort and streams are written once. Streams that are
//! read by reference come last: the step ends, and comes again when the shards are done that refer to them.

mod cohort;
mod streams;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use headgate_domain::file_name::numbers_for;
use headgate_metrics::source::{REPLICA_LAG, TRANSACTION_TIME_LAG};
use headgate_source::{Boundary, Key, Marker, Relation, Source};
use headgate_store::{
    AccessPath, Cohort, NewShard, PlanLease, PlanState, SourceBinding, StreamPlan, StreamType,
};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::acquire_loop::Ended;
use crate::context::Context;
use crate::mappings;
use crate::read::{Slice, stored};
use crate::{Error, ask};

/// Members whose rows are counted at a time.
const MEMBERS: i64 = 1000;

/// Resources that a shard reads by reference.
const REFERENCES: i64 = 1000;

/// Changed rows that are asked for at a time.
const CHANGED: u32 = 1000;

/// Attachments that a shard reads: each is an object of its own, and may be long.
const ATTACHMENTS: i64 = 100;

/// Where the walk of a stream goes on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PlanCursor {
    /// After this row.
    Key(Key),
    /// After this member.
    Member(String),
}

/// Plans an export until every shard is known, `stop` is cancelled or the worker drains.
pub async fn run(context: Arc<Context>, lease: PlanLease, stop: CancellationToken) -> Result<Ended, Error> {
    tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(Ended::Drained),
        () = context.drain.cancelled() => return Ok(Ended::Drained),
        planned = plan(&context, &lease) => if !planned? { return Ok(Ended::Drained) },
    }
    ask::control(context.store.finish_planning(&lease)).await?;
    Ok(Ended::Done)
}

/// Goes on where planning is; `false` when the rest has to wait for shards that may refer to more.
async fn plan(context: &Context, lease: &PlanLease) -> Result<bool, Error> {
    let binding = ask::control(context.store.source_binding(lease.practice)).await?;
    let binding = binding.filter(|b| !b.suspended).ok_or(Error::NoPractice)?;
    let source = context.sources.get(&binding)?;
    let mut state = ask::control(context.store.plan_state(lease)).await?;
    if state.transaction_time.is_none() {
        fix_horizon(context, lease, &binding, &source, &state).await?;
        state = ask::control(context.store.plan_state(lease)).await?;
    }
    let marker = Marker {
        replica: state.source_replica.unwrap_or_default(),
        lsn: state.source_lsn.clone().unwrap_or_default(),
    };
    let planner = Planner {
        context,
        lease,
        source: &source,
        marker,
        binding: &binding,
        since: state.since,
        until: state.selection.until,
    };
    planner.walk().await
}

/// Asks the source for its horizon before anything is read, and writes it down with cohort and streams.
async fn fix_horizon(
    context: &Context,
    lease: &PlanLease,
    binding: &SourceBinding,
    source: &Source,
    state: &PlanState,
) -> Result<(), Error> {
    let mappings = mappings::of(&context.store, context.config.source.mappings.as_deref(), binding).await?;
    let catalog = ask::source("catalog", source.catalog(mappings.as_ref())).await?;
    let streams = streams::of(&catalog, state, &binding.options)?;
    let horizon = ask::source("horizon", source.horizon()).await?;
    let labels = [("practice", lease.practice.get().into())];
    TRANSACTION_TIME_LAG.set(horizon.lag.as_secs_f64(), &labels);
    if horizon.marker.replica {
        REPLICA_LAG.set(horizon.lag.as_secs_f64(), &labels);
    }
    if horizon.lag > context.config.source.max_lag {
        tracing::warn!(
            practice = %lease.practice,
            lag_s = horizon.lag.as_secs(),
            limited_by = horizon.limited_by,
            "transactionTime lies far back: a transaction in the source stays open"
        );
    }
    let members = cohort::members(source, &catalog, &horizon.marker, state).await?;
    let cohort = Cohort {
        members,
        horizon: horizon.time,
        replica: horizon.marker.replica,
        lsn: horizon.marker.lsn,
        margin: context.config.source.margin,
        tombstones: catalog.tombstone || catalog.has_unusable_tombstones(),
    };
    let time = ask::control(context.store.fix_horizon(lease, &state.level, &cohort, &streams)).await?;
    tracing::info!(practice = %lease.practice, export = %lease.export, transaction_time = %time, "transactionTime is fixed");
    Ok(())
}

struct Planner<'a> {
    context: &'a Context,
    lease: &'a PlanLease,
    source: &'a Source,
    marker: Marker,
    binding: &'a SourceBinding,
    /// The client's bounds.
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
}

impl Planner<'_> {
    /// Plans every stream; `false` when the rest has to wait for shards that may refer to more.
    async fn walk(&self) -> Result<bool, Error> {
        let streams = ask::control(self.context.store.stream_plans(self.lease)).await?;
        let open = |stream: &&StreamPlan| !stream.planned;
        for stream in streams.iter().filter(open) {
            match stream.access_path {
                AccessPath::All => self.walk_all(stream).await?,
                AccessPath::Cohort => self.walk_cohort(stream).await?,
                AccessPath::Reference => {}
            }
        }
        let by_reference: Vec<&StreamPlan> =
            streams.iter().filter(open).filter(|s| s.access_path == AccessPath::Reference).collect();
        if by_reference.is_empty() {
            return Ok(true);
        }
        for stream in &by_reference {
            self.add_changed(stream).await?;
        }
        // Asked before the ids: what a shard refers to is there when it is done.
        let waiting = ask::control(self.context.store.has_open_shards(self.lease)).await?;
        let found = self.add_references(&by_reference).await?;
        if waiting || found {
            return Ok(false);
        }
        ask::control(self.context.store.finish_references(self.lease)).await?;
        Ok(true)
    }

    /// With `_since`, what changed is exported as well: what refers to it need not have changed with it.
    async fn add_changed(&self, stream: &StreamPlan) -> Result<(), Error> {
        let (Some(since), None, StreamType::Resources(_)) =
            (self.since, &stream.plan_cursor, stream.stream_type)
        else {
            return Ok(());
        };
        let relation: Relation = stored(&stream.relation, "relation")?;
        let programs = relation.programs()?;
        let mut after: Option<String> = None;
        loop {
            let (from, until) = (after.as_deref(), self.until);
            let rows = self.source.changed_rows(&relation, &self.marker, since, until, from, CHANGED);
            let rows = ask::source("plan", rows).await?;
            let ids: Vec<String> = match programs.as_slice() {
                [] => rows.clone(),
                programs => rows
                    .iter()
                    .flat_map(|id| programs.iter().map(move |program| format!("{id}{}", program.suffix())))
                    .collect(),
            };
            let last = rows.len() < CHANGED as usize;
            let seeded =
                self.context.store.seed_references(self.lease, stream.stream, stream.stream_type, &ids, last);
            ask::control(seeded).await?;
            if last {
                return Ok(());
            }
            after = rows.last().cloned();
        }
    }

    /// Makes shards of the ids that are referred to and not read yet; whether there were any.
    async fn add_references(&self, streams: &[&StreamPlan]) -> Result<bool, Error> {
        let types: BTreeSet<StreamType> = streams.iter().map(|stream| stream.stream_type).collect();
        let mut found = false;
        for t in types {
            let most = if t == StreamType::Attachments { ATTACHMENTS } else { REFERENCES };
            loop {
                let ids = ask::control(self.context.store.open_references(self.lease, t, most)).await?;
                if ids.is_empty() {
                    break;
                }
                found = true;
                let slice = Slice::References { ids: ids.clone() };
                let mut shards = Vec::new();
                for stream in streams.iter().filter(|stream| stream.stream_type == t) {
                    let shard = match t {
                        StreamType::Attachments => shard_of_attachments(&slice, ids.len())?,
                        StreamType::Resources(_) => {
                            let relation: Relation = stored(&stream.relation, "relation")?;
                            self.shard(&relation, &slice, ids.len() as u64)?
                        }
                    };
                    shards.push((stream.stream, shard));
                }
                ask::control(self.context.store.add_reference_shards(self.lease, t, &ids, &shards)).await?;
                self.context.wake.notify_one();
            }
        }
        Ok(found)
    }

    /// Walks the boundaries of a relation. The first shard has no lower bound, the last no upper one.
    async fn walk_all(&self, stream: &StreamPlan) -> Result<(), Error> {
        let relation: Relation = stored(&stream.relation, "relation")?;
        let mut lower = match cursor(stream)? {
            None => None,
            Some(PlanCursor::Key(key)) => Some(key),
            Some(PlanCursor::Member(_)) => return Err(foreign_cursor()),
        };
        loop {
            let shard_rows = self.context.config.shard_rows;
            let found = self.source.boundary(&relation, &self.marker, lower.as_ref(), shard_rows);
            match ask::source("plan", found).await? {
                Boundary::Next { rows, last } => {
                    let slice = Slice::All { lower: lower.take(), upper: Some(last.clone()) };
                    let shard = self.shard(&relation, &slice, rows)?;
                    self.add(stream.stream, &[shard], Some(&PlanCursor::Key(last.clone()))).await?;
                    lower = Some(last);
                }
                Boundary::Last { rows: 0 } => return self.add(stream.stream, &[], None).await,
                Boundary::Last { rows } => {
                    let shard = self.shard(&relation, &Slice::All { lower, upper: None }, rows)?;
                    return self.add(stream.stream, &[shard], None).await;
                }
            }
        }
    }

    /// Packs members into shards by the number of their rows.
    async fn walk_cohort(&self, stream: &StreamPlan) -> Result<(), Error> {
        let relation: Relation = stored(&stream.relation, "relation")?;
        let mut after = match cursor(stream)? {
            None => None,
            Some(PlanCursor::Member(id)) => Some(id),
            Some(PlanCursor::Key(_)) => return Err(foreign_cursor()),
        };
        let mut open: Option<Run> = None;
        loop {
            let (store, practice, export) = (&self.context.store, self.lease.practice, &self.lease.export);
            let members =
                ask::control(store.members_after(practice, export, after.as_deref(), MEMBERS)).await?;
            let Some(last) = members.last().cloned() else { break };
            let counts =
                ask::source("plan", self.source.count_by_patient(&relation, &self.marker, &members)).await?;
            for (patient, rows) in counts {
                let run = Run::extend(open.take(), patient, rows);
                if run.rows >= self.context.config.shard_rows {
                    let shard = self.shard(&relation, &run.slice(), run.rows)?;
                    self.add(stream.stream, &[shard], Some(&PlanCursor::Member(run.last))).await?;
                } else {
                    open = Some(run);
                }
            }
            after = Some(last);
        }
        let rest = open.map(|run| self.shard(&relation, &run.slice(), run.rows)).transpose()?;
        self.add(stream.stream, rest.as_slice(), None).await
    }

    fn shard(&self, relation: &Relation, slice: &Slice, rows: u64) -> Result<NewShard, Error> {
        let file_resources =
            self.binding.options.file_resources.unwrap_or(self.context.config.file_resources);
        Ok(NewShard {
            slice: slice_value(slice)?,
            rows,
            numbers: numbers_for(rows, file_resources, relation.most_per_row()).max(1),
        })
    }

    async fn add(&self, stream: i16, shards: &[NewShard], cursor: Option<&PlanCursor>) -> Result<(), Error> {
        let cursor = cursor
            .map(serde_json::to_value)
            .transpose()
            .map_err(|source| Error::Stored { what: "plan_cursor", source })?;
        ask::control(self.context.store.add_shards(self.lease, stream, shards, cursor.as_ref())).await?;
        // Reading begins while planning goes on.
        self.context.wake.notify_one();
        Ok(())
    }
}

fn slice_value(slice: &Slice) -> Result<serde_json::Value, Error> {
    serde_json::to_value(slice).map_err(|source| Error::Stored { what: "slice", source })
}

/// A shard of so many attachments. Each has a number, whether or not it is there.
fn shard_of_attachments(slice: &Slice, count: usize) -> Result<NewShard, Error> {
    let numbers = u32::try_from(count).unwrap_or(u32::MAX);
    Ok(NewShard { slice: slice_value(slice)?, rows: numbers.into(), numbers })
}

fn cursor(stream: &StreamPlan) -> Result<Option<PlanCursor>, Error> {
    stream.plan_cursor.as_ref().map(|value| stored(value, "plan_cursor")).transpose()
}

fn foreign_cursor() -> Error {
    Error::Stored {
        what: "plan_cursor",
        source: serde::de::Error::custom("it belongs to another access path"),
    }
}

/// Members in a row, being packed into a shard.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    first: String,
    last: String,
    rows: u64,
}

impl Run {
    fn extend(open: Option<Run>, patient: String, rows: u64) -> Run {
        match open {
            Some(run) => Run { last: patient, rows: run.rows + rows, ..run },
            None => Run { first: patient.clone(), last: patient, rows },
        }
    }

    fn slice(&self) -> Slice {
        Slice::Cohort { first: self.first.clone(), last: self.last.clone() }
    }
}
