//! Reading consents, those in force and those that ended.

use chrono::{DateTime, Utc};
use headgate_domain::{ClientId, PracticeNumber};
use uuid::Uuid;

use super::{ConsentRecord, consent_of};
use crate::error::parsed;
use crate::page::time_and_text;
use crate::{Error, Page, Paged, Result, Store};

/// A row as every statement here selects it.
struct Row {
    consent_id: Uuid,
    client_id: String,
    scopes: String,
    group_ids: Option<Vec<String>>,
    amends: Option<Uuid>,
    granted_by: String,
    granted_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    revoked_by: Option<String>,
    revoked_at: Option<DateTime<Utc>>,
    revoke_reason: Option<String>,
    revision: i64,
    in_force: bool,
}

impl Row {
    fn record(self, practice: PracticeNumber) -> Result<ConsentRecord> {
        Ok(ConsentRecord {
            practice,
            client: parsed(&self.client_id, "consent", "client_id")?,
            consent: consent_of(self.consent_id, &self.scopes, self.group_ids, self.expires_at)?,
            amends: self.amends,
            granted_by: self.granted_by,
            granted_at: self.granted_at,
            revoked_by: self.revoked_by,
            revoked_at: self.revoked_at,
            revoke_reason: self.revoke_reason,
            revision: self.revision,
            in_force: self.in_force,
        })
    }
}

impl Store {
    /// The consents of a practice, to one app or to all, newest first.
    ///
    /// # Errors
    /// [`Error::Cursor`]; or when the database fails.
    pub async fn consents_page(
        &self,
        practice: PracticeNumber,
        client: Option<&ClientId>,
        page: &Page,
    ) -> Result<Paged<ConsentRecord>> {
        let (after, after_id) = page.time_and_text()?.unzip();
        let after_id: Option<Uuid> = after_id.map(|id| id.parse().map_err(|_| Error::Cursor)).transpose()?;
        let rows = sqlx::query_as!(
            Row,
            r#"/* consents_page */
             SELECT consent_id, client_id, scopes, group_ids, amends, granted_by, granted_at, expires_at,
                    revoked_by, revoked_at, revoke_reason, revision,
                    (revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())) AS "in_force!"
             FROM headgate.consent
             WHERE practice_number = $1 AND ($2::text IS NULL OR client_id = $2)
               AND ($3::timestamptz IS NULL OR granted_at < $3 OR granted_at = $3 AND consent_id > $4)
             ORDER BY granted_at DESC, consent_id LIMIT $5"#,
            practice.get(),
            client.map(ClientId::as_str),
            after,
            after_id,
            page.rows(),
        )
        .fetch_all(&mut *self.at(practice).await?)
        .await?;
        let records = rows.into_iter().map(|row| row.record(practice)).collect::<Result<_>>()?;
        let key = |record: &ConsentRecord| time_and_text(record.granted_at, record.consent.id);
        Ok(Paged::of(records, page, key))
    }

    /// One consent of a practice, in force or ended.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn consent_record(
        &self,
        practice: PracticeNumber,
        consent_id: Uuid,
    ) -> Result<Option<ConsentRecord>> {
        self.read_consent(practice, Some(consent_id), None).await
    }

    /// The consent of a practice to an app that is neither revoked nor expired.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn consent_of_app(
        &self,
        practice: PracticeNumber,
        client: &ClientId,
    ) -> Result<Option<ConsentRecord>> {
        self.read_consent(practice, None, Some(client)).await
    }

    /// One consent by its id, or the one in force by its app.
    async fn read_consent(
        &self,
        practice: PracticeNumber,
        consent_id: Option<Uuid>,
        client: Option<&ClientId>,
    ) -> Result<Option<ConsentRecord>> {
        let row = sqlx::query_as!(
            Row,
            r#"/* read_consent */
             SELECT consent_id, client_id, scopes, group_ids, amends, granted_by, granted_at, expires_at,
                    revoked_by, revoked_at, revoke_reason, revision,
                    (revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())) AS "in_force!"
             FROM headgate.consent
             WHERE practice_number = $1
               AND (consent_id = $2
                    OR client_id = $3 AND revoked_at IS NULL
                       AND (expires_at IS NULL OR expires_at > clock_timestamp()))"#,
            practice.get(),
            consent_id,
            client.map(ClientId::as_str),
        )
        .fetch_optional(&mut *self.at(practice).await?)
        .await?;
        row.map(|row| row.record(practice)).transpose()
    }
}
