//! The horizon: the `transactionTime` of an export.
//!
//! The Bulk Data IG wants the response to hold every matching change up to and including `transactionTime`,
//! and a client chains exports by passing it as the next `_since`. So a change must never become visible with
//! a stamp at or before a `transactionTime` already given out. Stamps are clocks read inside the writing
//! transaction, and become visible only when it commits. Therefore T must lie strictly before the start of
//! every transaction that is open when T is taken; a transaction that begins later stamps later.
//!
//! **Transaction ids do not help**: a transaction that has begun but not written yet has none, and may still
//! stamp its old `now()`.
//!
//! **Order matters.** PostgreSQL makes a commit visible before it clears the transaction's start from
//! `pg_stat_activity`, and shows a prepared transaction in `pg_prepared_xacts` before it clears it there. So
//! the activity is read first and the prepared transactions in a second statement: a transaction that is in
//! neither has ended, and every later snapshot sees it. The margin covers the instant between a backend
//! reading its start from the clock and showing it.
//!
//! Read-only transactions count too, a long `pg_dump` among them: nobody can know that one will not write.
//! That makes T old, which is safe; the lag is reported so that somebody can look.
//!
//! Everything is read in one short READ COMMITTED transaction, and nothing is cached: T is chosen anew for
//! every export, and the caller stores it once and never moves it forward.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::catalog::get;
use crate::statement::Statement;
use crate::transaction::{LSN, ReadTransaction};
use crate::{HorizonProblem, Marker, Source, SourceConfig, SourceError};

/// The `transactionTime` that the source vouches for, and where it was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Horizon {
    /// T: everything stamped at or before it is committed and visible. Whole milliseconds.
    pub time: DateTime<Utc>,
    /// What the server had seen.
    pub marker: Marker,
    /// How far T lies behind the server's clock.
    pub lag: Duration,
    /// What T is owed to: `now`, `open_transaction`, `prepared_transaction`, `horizon_function`,
    /// `late_commit_allowance` or `replay`.
    pub limited_by: &'static str,
}

impl Source {
    /// Chooses T, or fails: without a way to vouch for a time there is none.
    ///
    /// # Errors
    /// [`SourceError::Horizon`] says what to grant or configure; others as for any transaction.
    pub async fn horizon(&self) -> Result<Horizon, SourceError> {
        let mut tx = self.begin_unmarked(&[]).await?;
        let function = find_function(&mut tx, self.schema()).await?;
        let mut facts = observe(&mut tx).await?;
        facts.prepared = oldest_prepared(&mut tx).await?;
        facts.function = match function {
            true => Some(call_function(&mut tx, self.schema()).await?),
            false => None,
        };
        let marker = marker(&mut tx).await?;
        tx.finish().await?;
        if marker.replica != facts.replica {
            // Promoted while we looked: what was observed belongs to neither role.
            return Err(SourceError::Behind);
        }
        let (time, limited_by) = choose(&facts, self.config()).map_err(SourceError::Horizon)?;
        let lag = facts.now.signed_duration_since(time).to_std().unwrap_or_default();
        Ok(Horizon { time, marker, lag, limited_by })
    }

    /// Where a server is now, for reading without a horizon.
    pub(crate) async fn marker(&self) -> Result<Marker, SourceError> {
        let mut tx = self.begin_unmarked(&[]).await?;
        let marker = marker(&mut tx).await?;
        tx.finish().await?;
        Ok(marker)
    }
}

/// What was observed in the source, in the order in which it was.
#[derive(Debug, Clone)]
struct Facts {
    now: DateTime<Utc>,
    replica: bool,
    /// Whether the role sees other sessions' transactions.
    privileged: bool,
    /// Whether every session shows its transactions.
    tracked: bool,
    /// Start of the oldest open transaction.
    oldest: Option<DateTime<Utc>>,
    /// Commit time of the last transaction that a replica has replayed.
    replayed: Option<DateTime<Utc>>,
    /// When the oldest prepared transaction was prepared.
    prepared: Option<DateTime<Utc>>,
    /// What the contract's `horizon()` says.
    function: Option<DateTime<Utc>>,
}

/// The least of all bounds that apply, less the margin, floored to the millisecond.
fn choose(facts: &Facts, config: &SourceConfig) -> Result<(DateTime<Utc>, &'static str), HorizonProblem> {
    let mut bounds = vec![(facts.now, "now")];
    if let Some(function) = facts.function {
        bounds.push((function, "horizon_function"));
    }
    if facts.replica {
        let allowance = config.late_commit_allowance.ok_or(HorizonProblem::ReplicaNeedsAllowance)?;
        let replayed = facts.replayed.ok_or(HorizonProblem::NothingReplayed)?;
        bounds.push((before(replayed, allowance)?, "replay"));
    } else {
        if let Some(allowance) = config.late_commit_allowance {
            bounds.push((before(facts.now, allowance)?, "late_commit_allowance"));
        }
        if facts.function.is_none() {
            open_transactions(facts, config, &mut bounds)?;
        }
    }
    let (bound, limited_by) =
        bounds.into_iter().min_by_key(|(time, _)| *time).ok_or(HorizonProblem::OutOfRange)?;
    // At least a microsecond, PostgreSQL's own step, so that T is strictly before the bound.
    let margin = config.margin.max(Duration::from_micros(1));
    Ok((floor_to_millisecond(before(bound, margin)?)?, limited_by))
}

