//! The events of a seal, for a copy that is kept elsewhere.

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::Result;

/// An event as it was sealed, but for its detail: names and reasons that people typed stand there. Of it there are only
/// ids that we made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedEvent {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// At which practice.
    pub practice: Option<i64>,
    /// About which app.
    pub client: Option<String>,
    /// About which export.
    pub export: Option<String>,
    /// About which vendor.
    pub vendor: Option<Uuid>,
    /// About which access token: its `jti`.
    pub token: Option<Uuid>,
}

/// Tells the events from one number to another, one by one: a seal may cover thousands.
pub(super) async fn each(
    connection: &mut PgConnection,
    first_id: i64,
    last_id: i64,
    tell: impl Fn(&SealedEvent),
) -> Result<()> {
    let mut rows = sqlx::query!(
        "/* sealed_events */
         SELECT audit_id, at, actor, action, practice_number, client_id, export_id,
                detail->>'vendor' AS vendor, detail->>'jti' AS token
           FROM headgate.audit_event WHERE audit_id BETWEEN $1 AND $2 ORDER BY audit_id",
        first_id,
        last_id,
    )
    .fetch(connection);
    while let Some(row) = rows.try_next().await? {
        // Nothing that is not a UUID passes, whatever an event of another version says there.
        let id = |text: Option<String>| text.and_then(|text| Uuid::parse_str(&text).ok());
        tell(&SealedEvent {
            id: row.audit_id,
            at: row.at,
            actor: row.actor,
            action: row.action,
            practice: row.practice_number,
            client: row.client_id,
            export: row.export_id,
            vendor: id(row.vendor),
            token: id(row.token),
        });
    }
    Ok(())
}
