//! What the finish step has to know to tell deletions, and patients for whom nothing is exported.

use chrono::{DateTime, Utc};
use headgate_domain::request::{Level, Selection};
use headgate_domain::{ExportId, PracticeNumber, ResourceType};
use serde_json::Value;

use crate::acquire::StepLease;
use crate::error::{json, parsed};
use crate::exports::level_of;
use crate::{Error, Result, Store};

/// An export whose deletions are to be told.
#[derive(Debug, Clone)]
pub struct Deletions {
    /// Which patients.
    pub level: Level,
    /// Whether it is of the members of a cohort.
    pub by_members: bool,
    /// What was deleted after this …
    pub since: DateTime<Utc>,
    /// … and up to this.
    pub transaction_time: DateTime<Utc>,
    /// Which resources of the types.
    pub selection: Selection,
    /// The types.
    pub types: Vec<ResourceType>,
    /// Whether the source was a replica when the export was planned.
    pub source_replica: bool,
    /// How far every reading connection must have come.
    pub source_lsn: String,
    /// Whether the source kept tombstones when the export was planned.
    pub tombstones: bool,
}

impl Store {
    /// What is needed to tell an export's deletions; none if they are not to be told.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; or when the database fails.
    pub async fn deletions(&self, lease: &StepLease) -> Result<Option<Deletions>> {
        let row = sqlx::query!(
            "/* deletions */
             SELECT level, group_id, of_patients, since, deleted, transaction_time, selection, types, source_replica,
                    source_lsn, source_tombstones
               FROM headgate.export
              WHERE practice_number = $1 AND export_id = $2 AND lease_token = $3",
            lease.practice.get(),
            lease.export.as_str(),
            lease.token,
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or(Error::LeaseLost)?;
        let (Some(since), true) = (row.since, row.deleted) else { return Ok(None) };
        let unplanned = |column| Error::Inconsistent { table: "export", column };
        let level = level_of(&row.level, row.group_id)?;
        Ok(Some(Deletions {
            by_members: row.of_patients || level.group_id().is_some(),
            level,
            since,
            transaction_time: row.transaction_time.ok_or_else(|| unplanned("transaction_time"))?,
            selection: json(row.selection, "export", "selection")?,
            types: row.types.iter().map(|t| parsed(t, "export", "types")).collect::<Result<_>>()?,
            source_replica: row.source_replica.ok_or_else(|| unplanned("source_replica"))?,
            source_lsn: row.source_lsn.ok_or_else(|| unplanned("source_lsn"))?,
            // Unknown where a program of a former version planned it.
            tombstones: row.source_tombstones.unwrap_or_default(),
        }))
    }

    /// The relations of an export's streams of resources, each with its type, as the catalogue described them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stream_relations(
        &self,
        practice: PracticeNumber,
        export: &ExportId,
    ) -> Result<Vec<(ResourceType, Value)>> {
        let rows = sqlx::query!(
            "/* stream_relations */
             SELECT resource_type, relation FROM headgate.export_stream
              WHERE practice_number = $1 AND export_id = $2 AND resource_type <> 'Binary' ORDER BY stream",
            practice.get(),
            export.as_str(),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| Ok((parsed(&row.resource_type, "export_stream", "resource_type")?, row.relation)))
            .collect()
    }

    /// Patients that the request named and for whom nothing is exported: unknown, or not in the group.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn missing_patients(&self, lease: &StepLease) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar!(
            "/* missing_patients */
             SELECT p.patient_id FROM headgate.export_patient p
              WHERE p.practice_number = $1 AND p.export_id = $2
                AND NOT EXISTS (SELECT FROM headgate.export_member m
                                 WHERE m.practice_number = p.practice_number AND m.export_id = p.export_id
                                   AND m.patient_id = p.patient_id AND NOT m.former)
              ORDER BY p.patient_id",
            lease.practice.get(),
            lease.export.as_str(),
        )
        .fetch_all(&self.pool)
        .await?)
    }
}
