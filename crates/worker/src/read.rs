//! Reading a shard, page by page, into the framer.

use std::time::{Duration, Instant};

use headgate_domain::ResourceType;
use headgate_metrics::shards;
use headgate_metrics::source::QUERY_DURATION;
use headgate_source::{
    Cursor, Key, Marker, Member, PageEnd, PageItem, Read, Relation, Scope, Source, SourceError,
};
use headgate_store::{ShardLease, Store};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::acquire_loop::Ended;
use crate::error::rest;
use crate::frame::{Closed, Framer};
use crate::{Error, ask};

/// Bytes that a page should come to: the number of rows follows from what was seen.
const PAGE_BYTES: u64 = 4 * 1024 * 1024;

/// Rows of the first page, before anything was seen.
const FIRST_PAGE: u32 = 100;

/// Failures in a row, without a row between them, before the shard is given back.
const PATIENCE: i32 = 4;

/// A slice of a relation, as a shard stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slice {
    /// Rows after `lower` up to `upper` in the relation's own order.
    All {
        /// Not included; none: from the first row.
        lower: Option<Key>,
        /// Included; none: to the last row.
        upper: Option<Key>,
    },
    /// Rows of the members from one patient id to another.
    Cohort {
        /// Included.
        first: String,
        /// Included.
        last: String,
    },
    /// Rows of these resources, to which exported ones refer, or these attachments.
    References {
        /// Their ids.
        ids: Vec<String>,
    },
}

/// What a shard's lease says is to be read.
pub async fn of(store: &Store, lease: &ShardLease) -> Result<Read, Error> {
    let slice = stored(&lease.slice, "slice")?;
    let relation: Relation = stored(&lease.relation, "relation")?;
    let scope = match slice {
        Slice::All { lower, upper } => Scope::All {
            lower,
            upper,
            only_patient_rows: lease.patient_level && relation.resource_type.is_patient_owned(),
        },
        Slice::Cohort { first, last } => {
            let members = store.members_between(lease.practice, &lease.export, &first, &last);
            let members = ask::control(members).await?;
            let member = |(patient_id, full_history)| Member { patient_id, full_history };
            Scope::Cohort { members: members.into_iter().map(member).collect() }
        }
        Slice::References { ids } => Scope::Ids { ids, patients: None },
    };
    let marker = Marker { replica: lease.source_replica, lsn: lease.source_lsn.clone() };
    // What is there because others refer to it, or are about it, is wanted whenever it changed.
    let whenever = matches!(scope, Scope::Ids { .. })
        || relation.resource_type == ResourceType::Provenance && lease.selection.provenance.is_some();
    Ok(Read {
        narrow: lease.selection.type_filters.of(relation.resource_type).cloned().collect(),
        relation,
        marker,
        since: lease.since.filter(|_| !whenever),
        until: lease.selection.until.filter(|_| !whenever),
        scope,
    })
}

/// Reads a JSON column of the plan.
pub fn stored<T: serde::de::DeserializeOwned>(
    value: &serde_json::Value,
    what: &'static str,
) -> Result<T, Error> {
    T::deserialize(value).map_err(|source| Error::Stored { what, source })
}

/// Reads until the shard ends, or `stop` or `drain` is cancelled. A page that fails is read again from the
/// last row that was taken, smaller if it took too long.
pub async fn rows(
    source: &Source,
    read: &Read,
    cursor: &mut Option<Cursor>,
    framer: &mut Framer,
    pace: Pace,
    stop: &CancellationToken,
    drain: &CancellationToken,
) -> Result<Ended, Error> {
    let mut pace = pace;
    let mut failures = 0;
    loop {
        let mut seen = Seen::default();
        let started = Instant::now();
        let span = ask::span("page");
        let reading = page(source, read, cursor, framer, pace.rows, &mut seen).instrument(span.clone());
        let result = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(Ended::Drained),
            () = drain.cancelled() => return Ok(Ended::Drained),
            result = reading => result,
        };
        // Of a page that failed too: a database that is slow to fail is slow.
        QUERY_DURATION.record(seen.asked, &[("operation", "page".into())]);
        match result {
            Ok(PageEnd::End) => {
                measure(&seen, started);
                return Ok(Ended::Done);
            }
            Ok(PageEnd::More(next)) => {
                *cursor = Some(next);
                failures = 0;
                pace.adapt(&seen);
                measure(&seen, started);
            }
            Err(Stumble::Closed) => return Ok(Ended::Drained),
            Err(Stumble::Source(error)) if error.is_transient() && failures < PATIENCE => {
                ask::failed(&span, &error);
                failures = if seen.rows > 0 { 1 } else { failures + 1 };
                if error.is_timeout() {
                    pace.halve();
                }
                tracing::info!(relation = %read.relation.name, rows = pace.rows, %error, "a page is read again");
                tokio::time::sleep(rest(failures) / 4).await;
            }
            Err(Stumble::Source(error)) => {
                ask::failed(&span, &error);
                return Err(error.into());
            }
        }
    }
}

