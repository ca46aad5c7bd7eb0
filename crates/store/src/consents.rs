//! Consents: granted, amended and revoked by a practice; the rows are the history.
//!
//! A consent is a live control. In the transaction that ends or narrows one, every live or completed export that is no
//! longer covered ends too ([`crate::endings`]). Workers see that at their next look at the stop flags; the purge step
//! deletes the objects. What is granted again later revives nothing.
//!
//! Changes of one practice's consents to one app come one after the other, by a lock of their own: a row that is
//! replaced has another id, and who waits for the row alone would miss the one in its place. Every change then locks the
//! consent's row before it looks at exports, and a kick-off holds that row in share mode until its export is visible: no
//! export slips through between the two.

mod amend;
mod history;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use headgate_domain::consent::{Consent, GroupAccess};
use headgate_domain::scope::ScopeSet;
use headgate_domain::{ClientId, PracticeNumber};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::audit::{self, Audit};
use crate::endings::{Whose, end_exports};
use crate::error::{parsed, stale_if};
use crate::{Result, Store};

pub use amend::ConsentChange;

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
    /// The consent whose place it took.
    pub amends: Option<Uuid>,
    /// Who granted it.
    pub granted_by: String,
    /// When.
    pub granted_at: DateTime<Utc>,
    /// Who revoked it; `headgate` when it had expired.
    pub revoked_by: Option<String>,
    /// When.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Why; `amended` when another one took its place.
    pub revoke_reason: Option<String>,
    /// Grows with every change.
    pub revision: i64,
    /// Whether it is neither revoked nor expired.
    pub in_force: bool,
}

/// What an app may do at a practice now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The consent in force, of a practice, an app and a vendor of which none is suspended; its scopes are no more than
    /// the app is registered for.
    pub consent: Option<Consent>,
    /// Whether the access token was revoked that asks for it.
    pub token_revoked: bool,
}

