//! Idempotency keys of the admin API: a deed that was asked for twice under one key is done once.
//!
//! The key is written in the transaction of the deed, so there is no moment at which the one is there without the
//! other. The answer is kept afterwards, for whoever asks again; where the process died in between, the deed is known
//! to be done and its answer is not.

use sqlx::PgConnection;

use crate::{Error, Result, Store};

/// A key, whose it is, and what was asked for under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// Who asks.
    pub subject: String,
    /// The key, at most 255 characters.
    pub key: String,
    /// SHA-256 of method, path and body.
    pub fingerprint: [u8; 32],
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotentRecord {
    /// What was asked for.
    pub fingerprint: Vec<u8>,
    /// Status, headers and body of the answer, if it was kept.
    pub answer: Option<(u16, String, Vec<u8>)>,
}

/// Uses up a key within the transaction of its deed.
pub(crate) async fn use_up(connection: &mut PgConnection, key: &Idempotency) -> Result<()> {
    let first = sqlx::query!(
        "/* idempotency::use_up */
         INSERT INTO headgate.idempotency (subject, key, fingerprint) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        key.subject,
        key.key,
        &key.fingerprint,
    )
    .execute(connection)
    .await?
    .rows_affected();
    if first == 1 { Ok(()) } else { Err(Error::Repeated) }
}

impl Store {
    /// What is known of a key; `None` when it was not used within the last 24 hours or so.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn idempotent_answer(&self, subject: &str, key: &str) -> Result<Option<IdempotentRecord>> {
        let row = sqlx::query!(
            "/* idempotent_answer */
             SELECT fingerprint, status, headers, body FROM headgate.idempotency WHERE subject = $1 AND key = $2",
            subject,
            key,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| IdempotentRecord {
            fingerprint: row.fingerprint,
            answer: row
                .status
                .and_then(|status| u16::try_from(status).ok())
                .map(|status| (status, row.headers.unwrap_or_default(), row.body.unwrap_or_default())),
        }))
    }

    /// Keeps the answer to a deed, for whoever asks again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_answer(
        &self,
        subject: &str,
        key: &str,
        status: u16,
        headers: &str,
        body: &[u8],
    ) -> Result<()> {
        sqlx::query!(
            "/* keep_answer */
             UPDATE headgate.idempotency SET status = $3, headers = $4, body = $5
             WHERE subject = $1 AND key = $2 AND status IS NULL",
            subject,
            key,
            i32::from(status),
            headers,
            body,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