/// Counts a page that was read to its end.
fn measure(seen: &Seen, started: Instant) {
    shards::BYTES.add(seen.bytes, &[("stage", "read".into())]);
    shards::PAGE_DURATION.record(started.elapsed(), &[]);
}

enum Stumble {
    Source(SourceError),
    Closed,
}

impl From<SourceError> for Stumble {
    fn from(error: SourceError) -> Self {
        Stumble::Source(error)
    }
}

impl From<Closed> for Stumble {
    fn from(_: Closed) -> Self {
        Stumble::Closed
    }
}

/// One page in one transaction. `cursor` follows the rows, so that a page that fails half-way is gone on
/// with and not read again.
async fn page(
    source: &Source,
    read: &Read,
    cursor: &mut Option<Cursor>,
    framer: &mut Framer,
    limit: u32,
    seen: &mut Seen,
) -> Result<PageEnd, Stumble> {
    if let Some(associated) = framer.associated() {
        seen.ask(associated.look_ahead(source, read, cursor.as_ref(), limit)).await?;
    }
    let mut tx = seen.ask(source.begin(&read.marker)).await?;
    let mut page = tx.page(read, cursor.clone().as_ref(), limit)?;
    let end = loop {
        match seen.ask(page.next()).await? {
            PageItem::Row(row) => {
                let after = row.cursor();
                seen.bytes += framer.push(&row, cursor.as_ref(), &after).await? as u64;
                seen.rows += 1;
                *cursor = Some(after);
            }
            PageItem::End(end) => break end,
        }
    };
    drop(page);
    seen.ask(tx.finish()).await?;
    Ok(end)
}

/// What a page came to.
#[derive(Debug, Default)]
struct Seen {
    rows: u64,
    bytes: u64,
    /// How long the practice's database was waited for; not the places in memory and the uploads that rows waited for.
    asked: Duration,
}

impl Seen {
    /// Waits for the practice's database.
    async fn ask<T>(&mut self, work: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let answer = work.await;
        self.asked += started.elapsed();
        answer
    }
}

/// How many rows a page has.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    rows: u32,
    most: u32,
}

impl Pace {
    /// Begins small: nothing is known of the rows yet.
    pub fn new(most: u32) -> Self {
        Self { rows: FIRST_PAGE.min(most), most }
    }

    /// As many rows as make a page of the wished size, but no sudden leap.
    fn adapt(&mut self, seen: &Seen) {
        if seen.rows == 0 {
            return;
        }
        let fitting = PAGE_BYTES / (seen.bytes / seen.rows).max(1);
        let fitting = u32::try_from(fitting).unwrap_or(u32::MAX);
        self.rows = fitting.min(self.rows.saturating_mul(4)).clamp(1, self.most);
    }

    fn halve(&mut self) {
        self.rows = (self.rows / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(rows: u64, bytes: u64) -> Seen {
        Seen { rows, bytes, ..Seen::default() }
    }

    #[tokio::test]
    async fn only_what_the_database_takes_is_its_time() {
        let (mut seen, a_while) = (Seen::default(), Duration::from_millis(50));
        let started = Instant::now();
        assert_eq!(seen.ask(async { 7 }).await, 7);
        tokio::time::sleep(4 * a_while).await;
        seen.ask(tokio::time::sleep(a_while)).await;
        seen.ask(tokio::time::sleep(a_while)).await;
        assert!(
            seen.asked >= 2 * a_while && seen.asked <= started.elapsed() - 4 * a_while,
            "{:?}",
            seen.asked
        );
    }

    #[test]
    fn pages_grow_to_the_wished_size_and_shrink_with_long_rows() {
        let mut pace = Pace::new(1000);
        pace.adapt(&seen(100, 100_000));
        assert_eq!(pace.rows, 400);
        pace.adapt(&seen(400, 400_000));
        assert_eq!(pace.rows, 1000);
        pace.adapt(&seen(1000, 500_000_000));
        assert_eq!(pace.rows, 8);
        pace.adapt(&seen(1, 1 << 40));
        assert_eq!(pace.rows, 1);
        pace.halve();
        assert_eq!(pace.rows, 1);
    }

    #[test]
    fn a_slice_survives_storage() {
        let slice = Slice::Cohort { first: "a".into(), last: "b".into() };
        let value = serde_json::to_value(&slice).unwrap();
        assert_eq!(stored::<Slice>(&value, "slice").unwrap(), slice);
        assert!(stored::<Slice>(&serde_json::json!({"other": 1}), "slice").is_err());
    }
}
