//! Who holds what, read from the control database.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::Result;
use headgate_testkit::sqlx::{self, PgPool};
use uuid::Uuid;

/// The leases that were held in one moment.
#[derive(Debug, Default)]
pub struct Held {
    /// Of shards.
    pub shards: Vec<HeldShard>,
    /// Of steps of an export: `plan`, `finish`, and who holds them.
    pub steps: Vec<(String, Uuid)>,
}

/// A shard in the hands of a worker.
#[derive(Debug, Clone)]
pub struct HeldShard {
    export: String,
    stream: i16,
    shard: i32,
    resource_type: String,
    planned_rows: i64,
    worker: Uuid,
    /// Files that are published.
    pub files: i32,
    /// The fence of the lease.
    pub fence: i64,
}

/// What became of a shard.
#[derive(Debug)]
pub struct ShardNow {
    /// Its fence.
    pub fence: i64,
    /// Files that are published.
    pub files: i32,
    /// Whether nothing is left to do.
    pub done: bool,
}

impl Held {
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty() && self.steps.is_empty()
    }

    pub fn workers(&self) -> impl Iterator<Item = Uuid> {
        self.shards.iter().map(|shard| shard.worker).chain(self.steps.iter().map(|(_, worker)| *worker))
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.steps.iter().map(|(step, _)| format!("the {step} step"));
        let shards = self.shards.iter().map(|shard| format!("{shard}"));
        f.write_str(&steps.chain(shards).collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for HeldShard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = (self.planned_rows + 999) / 1000;
        write!(f, "{}/{} ({} of about {of} files)", self.resource_type, self.shard, self.files)
    }
}

/// The unexpired leases that none of the dead workers holds.
pub async fn held(control: &PgPool, dead: &[Uuid]) -> Result<Held> {
    type Row = (String, i16, i32, String, i64, Uuid, i32, i64);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT s.export_id, s.stream, s.shard, t.resource_type, s.planned_rows, s.lease_worker, s.files, s.fence
         FROM headgate.shard s JOIN headgate.export_stream t USING (practice_number, export_id, stream)
         WHERE s.state = 'leased' AND s.lease_expires_at > clock_timestamp() AND s.lease_worker <> ALL ($1)
         ORDER BY s.stream, s.shard",
    )
    .bind(dead)
    .fetch_all(control)
    .await?;
    let steps = sqlx::query_as(
        "SELECT lease_step, lease_worker FROM headgate.export
         WHERE lease_token IS NOT NULL AND lease_expires_at > clock_timestamp() AND lease_worker <> ALL ($1)",
    )
    .bind(dead)
    .fetch_all(control)
    .await?;
    let shards =
        rows.into_iter().map(|(export, stream, shard, resource_type, planned_rows, worker, files, fence)| {
            HeldShard { export, stream, shard, resource_type, planned_rows, worker, files, fence }
        });
    Ok(Held { shards: shards.collect(), steps })
}

/// What a shard is now.
pub async fn shard(control: &PgPool, held: &HeldShard) -> Result<ShardNow> {
    let (fence, files, done) = sqlx::query_as(
        "SELECT fence, files, state = 'done' FROM headgate.shard
         WHERE export_id = $1 AND stream = $2 AND shard = $3",
    )
    .bind(&held.export)
    .bind(held.stream)
    .bind(held.shard)
    .fetch_one(control)
    .await?;
    Ok(ShardNow { fence, files, done })
}

/// The object keys of the newest export's published files.
pub async fn published(control: &PgPool) -> Result<BTreeSet<String>> {
    let keys: Vec<String> = sqlx::query_scalar(
        "SELECT object_key FROM headgate.file
         WHERE export_id = (SELECT export_id FROM headgate.export ORDER BY accepted_at DESC LIMIT 1)",
    )
    .fetch_all(control)
    .await?;
    Ok(keys.into_iter().collect())
}

/// Whether so many exports were accepted and none of them is live any more.
pub async fn all_ended(control: &PgPool, exports: i64) -> Result<bool> {
    let ended = sqlx::query_scalar(
        "SELECT count(*) = $1 AND bool_and(state NOT IN ('accepted', 'planning', 'running', 'finishing'))
         FROM headgate.export",
    )
    .bind(exports)
    .fetch_one(control)
    .await?;
    Ok(ended)
}
