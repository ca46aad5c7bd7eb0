//! Pages of partial manifests (Bulk Data IG, Response - In-Progress Status): a page lists the files that were there
//! when it was first asked for, and never changes afterwards. Which page lists a file is written to the file's row,
//! so that a file whose publication commits late is on a later page rather than on none.

use headgate_domain::{ExportId, PracticeNumber};

use crate::files::{self, FileRecord};
use crate::{Result, Store};

/// A page of a partial manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestPage {
    /// Its files; none: nothing new is there, and the page is still open.
    pub files: Vec<FileRecord>,
    /// Whether files are there that no page up to this one lists.
    pub more: bool,
}

impl Store {
    /// A page of an export, counted from 1, of at most so many files. The first page that was not shown yet is
    /// filled with the files that no page lists, and closed if there are any. None: pages before it were never shown.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn manifest_page(
        &self,
        practice: PracticeNumber,
        export: &ExportId,
        page: u32,
        most: u32,
    ) -> Result<Option<ManifestPage>> {
        let Ok(page) = i32::try_from(page) else { return Ok(None) };
        let mut tx = self.at(practice).await?;
        // Two polls at once must not close the same page twice.
        sqlx::query!(
            "/* manifest_page: lock */
             SELECT export_id FROM headgate.export WHERE practice_number = $1 AND export_id = $2 FOR NO KEY UPDATE",
            practice.get(),
            export.as_str(),
        )
        .fetch_one(&mut *tx)
        .await?;
        let last = sqlx::query_scalar!(
            r#"/* manifest_page: last */
             SELECT coalesce(max(manifest_page), 0) AS "last!" FROM headgate.file
              WHERE practice_number = $1 AND export_id = $2"#,
            practice.get(),
            export.as_str(),
        )
        .fetch_one(&mut *tx)
        .await?;
        if page < 1 || page > last + 1 {
            return Ok(None);
        }
        if page == last + 1 {
            sqlx::query!(
                r#"/* manifest_page: close */
                 UPDATE headgate.file f SET manifest_page = $3
                   FROM (SELECT kind, resource_type, number, part FROM headgate.file
                          WHERE practice_number = $1 AND export_id = $2 AND manifest_page IS NULL AND kind <> 'attachment'
                          ORDER BY kind DESC, resource_type COLLATE "C", number, part LIMIT $4) AS next
                  WHERE f.practice_number = $1 AND f.export_id = $2 AND f.kind = next.kind
                    AND f.resource_type = next.resource_type AND f.number = next.number AND f.part = next.part"#,
                practice.get(),
                export.as_str(),
                page,
                i64::from(most),
            )
            .execute(&mut *tx)
            .await?;
        }
        let rows = sqlx::query_as!(
            files::Row,
            r#"/* manifest_page */
             SELECT kind, resource_type, number, part, object_key, resources, bytes, sha256
               FROM headgate.file WHERE practice_number = $1 AND export_id = $2 AND manifest_page = $3
              ORDER BY kind, resource_type COLLATE "C", number, part"#,
            practice.get(),
            export.as_str(),
            page,
        )
        .fetch_all(&mut *tx)
        .await?;
        let more = sqlx::query_scalar!(
            r#"/* manifest_page: more */
             SELECT EXISTS (SELECT FROM headgate.file
                             WHERE practice_number = $1 AND export_id = $2 AND kind <> 'attachment'
                               AND (manifest_page IS NULL OR manifest_page > $3)) AS "more!""#,
            practice.get(),
            export.as_str(),
            page,
        )
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        let files = rows.into_iter().map(FileRecord::try_from).collect::<Result<_>>()?;
        Ok(Some(ManifestPage { files, more }))
    }
}
