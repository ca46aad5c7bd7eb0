//! Suspending a practice, an app or a vendor: an operator's stop. Everything that ran under it ends, as when a consent
//! is revoked; resuming lets new tokens and exports through, and revives nothing.

use chrono::{DateTime, Utc};
use headgate_domain::{ClientId, PracticeNumber};
use uuid::Uuid;

use crate::audit::{self, Audit};
use crate::endings::{Whose, end_exports};
use crate::error::stale_if;
use crate::{Result, Store};

/// That something is suspended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// Since when.
    pub at: DateTime<Utc>,
    /// Who did it.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Suspension {
    pub(crate) fn of(at: Option<DateTime<Utc>>, by: Option<String>, reason: Option<String>) -> Option<Self> {
        at.map(|at| Self { at, by: by.unwrap_or_default(), reason: reason.unwrap_or_default() })
    }
}

impl Store {
    /// Suspends a practice and revokes its exports; returns how many. `None` when there is no such practice.
    /// Suspending it again changes who and why.
    ///
    /// # Errors
    /// [`crate::Error::Stale`] when it is not of the revision `if_match`.
    pub async fn suspend_practice(
        &self,
        practice: PracticeNumber,
        by: &str,
        reason: &str,
        if_match: Option<i64>,
        audit: &Audit,
    ) -> Result<Option<u64>> {
        let mut tx = self.at(practice).await?;
        let moved = sqlx::query!(
            "/* suspend_practice */
             UPDATE headgate.practice
             SET suspended_at = coalesce(suspended_at, clock_timestamp()), suspended_by = $2, suspend_reason = $3,
                 revision = revision + 1, updated_at = clock_timestamp()
             WHERE practice_number = $1 AND ($4::bigint IS NULL OR revision = $4)",
            practice.get(),
            by,
            reason,
            if_match,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if moved == 0 {
            drop(tx);
            stale_if(if_match, self.practice(practice).await?.is_some())?;
            return Ok(None);
        }
        let whose = Whose { practice: Some(practice), ..Whose::default() };
        let ended = end_exports(&mut tx, whose, "the practice was suspended").await?;
        audit::record(&mut tx, &audit.clone().and(serde_json::json!({ "ended_exports": ended }))).await?;
        tx.commit().await?;
        Ok(Some(ended))
    }

    /// Lets a practice go on; `false` when there is no such practice.
    ///
    /// # Errors
    /// As [`Store::suspend_practice`].
    pub async fn resume_practice(
        &self,
        practice: PracticeNumber,
        if_match: Option<i64>,
        audit: &Audit,
    ) -> Result<bool> {
        let mut tx = self.at(practice).await?;
        let moved = sqlx::query!(
            "/* resume_practice */
             UPDATE headgate.practice
             SET suspended_at = NULL, suspended_by = NULL, suspend_reason = NULL,
                 revision = revision + 1, updated_at = clock_timestamp()
             WHERE practice_number = $1 AND ($2::bigint IS NULL OR revision = $2)",
            practice.get(),
            if_match,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if moved == 0 {
            drop(tx);
            stale_if(if_match, self.practice(practice).await?.is_some())?;
            return Ok(false);
        }
        audit::record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Suspends an app and revokes its exports at all practices; returns how many. `None` when there is no such app.
    ///
    /// # Errors
    /// [`crate::Error::Stale`] when it is not of the revision `if_match`.
    pub async fn suspend_app(
        &self,
        client: &ClientId,
        by: &str,
        reason: &str,
        if_match: Option<i64>,
        audit: &Audit,
    ) -> Result<Option<u64>> {
        let mut tx = self.everywhere().await?;
        let moved = sqlx::query!(
            "/* suspend_app */
             UPDATE headgate.app
             SET suspended_at = coalesce(suspended_at, clock_timestamp()), suspended_by = $2, suspend_reason = $3,
                 revision = revision + 1
             WHERE client_id = $1 AND ($4::bigint IS NULL OR revision = $4)",
            client.as_str(),
            by,
            reason,
            if_match,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if moved == 0 {
            drop(tx);
            stale_if(if_match, self.app(client).await?.is_some())?;
            return Ok(None);
        }
        let whose = Whose { client: Some(client), ..Whose::default() };
        let ended = end_exports(&mut tx, whose, "the app was suspended").await?;
        audit::record(&mut tx, &audit.clone().and(serde_json::json!({ "ended_exports": ended }))).await?;
        tx.commit().await?;
        Ok(Some(ended))
    }

    /// Lets an app go on; `false` when there is no such app.
    ///
    /// # Errors
    /// As [`Store::suspend_app`].
    pub async fn resume_app(&self, client: &ClientId, if_match: Option<i64>, audit: &Audit) -> Result<bool> {
        let mut tx = self.begin().await?;
        let moved = sqlx::query!(
            "/* resume_app */
             UPDATE headgate.app
             SET suspended_at = NULL, suspended_by = NULL, suspend_reason = NULL, revision = revision + 1
             WHERE client_id = $1 AND ($2::bigint IS NULL OR revision = $2)",
            client.as_str(),
            if_match,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if moved == 0 {
            drop(tx);
            stale_if(if_match, self.app(client).await?.is_some())?;
            return Ok(false);
        }
        audit::record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Suspends a vendor with all its apps, and revokes their exports; returns how many. `None` when there is no such
    /// vendor.
    ///
    /// # Errors
    /// [`crate::Error::Stale`] when it is not of the revision `if_match`.
    pub async fn suspend_vendor(
        &self,
        vendor_id: Uuid,
        by: &str,
        reason: &str,
        if_match: Option<i64>,
        audit: &Audit,
    ) -> Result<Option<u64>> {
        let mut tx = self.everywhere().await?;
        let moved = sqlx::query!(
            "/* suspend_vendor */
             UPDATE headgate.vendor
             SET suspended_at = coalesce(suspended_at, clock_timestamp()), suspended_by = $2, suspend_reason = $3,
                 revision = revision + 1
             WHERE vendor_id = $1 AND ($4::bigint IS NULL OR revision = $4)",
            vendor_id,
            by,
            reason,
            if_match,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if moved == 0 {
            drop(tx);
            stale_if(if_match, self.vendor(vendor_id).await?.is_some())?;
            return Ok(None);
        }
        let whose = Whose { vendor: Some(vendor_id), ..Whose::default() };
        let ended = end_exports(&mut tx, whose, "the vendor was suspended").await?;
        audit::record(&mut tx, &audit.clone().and(serde_json::json!({ "ended_exports": ended }))).await?;
        tx.commit().await?;
        Ok(Some(ended))
    }

    /// Lets a vendor go on; `false` when there is no such vendor.
    ///
    /// # Errors
    /// As [`Store::suspend_vendor`].
    pub async fn resume_vendor(&self, vendor_id: Uuid, if_match: Option<i64>, audit: &Audit) -> Result<bool> {
        let mut tx = self.begin().await?;
        let moved = sqlx::query!(
            "/* resume_vendor */
             UPDATE headgate.vendor
             SET suspended_at = NULL, suspended_by = NULL, suspend_reason = NULL, revision = revision + 1
             WHERE vendor_id = $1 AND ($2::bigint IS NULL OR revision = $2)",
            vendor_id,
            if_match,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if moved == 0 {
            drop(tx);
            stale_if(if_match, self.vendor(vendor_id).await?.is_some())?;
            return Ok(false);
        }
        audit::record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(true)
    }
}
