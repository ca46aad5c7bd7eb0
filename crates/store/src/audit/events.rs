//! Reading the audit trail.

use chrono::{DateTime, Utc};
use headgate_domain::{ClientId, ExportId, PracticeNumber};
use serde_json::Value;
use uuid::Uuid;

use crate::error::parsed;
use crate::{Page, Paged, Result, Store, acquire};

/// Which events. Conditions that are absent let everything through.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// About this practice.
    pub practice: Option<PracticeNumber>,
    /// About this app.
    pub client: Option<ClientId>,
    /// About an app of this vendor.
    pub vendor: Option<Uuid>,
    /// About this export.
    pub export: Option<ExportId>,
    /// Of this action.
    pub action: Option<String>,
    /// By this actor.
    pub actor: Option<String>,
    /// From here on.
    pub since: Option<DateTime<Utc>>,
    /// Before this.
    pub until: Option<DateTime<Utc>>,
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRecord {
    /// Its number; later events have greater ones, and numbers may be left out.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// At which practice.
    pub practice: Option<PracticeNumber>,
    /// About which app.
    pub client: Option<ClientId>,
    /// About which export.
    pub export: Option<ExportId>,
    /// More facts.
    pub detail: Value,
}

impl Store {
    /// Events of the audit trail, newest first.
    ///
    /// # Errors
    /// [`crate::Error::Cursor`]; or when the database fails.
    pub async fn audit_events(&self, filter: &AuditFilter, page: &Page) -> Result<Paged<AuditRecord>> {
        let mut tx = match filter.practice {
            Some(practice) => self.at(practice).await?,
            None => self.everywhere().await?,
        };
        let rows = sqlx::query!(
            "/* audit_events */
             SELECT audit_id, at, actor, action, practice_number, client_id, export_id, detail
               FROM headgate.audit_event
              WHERE ($1::bigint IS NULL OR practice_number = $1)
                AND ($2::text IS NULL OR client_id = $2)
                AND ($3::uuid IS NULL OR client_id IN (SELECT a.client_id FROM headgate.app a WHERE a.vendor_id = $3))
                AND ($4::text IS NULL OR export_id = $4)
                AND ($5::text IS NULL OR action = $5)
                AND ($6::text IS NULL OR actor = $6)
                AND ($7::timestamptz IS NULL OR at >= $7)
                AND ($8::timestamptz IS NULL OR at < $8)
                AND ($9::bigint IS NULL OR audit_id < $9)
              ORDER BY audit_id DESC LIMIT $10",
            filter.practice.map(PracticeNumber::get),
            filter.client.as_ref().map(ClientId::as_str),
            filter.vendor,
            filter.export.as_ref().map(ExportId::as_str),
            filter.action,
            filter.actor,
            filter.since,
            filter.until,
            page.number()?,
            page.rows(),
        )
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        let events = rows.into_iter().map(|row| {
            Ok(AuditRecord {
                id: row.audit_id,
                at: row.at,
                actor: row.actor,
                action: row.action,
                practice: row.practice_number.map(|n| acquire::practice(n, "audit_event")).transpose()?,
                client: row.client_id.map(|id| parsed(&id, "audit_event", "client_id")).transpose()?,
                export: row.export_id.map(|id| parsed(&id, "audit_event", "export_id")).transpose()?,
                detail: row.detail,
            })
        });
        Ok(Paged::of(events.collect::<Result<_>>()?, page, |event| event.id.to_string()))
    }
}
