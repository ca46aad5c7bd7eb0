//! The audit trail: facts about deeds, written in the transaction of the deed, so that a deed without a
//! row is impossible. Never any patient's data.

use headgate_domain::{ClientId, ExportId, PracticeNumber};
use headgate_metrics::exports;
use headgate_metrics::lifecycle::AUDIT_WRITE_FAILURES;
use sqlx::PgConnection;

use crate::idempotency::{self, Idempotency};
use crate::{Result, Store};

mod events;
mod sealed;
mod seals;

pub use events::{AuditFilter, AuditRecord};
pub use sealed::SealedEvent;
pub use seals::{MacState, NewSeal, SealCheck, SealProblem, SealRecord};

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
    /// The key under which a deed of the admin API is done only once.
    pub idempotency: Option<Idempotency>,
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

    /// Sets the facts; an object of plain values.
    #[must_use]
    pub fn with(mut self, detail: serde_json::Value) -> Self {
        self.detail = detail;
        self
    }

    /// Adds facts to those that are there; an object of plain values.
    #[must_use]
    pub fn and(mut self, more: serde_json::Value) -> Self {
        if let (serde_json::Value::Object(facts), serde_json::Value::Object(more)) = (&mut self.detail, more)
        {
            facts.extend(more);
        }
        self
    }

    /// Has the deed done once only under this key: a second time it is [`crate::Error::Repeated`].
    #[must_use]
    pub fn idempotent(mut self, key: Idempotency) -> Self {
        self.idempotency = Some(key);
        self
    }
}

impl Store {
    /// Writes a fact that goes with no change, such as that somebody read a report.
    ///
    /// # Errors
    /// When the database fails: then what it is about may not be shown either.
    pub async fn record(&self, audit: &Audit) -> Result<()> {
        let mut tx = self.begin().await?;
        record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Writes one fact within the caller's transaction, and uses up its idempotency key.
pub(crate) async fn record(connection: &mut PgConnection, audit: &Audit) -> Result<()> {
    if let Some(key) = &audit.idempotency {
        idempotency::use_up(connection, key).await?;
    }
    let written = sqlx::query!(
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
    .await;
    if let Err(error) = written {
        AUDIT_WRITE_FAILURES.add(1, &[]);
        return Err(error.into());
    }
    count(audit);
    Ok(())
}

/// Every way in which an export ends writes one fact, so here they are counted. (A transaction that fails after it counts
/// once too often, which is rare.)
fn count(audit: &Audit) {
    let outcome = match audit.action {
        "export.completed" => "completed",
        "export.failed" => "failed",
        "export.cancelled" => "cancelled",
        "export.revoked" => "revoked",
        "export.expired" => "expired",
        _ => return,
    };
    let practice = audit.practice.map_or(0, PracticeNumber::get);
    exports::FINISHED.add(1, &[("practice", practice.into()), ("outcome", outcome.into())]);
}
