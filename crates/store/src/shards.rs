//! Shards: publication, and giving one back.
//!
//! Publication is one transaction: the rows of the files and the cursor behind the last of them. It is
//! the only place where a file comes into being. It is fenced: with a lease that is lost, or for an
//! export that is no longer live, nothing is written.

use std::time::Duration;

use headgate_domain::file_name::FileNumber;
use serde_json::Value;
use sqlx::PgConnection;

use crate::acquire::{ShardLease, interval};
use crate::error::number;
use crate::files::FileKind;
use crate::problems::{self, NewProblem};
use crate::{Error, Result, Store, StreamType, audit, doorbell, references};

/// A file whose object is in the bucket and verified.
#[derive(Debug, Clone)]
pub struct PublishedFile {
    /// Number and part within the type.
    pub number: FileNumber,
    /// Where the object is.
    pub object_key: String,
    /// Lines.
    pub resources: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 in lower-case hex.
    pub sha256: String,
    /// CRC32 as S3 has it.
    pub crc32: u32,
    /// The id of the attachment whose content it is; none for files of lines.
    pub attachment_id: Option<String>,
}

/// The kind of a file that is the content of an attachment: it stands in no list of the manifest.
const ATTACHMENT: &str = "attachment";

/// What one publication writes.
#[derive(Debug, Clone)]
pub struct Publication<'a> {
    /// Files, in the order of the cursor; may be empty at the end of a shard.
    pub files: &'a [PublishedFile],
    /// Rows that were passed over since the last publication.
    pub problems: &'a [NewProblem],
    /// What is read by reference and the files refer to.
    pub references: &'a [(StreamType, String)],
    /// Position and numbering behind the last file.
    pub cursor: Value,
    /// Whether the shard is done.
    pub done: bool,
}

