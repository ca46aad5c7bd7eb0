//! Who holds what: the leases of shards, steps and refreshes.

use std::time::Duration;

use chrono::{DateTime, Utc};
use headgate_domain::{ExportId, PracticeNumber};
use uuid::Uuid;

use super::place;
use crate::acquire::{practice, seconds};
use crate::error::parsed;
use crate::{Page, Paged, Result, Store, page};

/// A lease that a worker holds, or held when it was last heard of.
#[derive(Debug, Clone)]
pub struct HeldLease {
    /// `shard`, `plan`, `finish`, `purge` or `refresh`.
    pub kind: String,
    /// The practice.
    pub practice: PracticeNumber,
    /// The export; none: a refresh of the practice's catalogue.
    pub export: Option<ExportId>,
    /// The stream and the shard in it.
    pub shard: Option<(i16, i32)>,
    /// What the shard's rows give.
    pub resource_type: Option<String>,
    /// Who holds it.
    pub worker: Option<Uuid>,
    /// Since when; known of shards.
    pub since: Option<DateTime<Utc>>,
    /// Until when, unless it is renewed.
    pub until: DateTime<Utc>,
    /// Whether that is past: whoever is free takes it over.
    pub expired: bool,
    /// Acquisitions since the last progress, this one included.
    pub attempts: i32,
    /// Grows with every acquisition; a refresh has none.
    pub fence: Option<i64>,
    /// Time since its shard published, in this acquisition or an earlier one.
    pub published_ago: Option<Duration>,
}

impl Store {
    /// Leases in pages: steps first, then shards, those that are held longest first.
    ///
    /// # Errors
    /// [`crate::Error::Cursor`]; or when the database fails.
    pub async fn held_leases(&self, page: &Page) -> Result<Paged<HeldLease>> {
        let (after, after_key) = page.time_and_text()?.unzip();
        let rows = sqlx::query!(
            r#"/* held_leases */
            WITH held AS (
                SELECT 'shard' AS kind, s.practice_number, s.export_id, s.stream::integer AS stream, s.shard, t.resource_type,
                       s.lease_worker, s.leased_at, s.lease_expires_at, s.attempts, s.fence, s.published_at
                  FROM headgate.shard s
                  JOIN headgate.export_stream t USING (practice_number, export_id, stream)
                  JOIN headgate.export x USING (practice_number, export_id)
                 -- What an ended export left behind is nobody's, and nobody takes it.
                 WHERE s.state = 'leased'
                   AND (s.lease_expires_at > clock_timestamp()
                        OR x.state IN ('accepted', 'planning', 'running', 'finishing'))
                UNION ALL
                SELECT e.lease_step, e.practice_number, e.export_id, NULL, NULL, NULL,
                       e.lease_worker, NULL, e.lease_expires_at, e.attempts, e.fence, NULL
                  FROM headgate.export e
                 WHERE (e.state IN ('accepted', 'planning', 'running', 'finishing')
                        OR (e.state IN ('expired', 'cancelled', 'revoked', 'failed') AND e.purged_at IS NULL)
                        OR e.sweep_due_at IS NOT NULL)
                   AND e.lease_token IS NOT NULL
                UNION ALL
                SELECT 'refresh', c.practice_number, NULL, NULL, NULL, NULL,
                       c.lease_worker, NULL, c.lease_expires_at, c.attempts, NULL, NULL
                  FROM headgate.source_catalog c WHERE c.lease_token IS NOT NULL),
            keyed AS (
                SELECT held.*, coalesce(leased_at, 'epoch') AS sorted_at,
                       concat_ws('/', practice_number, export_id, kind, stream, shard) AS key
                  FROM held)
            SELECT kind AS "kind!", practice_number AS "practice_number!", export_id AS "export_id?", stream AS "stream?",
                   shard AS "shard?", resource_type AS "resource_type?", lease_worker AS "lease_worker?",
                   leased_at AS "leased_at?", lease_expires_at AS "lease_expires_at!",
                   lease_expires_at <= clock_timestamp() AS "expired!", attempts AS "attempts!", fence AS "fence?",
                   extract(epoch FROM clock_timestamp() - published_at)::double precision AS "published_s?",
                   sorted_at AS "sorted_at!", key AS "key!"
              FROM keyed
             WHERE $1::timestamptz IS NULL OR (sorted_at, key COLLATE "C") > ($1, $2::text COLLATE "C")
             ORDER BY sorted_at, key COLLATE "C" LIMIT $3"#,
            after,
            after_key,
            page.rows(),
        )
        .fetch_all(&mut *self.everywhere().await?)
        .await?;
        let mut leases = Vec::with_capacity(rows.len());
        for row in rows {
            let key = page::time_and_text(row.sorted_at, &row.key);
            let export = row.export_id.map(|id| parsed(&id, "export", "export_id")).transpose()?;
            let lease = HeldLease {
                kind: row.kind,
                practice: practice(row.practice_number, "shard")?,
                export,
                shard: place(row.stream, row.shard)?,
                resource_type: row.resource_type,
                worker: row.lease_worker,
                since: row.leased_at,
                until: row.lease_expires_at,
                expired: row.expired,
                attempts: row.attempts,
                fence: row.fence,
                published_ago: row.published_s.map(seconds),
            };
            leases.push((lease, key));
        }
        Ok(Paged::of(leases, page, |(_, key)| key.clone()).map(|(lease, _)| lease))
    }
}
