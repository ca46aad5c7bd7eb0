//! The audit trail: facts about deeds, written in the transaction of the deed, so that a deed without a
//! row is impossible. Never any patient's data.

use headgate_domain::{ClientId, ExportId, PracticeNumber};
use sqlx::PgConnection;

use crate::Result;

/// One fact.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    /// Who: `operator`, `client fhir…`, `worker …`, `headgate`.
    pub actor: String,
    /// What: `token.issued`, `export.accepted`, `consent.revoked`, ….
    pub action: &'static str,
    /// At which practice.
    pub practice: Option<PracticeNumber>,
    /// Which app it was or is about.
    pub client: Option<ClientId>,
    /// Which export it is about.
    pub export: Option<ExportId>,
    /// More facts: an object of plain values.
    pub detail: serde_json::Value,
}

impl Audit {
    /// A fact by an actor.
    pub fn new(actor: impl Into<String>, action: &'static str) -> Self {
        Self { actor: actor.into(), action, detail: serde_json::json!({}), ..Self::default() }
    }

    /// Names the practice.
    #[must_use]
    pub fn at(mut self, practice: PracticeNumber) -> Self {
        self.practice = Some(practice);
        self
    }

    /// Names the app.
    #[must_use]
    pub fn about_client(mut self, client: &ClientId) -> Self {
        self.client = Some(client.clone());
        self
    }

    /// Names the export.
    #[must_use]
    pub fn about_export(mut self, export: &ExportId) -> Self {
        self.export = Some(export.clone());
        self
    }

    /// Adds facts; an object of plain values.
    #[must_use]
    pub fn with(mut self, detail: serde_json::Value) -> Self {
        self.detail = detail;
        self
    }
}

/// Writes one fact within the caller's transaction.
pub(crate) async fn record(connection: &mut PgConnection, audit: &Audit) -> Result<()> {
    sqlx::query!(
        "/* audit::record */
         INSERT INTO headgate.audit_event (actor, action, practice_number, client_id, export_id, detail)
         VALUES ($1, $2, $3, $4, $5, $6)",
        audit.actor,
        audit.action,
        audit.practice.map(PracticeNumber::get),
        audit.client.as_ref().map(ClientId::as_str),
        audit.export.as_ref().map(ExportId::as_str),
        audit.detail,
    )
    .execute(connection)
    .await?;
    Ok(())
}