impl Store {
    /// Publishes.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]: nothing was written, and the worker must stop; or when the database fails:
    /// then it is not known whether it was written, and the lease must be given up.
    pub async fn publish(&self, lease: &ShardLease, publication: &Publication<'_>) -> Result<()> {
        let mut tx = self.begin().await?;
        let resources: u64 = publication.files.iter().map(|f| f.resources).sum();
        let bytes: u64 = publication.files.iter().map(|f| f.bytes).sum();
        let files: i32 = number(publication.files.len(), "shard", "files")?;
        let moved = sqlx::query!(
            "/* publish */
             UPDATE headgate.shard s
                SET cursor = $6, resources = resources + $7, bytes = bytes + $8, files = files + $9, attempts = 0, failure = NULL,
                    state = CASE WHEN $10 THEN 'done' ELSE state END,
                    done_at = CASE WHEN $10 THEN clock_timestamp() END, published_at = clock_timestamp(),
                    busy_s = busy_s + CASE WHEN $10 AND leased_at IS NOT NULL
                        THEN extract(epoch FROM clock_timestamp() - leased_at) ELSE 0 END,
                    lease_token = CASE WHEN $10 THEN NULL ELSE lease_token END,
                    lease_expires_at = CASE WHEN $10 THEN NULL ELSE lease_expires_at END
              WHERE practice_number = $1 AND export_id = $2 AND stream = $3 AND shard = $4
                AND state = 'leased' AND lease_token = $5 AND lease_expires_at > clock_timestamp()
                AND EXISTS (SELECT FROM headgate.export e
                             WHERE e.practice_number = s.practice_number AND e.export_id = s.export_id
                               AND e.state IN ('planning', 'running'))",
            lease.practice.get(),
            lease.export.as_str(),
            lease.stream,
            lease.shard,
            lease.token,
            publication.cursor,
            number::<_, i64>(resources, "shard", "resources")?,
            number::<_, i64>(bytes, "shard", "bytes")?,
            files,
            publication.done,
        )
        .execute(&mut *tx)
        .await?;
        if moved.rows_affected() != 1 {
            return Err(Error::LeaseLost);
        }
        for file in publication.files {
            insert_file(&mut tx, lease, file).await?;
        }
        problems::add(&mut tx, lease, publication.problems).await?;
        references::add(&mut tx, lease, publication.references).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Gives a shard back, to be gone on with from its cursor after `retry_after`. Without a `failure` this
    /// acquisition does not count as an attempt (a clean drain, or an export that was stopped).
    ///
    /// # Errors
    /// When the database fails. A lease that is lost already is fine.
    pub async fn release_shard(
        &self,
        lease: &ShardLease,
        retry_after: Duration,
        failure: Option<&str>,
    ) -> Result<()> {
        sqlx::query!(
            "/* release_shard */
             UPDATE headgate.shard
                SET state = 'ready', lease_token = NULL, lease_expires_at = NULL, lease_worker = NULL,
                    retry_at = clock_timestamp() + $6, ready_since = clock_timestamp() + $6,
                    busy_s = busy_s + coalesce(extract(epoch FROM clock_timestamp() - leased_at), 0),
                    attempts = greatest(attempts - CASE WHEN $7::text IS NULL THEN 1 ELSE 0 END, 0),
                    failure = coalesce($7, failure)
              WHERE practice_number = $1 AND export_id = $2 AND stream = $3 AND shard = $4
                AND state = 'leased' AND lease_token = $5",
            lease.practice.get(),
            lease.export.as_str(),
            lease.stream,
            lease.shard,
            lease.token,
            interval(retry_after),
            failure,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Acquisitions of a shard since it last moved: none, if something was published under this lease.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; or when the database fails.
    pub async fn shard_attempts(&self, lease: &ShardLease) -> Result<i32> {
        sqlx::query_scalar!(
            "/* shard_attempts */
             SELECT attempts FROM headgate.shard
              WHERE practice_number = $1 AND export_id = $2 AND stream = $3 AND shard = $4
                AND state = 'leased' AND lease_token = $5",
            lease.practice.get(),
            lease.export.as_str(),
            lease.stream,
            lease.shard,
            lease.token,
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or(Error::LeaseLost)
    }

    /// Acquisitions of a plan or finish step since it last moved: none, if it wrote something under this lease.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; or when the database fails.
    pub async fn step_attempts(&self, lease: &crate::StepLease) -> Result<i32> {
        sqlx::query_scalar!(
            "/* step_attempts */
             SELECT attempts FROM headgate.export
              WHERE practice_number = $1 AND export_id = $2 AND lease_token = $3",
            lease.practice.get(),
            lease.export.as_str(),
            lease.token,
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or(Error::LeaseLost)
    }

    /// Quarantines a shard that cannot be done and fails its export, in one transaction: an export is
    /// never called complete with a shard missing.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; or when the database fails.
    pub async fn quarantine_shard(&self, lease: &ShardLease, failure: &str) -> Result<()> {
        let mut tx = self.begin().await?;
        let moved = sqlx::query!(
            "/* quarantine_shard */
             UPDATE headgate.shard
                SET state = 'quarantined', failure = $6, lease_token = NULL, lease_expires_at = NULL,
                    busy_s = busy_s + coalesce(extract(epoch FROM clock_timestamp() - leased_at), 0)
              WHERE practice_number = $1 AND export_id = $2 AND stream = $3 AND shard = $4
                AND state = 'leased' AND lease_token = $5 AND lease_expires_at > clock_timestamp()",
            lease.practice.get(),
            lease.export.as_str(),
            lease.stream,
            lease.shard,
            lease.token,
            failure,
        )
        .execute(&mut *tx)
        .await?;
        if moved.rows_affected() != 1 {
            return Err(Error::LeaseLost);
        }
        fail_export(&mut tx, lease.practice.get(), lease.export.as_str(), failure).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Fails an export from its plan or finish step.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; or when the database fails.
    pub async fn fail_step(&self, lease: &crate::StepLease, failure: &str) -> Result<()> {
        let mut tx = self.begin().await?;
        let held = sqlx::query!(
            "/* fail_step */
             SELECT export_id FROM headgate.export
              WHERE practice_number = $1 AND export_id = $2 AND lease_token = $3
                AND lease_expires_at > clock_timestamp() FOR UPDATE",
            lease.practice.get(),
            lease.export.as_str(),
            lease.token,
        )
        .fetch_optional(&mut *tx)
        .await?;
        if held.is_none() {
            return Err(Error::LeaseLost);
        }
        fail_export(&mut tx, lease.practice.get(), lease.export.as_str(), failure).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Moves a live export to `failed`; its objects are purged. An export that ended otherwise stays so.
pub(crate) async fn fail_export(
    connection: &mut PgConnection,
    practice: i64,
    export: &str,
    failure: &str,
) -> Result<()> {
    let moved = sqlx::query!(
        "/* fail_export */
         UPDATE headgate.export
            SET state = 'failed', failure = $3, ended_at = clock_timestamp(), quiet_after = lease_expires_at,
                attempts = 0, retry_at = NULL,
                lease_step = NULL, lease_token = NULL, lease_expires_at = NULL, lease_worker = NULL
          WHERE practice_number = $1 AND export_id = $2
            AND state IN ('accepted', 'planning', 'running', 'finishing')",
        practice,
        export,
        failure,
    )
    .execute(&mut *connection)
    .await?;
    if moved.rows_affected() == 1 {
        let number = crate::acquire::practice(practice, "export")?;
        let fact = audit::Audit::new("headgate", "export.failed")
            .at(number)
            .about_export(&crate::error::parsed(export, "export", "export_id")?)
            .with(serde_json::json!({ "failure": failure }));
        audit::record(connection, &fact).await?;
        doorbell::ring(connection, number).await?;
    }
    Ok(())
}

async fn insert_file(connection: &mut PgConnection, lease: &ShardLease, file: &PublishedFile) -> Result<()> {
    let (practice, export) = (lease.practice.get(), lease.export.as_str());
    let kind = match lease.stream_type {
        StreamType::Resources(_) => FileKind::Output.name(),
        StreamType::Attachments => ATTACHMENT,
    };
    insert(connection, practice, export, kind, lease.stream_type.name(), lease.fence, file).await
}

/// Inserts the row of a file that the finish step wrote: of deletions, or of problems.
pub(crate) async fn insert_finished(
    connection: &mut PgConnection,
    lease: &crate::StepLease,
    kind: FileKind,
    file: &PublishedFile,
) -> Result<()> {
    let (practice, export) = (lease.practice.get(), lease.export.as_str());
    insert(connection, practice, export, kind.name(), kind.resource_type(), lease.fence, file).await
}

async fn insert(
    connection: &mut PgConnection,
    practice: i64,
    export: &str,
    kind: &str,
    resource_type: &str,
    fence: i64,
    file: &PublishedFile,
) -> Result<()> {
    sqlx::query!(
        "/* insert_file */
         INSERT INTO headgate.file (practice_number, export_id, kind, resource_type, number, part, object_key,
                                    resources, bytes, sha256, crc32, fence, attachment_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        practice,
        export,
        kind,
        resource_type,
        number::<_, i32>(file.number.number, "file", "number")?,
        number::<_, i32>(file.number.part, "file", "part")?,
        file.object_key,
        number::<_, i64>(file.resources, "file", "resources")?,
        number::<_, i64>(file.bytes, "file", "bytes")?,
        file.sha256,
        i64::from(file.crc32),
        fence,
        file.attachment_id,
    )
    .execute(connection)
    .await?;
    Ok(())
}
