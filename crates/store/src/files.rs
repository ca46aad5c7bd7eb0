//! Published files, as the manifest lists them.

use std::collections::BTreeSet;

use headgate_domain::{ClientId, ExportId, PracticeNumber, ResourceType};

use crate::error::{number, parsed};
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

    /// The type of the lines where it is always the same one; of output files it is their own.
    #[must_use]
    pub fn resource_type(self) -> &'static str {
        match self {
            FileKind::Output => "Resource",
            FileKind::Deleted => "Bundle",
            FileKind::Error => "OperationOutcome",
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

/// A published file as its client asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFile {
    /// In which list it stands.
    pub kind: FileKind,
    /// The resource type of its lines.
    pub resource_type: String,
    /// The types of the export that it belongs to.
    pub types: BTreeSet<ResourceType>,
}

/// The content of an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentRecord {
    /// The export that it belongs to.
    pub export: ExportId,
    /// Where it lies in the bucket.
    pub object_key: String,
    /// The types of the export that it belongs to.
    pub types: Vec<ResourceType>,
}

/// A row as every statement on files selects it.
pub(crate) struct Row {
    pub(crate) kind: String,
    pub(crate) resource_type: String,
    pub(crate) number: i32,
    pub(crate) part: i32,
    pub(crate) object_key: String,
    pub(crate) resources: i64,
    pub(crate) bytes: i64,
    pub(crate) sha256: String,
}

impl TryFrom<Row> for FileRecord {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            kind: kind_of(&row.kind)?,
            resource_type: row.resource_type,
            number: number(row.number, "file", "number")?,
            part: number(row.part, "file", "part")?,
            object_key: row.object_key,
            resources: number(row.resources, "file", "resources")?,
            bytes: number(row.bytes, "file", "bytes")?,
            sha256: row.sha256,
        })
    }
}

fn kind_of(name: &str) -> Result<FileKind> {
    FileKind::from_name(name).ok_or(Error::Inconsistent { table: "file", column: "kind" })
}

impl Store {
    /// The files of an export by kind, type, number and part.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn files_of(&self, practice: PracticeNumber, export: &ExportId) -> Result<Vec<FileRecord>> {
        let rows = sqlx::query_as!(
            Row,
            r#"/* files_of */
             SELECT kind, resource_type, number, part, object_key, resources, bytes, sha256
             FROM headgate.file WHERE practice_number = $1 AND export_id = $2 AND kind <> 'attachment'
             ORDER BY kind, resource_type COLLATE "C", number, part"#,
            practice.get(),
            export.as_str(),
        )
        .fetch_all(&mut *self.at(practice).await?)
        .await?;
        rows.into_iter().map(FileRecord::try_from).collect()
    }

    /// A file of an export of this client, while its client may get it: the export is completed and not expired,
    /// or it runs and its files are listed as they come.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn file_for_client(
        &self,
        practice: PracticeNumber,
        export: &ExportId,
        client: &ClientId,
        object_key: &str,
    ) -> Result<Option<ClientFile>> {
        let row = sqlx::query!(
            "/* file_for_client */
             SELECT f.kind, f.resource_type, e.types
             FROM headgate.file f JOIN headgate.export e USING (practice_number, export_id)
             WHERE f.practice_number = $1 AND f.export_id = $2 AND e.client_id = $3 AND f.object_key = $4
               AND f.kind <> 'attachment'
               AND (e.state = 'completed' AND (e.expires_at IS NULL OR e.expires_at > clock_timestamp())
                    OR e.state IN ('planning', 'running', 'finishing') AND f.manifest_page IS NOT NULL)",
            practice.get(),
            export.as_str(),
            client.as_str(),
            object_key,
        )
        .fetch_optional(&mut *self.at(practice).await?)
        .await?;
        row.map(|row| {
            let types = row.types.iter().map(|t| parsed(t, "export", "types")).collect::<Result<_>>()?;
            Ok(ClientFile { kind: kind_of(&row.kind)?, resource_type: row.resource_type, types })
        })
        .transpose()
    }

    /// An attachment in the newest export of this client at this practice that has it, is completed and not expired.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn attachment_for_client(
        &self,
        practice: PracticeNumber,
        client: &ClientId,
        attachment_id: &str,
    ) -> Result<Option<AttachmentRecord>> {
        let row = sqlx::query!(
            "/* attachment_for_client */
             SELECT f.object_key, e.export_id, e.types
             FROM headgate.file f JOIN headgate.export e USING (practice_number, export_id)
             WHERE f.practice_number = $1 AND f.kind = 'attachment' AND f.attachment_id = $2 AND e.client_id = $3
               AND e.state = 'completed' AND (e.expires_at IS NULL OR e.expires_at > clock_timestamp())
             ORDER BY e.completed_at DESC LIMIT 1",
            practice.get(),
            attachment_id,
            client.as_str(),
        )
        .fetch_optional(&mut *self.at(practice).await?)
        .await?;
        row.map(|row| {
            let types = row.types.iter().map(|t| parsed(t, "export", "types")).collect::<Result<_>>()?;
            let export = parsed(&row.export_id, "export", "export_id")?;
            Ok(AttachmentRecord { export, object_key: row.object_key, types })
        })
        .transpose()
    }
}
