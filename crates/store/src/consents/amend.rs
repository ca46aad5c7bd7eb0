//! Amending a consent: another one takes its place. Exports that the new one covers go on under it, the others are
//! revoked.

use chrono::{DateTime, Utc};
use headgate_domain::consent::GroupAccess;
use headgate_domain::scope::ScopeSet;
use headgate_domain::{ClientId, PracticeNumber};
use uuid::Uuid;

use super::{NewConsent, consent_of, insert, lock};
use crate::audit::{self, Audit};
use crate::endings::end_exports_beyond;
use crate::error::stale_if;
use crate::{Result, Store};

/// What is to change of a consent; what is absent stays.
#[derive(Debug, Clone, Default)]
pub struct ConsentChange {
    /// What the app may read; no more than it is registered for.
    pub scopes: Option<ScopeSet>,
    /// Which groups it may export.
    pub groups: Option<GroupAccess>,
    /// When it ends by itself; `Some(None)`: never.
    pub expires_at: Option<Option<DateTime<Utc>>>,
}

impl Store {
    /// Puts an amended consent in the place of the one in force; returns its id and how many exports were revoked.
    /// `None` when none is in force.
    ///
    /// # Errors
    /// [`crate::Error::Stale`] when it is not of the revision `if_match`; or when the database fails: then nothing was
    /// changed.
    pub async fn amend_consent(
        &self,
        practice: PracticeNumber,
        client: &ClientId,
        change: &ConsentChange,
        by: &str,
        if_match: Option<i64>,
        audit: &Audit,
    ) -> Result<Option<(Uuid, u64)>> {
        let mut tx = self.at(practice).await?;
        lock(&mut tx, practice, client).await?;
        let former = sqlx::query!(
            "/* amend_consent: former */
             UPDATE headgate.consent
             SET revoked_at = clock_timestamp(), revoked_by = $3, revoke_reason = 'amended', revision = revision + 1
             WHERE practice_number = $1 AND client_id = $2 AND revoked_at IS NULL
               AND (expires_at IS NULL OR expires_at > clock_timestamp())
               AND ($4::bigint IS NULL OR revision = $4)
             RETURNING consent_id, scopes, group_ids, expires_at",
            practice.get(),
            client.as_str(),
            by,
            if_match,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = former else {
            drop(tx);
            stale_if(if_match, self.consent_of_app(practice, client).await?.is_some())?;
            return Ok(None);
        };
        let former = consent_of(row.consent_id, &row.scopes, row.group_ids, row.expires_at)?;
        let new = NewConsent {
            practice,
            consent_id: Uuid::new_v4(),
            client: client.clone(),
            scopes: change.scopes.clone().unwrap_or(former.scopes),
            groups: change.groups.clone().unwrap_or(former.groups),
            granted_by: by.to_owned(),
            expires_at: change.expires_at.unwrap_or(former.expires_at),
        };
        insert(&mut tx, &new, Some(former.id)).await?;
        let because = "the consent was narrowed";
        let ended =
            end_exports_beyond(&mut tx, Some(practice), client, &new.scopes, &new.groups, because).await?;
        let goes_on = sqlx::query!(
            "/* amend_consent: go on */
             UPDATE headgate.export SET consent_id = $3
             WHERE practice_number = $1 AND consent_id = $2
               AND state IN ('accepted', 'planning', 'running', 'finishing', 'completed')",
            practice.get(),
            former.id,
            new.consent_id,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        let facts = serde_json::json!({
            "consent": new.consent_id,
            "amends": former.id,
            "scopes": new.scopes.to_string(),
            "ended_exports": ended,
            "continued_exports": goes_on,
        });
        audit::record(&mut tx, &audit.clone().and(facts)).await?;
        tx.commit().await?;
        Ok(Some((new.consent_id, ended)))
    }
}
