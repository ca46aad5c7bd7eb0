//! Used client assertions: each authenticates once.

use chrono::{DateTime, Utc};
use headgate_domain::ClientId;

use crate::audit::{self, Audit};
use crate::{Result, Store};

impl Store {
    /// Uses up an assertion, and records the token that is issued for it. `false` when it was used
    /// before, here or in another process at the same time: then no token may be issued.
    ///
    /// Both are committed before this returns, so that a token without its audit row is impossible.
    ///
    /// # Errors
    /// When the database fails: then no token may be issued either.
    pub async fn use_assertion(
        &self,
        client: &ClientId,
        jti: &str,
        replayable_until: DateTime<Utc>,
        audit: &Audit,
    ) -> Result<bool> {
        let mut tx = self.begin().await?;
        let first = sqlx::query!(
            "/* use_assertion */
             INSERT INTO headgate.assertion_replay (client_id, jti, expires_at) VALUES ($1, $2, $3)
             ON CONFLICT DO NOTHING",
            client.as_str(),
            jti,
            replayable_until,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if first == 0 {
            return Ok(false);
        }
        audit::record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(true)
    }
}
