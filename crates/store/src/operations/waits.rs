//! The live exports that have waited longest, each with its reason.

use std::time::Duration;

use chrono::{DateTime, Utc};
use headgate_domain::{ClientId, ExportId, PracticeNumber};

use crate::acquire::{practice, seconds};
use crate::error::parsed;
use crate::exports::{WaitLimits, Waiting, waiting};
use crate::{Page, Paged, Result, Store, page};

/// A live export, how long nothing has come of it, and why.
#[derive(Debug, Clone)]
pub struct ExportWait {
    /// The practice.
    pub practice: PracticeNumber,
    /// The export.
    pub export: ExportId,
    /// Whose it is.
    pub client: ClientId,
    /// Where it stands.
    pub state: String,
    /// When it was kicked off.
    pub accepted_at: DateTime<Utc>,
    /// Time since it last got on: was kicked off, was planned, or published.
    pub waited: Duration,
    /// What it waits for.
    pub waiting: Waiting,
}

impl Store {
    /// Live exports in pages, those of which nothing has come for longest first.
    ///
    /// # Errors
    /// [`crate::Error::Cursor`]; or when the database fails.
    pub async fn export_waits(&self, limits: WaitLimits, page: &Page) -> Result<Paged<ExportWait>> {
        let (after, after_key) = page.time_and_text()?.unzip();
        let mut tx = self.everywhere().await?;
        let rows = sqlx::query!(
            r#"/* export_waits */
            WITH live AS (
                SELECT e.practice_number, e.export_id, e.client_id, e.state, e.accepted_at,
                       greatest(e.accepted_at, e.planned_at,
                                (SELECT max(s.published_at) FROM headgate.shard s
                                  WHERE s.practice_number = e.practice_number AND s.export_id = e.export_id)) AS moved_at,
                       concat_ws('/', e.practice_number, e.export_id) AS key
                  FROM headgate.export e WHERE e.state IN ('accepted', 'planning', 'running', 'finishing'))
            SELECT practice_number, export_id, client_id, state, accepted_at, moved_at AS "moved_at!", key AS "key!",
                   extract(epoch FROM clock_timestamp() - moved_at)::double precision AS "waited_s!"
              FROM live
             WHERE $1::timestamptz IS NULL OR (moved_at, key COLLATE "C") > ($1, $2::text COLLATE "C")
             ORDER BY moved_at, key COLLATE "C" LIMIT $3"#,
            after,
            after_key,
            page.rows(),
        )
        .fetch_all(&mut *tx)
        .await?;
        let mut waits = Vec::with_capacity(rows.len());
        for row in rows {
            let key = page::time_and_text(row.moved_at, &row.key);
            let wait = ExportWait {
                practice: practice(row.practice_number, "export")?,
                export: parsed(&row.export_id, "export", "export_id")?,
                client: parsed(&row.client_id, "export", "client_id")?,
                state: row.state,
                accepted_at: row.accepted_at,
                waited: seconds(row.waited_s),
                waiting: Waiting::default(),
            };
            waits.push((wait, key));
        }
        let mut waits = Paged::of(waits, page, |(_, key)| key.clone()).map(|(wait, _)| wait);
        let asked: Vec<_> = waits.items.iter().map(|wait| (wait.practice, &wait.export)).collect();
        let mut found = waiting(&mut tx, &asked, limits).await?;
        for wait in &mut waits.items {
            wait.waiting = found.remove(wait.export.as_str()).unwrap_or_default();
        }
        tx.commit().await?;
        Ok(waits)
    }
}
