//! What the tables say of the whole fleet, for gauges: every worker samples it, and all see the same.

use std::time::Duration;

use sqlx::PgConnection;

use crate::acquire::seconds;
use crate::error::number;
use crate::{Result, Store};

/// The states of exports of which something is kept.
pub const LASTING_STATES: [&str; 5] = ["accepted", "planning", "running", "finishing", "completed"];

/// The fleet at one moment.
#[derive(Debug, Clone, Default)]
pub struct Measures {
    /// What could be taken now, by kind of step.
    pub queues: Vec<Queue>,
    /// Exports by state.
    pub exports: Vec<ExportsInState>,
    /// The longest time that a shard under a live lease has published nothing.
    pub checkpoint_age: Duration,
    /// How long ago the oldest ended export ended whose objects are still there.
    pub retention_lag: Duration,
    /// By how much each task of housekeeping is overdue.
    pub overdue: Vec<(String, Duration)>,
    /// Practices that are paused.
    pub paused: u64,
    /// How long ago the oldest catalogue of a source was read.
    pub catalog_age: Duration,
    /// Events of the audit trail that are not sealed, and how old the oldest of them is.
    pub unsealed: (u64, Duration),
}

/// Steps of one kind that are runnable.
#[derive(Debug, Clone)]
pub struct Queue {
    /// `plan`, `shard`, `finish`, `purge` or `refresh`.
    pub step: String,
    /// How many.
    pub waiting: u64,
    /// How long the oldest has been waiting.
    pub oldest: Duration,
}

/// Exports in one state.
#[derive(Debug, Clone)]
pub struct ExportsInState {
    /// One of [`LASTING_STATES`].
    pub state: String,
    /// How many.
    pub exports: u64,
    /// Time since the oldest of them was kicked off; of those that have not ended, the oldest whose practice is not paused.
    pub oldest: Duration,
}

/// Connections of a pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolState {
    /// Open and in use.
    pub used: u32,
    /// Open and free.
    pub idle: u32,
    /// How many there may be.
    pub max: u32,
}

/// What each statement of a look at the fleet may take.
const STATEMENT_MS: u32 = 9_000;

impl Store {
    /// The connections of this process's pool.
    #[must_use]
    pub fn pool_state(&self) -> PoolState {
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        PoolState {
            used: self.pool.size().saturating_sub(idle),
            idle,
            max: self.pool.options().get_max_connections(),
        }
    }

    /// Looks at the whole fleet. A worker's connection; the API's would see one practice.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn measures(&self) -> Result<Measures> {
        // Who asks does not wait longer, and must not leave statements behind that nobody waits for.
        let mut connection =
            self.begin_with(format!("BEGIN; SET LOCAL statement_timeout = {STATEMENT_MS}")).await?;
        let mut measures = Measures {
            queues: queues(&mut connection).await?,
            exports: exports(&mut connection).await?,
            overdue: overdue(&mut connection).await?,
            ..Measures::default()
        };
        let row = sqlx::query!(
            r#"/* measures: rest */
            WITH sealed AS (SELECT coalesce((SELECT last_id FROM headgate.audit_seal
                                              ORDER BY seal_number DESC LIMIT 1), 0) AS last_id)
            SELECT (SELECT extract(epoch FROM clock_timestamp() - min(greatest(s.leased_at, s.published_at)))
                      FROM headgate.shard s WHERE s.state = 'leased' AND s.lease_expires_at > clock_timestamp()
                   )::double precision AS checkpoint_s,
                   (SELECT extract(epoch FROM clock_timestamp() - min(e.ended_at)) FROM headgate.export e
                     WHERE e.state IN ('expired', 'cancelled', 'revoked', 'failed') AND e.purged_at IS NULL
                   )::double precision AS retention_s,
                   (SELECT count(*) FROM headgate.pause) AS "paused!",
                   (SELECT extract(epoch FROM clock_timestamp() - min(refreshed_at)) FROM headgate.source_catalog
                   )::double precision AS catalog_s,
                   (SELECT count(*) FROM headgate.audit_event a, sealed WHERE a.audit_id > sealed.last_id) AS "unsealed!",
                   (SELECT extract(epoch FROM clock_timestamp() - min(a.at)) FROM headgate.audit_event a, sealed
                     WHERE a.audit_id > sealed.last_id)::double precision AS unsealed_s"#,
        )
        .fetch_one(&mut *connection)
        .await?;
        measures.checkpoint_age = seconds(row.checkpoint_s.unwrap_or_default());
        measures.retention_lag = seconds(row.retention_s.unwrap_or_default());
        measures.paused = number(row.paused, "pause", "count")?;
        measures.catalog_age = seconds(row.catalog_s.unwrap_or_default());
        measures.unsealed =
            (number(row.unsealed, "audit_event", "count")?, seconds(row.unsealed_s.unwrap_or_default()));
        Ok(measures)
    }
}

pub(crate) async fn queues(connection: &mut PgConnection) -> Result<Vec<Queue>> {
    let rows = sqlx::query!(
        r#"/* measures: queues */
        SELECT step AS "step!", waiting AS "waiting!", oldest_s AS "oldest_s!" FROM headgate.runnable()"#,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let waiting = number(row.waiting, "runnable", "waiting")?;
            Ok(Queue { step: row.step, waiting, oldest: seconds(row.oldest_s) })
        })
        .collect()
}

pub(crate) async fn exports(connection: &mut PgConnection) -> Result<Vec<ExportsInState>> {
    let states: Vec<String> = LASTING_STATES.iter().map(|state| (*state).to_owned()).collect();
    let rows = sqlx::query!(
        r#"/* measures: exports */
        SELECT kind.state AS "state!", count(e.state) AS "exports!",
               coalesce(extract(epoch FROM clock_timestamp() - min(e.accepted_at)
                    FILTER (WHERE e.state = 'completed' OR held.practice_number IS NULL)), 0)::double precision AS "oldest_s!"
          FROM unnest($1::text[]) AS kind (state)
          LEFT JOIN headgate.export e ON e.state = kind.state
           AND e.state IN ('accepted', 'planning', 'running', 'finishing', 'completed')
          LEFT JOIN headgate.pause held USING (practice_number)
         GROUP BY kind.state"#,
        &states,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let exports = number(row.exports, "export", "count")?;
            Ok(ExportsInState { state: row.state, exports, oldest: seconds(row.oldest_s) })
        })
        .collect()
}

async fn overdue(connection: &mut PgConnection) -> Result<Vec<(String, Duration)>> {
    let rows = sqlx::query!(
        r#"/* measures: overdue */
        SELECT task, greatest(extract(epoch FROM clock_timestamp() - due_at), 0)::double precision AS "overdue_s!"
          FROM headgate.maintenance"#,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.task, seconds(row.overdue_s))).collect())
}

#[cfg(test)]
mod tests;
