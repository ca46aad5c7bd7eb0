//! The fleet at a glance.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use headgate_domain::PracticeNumber;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Pause, count};
use crate::acquire::{practice, seconds};
use crate::measures::{self, ExportsInState, Queue};
use crate::{Result, Store};

/// Paused practices that are named, and workers: the counts tell of the others.
const NAMED: i64 = 200;

/// The fleet at one moment.
#[derive(Debug, Clone)]
pub struct FleetStatus {
    /// The pause of the whole fleet.
    pub paused: Option<Pause>,
    /// Practices that are paused themselves, by number, 200 at most.
    pub paused_practices: Vec<PausedPractice>,
    /// How many practices are paused themselves.
    pub paused_practices_total: u64,
    /// What could be taken now, by kind of step.
    pub queues: Vec<Queue>,
    /// Exports of which something is kept, by state.
    pub exports: Vec<ExportsInState>,
    /// Workers that listened to the doorbells in the last minute, or hold a lease; those with most leases first, at
    /// most 200 of either.
    pub workers: Vec<WorkerSeen>,
}

/// A practice that is paused itself.
#[derive(Debug, Clone)]
pub struct PausedPractice {
    /// Which.
    pub practice: PracticeNumber,
    /// Since when, by whom, why.
    pub pause: Pause,
}

/// A worker.
#[derive(Debug, Clone)]
pub struct WorkerSeen {
    /// Its id, drawn at its start.
    pub worker: Uuid,
    /// Time since it was last heard of at the doorbells; none: it holds leases, and does not listen.
    pub silent_for: Option<Duration>,
    /// Shards that it holds under leases that have not expired.
    pub shards: u64,
    /// Steps and refreshes that it holds.
    pub steps: u64,
}

impl Store {
    /// Looks at the fleet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fleet_status(&self) -> Result<FleetStatus> {
        let mut tx = self.everywhere().await?;
        let fleet = sqlx::query!(
            r#"/* fleet_status */
            SELECT f.paused_at, f.paused_by, f.pause_reason, f.pause_drains,
                   (SELECT count(*) FROM headgate.practice p WHERE p.paused_at IS NOT NULL) AS "paused_practices!"
              FROM headgate.fleet f"#,
        )
        .fetch_one(&mut *tx)
        .await?;
        let status = FleetStatus {
            paused: Pause::of(fleet.paused_at, fleet.paused_by, fleet.pause_reason, fleet.pause_drains),
            paused_practices: paused_practices(&mut tx).await?,
            paused_practices_total: count(fleet.paused_practices, "practice", "count")?,
            queues: measures::queues(&mut tx).await?,
            exports: measures::exports(&mut tx).await?,
            workers: workers(&mut tx).await?,
        };
        tx.commit().await?;
        Ok(status)
    }
}

async fn paused_practices(connection: &mut PgConnection) -> Result<Vec<PausedPractice>> {
    let rows = sqlx::query!(
        r#"/* fleet_status: practices */
        SELECT practice_number, paused_at AS "paused_at!: DateTime<Utc>", paused_by, pause_reason, pause_drains
          FROM headgate.practice WHERE paused_at IS NOT NULL ORDER BY practice_number LIMIT $1"#,
        NAMED,
    )
    .fetch_all(connection)
    .await?;
    let paused = rows.into_iter().map(|row| {
        let pause = Pause {
            at: row.paused_at,
            by: row.paused_by.unwrap_or_default(),
            reason: row.pause_reason.unwrap_or_default(),
            drains: row.pause_drains,
        };
        Ok(PausedPractice { practice: practice(row.practice_number, "practice")?, pause })
    });
    paused.collect()
}

/// Those that listen, and those that hold something.
async fn workers(connection: &mut PgConnection) -> Result<Vec<WorkerSeen>> {
    // Each listens under its id and a second one, drawn anew whenever it connects again. (The queue's tables belong to
    // apalis and are not there when statements are checked.)
    let listening: Vec<(Uuid, f64)> = sqlx::query_as(
        "/* fleet_status: listening */
         SELECT substring(id from '^headgate-([0-9a-f-]{36})')::uuid AS worker,
                extract(epoch FROM clock_timestamp() - max(last_seen))::double precision AS silent_s
           FROM apalis.workers
          WHERE last_seen > clock_timestamp() - interval '1 minute' AND id ~ '^headgate-[0-9a-f-]{36}'
          GROUP BY 1 ORDER BY 2 LIMIT $1",
    )
    .bind(NAMED)
    .fetch_all(&mut *connection)
    .await?;
    let holding = sqlx::query!(
        r#"/* fleet_status: holding */
        SELECT worker AS "worker!", count(*) FILTER (WHERE is_shard) AS "shards!",
               count(*) FILTER (WHERE NOT is_shard) AS "steps!"
          FROM (SELECT lease_worker AS worker, true AS is_shard FROM headgate.shard
                 WHERE state = 'leased' AND lease_expires_at > clock_timestamp()
                UNION ALL
                SELECT lease_worker, false FROM headgate.export
                 WHERE (state IN ('accepted', 'planning', 'running', 'finishing')
                        OR (state IN ('expired', 'cancelled', 'revoked', 'failed') AND purged_at IS NULL)
                        OR sweep_due_at IS NOT NULL)
                   AND lease_expires_at > clock_timestamp()
                UNION ALL
                SELECT lease_worker, false FROM headgate.source_catalog
                 WHERE lease_expires_at > clock_timestamp()) held
         WHERE worker IS NOT NULL GROUP BY worker ORDER BY 2 DESC, 3 DESC LIMIT $1"#,
        NAMED,
    )
    .fetch_all(connection)
    .await?;
    let mut seen: BTreeMap<Uuid, WorkerSeen> = BTreeMap::new();
    for (worker, silent_s) in listening {
        let silent_for = Some(seconds(silent_s));
        seen.insert(worker, WorkerSeen { worker, silent_for, shards: 0, steps: 0 });
    }
    for row in holding {
        let worker = row.worker;
        let unheard = WorkerSeen { worker, silent_for: None, shards: 0, steps: 0 };
        let one = seen.entry(worker).or_insert(unheard);
        one.shards = count(row.shards, "shard", "count")?;
        one.steps = count(row.steps, "export", "count")?;
    }
    let mut seen: Vec<WorkerSeen> = seen.into_values().collect();
    seen.sort_by_key(|worker| std::cmp::Reverse((worker.shards, worker.steps)));
    Ok(seen)
}
