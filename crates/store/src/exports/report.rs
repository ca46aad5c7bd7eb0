//! Exports as operators look at them: counts and states, no object keys, no links.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use headgate_domain::export::ExportState;
use headgate_domain::request::Level;
use headgate_domain::{ClientId, ExportId, PracticeNumber, ResourceType};
use uuid::Uuid;

use super::{level_of, state_of, types_of};
use crate::error::{number, parsed};
use crate::page::time_and_text;
use crate::{Page, Paged, Result, Store, StreamType};

/// Which exports. Conditions that are absent let everything through.
#[derive(Debug, Clone, Default)]
pub struct ExportFilter {
    /// In this state.
    pub state: Option<ExportState>,
    /// Of this app.
    pub client: Option<ClientId>,
}

/// An export with its totals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportSummary {
    /// Its id.
    pub id: ExportId,
    /// Whose it is.
    pub client: ClientId,
    /// The consent it runs under.
    pub consent_id: Uuid,
    /// Which patients.
    pub level: Level,
    /// Only resources changed after this.
    pub since: Option<DateTime<Utc>>,
    /// The types.
    pub types: BTreeSet<ResourceType>,
    /// Where it stands.
    pub state: ExportState,
    /// Everything changed up to here is in the output.
    pub transaction_time: Option<DateTime<Utc>>,
    /// When it was kicked off.
    pub accepted_at: DateTime<Utc>,
    /// When planning ended.
    pub planned_at: Option<DateTime<Utc>>,
    /// When it was completed.
    pub completed_at: Option<DateTime<Utc>>,
    /// When it expired, was cancelled or revoked, or failed.
    pub ended_at: Option<DateTime<Utc>>,
    /// When its files go.
    pub expires_at: Option<DateTime<Utc>>,
    /// When its objects were gone.
    pub purged_at: Option<DateTime<Utc>>,
    /// Why it failed.
    pub failure: Option<String>,
    /// Rows that planning has found so far.
    pub planned_rows: u64,
    /// Resources in published output files.
    pub resources: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Published output files.
    pub files: u64,
}

/// An export with its streams and problems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportDetail {
    /// The export.
    pub summary: ExportSummary,
    /// Its streams in order.
    pub streams: Vec<StreamSummary>,
    /// What its error file tells.
    pub problems: Vec<ProblemSummary>,
}

/// One relation of one resource type in an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSummary {
    /// Its number in the export.
    pub stream: i16,
    /// What its rows give.
    pub stream_type: StreamType,
    /// Rows that planning has found so far.
    pub planned_rows: u64,
    /// Whether planning has found all.
    pub planned: bool,
    /// Its shards in order.
    pub shards: Vec<ShardSummary>,
}

/// A slice of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardSummary {
    /// Its number in the stream.
    pub shard: i32,
    /// `ready`, `leased`, `done` or `quarantined`.
    pub state: String,
    /// Rows that were counted in it.
    pub planned_rows: u64,
    /// Resources it has published.
    pub resources: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Files of them.
    pub files: u64,
    /// How often it was acquired, as the fence counts.
    pub fence: i64,
    /// Acquisitions since the last publication.
    pub attempts: i32,
    /// All acquisitions.
    pub acquisitions: i32,
    /// Until when a worker has it.
    pub leased_until: Option<DateTime<Utc>>,
    /// What went wrong last.
    pub failure: Option<String>,
}

/// Something that the error file tells, summed over shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProblemSummary {
    /// A code.
    pub reason: String,
    /// What a client reads.
    pub diagnostics: String,
    /// How often.
    pub occurrences: u64,
}

impl Store {
    /// The exports of a practice, newest first.
    ///
    /// # Errors
    /// [`crate::Error::Cursor`]; or when the database fails.
    pub async fn list_exports(
        &self,
        practice: PracticeNumber,
        filter: &ExportFilter,
        page: &Page,
    ) -> Result<Paged<ExportSummary>> {
        let exports = self.read_exports(practice, None, filter, page).await?;
        Ok(Paged::of(exports, page, |export| time_and_text(export.accepted_at, &export.id)))
    }

