//! Pausing, draining and resuming: an operator's hold on a practice or on the fleet.
//!
//! A pause takes no authority away and ends nothing: workers take up nothing new (`headgate.pause` is what they ask),
//! kick-offs are accepted and wait, and purging goes on. With a drain, what runs checkpoints and is given back too.

use chrono::{DateTime, Utc};
use headgate_domain::PracticeNumber;
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::audit::{self, Audit};
use crate::error::stale_if;
use crate::{Result, Store, acquire, doorbell};

/// Rings for so many practices at most when the fleet goes on: the others are found by looking.
const RINGS: i64 = 100;

/// That a practice or the fleet is paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Since when.
    pub at: DateTime<Utc>,
    /// Who did it, or last changed why.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Whether what runs is given back too.
    pub drains: bool,
}

/// What a deed changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PauseChange {
    /// The pause that there was.
    pub before: Option<Pause>,
    /// The pause that there is now.
    pub now: Option<Pause>,
}

/// A row as every statement here returns it.
struct Row {
    paused_at: Option<DateTime<Utc>>,
    paused_by: Option<String>,
    pause_reason: Option<String>,
    pause_drains: bool,
}

impl From<Row> for Option<Pause> {
    fn from(row: Row) -> Self {
        Pause::of(row.paused_at, row.paused_by, row.pause_reason, row.pause_drains)
    }
}

impl Pause {
    pub(crate) fn of(
        at: Option<DateTime<Utc>>,
        by: Option<String>,
        reason: Option<String>,
        drains: bool,
    ) -> Option<Self> {
        at.map(|at| Self { at, by: by.unwrap_or_default(), reason: reason.unwrap_or_default(), drains })
    }

    fn told(&self) -> Value {
        json!({ "at": self.at, "by": self.by, "reason": self.reason, "drain": self.drains })
    }
}

/// The pause of a practice of the revision `if_match`, locked until the transaction ends.
async fn of_practice(
    connection: &mut PgConnection,
    practice: PracticeNumber,
    if_match: Option<i64>,
) -> Result<Option<Row>> {
    Ok(sqlx::query_as!(
        Row,
        "/* pause: of_practice */
         SELECT paused_at, paused_by, pause_reason, pause_drains FROM headgate.practice
         WHERE practice_number = $1 AND ($2::bigint IS NULL OR revision = $2) FOR UPDATE",
        practice.get(),
        if_match,
    )
    .fetch_optional(connection)
    .await?)
}

/// The pause of the fleet, locked until the transaction ends.
async fn of_fleet(connection: &mut PgConnection) -> Result<Row> {
    Ok(sqlx::query_as!(
        Row,
        "/* pause: of_fleet */
         SELECT paused_at, paused_by, pause_reason, pause_drains FROM headgate.fleet FOR UPDATE",
    )
    .fetch_one(connection)
    .await?)
}

/// The event, with what there was before.
fn event(audit: &Audit, before: Option<&Pause>) -> Audit {
    audit.clone().and(json!({ "before": before.map(Pause::told) }))
}

impl Store {
    /// Pauses a practice; `None` when there is no such practice. Pausing it again changes who and why and keeps since
    /// when; with `drain` a pause becomes a drain, and without it a drain stays one.
    ///
    /// # Errors
    /// [`crate::Error::Stale`] when it is not of the revision `if_match`.
    pub async fn pause_practice(
        &self,
        practice: PracticeNumber,
        by: &str,
        reason: &str,
        drain: bool,
        if_match: Option<i64>,
        audit: &Audit,
    ) -> Result<Option<PauseChange>> {
        let mut tx = self.at(practice).await?;
        let before = of_practice(&mut tx, practice, if_match).await?;
        let Some(before) = before else {
            drop(tx);
            stale_if(if_match, self.practice(practice).await?.is_some())?;
            return Ok(None);
        };
        let now = sqlx::query_as!(
            Row,
            "/* pause_practice */
             UPDATE headgate.practice
             SET paused_at = coalesce(paused_at, clock_timestamp()), paused_by = $2, pause_reason = $3,
                 pause_drains = pause_drains OR $4, revision = revision + 1, updated_at = clock_timestamp()
             WHERE practice_number = $1
             RETURNING paused_at, paused_by, pause_reason, pause_drains",
            practice.get(),
            by,
            reason,
            drain,
        )
        .fetch_one(&mut *tx)
        .await?;
        let change = PauseChange { before: before.into(), now: now.into() };
        audit::record(&mut tx, &event(audit, change.before.as_ref())).await?;
        tx.commit().await?;
        Ok(Some(change))
    }

