//! Published files, as the manifest lists them.

use headgate_domain::{ExportId, PracticeNumber};

use crate::error::number;
use crate::{Error, Result, Store};

/// In which list of the manifest a file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// Resources of one type.
    Output,
    /// Bundles of deletions.
    Deleted,
    /// OperationOutcomes.
    Error,
}

impl FileKind {
    /// The text form in the control database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FileKind::Output => "output",
            FileKind::Deleted => "deleted",
            FileKind::Error => "error",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [FileKind::Output, FileKind::Deleted, FileKind::Error].into_iter().find(|kind| kind.name() == name)
    }
}

/// A published file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// In which list it stands.
    pub kind: FileKind,
    /// The resource type of its lines.
    pub resource_type: String,
    /// Its number within the type.
    pub number: u32,
    /// Its part: 1, or more where a file was cut.
    pub part: u32,
    /// Where it lies in the bucket.
    pub object_key: String,
    /// Its lines.
    pub resources: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// The SHA-256 of its bytes in lower-case hex.
    pub sha256: String,
}

impl Store {
    /// The files of an export by kind, type, number and part.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn files_of(&self, practice: PracticeNumber, export: &ExportId) -> Result<Vec<FileRecord>> {
        let rows = sqlx::query!(
            r#"/* files_of */
             SELECT kind, resource_type, number, part, object_key, resources, bytes, sha256
             FROM headgate.file WHERE practice_number = $1 AND export_id = $2
             ORDER BY kind, resource_type COLLATE "C", number, part"#,
            practice.get(),
            export.as_str(),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(FileRecord {
                    kind: FileKind::from_name(&row.kind)
                        .ok_or(Error::Inconsistent { table: "file", column: "kind" })?,
                    resource_type: row.resource_type,
                    number: number(row.number, "file", "number")?,
                    part: number(row.part, "file", "part")?,
                    object_key: row.object_key,
                    resources: number(row.resources, "file", "resources")?,
                    bytes: number(row.bytes, "file", "bytes")?,
                    sha256: row.sha256,
                })
            })
            .collect()
    }
}
