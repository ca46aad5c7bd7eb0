//! Access tokens that their clients gave back before their time (RFC 7009).

use chrono::{DateTime, Utc};
use headgate_domain::ClientId;

use crate::audit::{self, Audit};
use crate::{Result, Store};

impl Store {
    /// Revokes a token; doing it twice is fine. `until` is when it would have ended by itself.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_token(
        &self,
        jti: &str,
        client: &ClientId,
        until: DateTime<Utc>,
        audit: &Audit,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        let first = sqlx::query!(
            "/* revoke_token */
             INSERT INTO headgate.revoked_token (jti, client_id, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            jti,
            client.as_str(),
            until,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if first == 1 {
            audit::record(&mut tx, audit).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