    /// One export of a practice with streams, shards and problems.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn export_detail(
        &self,
        practice: PracticeNumber,
        export: &ExportId,
    ) -> Result<Option<ExportDetail>> {
        let only =
            self.read_exports(practice, Some(export), &ExportFilter::default(), &Page::first(1)).await?;
        let Some(summary) = only.into_iter().next() else { return Ok(None) };
        let streams = self.read_streams(practice, export).await?;
        let problems = self.read_problems(practice, export).await?;
        Ok(Some(ExportDetail { summary, streams, problems }))
    }

    async fn read_exports(
        &self,
        practice: PracticeNumber,
        only: Option<&ExportId>,
        filter: &ExportFilter,
        page: &Page,
    ) -> Result<Vec<ExportSummary>> {
        let (after, after_id) = page.time_and_text()?.unzip();
        let rows = sqlx::query!(
            r#"/* read_exports */
             SELECT e.export_id, e.client_id, e.consent_id, e.level, e.group_id, e.since, e.types, e.state,
                    e.transaction_time, e.accepted_at, e.planned_at, e.completed_at, e.ended_at, e.expires_at,
                    e.purged_at, e.failure, done.resources AS "resources!", done.bytes AS "bytes!",
                    done.files AS "files!",
                    (SELECT coalesce(sum(t.planned_rows), 0)::bigint FROM headgate.export_stream t
                     WHERE t.practice_number = e.practice_number AND t.export_id = e.export_id
                       AND t.resource_type <> 'Binary') AS "planned_rows!"
             FROM headgate.export e
             CROSS JOIN LATERAL (
                 SELECT coalesce(sum(s.resources), 0)::bigint AS resources,
                        coalesce(sum(s.bytes), 0)::bigint AS bytes, coalesce(sum(s.files), 0)::bigint AS files
                 FROM headgate.shard s JOIN headgate.export_stream t USING (practice_number, export_id, stream)
                 WHERE s.practice_number = e.practice_number AND s.export_id = e.export_id
                   AND t.resource_type <> 'Binary') AS done
             WHERE e.practice_number = $1 AND ($2::text IS NULL OR e.export_id = $2)
               AND ($3::text IS NULL OR e.state = $3) AND ($4::text IS NULL OR e.client_id = $4)
               AND ($5::timestamptz IS NULL OR e.accepted_at < $5 OR e.accepted_at = $5 AND e.export_id > $6)
             ORDER BY e.accepted_at DESC, e.export_id LIMIT $7"#,
            practice.get(),
            only.map(ExportId::as_str),
            filter.state.map(ExportState::name),
            filter.client.as_ref().map(ClientId::as_str),
            after,
            after_id,
            page.rows(),
        )
        .fetch_all(&mut *self.at(practice).await?)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(ExportSummary {
                    id: parsed(&row.export_id, "export", "export_id")?,
                    client: parsed(&row.client_id, "export", "client_id")?,
                    consent_id: row.consent_id,
                    level: level_of(&row.level, row.group_id)?,
                    since: row.since,
                    types: types_of(&row.types)?,
                    state: state_of(&row.state)?,
                    transaction_time: row.transaction_time,
                    accepted_at: row.accepted_at,
                    planned_at: row.planned_at,
                    completed_at: row.completed_at,
                    ended_at: row.ended_at,
                    expires_at: row.expires_at,
                    purged_at: row.purged_at,
                    failure: row.failure,
                    planned_rows: number(row.planned_rows, "export_stream", "planned_rows")?,
                    resources: number(row.resources, "shard", "resources")?,
                    bytes: number(row.bytes, "shard", "bytes")?,
                    files: number(row.files, "shard", "files")?,
                })
            })
            .collect()
    }

    async fn read_streams(&self, practice: PracticeNumber, export: &ExportId) -> Result<Vec<StreamSummary>> {
        let rows = sqlx::query!(
            "/* read_streams */
             SELECT stream, resource_type, planned_rows, planned_at FROM headgate.export_stream
             WHERE practice_number = $1 AND export_id = $2 ORDER BY stream",
            practice.get(),
            export.as_str(),
        )
        .fetch_all(&mut *self.at(practice).await?)
        .await?;
        let mut streams = Vec::with_capacity(rows.len());
        for row in rows {
            streams.push(StreamSummary {
                stream: row.stream,
                stream_type: parsed(&row.resource_type, "export_stream", "resource_type")?,
                planned_rows: number(row.planned_rows, "export_stream", "planned_rows")?,
                planned: row.planned_at.is_some(),
                shards: Vec::new(),
            });
        }
        self.read_shards(practice, export, &mut streams).await?;
        Ok(streams)
    }

    async fn read_shards(
        &self,
        practice: PracticeNumber,
        export: &ExportId,
        streams: &mut [StreamSummary],
    ) -> Result<()> {
        let rows = sqlx::query!(
            "/* read_shards */
             SELECT stream, shard, state, planned_rows, resources, bytes, files, fence, attempts, acquisitions,
                    lease_expires_at, failure
             FROM headgate.shard WHERE practice_number = $1 AND export_id = $2 ORDER BY stream, shard",
            practice.get(),
            export.as_str(),
        )
        .fetch_all(&mut *self.at(practice).await?)
        .await?;
        for row in rows {
            let Some(stream) = streams.iter_mut().find(|s| s.stream == row.stream) else { continue };
            stream.shards.push(ShardSummary {
                shard: row.shard,
                state: row.state,
                planned_rows: number(row.planned_rows, "shard", "planned_rows")?,
                resources: number(row.resources, "shard", "resources")?,
                bytes: number(row.bytes, "shard", "bytes")?,
                files: number(row.files, "shard", "files")?,
                fence: row.fence,
                attempts: row.attempts,
                acquisitions: row.acquisitions,
                leased_until: row.lease_expires_at,
                failure: row.failure,
            });
        }
        Ok(())
    }

    async fn read_problems(
        &self,
        practice: PracticeNumber,
        export: &ExportId,
    ) -> Result<Vec<ProblemSummary>> {
        let rows = sqlx::query!(
            r#"/* read_problems */
             SELECT reason, diagnostics, sum(occurrences)::bigint AS "occurrences!" FROM headgate.problem
             WHERE practice_number = $1 AND export_id = $2
             GROUP BY reason, diagnostics ORDER BY reason, diagnostics"#,
            practice.get(),
            export.as_str(),
        )
        .fetch_all(&mut *self.at(practice).await?)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(ProblemSummary {
                    reason: row.reason,
                    diagnostics: row.diagnostics,
                    occurrences: number(row.occurrences, "problem", "occurrences")?,
                })
            })
            .collect()
    }
}
