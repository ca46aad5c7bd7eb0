//! Exports as clients see them: kick-off, status, links and deletion. What workers do with them stands in
//! the modules of the steps; what operators look at in [`report`].

mod disclosures;
mod kick_off;
mod listed_files;
mod report;
mod requeue;
mod waiting;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use headgate_domain::export::{ExportState, Progress};
use headgate_domain::request::{Delivery, Level};
use headgate_domain::{ClientId, ExportId, PracticeNumber, ResourceType};

use crate::audit::{self, Audit};
use crate::error::{json, number, parsed};
use crate::{Error, Result, Store, doorbell};

pub use disclosures::{Disclosure, DisclosureFilter, Times};
pub use kick_off::{KickOffError, NewExport};
pub use listed_files::ListedFile;
pub use report::{ExportDetail, ExportFilter, ExportSummary, ProblemSummary, ShardSummary, StreamSummary};
pub(crate) use waiting::waiting;
pub use waiting::{WaitLimits, Waiting};

/// An export as its client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportRecord {
    /// The kick-off URL with its query.
    pub request_url: String,
    /// The types that are exported.
    pub types: BTreeSet<ResourceType>,
    /// Where it stands.
    pub state: ExportState,
    /// Everything changed up to here is in the output; known once it is planned.
    pub transaction_time: Option<DateTime<Utc>>,
    /// When it was kicked off.
    pub accepted_at: DateTime<Utc>,
    /// When its files go; known once it is completed.
    pub expires_at: Option<DateTime<Utc>>,
    /// Why it failed. Without any patient's data.
    pub failure: Option<String>,
    /// How the client wants it delivered.
    pub delivery: Delivery,
    /// How far it is.
    pub progress: Progress,
    /// The database's clock at the time of reading.
    pub now: DateTime<Utc>,
}