    /// Ends a practice's pause and rings; `None` when there is no such practice. It stays paused while the fleet is.
    ///
    /// # Errors
    /// As [`Store::pause_practice`].
    pub async fn unpause_practice(
        &self,
        practice: PracticeNumber,
        if_match: Option<i64>,
        audit: &Audit,
    ) -> Result<Option<PauseChange>> {
        let mut tx = self.at(practice).await?;
        let before = of_practice(&mut tx, practice, if_match).await?;
        let Some(before) = before else {
            drop(tx);
            stale_if(if_match, self.practice(practice).await?.is_some())?;
            return Ok(None);
        };
        sqlx::query!(
            "/* unpause_practice */
             UPDATE headgate.practice
             SET resumed_at = CASE WHEN paused_at IS NULL THEN resumed_at ELSE clock_timestamp() END,
                 paused_at = NULL, paused_by = NULL, pause_reason = NULL, pause_drains = false,
                 revision = revision + 1, updated_at = clock_timestamp()
             WHERE practice_number = $1",
            practice.get(),
        )
        .execute(&mut *tx)
        .await?;
        let change = PauseChange { before: before.into(), now: None };
        audit::record(&mut tx, &event(audit, change.before.as_ref())).await?;
        doorbell::ring(&mut tx, practice).await?;
        tx.commit().await?;
        Ok(Some(change))
    }

    /// Pauses all practices; as [`Store::pause_practice`] otherwise.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn pause_fleet(
        &self,
        by: &str,
        reason: &str,
        drain: bool,
        audit: &Audit,
    ) -> Result<PauseChange> {
        let mut tx = self.everywhere().await?;
        let before = of_fleet(&mut tx).await?;
        let now = sqlx::query_as!(
            Row,
            "/* pause_fleet */
             UPDATE headgate.fleet
             SET paused_at = coalesce(paused_at, clock_timestamp()), paused_by = $1, pause_reason = $2,
                 pause_drains = pause_drains OR $3
             RETURNING paused_at, paused_by, pause_reason, pause_drains",
            by,
            reason,
            drain,
        )
        .fetch_one(&mut *tx)
        .await?;
        let change = PauseChange { before: before.into(), now: now.into() };
        audit::record(&mut tx, &event(audit, change.before.as_ref())).await?;
        tx.commit().await?;
        Ok(change)
    }

    /// Ends the pause of the fleet and rings for the practices that have live exports. Practices that are paused
    /// themselves stay so.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resume_fleet(&self, audit: &Audit) -> Result<PauseChange> {
        let mut tx = self.everywhere().await?;
        let before = of_fleet(&mut tx).await?;
        sqlx::query!(
            "/* resume_fleet */
             UPDATE headgate.fleet
             SET resumed_at = CASE WHEN paused_at IS NULL THEN resumed_at ELSE clock_timestamp() END,
                 paused_at = NULL, paused_by = NULL, pause_reason = NULL, pause_drains = false",
        )
        .execute(&mut *tx)
        .await?;
        let change = PauseChange { before: before.into(), now: None };
        audit::record(&mut tx, &event(audit, change.before.as_ref())).await?;
        let waiting = sqlx::query_scalar!(
            "/* resume_fleet: waiting */
             SELECT DISTINCT practice_number FROM headgate.export
             WHERE state IN ('accepted', 'planning', 'running', 'finishing') LIMIT $1",
            RINGS,
        )
        .fetch_all(&mut *tx)
        .await?;
        for number in waiting {
            doorbell::ring(&mut tx, acquire::practice(number, "export")?).await?;
        }
        tx.commit().await?;
        Ok(change)
    }
}
