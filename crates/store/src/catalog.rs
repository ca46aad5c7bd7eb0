//! What a worker's refresh step found in a practice's source. The API reads this and never connects to an
//! EHR.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use headgate_domain::{PracticeNumber, ResourceType};
use serde_json::Value;

use crate::audit::{self, Audit};
use crate::error::parsed;
use crate::{Result, Store, doorbell};

/// A practice's catalogue, as far as the API needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogEntry {
    /// The types that the source has; `None` until it was looked at once.
    pub types: Option<BTreeSet<ResourceType>>,
    /// Relations that are there and cannot be used, with what is wrong with each: `[{relation, problem}]`.
    pub unusable: Value,
    /// When it was last looked at with success.
    pub refreshed_at: Option<DateTime<Utc>>,
    /// When a look was last asked for.
    pub requested_at: DateTime<Utc>,
    /// When types, columns or mapping were last found to be others than before.
    pub changed_at: Option<DateTime<Utc>>,
    /// Why the last look failed.
    pub failure: Option<String>,
}

impl Store {
    /// The catalogue of a practice's source; `None` when there is no such practice.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn catalog(&self, practice: PracticeNumber) -> Result<Option<CatalogEntry>> {
        let row = sqlx::query!(
            r#"/* catalog */
             SELECT CASE WHEN catalog IS NOT NULL THEN
                        ARRAY(SELECT r ->> 'resource_type' FROM jsonb_array_elements(catalog -> 'relations') AS r)
                    END AS types,
                    coalesce(catalog -> 'unusable', '[]') AS "unusable!",
                    refreshed_at, requested_at, changed_at, failure
               FROM headgate.source_catalog WHERE practice_number = $1"#,
            practice.get(),
        )
        .fetch_optional(&mut *self.at(practice).await?)
        .await?;
        row.map(|row| {
            let parse = |t: &String| parsed(t, "source_catalog", "catalog");
            Ok(CatalogEntry {
                types: row.types.map(|types| types.iter().map(parse).collect::<Result<_>>()).transpose()?,
                unusable: row.unusable,
                refreshed_at: row.refreshed_at,
                requested_at: row.requested_at,
                changed_at: row.changed_at,
                failure: row.failure,
            })
        })
        .transpose()
    }

    /// Asks for a look at the practice's source, at once and whatever failed before, and rings. Returns
    /// `false` when there is no such practice.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn request_refresh(&self, practice: PracticeNumber, audit: &Audit) -> Result<bool> {
        let mut tx = self.at(practice).await?;
        let asked = sqlx::query!(
            "/* request_refresh */
             UPDATE headgate.source_catalog SET requested_at = clock_timestamp(), attempts = 0, retry_at = NULL
             WHERE practice_number = $1",
            practice.get(),
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if asked == 0 {
            return Ok(false);
        }
        audit::record(&mut tx, audit).await?;
        doorbell::ring(&mut tx, practice).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Rings for a source that was never looked at. The wish itself is recorded since the practice was
    /// created; a pause after a failure is kept, so that clients cannot make workers hammer a source.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ring_for_refresh(&self, practice: PracticeNumber) -> Result<()> {
        let mut tx = self.at(practice).await?;
        doorbell::ring(&mut tx, practice).await?;
        tx.commit().await?;
        Ok(())
    }
}
