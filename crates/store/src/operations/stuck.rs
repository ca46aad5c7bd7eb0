//! What does not get on: shards and steps that failed, whose lease expired, or that publish nothing.

use std::time::Duration;

use chrono::{DateTime, Utc};
use headgate_domain::{ExportId, PracticeNumber};
use uuid::Uuid;

use super::place;
use crate::acquire::{practice, seconds};
use crate::error::{number, parsed};
use crate::{Error, Page, Paged, Result, Store, page};

/// A shard that is held and has published nothing for so many seconds is told of.
const SILENT_S: f64 = 300.0;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Its lease expired: its worker died or hangs, and nobody has taken it over yet.
    LeaseExpired,
    /// It failed since it last got on.
    Failed,
    /// It is held, and has published nothing for five minutes.
    Silent,
}

impl Trouble {
    /// The name, as the admin API has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Trouble::LeaseExpired => "lease_expired",
            Trouble::Failed => "failed",
            Trouble::Silent => "silent",
        }
    }

    fn from_name(name: &str) -> Result<Self> {
        [Trouble::LeaseExpired, Trouble::Failed, Trouble::Silent]
            .into_iter()
            .find(|trouble| trouble.name() == name)
            .ok_or(Error::Inconsistent { table: "shard", column: "trouble" })
    }
}

/// A shard or a step that does not get on.
#[derive(Debug, Clone)]
pub struct Stuck {
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
    /// What is wrong.
    pub trouble: Trouble,
    /// How often it failed since it last got on.
    pub failures: u32,
    /// Why it failed last, where that is stored.
    pub failure: Option<String>,
    /// When it is tried again; past or none: as soon as a worker is free.
    pub retry_at: Option<DateTime<Utc>>,
    /// Who holds it, or held it.
    pub worker: Option<Uuid>,
    /// Until when it is or was held.
    pub until: Option<DateTime<Utc>>,
    /// How long a shard that is held has published nothing.
    pub silent_for: Option<Duration>,
}

impl Store {
    /// What does not get on, in pages: what failed most often first.
    ///
    /// # Errors
    /// [`Error::Cursor`]; or when the database fails.
    pub async fn stuck(&self, page: &Page) -> Result<Paged<Stuck>> {
        let (after, after_key) = page.number_and_text()?.unzip();
        let rows = sqlx::query!(
            r#"/* stuck */
            WITH looked AS (
                SELECT 'shard' AS kind, s.practice_number, s.export_id, s.stream::integer AS stream, s.shard,
                       t.resource_type, s.attempts, s.failure, s.retry_at, s.lease_worker, s.lease_expires_at,
                       CASE WHEN s.state = 'leased'
                            THEN extract(epoch FROM clock_timestamp() - greatest(s.leased_at, s.published_at)) END AS silent_s
                  FROM headgate.export e
                  JOIN headgate.shard s USING (practice_number, export_id)
                  JOIN headgate.export_stream t USING (practice_number, export_id, stream)
                 WHERE e.state IN ('planning', 'running') AND s.state IN ('ready', 'leased')
                UNION ALL
                SELECT coalesce(e.lease_step, CASE WHEN e.state IN ('accepted', 'planning') THEN 'plan'
                                                   WHEN e.state IN ('running', 'finishing') THEN 'finish' ELSE 'purge' END),
                       e.practice_number, e.export_id, NULL, NULL, NULL, e.attempts, NULL, e.retry_at, e.lease_worker,
                       e.lease_expires_at, NULL
                  FROM headgate.export e
                 WHERE (e.state IN ('accepted', 'planning', 'running', 'finishing')
                        OR (e.state IN ('expired', 'cancelled', 'revoked', 'failed') AND e.purged_at IS NULL)
                        OR e.sweep_due_at IS NOT NULL)
                UNION ALL
                SELECT 'refresh', c.practice_number, NULL, NULL, NULL, NULL, c.attempts, c.failure, c.retry_at,
                       c.lease_worker, c.lease_expires_at, NULL
                  FROM headgate.source_catalog c),
            judged AS (
                SELECT looked.*, lease_expires_at <= clock_timestamp() AS expired,
                       -- An acquisition that is under way has not failed yet.
                       greatest(attempts - CASE WHEN lease_expires_at > clock_timestamp() THEN 1 ELSE 0 END, 0) AS failures,
                       concat_ws('/', practice_number, export_id, kind, stream, shard) AS key
                  FROM looked)
            SELECT kind AS "kind!", practice_number AS "practice_number!", export_id AS "export_id?", stream AS "stream?",
                   shard AS "shard?", resource_type AS "resource_type?", failure AS "failure?", retry_at AS "retry_at?",
                   lease_worker AS "lease_worker?", lease_expires_at AS "lease_expires_at?",
                   silent_s::double precision AS "silent_s?", failures AS "failures!", key AS "key!",
                   CASE WHEN expired THEN 'lease_expired' WHEN failures > 0 THEN 'failed' ELSE 'silent' END AS "trouble!"
              FROM judged
             WHERE (expired OR failures > 0 OR silent_s > $4)
               AND ($1::bigint IS NULL OR failures < $1 OR failures = $1 AND key COLLATE "C" > $2::text)
             ORDER BY failures DESC, key COLLATE "C" LIMIT $3"#,
            after,
            after_key,
            page.rows(),
            SILENT_S as f64,
        )
        .fetch_all(&mut *self.everywhere().await?)
        .await?;
        let mut stuck = Vec::with_capacity(rows.len());
        for row in rows {
            let key = page::number_and_text(row.failures.into(), &row.key);
            let export = row.export_id.map(|id| parsed(&id, "export", "export_id")).transpose()?;
            let one = Stuck {
                kind: row.kind,
                practice: practice(row.practice_number, "shard")?,
                export,
                shard: place(row.stream, row.shard)?,
                resource_type: row.resource_type,
                trouble: Trouble::from_name(&row.trouble)?,
                failures: number(row.failures, "shard", "attempts")?,
                failure: row.failure,
                retry_at: row.retry_at,
                worker: row.lease_worker,
                until: row.lease_expires_at,
                silent_for: row.silent_s.map(seconds),
            };
            stuck.push((one, key));
        }
        Ok(Paged::of(stuck, page, |(_, key)| key.clone()).map(|(one, _)| one))
    }
}
