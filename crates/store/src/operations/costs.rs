//! What practices cost: what was exported of each, and how long workers were busy with it.

use chrono::{DateTime, Utc};
use headgate_domain::PracticeNumber;

use super::count;
use crate::acquire::practice;
use crate::{Page, Paged, Result, Store, page};

/// What a practice cost in a span of time.
#[derive(Debug, Clone)]
pub struct PracticeCost {
    /// Which.
    pub practice: PracticeNumber,
    /// Its name.
    pub name: String,
    /// Exports that were kicked off in the span, however they ended.
    pub exports: u64,
    /// What their shards published: resources, and contents of attachments.
    pub resources: u64,
    /// Bytes of NDJSON and of attachments.
    pub bytes: u64,
    /// Files of them.
    pub files: u64,
    /// Seconds that workers held their shards, until now.
    pub worker_s: f64,
    /// The part of the fleet's seconds in the span, 0 to 1.
    pub share: f64,
    /// Bytes of the practice that are in the bucket now, of exports of any time.
    pub stored_bytes: u64,
}

impl Store {
    /// Costs by practice, in pages, those that took most seconds first: of the exports that were kicked off from `from`
    /// until before `to`. Practices of which nothing was exported and nothing is stored are left out.
    ///
    /// # Errors
    /// [`crate::Error::Cursor`]; or when the database fails.
    pub async fn costs(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        page: &Page,
    ) -> Result<Paged<PracticeCost>> {
        let (after, after_key) = page.number_and_text()?.unzip();
        let after_number =
            after_key.map(|key| key.parse::<i64>().map_err(|_| crate::Error::Cursor)).transpose()?;
        let rows = sqlx::query!(
            r#"/* costs */
            WITH work AS (
                SELECT e.practice_number, count(*) AS exports, sum(own.resources) AS resources, sum(own.bytes) AS bytes,
                       sum(own.files) AS files, sum(own.busy_s) AS busy_s
                  FROM headgate.export e
                 CROSS JOIN LATERAL (
                       SELECT coalesce(sum(s.resources), 0) AS resources, coalesce(sum(s.bytes), 0) AS bytes,
                              coalesce(sum(s.files), 0) AS files,
                              -- What is held now is not in the sum of what ended.
                              coalesce(sum(s.busy_s + CASE WHEN s.state = 'leased' THEN coalesce(greatest(extract(epoch
                                  FROM least(clock_timestamp(), s.lease_expires_at) - s.leased_at), 0), 0) ELSE 0 END), 0)
                              AS busy_s
                         FROM headgate.shard s
                        WHERE s.practice_number = e.practice_number AND s.export_id = e.export_id) own
                 WHERE e.accepted_at >= $1 AND e.accepted_at < $2
                 GROUP BY e.practice_number),
            stored AS (
                SELECT f.practice_number, sum(f.bytes) AS bytes
                  FROM headgate.export e JOIN headgate.file f USING (practice_number, export_id)
                 WHERE e.purged_at IS NULL GROUP BY f.practice_number),
            cost AS (
                SELECT p.practice_number, p.name, coalesce(w.exports, 0) AS exports, coalesce(w.resources, 0) AS resources,
                       coalesce(w.bytes, 0) AS bytes, coalesce(w.files, 0) AS files, coalesce(w.busy_s, 0) AS busy_s,
                       coalesce(s.bytes, 0) AS stored, round(coalesce(w.busy_s, 0) * 1000)::bigint AS busy_ms,
                       coalesce(w.busy_s / nullif(sum(w.busy_s) OVER (), 0), 0) AS share
                  FROM headgate.practice p
                  LEFT JOIN work w USING (practice_number)
                  LEFT JOIN stored s USING (practice_number)
                 WHERE w.exports IS NOT NULL OR s.bytes IS NOT NULL)
            SELECT practice_number AS "practice_number!", name AS "name!", exports AS "exports!",
                   resources::bigint AS "resources!", bytes::bigint AS "bytes!", files::bigint AS "files!",
                   busy_s::double precision AS "busy_s!", share::double precision AS "share!",
                   stored::bigint AS "stored!", busy_ms AS "busy_ms!"
              FROM cost
             WHERE $3::bigint IS NULL OR busy_ms < $3 OR busy_ms = $3 AND practice_number > $4
             ORDER BY busy_ms DESC, practice_number LIMIT $5"#,
            from,
            to,
            after,
            after_number,
            page.rows(),
        )
        .fetch_all(&mut *self.everywhere().await?)
        .await?;
        let mut costs = Vec::with_capacity(rows.len());
        for row in rows {
            let key = page::number_and_text(row.busy_ms, row.practice_number);
            let cost = PracticeCost {
                practice: practice(row.practice_number, "practice")?,
                name: row.name,
                exports: count(row.exports, "export", "count")?,
                resources: count(row.resources, "shard", "resources")?,
                bytes: count(row.bytes, "shard", "bytes")?,
                files: count(row.files, "shard", "files")?,
                worker_s: row.busy_s,
                share: row.share,
                stored_bytes: count(row.stored, "file", "bytes")?,
            };
            costs.push((cost, key));
        }
        Ok(Paged::of(costs, page, |(_, key)| key.clone()).map(|(cost, _)| cost))
    }
}
