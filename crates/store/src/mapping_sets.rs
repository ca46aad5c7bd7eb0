//! Mapping sets that are kept in the control database.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::audit::{self, Audit};
use crate::error::json;
use crate::{Result, Store};

/// A mapping set as a list shows it.
#[derive(Debug, Clone)]
pub struct MappingSetSummary {
    /// Its name.
    pub name: String,
    /// The names of its files.
    pub files: Vec<String>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl Store {
    /// Stores a mapping set, in place of one of the same name, and asks for a look at the sources of all
    /// practices that use it. Returns whether the name is new.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_mapping_set(
        &self,
        name: &str,
        files: &BTreeMap<String, String>,
        audit: &Audit,
    ) -> Result<bool> {
        let mut tx = self.everywhere().await?;
        let created = sqlx::query_scalar!(
            r#"/* put_mapping_set */
             INSERT INTO headgate.mapping_set (name, files) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET files = EXCLUDED.files, updated_at = clock_timestamp()
             RETURNING (xmax = 0) AS "created!""#,
            name,
            serde_json::json!(files),
        )
        .fetch_one(&mut *tx)
        .await?;
        sqlx::query!(
            "/* put_mapping_set: look again */
             UPDATE headgate.source_catalog c
                SET requested_at = clock_timestamp(), attempts = 0, retry_at = NULL
               FROM headgate.practice p
              WHERE p.practice_number = c.practice_number AND p.source_mapping = $1",
            name,
        )
        .execute(&mut *tx)
        .await?;
        audit::record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(created)
    }

    /// The files of a mapping set: name and text of each; `None` when there is no such set.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mapping_set(&self, name: &str) -> Result<Option<BTreeMap<String, String>>> {
        let files = sqlx::query_scalar!(
            "/* mapping_set */ SELECT files FROM headgate.mapping_set WHERE name = $1",
            name,
        )
        .fetch_optional(&self.pool)
        .await?;
        files.map(|files| json(files, "mapping_set", "files")).transpose()
    }

    /// All mapping sets by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mapping_sets(&self) -> Result<Vec<MappingSetSummary>> {
        let rows = sqlx::query!(
            r#"/* mapping_sets */
             SELECT name, updated_at,
                    ARRAY(SELECT f FROM jsonb_object_keys(files) AS f ORDER BY f) AS "files!"
               FROM headgate.mapping_set ORDER BY name"#
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| MappingSetSummary { name: row.name, files: row.files, updated_at: row.updated_at })
            .collect())
    }
}
