//! Changing a practice. Its number, slug and prefix in the bucket are for ever: they are in tokens, URLs and keys.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use headgate_domain::PracticeNumber;
use headgate_domain::practice::PracticeOptions;
use sqlx::PgConnection;
use url::Url;

use crate::audit::{self, Audit};
use crate::error::stale_if;
use crate::{Result, Store, doorbell, shards};

/// Why an export fails that would have read two sources.
const ELSEWHERE: &str = "the practice's source was changed while the export ran: start it anew";

/// What is to change of a practice; what is absent stays. Of what can be absent itself, `Some(None)` takes it away.
#[derive(Debug, Clone, Default)]
pub struct PracticeChange {
    /// Its name.
    pub name: Option<String>,
    /// Its FHIR base URL. Tokens for the former one end with it.
    pub base_url: Option<Url>,
    /// Where workers find the DSN.
    pub source_dsn_ref: Option<String>,
    /// The schema that keeps the source contract.
    pub source_schema: Option<String>,
    /// The mapping set of the source.
    pub source_mapping: Option<Option<String>>,
    /// Session settings for every read transaction.
    pub source_settings: Option<Vec<(String, String)>>,
    /// Seconds that a stamp may lie before its commit.
    pub late_commit_allowance_s: Option<Option<u32>>,
    /// Since when its source remembers deletions and memberships.
    pub history_since: Option<Option<DateTime<Utc>>>,
    /// Its options, all of them.
    pub options: Option<PracticeOptions>,
}

impl PracticeChange {
    /// Whether workers have to look at the source anew.
    fn is_of_source(&self) -> bool {
        self.source_dsn_ref.is_some()
            || self.source_schema.is_some()
            || self.source_mapping.is_some()
            || self.source_settings.is_some()
            || self.options.is_some()
    }
}

impl Store {
    /// Changes a practice; `None` when there is none. Where its source changes, a worker looks at it anew; where it is
    /// another one, exports that have begun fail: what they have read and what they would read does not belong together.
    ///
    /// # Errors
    /// [`crate::Error::Exists`] when another one has the base URL, [`crate::Error::Stale`] when it is not of the
    /// revision `if_match`.
    pub async fn update_practice(
        &self,
        practice: PracticeNumber,
        change: &PracticeChange,
        if_match: Option<i64>,
        audit: &Audit,
    ) -> Result<Option<()>> {
        let settings: Option<BTreeMap<_, _>> =
            change.source_settings.as_ref().map(|settings| settings.iter().cloned().collect());
        let late_commit_s =
            change.late_commit_allowance_s.flatten().map(|s| i32::try_from(s).unwrap_or(i32::MAX));
        let settings = settings.map(|settings| serde_json::json!(settings));
        let mut tx = self.at(practice).await?;
        let elsewhere = sqlx::query_scalar!(
            r#"/* update_practice: elsewhere */
             SELECT (coalesce($2, source_dsn_ref), coalesce($3, source_schema), coalesce($4, source_settings))
                    IS DISTINCT FROM (source_dsn_ref, source_schema, source_settings) AS "elsewhere!"
               FROM headgate.practice WHERE practice_number = $1 FOR NO KEY UPDATE"#,
            practice.get(),
            change.source_dsn_ref,
            change.source_schema,
            settings,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let moved = sqlx::query!(
            "/* update_practice */
             UPDATE headgate.practice
             SET name = coalesce($2, name), base_url = coalesce($3, base_url),
                 source_dsn_ref = coalesce($4, source_dsn_ref), source_schema = coalesce($5, source_schema),
                 source_mapping = CASE WHEN $6 THEN $7 ELSE source_mapping END,
                 source_settings = coalesce($8, source_settings),
                 late_commit_allowance_s = CASE WHEN $9 THEN $10 ELSE late_commit_allowance_s END,
                 source_history_since = CASE WHEN $11 THEN $12 ELSE source_history_since END,
                 options = coalesce($13, options),
                 revision = revision + 1, updated_at = clock_timestamp()
             WHERE practice_number = $1 AND ($14::bigint IS NULL OR revision = $14)",
            practice.get(),
            change.name,
            change.base_url.as_ref().map(|url| url.as_str().trim_end_matches('/')),
            change.source_dsn_ref,
            change.source_schema,
            change.source_mapping.is_some(),
            change.source_mapping.clone().flatten(),
            settings,
            change.late_commit_allowance_s.is_some(),
            late_commit_s,
            change.history_since.is_some(),
            change.history_since.flatten(),
            change.options.as_ref().map(|options| serde_json::json!(options)),
            if_match,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if moved == 0 {
            drop(tx);
            stale_if(if_match, self.practice(practice).await?.is_some())?;
            return Ok(None);
        }
        if elsewhere == Some(true) {
            fail_begun(&mut tx, practice).await?;
        }
        if change.is_of_source() {
            sqlx::query!(
                "/* update_practice: look again */
                 UPDATE headgate.source_catalog SET requested_at = clock_timestamp(), attempts = 0, retry_at = NULL
                 WHERE practice_number = $1",
                practice.get(),
            )
            .execute(&mut *tx)
            .await?;
            doorbell::ring(&mut tx, practice).await?;
        }
        audit::record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(Some(()))
    }
}

/// Fails the exports that have begun to look at the practice's source. The others are held as long: a worker that took one
/// now would still see the former source.
async fn fail_begun(connection: &mut PgConnection, practice: PracticeNumber) -> Result<()> {
    let live = sqlx::query!(
        r#"/* update_practice: live */
         SELECT export_id, (state <> 'accepted' OR lease_token IS NOT NULL) AS "begun!" FROM headgate.export
          WHERE practice_number = $1 AND state IN ('accepted', 'planning', 'running', 'finishing')
          ORDER BY export_id FOR NO KEY UPDATE"#,
        practice.get(),
    )
    .fetch_all(&mut *connection)
    .await?;
    for export in live.iter().filter(|export| export.begun) {
        shards::fail_export(connection, practice.get(), &export.export_id, ELSEWHERE).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
