//! What the control database knows of the folders of a bucket, after one of the two was restored from before.

use headgate_domain::{ExportId, PracticeNumber};

use crate::acquire::practice;
use crate::error::parsed;
use crate::{Result, Store};

impl Store {
    /// Those of these exports that there are, at whatever practice, live or ended: a folder of theirs is not nobody's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn known_exports(&self, of: &[ExportId]) -> Result<Vec<ExportId>> {
        let of: Vec<String> = of.iter().map(ToString::to_string).collect();
        let mut tx = self.everywhere().await?;
        let known = sqlx::query_scalar!(
            "/* known_exports */ SELECT DISTINCT export_id FROM headgate.export WHERE export_id = ANY($1)",
            &of,
        )
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        known.iter().map(|id| parsed(id, "export", "export_id")).collect()
    }

    /// At which practice an export is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn practice_of(&self, export: &ExportId) -> Result<Option<PracticeNumber>> {
        let mut tx = self.everywhere().await?;
        let number = sqlx::query_scalar!(
            "/* practice_of */ SELECT practice_number FROM headgate.export WHERE export_id = $1",
            export.as_str(),
        )
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        number.map(|number| practice(number, "export")).transpose()
    }

    /// Whether there is any export at all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_exports(&self) -> Result<bool> {
        let mut tx = self.everywhere().await?;
        let has =
            sqlx::query_scalar!(r#"/* has_exports */ SELECT EXISTS (SELECT FROM headgate.export) AS "has!""#)
                .fetch_one(&mut *tx)
                .await?;
        tx.commit().await?;
        Ok(has)
    }
}
