//! The keys that sign access tokens. They are kept here so that every API process signs with the same
//! one and verifies what another one signed.

use crate::{Result, Store};

impl Store {
    /// The keys that are not retired, newest first: the first signs, all verify. A key is its id and its
    /// private part as PKCS#8.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn signing_keys(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let rows = sqlx::query!(
            "/* signing_keys */
             SELECT kid, private_der FROM headgate.signing_key WHERE retired_at IS NULL
             ORDER BY created_at DESC, kid",
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (row.kid, row.private_der)).collect())
    }

    /// Stores a first key where there is none. Two processes that start at once end up with one key.
    /// `generate` makes the key's id and its private part as PKCS#8; it is not called when there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ensure_signing_key(&self, generate: impl FnOnce() -> (String, Vec<u8>)) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query!(
            "/* ensure_signing_key */
             SELECT 1 AS locked FROM pg_advisory_xact_lock(hashtextextended('headgate.signing_key', 0))",
        )
        .fetch_one(&mut *tx)
        .await?;
        let live = sqlx::query_scalar!(
            r#"/* ensure_signing_key */
             SELECT EXISTS (SELECT 1 FROM headgate.signing_key WHERE retired_at IS NULL) AS "live!""#,
        )
        .fetch_one(&mut *tx)
        .await?;
        if !live {
            let (kid, private_der) = generate();
            sqlx::query!(
                "/* ensure_signing_key */ INSERT INTO headgate.signing_key (kid, private_der) VALUES ($1, $2)",
                kid,
                private_der,
            )
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
