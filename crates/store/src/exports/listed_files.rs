//! The files of an export as operators look at them: what they hold, and not where they lie.

use chrono::{DateTime, Utc};
use headgate_domain::{ExportId, PracticeNumber};

use crate::error::{Error, number};
use crate::{Page, Paged, Result, Store};

/// A published file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// `output`, `deleted`, `error` or `attachment`.
    pub kind: String,
    /// The resource type of its lines.
    pub resource_type: String,
    /// Its number within the type.
    pub number: u32,
    /// Its part: 1, or more where a file was cut.
    pub part: u32,
    /// Its lines.
    pub resources: u64,
    /// The length of its NDJSON in bytes.
    pub bytes: u64,
    /// The SHA-256 of its NDJSON in lower-case hex.
    pub sha256: String,
    /// When it was published.
    pub published_at: DateTime<Utc>,
}

impl Store {
    /// The files of an export by kind, type, number and part.
    ///
    /// # Errors
    /// [`Error::Cursor`]; or when the database fails.
    pub async fn export_files(
        &self,
        practice: PracticeNumber,
        export: &ExportId,
        page: &Page,
    ) -> Result<Paged<ListedFile>> {
        let after = page.after.as_deref().map(place).transpose()?;
        let (kind, resource_type, file_number, part) = match after {
            Some((kind, resource_type, number, part)) => {
                (Some(kind), Some(resource_type), Some(number), Some(part))
            }
            None => (None, None, None, None),
        };
        let rows = sqlx::query!(
            r#"/* export_files */
             SELECT kind, resource_type, number, part, resources, bytes, sha256, published_at
             FROM headgate.file
             WHERE practice_number = $1 AND export_id = $2
               AND ($3::text IS NULL OR (kind COLLATE "C", resource_type COLLATE "C", number, part) > ($3, $4, $5, $6))
             ORDER BY kind COLLATE "C", resource_type COLLATE "C", number, part LIMIT $7"#,
            practice.get(),
            export.as_str(),
            kind,
            resource_type,
            file_number,
            part,
            page.rows(),
        )
        .fetch_all(&mut *self.at(practice).await?)
        .await?;
        let files = rows.into_iter().map(|row| {
            Ok(ListedFile {
                kind: row.kind,
                resource_type: row.resource_type,
                number: number(row.number, "file", "number")?,
                part: number(row.part, "file", "part")?,
                resources: number(row.resources, "file", "resources")?,
                bytes: number(row.bytes, "file", "bytes")?,
                sha256: row.sha256,
                published_at: row.published_at,
            })
        });
        Ok(Paged::of(files.collect::<Result<_>>()?, page, |file| {
            format!("{}.{}.{}.{}", file.kind, file.resource_type, file.number, file.part)
        }))
    }
}

/// Reads the key of a row in the list.
fn place(key: &str) -> Result<(&str, &str, i32, i32)> {
    let mut parts = key.split('.');
    let mut next = || parts.next().ok_or(Error::Cursor);
    let (kind, resource_type, number, part) = (next()?, next()?, next()?, next()?);
    let number = number.parse().map_err(|_| Error::Cursor)?;
    let part = part.parse().map_err(|_| Error::Cursor)?;
    Ok((kind, resource_type, number, part))
}