/// Adds the bounds that this session can see. Where it cannot see them all, the operator's promise of a
/// longest delay must have supplied one; else there is no safe time.
fn open_transactions(
    facts: &Facts,
    config: &SourceConfig,
    bounds: &mut Vec<(DateTime<Utc>, &'static str)>,
) -> Result<(), HorizonProblem> {
    let blind = match (facts.privileged, facts.tracked) {
        (true, true) => None,
        (false, _) => Some(HorizonProblem::NotPrivileged),
        (true, false) => Some(HorizonProblem::NotTracked),
    };
    if let (Some(problem), None) = (blind, config.late_commit_allowance) {
        return Err(problem);
    }
    if let Some(oldest) = facts.oldest {
        bounds.push((oldest, "open_transaction"));
    }
    if let Some(prepared) = facts.prepared {
        bounds.push((before(prepared, config.prepared_allowance)?, "prepared_transaction"));
    }
    Ok(())
}

fn before(time: DateTime<Utc>, by: Duration) -> Result<DateTime<Utc>, HorizonProblem> {
    let by = TimeDelta::from_std(by).map_err(|_| HorizonProblem::OutOfRange)?;
    time.checked_sub_signed(by).ok_or(HorizonProblem::OutOfRange)
}

fn floor_to_millisecond(time: DateTime<Utc>) -> Result<DateTime<Utc>, HorizonProblem> {
    DateTime::from_timestamp_millis(time.timestamp_micros().div_euclid(1000))
        .ok_or(HorizonProblem::OutOfRange)
}

/// Statement 1: the clock, the role, and who is in a transaction.
///
/// A backend that is active without having shown its transaction's start is about to: its statement's start
/// is the same instant. A walsender is active for as long as it streams, so that is no sign there; when it
/// runs SQL it shows a start like everybody. Autovacuum writes no rows.
async fn observe(tx: &mut ReadTransaction) -> Result<Facts, SourceError> {
    let statement = Statement::new(
        "SELECT now() AS now, pg_is_in_recovery() AS replica,
                pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS privileged,
                current_setting('track_activities')::bool AND NOT a.hidden AS tracked,
                a.oldest,
                CASE WHEN pg_is_in_recovery() THEN pg_last_xact_replay_timestamp() END AS replayed
         FROM (SELECT min(coalesce(s.xact_start,
                          CASE WHEN s.state NOT IN ('idle', 'disabled') AND s.backend_type <> 'walsender'
                               THEN s.query_start END)) AS oldest,
                      coalesce(bool_or(s.state = 'disabled'), false) AS hidden
               FROM pg_stat_activity s
               WHERE s.datname = current_database() AND s.pid <> pg_backend_pid()
                 AND s.backend_type IS DISTINCT FROM 'autovacuum worker') a",
    );
    let row = tx.fetch_one(statement, None).await?;
    Ok(Facts {
        now: get(&row, "now")?,
        replica: get(&row, "replica")?,
        privileged: get(&row, "privileged")?,
        tracked: get(&row, "tracked")?,
        oldest: get(&row, "oldest")?,
        replayed: get(&row, "replayed")?,
        prepared: None,
        function: None,
    })
}

/// Statement 2: transactions that are prepared and wait for their second phase.
async fn oldest_prepared(tx: &mut ReadTransaction) -> Result<Option<DateTime<Utc>>, SourceError> {
    let statement = Statement::new(
        "SELECT min(p.prepared) AS oldest FROM pg_prepared_xacts p WHERE p.database = current_database()",
    );
    get(&tx.fetch_one(statement, None).await?, "oldest")
}

/// Whether the schema has a function `horizon()`; of the wrong type it is an error, not an absence.
async fn find_function(tx: &mut ReadTransaction, schema: &str) -> Result<bool, SourceError> {
    let mut statement = Statement::new(
        "SELECT f.prorettype = 'pg_catalog.timestamptz'::regtype AND NOT f.proretset AS fits
         FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
         WHERE f.proname = 'horizon' AND f.pronargs = 0 AND n.nspname = ",
    );
    let name = statement.bind(schema);
    statement.push(&name);
    match tx.fetch_optional(statement, None).await? {
        None => Ok(false),
        Some(row) if get(&row, "fits")? => Ok(true),
        Some(_) => Err(SourceError::Horizon(HorizonProblem::HorizonType)),
    }
}

async fn call_function(tx: &mut ReadTransaction, schema: &str) -> Result<DateTime<Utc>, SourceError> {
    let schema = crate::identifier::quote(schema, "schema")?;
    // Bounded by the clock, and NULL where it is infinite: neither could be represented here.
    let statement = Statement::new(format!(
        "SELECT CASE WHEN isfinite(h.time) THEN least(h.time, now()) END AS time
         FROM (SELECT {schema}.horizon() AS time) h"
    ));
    let row = tx.fetch_one(statement, Some("horizon()")).await?;
    get::<Option<DateTime<Utc>>>(&row, "time")?.ok_or(SourceError::Horizon(HorizonProblem::NullHorizon))
}

/// The last statement: everything observed before is contained in this log position.
async fn marker(tx: &mut ReadTransaction) -> Result<Marker, SourceError> {
    let statement = Statement::new(format!("SELECT pg_is_in_recovery() AS replica, ({LSN})::text AS lsn"));
    let row = tx.fetch_one(statement, None).await?;
    let lsn: Option<String> = get(&row, "lsn")?;
    let lsn = lsn.ok_or_else(|| SourceError::unexpected("no log position", None))?;
    Ok(Marker { replica: get(&row, "replica")?, lsn })
}

#[cfg(test)]
#[path = "horizon_tests.rs"]
mod tests;