impl Store {
    /// Grants a consent. One that has expired by itself is ended first, with the exports under it.
    ///
    /// # Errors
    /// [`crate::Error::Exists`] with the constraint `consent_one_in_force` when one is in force: it must be
    /// revoked first, or amended. [`crate::Error::Missing`] when there is no such practice or app.
    pub async fn grant_consent(&self, new: &NewConsent, audit: &Audit) -> Result<()> {
        let mut tx = self.at(new.practice).await?;
        lock(&mut tx, new.practice, &new.client).await?;
        let expired = sqlx::query!(
            "/* grant_consent: expired */
             UPDATE headgate.consent
             SET revoked_at = clock_timestamp(), revoked_by = 'headgate', revoke_reason = 'expired',
                 revision = revision + 1
             WHERE practice_number = $1 AND client_id = $2 AND revoked_at IS NULL AND expires_at <= clock_timestamp()",
            new.practice.get(),
            new.client.as_str(),
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if expired > 0 {
            let whose = Whose { practice: Some(new.practice), client: Some(&new.client), vendor: None };
            end_exports(&mut tx, whose, "the consent had expired").await?;
        }
        insert(&mut tx, new, None).await?;
        audit::record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Revokes the consent of a practice to an app, and ends the app's exports there: those that are live
    /// or completed become `revoked`. Returns its id and how many; `None` when no consent was there to be revoked.
    ///
    /// # Errors
    /// [`crate::Error::Stale`] when it is not of the revision `if_match`; or when the database fails: then nothing
    /// was changed.
    pub async fn revoke_consent(
        &self,
        practice: PracticeNumber,
        client: &ClientId,
        by: &str,
        reason: Option<&str>,
        if_match: Option<i64>,
        audit: &Audit,
    ) -> Result<Option<(Uuid, u64)>> {
        let mut tx = self.at(practice).await?;
        lock(&mut tx, practice, client).await?;
        // The row's lock comes first: a kick-off holds it FOR SHARE until its export is visible below.
        let revoked = sqlx::query_scalar!(
            "/* revoke_consent */
             UPDATE headgate.consent
             SET revoked_at = clock_timestamp(), revoked_by = $3, revoke_reason = $4, revision = revision + 1
             WHERE practice_number = $1 AND client_id = $2 AND revoked_at IS NULL
               AND ($5::bigint IS NULL OR revision = $5)
             RETURNING consent_id",
            practice.get(),
            client.as_str(),
            by,
            reason,
            if_match,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(consent_id) = revoked else {
            drop(tx);
            stale_if(if_match, self.consent_of_app(practice, client).await?.is_some())?;
            return Ok(None);
        };
        let whose = Whose { practice: Some(practice), client: Some(client), vendor: None };
        let ended = end_exports(&mut tx, whose, "the consent was revoked").await?;
        let facts = serde_json::json!({ "consent": consent_id, "ended_exports": ended });
        audit::record(&mut tx, &audit.clone().and(facts)).await?;
        tx.commit().await?;
        Ok(Some((consent_id, ended)))
    }

    /// What an app may do at a practice now. `token` is the id of the access token that asks.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn authority(
        &self,
        practice: PracticeNumber,
        client: &ClientId,
        token: Option<&str>,
    ) -> Result<Authority> {
        let row = sqlx::query!(
            r#"/* authority */
             SELECT EXISTS (SELECT FROM headgate.revoked_token r WHERE r.jti = $3) AS "token_revoked!",
                    a.consent_id AS "consent_id?", a.scopes AS "scopes?", a.app_scopes AS "app_scopes?",
                    a.group_ids, a.expires_at
             FROM (SELECT) AS always
             LEFT JOIN headgate.authority a ON a.practice_number = $1 AND a.client_id = $2"#,
            practice.get(),
            client.as_str(),
            token,
        )
        .fetch_one(&mut *self.at(practice).await?)
        .await?;
        let consent = match (row.consent_id, row.scopes, row.app_scopes) {
            (Some(id), Some(scopes), Some(app_scopes)) => {
                let registered: ScopeSet = parsed(&app_scopes, "app", "scopes")?;
                let consent = consent_of(id, &scopes, row.group_ids, row.expires_at)?;
                Some(Consent { scopes: consent.scopes.intersection(&registered), ..consent })
            }
            _ => None,
        };
        Ok(Authority { consent, token_revoked: row.token_revoked })
    }
}

/// Waits until nobody else changes the consents of the practice to the app.
async fn lock(connection: &mut PgConnection, practice: PracticeNumber, client: &ClientId) -> Result<()> {
    sqlx::query!(
        "/* consent: lock */
         SELECT 1 AS locked FROM pg_advisory_xact_lock(hashtextextended('headgate.consent ' || $1 || ' ' || $2, 0))",
        practice.to_string(),
        client.as_str(),
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// Adds the row of a consent, which takes the place of another or of none.
async fn insert(connection: &mut PgConnection, new: &NewConsent, amends: Option<Uuid>) -> Result<()> {
    let groups: Option<Vec<String>> = match &new.groups {
        GroupAccess::All => None,
        GroupAccess::Only(groups) => Some(groups.iter().cloned().collect()),
    };
    sqlx::query!(
        "/* consent: insert */
         INSERT INTO headgate.consent
             (practice_number, consent_id, client_id, scopes, group_ids, granted_by, expires_at, amends, revision)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8,
                 -- Of all consents of the two: who read the one before cannot take this one for it.
                 (SELECT coalesce(max(c.revision), 0) + 1 FROM headgate.consent c
                   WHERE c.practice_number = $1 AND c.client_id = $3))",
        new.practice.get(),
        new.consent_id,
        new.client.as_str(),
        new.scopes.to_string(),
        groups.as_deref(),
        new.granted_by,
        new.expires_at,
        amends,
    )
    .execute(connection)
    .await?;
    Ok(())
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
