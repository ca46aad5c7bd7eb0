//! What bounds a worker, as plain values.

use std::path::PathBuf;
use std::time::Duration;

/// Bounds and pace of a worker.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Shards read at a time.
    pub shards: usize,
    /// Plan, finish, purge and refresh steps at a time.
    pub steps: usize,
    /// Bytes of files being filled or uploaded, over all shards. One file more may be open beyond it.
    pub buffer_bytes: usize,
    /// Uploads at a time, over all shards.
    pub uploads: usize,
    /// How long a lease lasts without renewal; a third of it passes between renewals.
    pub lease: Duration,
    /// Acquisitions without progress before a step or shard is given up.
    pub max_attempts: i32,
    /// Shards of one practice that may run at a time, fleet-wide.
    pub shards_per_practice: i64,
    /// Shards of one app that may run at a time, fleet-wide.
    pub shards_per_app: i64,
    /// Longest time without looking for work, where no doorbell rings.
    pub poll: Duration,
    /// Rows in a shard.
    pub shard_rows: u64,
    /// Most rows read by one statement.
    pub page_rows: u32,
    /// Most resources in a file.
    pub file_resources: u32,
    /// A file is closed before it grows beyond this, in bytes; one longer resource is a file of its own.
    pub file_bytes: usize,
    /// How long a completed export is kept.
    pub retention: Duration,
    /// Files published in one transaction at most.
    pub publish_files: usize,
    /// Longest time that an uploaded file waits for its publication.
    pub publish_interval: Duration,
    /// How sources are opened.
    pub source: SourceDefaults,
}

/// How sources are opened, where the practice does not say otherwise.
#[derive(Debug, Clone)]
pub struct SourceDefaults {
    /// After this the database ends a statement.
    pub statement_timeout: Duration,
    /// How long a statement waits for a lock.
    pub lock_timeout: Duration,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// Connections of this process to one practice's database.
    pub max_connections: u32,
    /// Taken off the horizon.
    pub margin: Duration,
    /// Longest time a transaction is open before it is prepared.
    pub prepared_allowance: Duration,
    /// A horizon further back than this is warned of.
    pub max_lag: Duration,
    /// Longest resource that is exported, in bytes.
    pub resource_bytes: usize,
    /// Folder of the mapping sets that are files.
    pub mappings: Option<PathBuf>,
}
