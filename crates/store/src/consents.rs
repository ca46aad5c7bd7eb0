//! Consents: granted and revoked by a practice; the rows are the history.
//!
//! Revoking is a live control: in the transaction that ends the consent, every export under it that is
//! live or completed ends too, and the lease of its step is taken away. Workers see that at their next
//! look at the stop flags; the purge step deletes the objects.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use headgate_domain::consent::{Consent, GroupAccess};
use headgate_domain::scope::ScopeSet;
use headgate_domain::{ClientId, PracticeNumber};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::audit::{self, Audit};
use crate::error::parsed;
use crate::{Result, Store, doorbell};

/// A consent to be granted.
#[derive(Debug, Clone)]
pub struct NewConsent {
    /// The practice that consents.
    pub practice: PracticeNumber,
    /// The consent's id, random.
    pub consent_id: Uuid,
    /// The app it consents to.
    pub client: ClientId,
    /// What the app may read; no more than it is registered for.
    pub scopes: ScopeSet,
    /// Which groups it may export.
    pub groups: GroupAccess,
    /// Who granted it.
    pub granted_by: String,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A consent, in force or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentRecord {
    /// The practice that consents.
    pub practice: PracticeNumber,
    /// The app it consents to.
    pub client: ClientId,
    /// What the app may read, which groups, until when.
    pub consent: Consent,
    /// Who granted it.
    pub granted_by: String,
    /// When.
    pub granted_at: DateTime<Utc>,
    /// Who revoked it; `headgate` when it had expired.
    pub revoked_by: Option<String>,
    /// When.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Why.
    pub revoke_reason: Option<String>,
    /// Whether it is neither revoked nor expired.
    pub in_force: bool,
}

impl Store {
    /// Grants a consent. One that has expired by itself is ended first, with the exports under it.
    ///
    /// # Errors
    /// [`crate::Error::Exists`] with the constraint `consent_one_in_force` when one is in force: it must be
    /// revoked first. [`crate::Error::Missing`] when there is no such practice or app.
    pub async fn grant_consent(&self, new: &NewConsent, audit: &Audit) -> Result<()> {
        let groups: Option<Vec<String>> = match &new.groups {
            GroupAccess::All => None,
            GroupAccess::Only(groups) => Some(groups.iter().cloned().collect()),
        };
        let mut tx = self.begin().await?;
        let expired = sqlx::query!(
            "/* grant_consent */
             UPDATE headgate.consent
             SET revoked_at = clock_timestamp(), revoked_by = 'headgate', revoke_reason = 'expired'
             WHERE practice_number = $1 AND client_id = $2 AND revoked_at IS NULL AND expires_at <= clock_timestamp()",
            new.practice.get(),
            new.client.as_str(),
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if expired > 0 && end_exports(&mut tx, new.practice, &new.client).await? > 0 {
            doorbell::ring(&mut tx, new.practice).await?;
        }
        sqlx::query!(
            "/* grant_consent */
             INSERT INTO headgate.consent
                 (practice_number, consent_id, client_id, scopes, group_ids, granted_by, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            new.practice.get(),
            new.consent_id,
            new.client.as_str(),
            new.scopes.to_string(),
            groups.as_deref(),
            new.granted_by,
            new.expires_at,
        )
        .execute(&mut *tx)
        .await?;
        audit::record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Revokes the consent of a practice to an app, and ends the app's exports there: those that are live
    /// or completed become `revoked`. Returns how many; `None` when no consent was there to be revoked.
    ///
    /// # Errors
    /// When the database fails: then nothing was changed.
    pub async fn revoke_consent(
        &self,
        practice: PracticeNumber,
        client: &ClientId,
        by: &str,
        reason: Option<&str>,
        audit: &Audit,
    ) -> Result<Option<u64>> {
        let mut tx = self.begin().await?;
        // The row's lock comes first: a kick-off holds it FOR SHARE until its export is visible below.
        let revoked = sqlx::query!(
            "/* revoke_consent */
             UPDATE headgate.consent SET revoked_at = clock_timestamp(), revoked_by = $3, revoke_reason = $4
             WHERE practice_number = $1 AND client_id = $2 AND revoked_at IS NULL",
            practice.get(),
            client.as_str(),
            by,
            reason,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if revoked == 0 {
            return Ok(None);
        }
        let ended = end_exports(&mut tx, practice, client).await?;
        audit::record(&mut tx, &audit.clone().with(serde_json::json!({ "ended_exports": ended }))).await?;
        doorbell::ring(&mut tx, practice).await?;
        tx.commit().await?;
        Ok(Some(ended))
    }

    /// The consent in force: neither revoked nor expired, of a practice and an app that are not suspended.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn consent_in_force(
        &self,
        practice: PracticeNumber,
        client: &ClientId,
    ) -> Result<Option<Consent>> {
        let row = sqlx::query!(
            "/* consent_in_force */
             SELECT c.consent_id, c.scopes, c.group_ids, c.expires_at
             FROM headgate.consent c
             JOIN headgate.practice p USING (practice_number)
             JOIN headgate.app a USING (client_id)
             WHERE c.practice_number = $1 AND c.client_id = $2
               AND c.revoked_at IS NULL AND (c.expires_at IS NULL OR c.expires_at > clock_timestamp())
               AND p.suspended_at IS NULL AND a.suspended_at IS NULL",
            practice.get(),
            client.as_str(),
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| consent_of(row.consent_id, &row.scopes, row.group_ids, row.expires_at)).transpose()
    }

    /// All consents of a practice, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn consents(&self, practice: PracticeNumber) -> Result<Vec<ConsentRecord>> {
        let rows = sqlx::query!(
            r#"/* consents */
             SELECT consent_id, client_id, scopes, group_ids, granted_by, granted_at, expires_at,
                    revoked_by, revoked_at, revoke_reason,
                    (revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())) AS "in_force!"
             FROM headgate.consent WHERE practice_number = $1
             ORDER BY granted_at DESC, consent_id"#,
            practice.get(),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(ConsentRecord {
                    practice,
                    client: parsed(&row.client_id, "consent", "client_id")?,
                    consent: consent_of(row.consent_id, &row.scopes, row.group_ids, row.expires_at)?,
                    granted_by: row.granted_by,
                    granted_at: row.granted_at,
                    revoked_by: row.revoked_by,
                    revoked_at: row.revoked_at,
                    revoke_reason: row.revoke_reason,
                    in_force: row.in_force,
                })
            })
            .collect()
    }
}

/// Ends every live or completed export of the app at the practice and takes the leases of their steps.
async fn end_exports(
    connection: &mut PgConnection,
    practice: PracticeNumber,
    client: &ClientId,
) -> Result<u64> {
    let ended = sqlx::query!(
        "/* end_exports */
         UPDATE headgate.export
         SET state = 'revoked', ended_at = clock_timestamp(), quiet_after = lease_expires_at,
             lease_step = NULL, lease_token = NULL, lease_expires_at = NULL, lease_worker = NULL,
             attempts = 0, retry_at = NULL, rung_at = clock_timestamp()
         WHERE practice_number = $1 AND client_id = $2
           AND state IN ('accepted', 'planning', 'running', 'finishing', 'completed')",
        practice.get(),
        client.as_str(),
    )
    .execute(connection)
    .await?;
    Ok(ended.rows_affected())
}

fn consent_of(
    id: Uuid,
    scopes: &str,
    groups: Option<Vec<String>>,
    expires_at: Option<DateTime<Utc>>,
) -> Result<Consent> {
    let scopes = parsed(scopes, "consent", "scopes")?;
    let groups = groups.map_or(GroupAccess::All, |ids| GroupAccess::Only(BTreeSet::from_iter(ids)));
    Ok(Consent { id, scopes, groups, expires_at })
}
