//! An export as it is shown.

use chrono::{DateTime, Utc};
use headgate_domain::practice::Practice;
use headgate_store::{ExportDetail, ExportSummary, ProblemSummary, ShardSummary, StreamSummary};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// An export.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct Export {
    export_id: String,
    practice: i64,
    client_id: String,
    /// The consent that it runs under.
    consent_id: Uuid,
    /// `system`, `patient` or `group`.
    level: &'static str,
    group_id: Option<String>,
    since: Option<DateTime<Utc>>,
    types: Vec<&'static str>,
    /// `accepted`, `planning`, `running`, `finishing`, `completed`, `expired`, `cancelled`, `revoked` or `failed`.
    state: &'static str,
    /// Everything changed up to here is in the files.
    transaction_time: Option<DateTime<Utc>>,
    accepted_at: DateTime<Utc>,
    planned_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    /// When its files are deleted.
    expires_at: Option<DateTime<Utc>>,
    purged_at: Option<DateTime<Utc>>,
    failure: Option<String>,
    planned_rows: u64,
    resources: u64,
    bytes: u64,
    files: u64,
}

impl Export {
    pub(super) fn of(practice: &Practice, export: &ExportSummary) -> Self {
        Self {
            export_id: export.id.to_string(),
            practice: practice.number.get(),
            client_id: export.client.to_string(),
            consent_id: export.consent_id,
            level: export.level.name(),
            group_id: export.level.group_id().map(str::to_owned),
            since: export.since,
            types: export.types.iter().map(|t| t.name()).collect(),
            state: export.state.name(),
            transaction_time: export.transaction_time,
            accepted_at: export.accepted_at,
            planned_at: export.planned_at,
            completed_at: export.completed_at,
            ended_at: export.ended_at,
            expires_at: export.expires_at,
            purged_at: export.purged_at,
            failure: export.failure.clone(),
            planned_rows: export.planned_rows,
            resources: export.resources,
            bytes: export.bytes,
            files: export.files,
        }
    }
}

/// An export with its streams and problems.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct DetailedExport {
    #[serde(flatten)]
    export: Export,
    streams: Vec<Stream>,
    problems: Vec<ExportProblem>,
}

/// One relation of one resource type.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct Stream {
    stream: i16,
    resource_type: String,
    planned_rows: u64,
    /// Whether planning has found all.
    planned: bool,
    resources: u64,
    bytes: u64,
    files: u64,
    shards: Vec<Shard>,
}

/// A slice of a stream.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct Shard {
    shard: i32,
    /// `ready`, `leased`, `done` or `quarantined`.
    state: String,
    planned_rows: u64,
    resources: u64,
    bytes: u64,
    files: u64,
    fence: i64,
    /// Acquisitions since the last publication.
    attempts: i32,
    acquisitions: i32,
    leased_until: Option<DateTime<Utc>>,
    failure: Option<String>,
}

/// Something that the export's error file tells.
#[derive(Serialize, ToSchema)]
pub(in crate::admin) struct ExportProblem {
    reason: String,
    diagnostics: String,
    occurrences: u64,
}

impl DetailedExport {
    pub(super) fn of(practice: &Practice, detail: &ExportDetail) -> Self {
        Self {
            export: Export::of(practice, &detail.summary),
            streams: detail.streams.iter().map(Stream::from).collect(),
            problems: detail.problems.iter().map(ExportProblem::from).collect(),
        }
    }
}

impl From<&StreamSummary> for Stream {
    fn from(stream: &StreamSummary) -> Self {
        let sum = |count: fn(&ShardSummary) -> u64| stream.shards.iter().map(count).sum::<u64>();
        Self {
            stream: stream.stream,
            resource_type: stream.stream_type.name().to_owned(),
            planned_rows: stream.planned_rows,
            planned: stream.planned,
            resources: sum(|shard| shard.resources),
            bytes: sum(|shard| shard.bytes),
            files: sum(|shard| shard.files),
            shards: stream.shards.iter().map(Shard::from).collect(),
        }
    }
}

impl From<&ShardSummary> for Shard {
    fn from(shard: &ShardSummary) -> Self {
        Self {
            shard: shard.shard,
            state: shard.state.clone(),
            planned_rows: shard.planned_rows,
            resources: shard.resources,
            bytes: shard.bytes,
            files: shard.files,
            fence: shard.fence,
            attempts: shard.attempts,
            acquisitions: shard.acquisitions,
            leased_until: shard.leased_until,
            failure: shard.failure.clone(),
        }
    }
}

impl From<&ProblemSummary> for ExportProblem {
    fn from(problem: &ProblemSummary) -> Self {
        Self {
            reason: problem.reason.clone(),
            diagnostics: problem.diagnostics.clone(),
            occurrences: problem.occurrences,
        }
    }
}