/// An export in its client's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientExport {
    /// Its id.
    pub id: ExportId,
    /// The kick-off URL with its query.
    pub request_url: String,
    /// Where it stands.
    pub state: ExportState,
    /// When it was kicked off.
    pub accepted_at: DateTime<Utc>,
    /// Everything changed up to here is in the output; known once it is planned.
    pub transaction_time: Option<DateTime<Utc>>,
    /// When its files go; known once it is completed.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Store {
    /// One export of this client at this practice; `None` when there is none, or it is another client's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn export_for_client(
        &self,
        practice: PracticeNumber,
        export: &ExportId,
        client: &ClientId,
    ) -> Result<Option<ExportRecord>> {
        let row = sqlx::query!(
            r#"/* export_for_client */
             SELECT e.request_url, e.types, e.state, e.transaction_time, e.accepted_at, e.planned_at,
                    e.expires_at, e.failure, e.delivery, clock_timestamp() AS "now!",
                    (SELECT coalesce(sum(s.resources), 0)::bigint FROM headgate.shard s
                     WHERE s.practice_number = e.practice_number AND s.export_id = e.export_id) AS "published!",
                    -- A row may give several resources, or none: what is done tells how many.
                    (SELECT coalesce(sum(ceil(t.planned_rows * coalesce(d.per_row, 1))), 0)::bigint
                     FROM headgate.export_stream t
                     CROSS JOIN LATERAL (
                         SELECT sum(s.resources) / nullif(sum(s.planned_rows), 0) AS per_row FROM headgate.shard s
                         WHERE s.practice_number = t.practice_number AND s.export_id = t.export_id
                           AND s.stream = t.stream AND s.state = 'done') d
                     WHERE t.practice_number = e.practice_number AND t.export_id = e.export_id) AS "planned!"
             FROM headgate.export e
             WHERE e.practice_number = $1 AND e.export_id = $2 AND e.client_id = $3"#,
            practice.get(),
            export.as_str(),
            client.as_str(),
        )
        .fetch_optional(&mut *self.at(practice).await?)
        .await?;
        row.map(|row| {
            Ok(ExportRecord {
                request_url: row.request_url,
                types: types_of(&row.types)?,
                state: state_of(&row.state)?,
                transaction_time: row.transaction_time,
                accepted_at: row.accepted_at,
                expires_at: row.expires_at,
                failure: row.failure,
                delivery: json(row.delivery, "export", "delivery")?,
                progress: Progress {
                    published: number(row.published, "shard", "resources")?,
                    planned: number(row.planned, "export_stream", "planned_rows")?,
                    planned_all: row.planned_at.is_some(),
                },
                now: row.now,
            })
        })
        .transpose()
    }

    /// A client's exports at a practice that are live, completed or failed and hold no other types than these, newest first,
    /// at most 200.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn exports_of_client(
        &self,
        practice: PracticeNumber,
        client: &ClientId,
        types: &[ResourceType],
    ) -> Result<Vec<ClientExport>> {
        let types: Vec<String> = types.iter().map(|t| t.name().to_owned()).collect();
        let rows = sqlx::query!(
            "/* exports_of_client */
             SELECT export_id, request_url, state, accepted_at, transaction_time, expires_at
             FROM headgate.export
             WHERE practice_number = $1 AND client_id = $2
               AND state IN ('accepted', 'planning', 'running', 'finishing', 'completed', 'failed')
               AND (expires_at IS NULL OR expires_at > clock_timestamp()) AND types <@ $3
             ORDER BY accepted_at DESC, export_id LIMIT 200",
            practice.get(),
            client.as_str(),
            &types,
        )
        .fetch_all(&mut *self.at(practice).await?)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(ClientExport {
                    id: parsed(&row.export_id, "export", "export_id")?,
                    request_url: row.request_url,
                    state: state_of(&row.state)?,
                    accepted_at: row.accepted_at,
                    transaction_time: row.transaction_time,
                    expires_at: row.expires_at,
                })
            })
            .collect()
    }

    /// Records that links to an export's files are handed out. `false` when the export has ended or expired, or the
    /// authority it runs under is gone: then no link may be shown.
    ///
    /// # Errors
    /// When the database fails: then no link may be shown either.
    pub async fn mint_links(
        &self,
        practice: PracticeNumber,
        export: &ExportId,
        client: &ClientId,
        audit: &Audit,
    ) -> Result<bool> {
        let mut tx = self.at(practice).await?;
        let there = sqlx::query!(
            "/* mint_links */
             UPDATE headgate.export e
             SET links_first_at = coalesce(links_first_at, clock_timestamp()), links_last_at = clock_timestamp(),
                 links_times = links_times + 1
             WHERE practice_number = $1 AND export_id = $2 AND client_id = $3
               AND state IN ('planning', 'running', 'finishing', 'completed')
               AND (expires_at IS NULL OR expires_at > clock_timestamp())
               AND EXISTS (SELECT FROM headgate.authority a
                           WHERE a.practice_number = e.practice_number AND a.consent_id = e.consent_id)",
            practice.get(),
            export.as_str(),
            client.as_str(),
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if there == 0 {
            return Ok(false);
        }
        audit::record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Notes that a file of an export is being fetched with the access token. `false` when the export has ended or
    /// expired, or the authority it runs under is gone: then no file may be handed out.
    ///
    /// # Errors
    /// When the database fails: then no file may be handed out.
    pub async fn note_download(&self, practice: PracticeNumber, export: &ExportId) -> Result<bool> {
        let mut tx = self.at(practice).await?;
        let there = sqlx::query!(
            "/* note_download */
             UPDATE headgate.export e
             SET download_first_at = coalesce(download_first_at, clock_timestamp()),
                 download_last_at = clock_timestamp(), download_times = download_times + 1
             WHERE practice_number = $1 AND export_id = $2
               AND state IN ('planning', 'running', 'finishing', 'completed')
               AND (expires_at IS NULL OR expires_at > clock_timestamp())
               AND EXISTS (SELECT FROM headgate.authority a
                           WHERE a.practice_number = e.practice_number AND a.consent_id = e.consent_id)",
            practice.get(),
            export.as_str(),
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        tx.commit().await?;
        Ok(there == 1)
    }

    /// Cancels an export that is live, completed or failed, and takes the lease of its step away. With a client,
    /// only that client's export; without one an operator's. `false` when nothing was there to cancel.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cancel_export(
        &self,
        practice: PracticeNumber,
        export: &ExportId,
        client: Option<&ClientId>,
        audit: &Audit,
    ) -> Result<bool> {
        let mut tx = self.at(practice).await?;
        let moved = sqlx::query!(
            "/* cancel_export */
             UPDATE headgate.export
             SET state = 'cancelled', ended_at = clock_timestamp(),
                 quiet_after = coalesce(lease_expires_at, quiet_after),
                 lease_step = NULL, lease_token = NULL, lease_expires_at = NULL, lease_worker = NULL,
                 attempts = 0, retry_at = NULL, rung_at = clock_timestamp()
             WHERE practice_number = $1 AND export_id = $2 AND ($3::text IS NULL OR client_id = $3)
               AND state IN ('accepted', 'planning', 'running', 'finishing', 'completed', 'failed')",
            practice.get(),
            export.as_str(),
            client.map(ClientId::as_str),
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if moved == 0 {
            return Ok(false);
        }
        audit::record(&mut tx, audit).await?;
        doorbell::ring(&mut tx, practice).await?;
        tx.commit().await?;
        Ok(true)
    }
}

fn types_of(names: &[String]) -> Result<BTreeSet<ResourceType>> {
    names.iter().map(|name| parsed(name, "export", "types")).collect()
}

fn state_of(name: &str) -> Result<ExportState> {
    ExportState::from_name(name).ok_or(Error::Inconsistent { table: "export", column: "state" })
}

pub(crate) fn level_of(name: &str, group_id: Option<String>) -> Result<Level> {
    match (name, group_id) {
        ("system", None) => Ok(Level::System),
        ("patient", None) => Ok(Level::Patient),
        ("group", Some(id)) => Ok(Level::Group(id)),
        _ => Err(Error::Inconsistent { table: "export", column: "level" }),
    }
}
