//! Why assertions of an app were refused: what its vendor looks at when it gets no token.
//!
//! Counted by reason, so that a client that hammers fills nothing. What is written is what we say, and the key id and
//! the address that came with the last one: never the assertion.

use chrono::{DateTime, Utc};
use headgate_domain::ClientId;

use crate::error::number;
use crate::{Result, Store};

/// Refused assertions to be counted.
#[derive(Debug, Clone)]
pub struct NewRefusal<'a> {
    /// Whose they claim to be.
    pub client: &'a ClientId,
    /// A stable code.
    pub reason: &'static str,
    /// What the client was told.
    pub description: &'a str,
    /// How many.
    pub occurrences: u64,
    /// The key id of the last one.
    pub kid: Option<&'a str>,
    /// Where the last one came from.
    pub address: &'a str,
}

/// Refused assertions of one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A stable code.
    pub reason: String,
    /// What the client was told the last time.
    pub description: String,
    /// How many.
    pub occurrences: u64,
    /// When it happened first.
    pub first_at: DateTime<Utc>,
    /// When it happened last.
    pub last_at: DateTime<Utc>,
    /// The key id of the last one.
    pub kid: Option<String>,
    /// Where the last one came from.
    pub address: Option<String>,
}

impl Store {
    /// Counts refused assertions.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_refusals(&self, new: &NewRefusal<'_>) -> Result<()> {
        let occurrences: i64 = number(new.occurrences, "assertion_refusal", "occurrences")?;
        sqlx::query!(
            "/* count_refusals */
             INSERT INTO headgate.assertion_refusal AS r (client_id, reason, description, occurrences, kid, address)
             SELECT $1, $2, $3, $4, $5, $6 WHERE EXISTS (SELECT FROM headgate.app WHERE client_id = $1)
             ON CONFLICT (client_id, reason) DO UPDATE
                SET occurrences = r.occurrences + excluded.occurrences, description = excluded.description,
                    last_at = clock_timestamp(), kid = excluded.kid, address = excluded.address",
            new.client.as_str(),
            new.reason,
            new.description,
            occurrences,
            new.kid,
            new.address,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Why assertions of an app were refused, the latest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn refusals(&self, client: &ClientId) -> Result<Vec<Refusal>> {
        let rows = sqlx::query!(
            "/* refusals */
             SELECT reason, description, occurrences, first_at, last_at, kid, address
             FROM headgate.assertion_refusal WHERE client_id = $1 ORDER BY last_at DESC, reason",
            client.as_str(),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(Refusal {
                    reason: row.reason,
                    description: row.description,
                    occurrences: number(row.occurrences, "assertion_refusal", "occurrences")?,
                    first_at: row.first_at,
                    last_at: row.last_at,
                    kid: row.kid,
                    address: row.address,
                })
            })
            .collect()
    }
}
