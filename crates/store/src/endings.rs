//! Ending exports whose authority is gone, in the transaction that takes it away.
//!
//! Live and completed exports become `revoked`, which is for good: authority that comes back later revives none. The
//! lease of a step is taken away with it; workers see it at their next look at the stop flags, the purge step deletes
//! the objects, and no link is handed out from here on.

use std::collections::BTreeSet;

use headgate_domain::consent::GroupAccess;
use headgate_domain::request::Level;
use headgate_domain::scope::ScopeSet;
use headgate_domain::{ClientId, PracticeNumber, ResourceType};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::acquire::practice;
use crate::audit::{self, Audit};
use crate::error::parsed;
use crate::exports::level_of;
use crate::{Result, doorbell};

/// Which exports.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Whose<'a> {
    /// Those of this practice.
    pub(crate) practice: Option<PracticeNumber>,
    /// Those of this app.
    pub(crate) client: Option<&'a ClientId>,
    /// Those of this vendor's apps.
    pub(crate) vendor: Option<Uuid>,
}

/// Revokes all live and completed exports of somebody; returns how many. `because` is told in the audit trail.
pub(crate) async fn end_exports(
    connection: &mut PgConnection,
    whose: Whose<'_>,
    because: &'static str,
) -> Result<u64> {
    let rows = sqlx::query!(
        "/* end_exports */
         UPDATE headgate.export e
         SET state = 'revoked', ended_at = clock_timestamp(), quiet_after = lease_expires_at,
             lease_step = NULL, lease_token = NULL, lease_expires_at = NULL, lease_worker = NULL,
             attempts = 0, retry_at = NULL, rung_at = clock_timestamp()
         WHERE (practice_number, export_id) IN (
               SELECT x.practice_number, x.export_id FROM headgate.export x
                WHERE ($1::bigint IS NULL OR x.practice_number = $1) AND ($2::text IS NULL OR x.client_id = $2)
                  AND ($3::uuid IS NULL OR x.client_id IN (SELECT a.client_id FROM headgate.app a WHERE a.vendor_id = $3))
                  AND x.state IN ('accepted', 'planning', 'running', 'finishing', 'completed')
                -- In one order, or two endings would wait for each other. Not for a publication under
                -- way, which refers to the export: its worker may have vanished.
                ORDER BY x.practice_number, x.export_id FOR NO KEY UPDATE)
         RETURNING practice_number, export_id",
        whose.practice.map(PracticeNumber::get),
        whose.client.map(ClientId::as_str),
        whose.vendor,
    )
    .fetch_all(&mut *connection)
    .await?;
    let ended: Vec<(i64, String)> =
        rows.into_iter().map(|row| (row.practice_number, row.export_id)).collect();
    tell(connection, &ended, because).await
}

/// Revokes the live and completed exports of an app, at one practice or at all, that hold types or patients beyond
/// what `covers` says for the practice; returns how many.
pub(crate) async fn end_exports_beyond(
    connection: &mut PgConnection,
    at: Option<PracticeNumber>,
    client: &ClientId,
    scopes: &ScopeSet,
    groups: &GroupAccess,
    because: &'static str,
) -> Result<u64> {
    let rows = sqlx::query!(
        "/* end_exports_beyond: look */
         SELECT practice_number, export_id, types, level, group_id FROM headgate.export
         WHERE ($1::bigint IS NULL OR practice_number = $1) AND client_id = $2
           AND state IN ('accepted', 'planning', 'running', 'finishing', 'completed')
         ORDER BY practice_number, export_id FOR NO KEY UPDATE",
        at.map(PracticeNumber::get),
        client.as_str(),
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut beyond = Vec::new();
    for row in rows {
        let types = row.types.iter().map(|t| parsed(t, "export", "types"));
        let types: BTreeSet<ResourceType> = types.collect::<Result<_>>()?;
        let covered = match level_of(&row.level, row.group_id)? {
            Level::Group(id) => groups.permits(&id),
            Level::System | Level::Patient => *groups == GroupAccess::All,
        };
        if !covered || !types.iter().all(|t| scopes.permits(*t)) {
            beyond.push((row.practice_number, row.export_id));
        }
    }
    let (practices, exports): (Vec<i64>, Vec<String>) = beyond.iter().cloned().unzip();
    sqlx::query!(
        "/* end_exports_beyond */
         UPDATE headgate.export e
         SET state = 'revoked', ended_at = clock_timestamp(), quiet_after = lease_expires_at,
             lease_step = NULL, lease_token = NULL, lease_expires_at = NULL, lease_worker = NULL,
             attempts = 0, retry_at = NULL, rung_at = clock_timestamp()
         FROM unnest($1::bigint[], $2::text[]) AS beyond (practice_number, export_id)
         WHERE e.practice_number = beyond.practice_number AND e.export_id = beyond.export_id",
        &practices,
        &exports,
    )
    .execute(&mut *connection)
    .await?;
    tell(connection, &beyond, because).await
}

/// Writes a fact for each export, and rings for its practice: its objects have to go.
async fn tell(connection: &mut PgConnection, ended: &[(i64, String)], because: &str) -> Result<u64> {
    for (number, export) in ended {
        let fact = Audit::new("headgate", "export.revoked")
            .at(practice(*number, "export")?)
            .about_export(&parsed(export, "export", "export_id")?)
            .with(serde_json::json!({ "because": because }));
        audit::record(connection, &fact).await?;
    }
    let practices: BTreeSet<i64> = ended.iter().map(|(number, _)| *number).collect();
    for number in practices {
        doorbell::ring(connection, practice(number, "export")?).await?;
    }
    Ok(ended.len() as u64)
}

#[cfg(test)]
mod tests;
