//! The keys that sign access tokens. They are kept here so that every API process signs with the same one and verifies
//! what another one signed; their private parts come and go encrypted.
//!
//! A key is published before it signs, so that whoever caches the key set knows it by then, and verifies for a while
//! after another one has taken its place, so that no token dies before its time.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::acquire::interval;
use crate::audit::{self, Audit};
use crate::{Result, Store};

/// A stored key.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Its id.
    pub kid: String,
    /// Its private part as PKCS#8, encrypted.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// From when on it signs, unless a later one does.
    pub signs_from: DateTime<Utc>,
    /// Until when tokens under it are accepted; none: without an end so far.
    pub verifies_until: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl Store {
    /// All keys, the newest first, those that no longer verify too.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn signing_keys(&self) -> Result<Vec<StoredKey>> {
        Ok(sqlx::query_as!(
            StoredKey,
            "/* signing_keys */
             SELECT kid, sealed, created_at, signs_from, verifies_until FROM headgate.signing_key
             ORDER BY signs_from DESC, created_at DESC, kid",
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// Stores a first key where there is none that verifies; it signs at once. Two processes that start at once end up
    /// with one key. Returns whether this one was stored.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ensure_signing_key(&self, kid: &str, sealed: &[u8]) -> Result<bool> {
        let mut tx = self.begin().await?;
        lock(&mut tx).await?;
        let live = sqlx::query_scalar!(
            r#"/* ensure_signing_key */
             SELECT EXISTS (SELECT FROM headgate.signing_key
                             WHERE verifies_until IS NULL OR verifies_until > clock_timestamp()) AS "live!""#,
        )
        .fetch_one(&mut *tx)
        .await?;
        if !live {
            insert(&mut tx, kid, sealed, Duration::ZERO).await?;
        }
        tx.commit().await?;
        Ok(!live)
    }

    /// Adds a key that signs after `signs_after`; the former ones verify for `former_verify_for` from then on. With
    /// `unless_younger`, nothing is done when the newest key is not as old as that: then another process was quicker,
    /// and `false` is returned.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_signing_key(
        &self,
        kid: &str,
        sealed: &[u8],
        signs_after: Duration,
        former_verify_for: Duration,
        unless_younger: Option<Duration>,
        audit: &Audit,
    ) -> Result<bool> {
        let mut tx = self.begin().await?;
        lock(&mut tx).await?;
        let due = sqlx::query_scalar!(
            r#"/* add_signing_key: due */
             SELECT $1::interval IS NULL
                 OR NOT EXISTS (SELECT FROM headgate.signing_key
                                 WHERE created_at > clock_timestamp() - $1::interval
                                   AND (verifies_until IS NULL OR verifies_until > clock_timestamp())) AS "due!""#,
            unless_younger.map(interval),
        )
        .fetch_one(&mut *tx)
        .await?;
        if !due {
            return Ok(false);
        }
        sqlx::query!(
            "/* add_signing_key: former */
             UPDATE headgate.signing_key SET verifies_until = clock_timestamp() + $1::interval + $2::interval
             WHERE verifies_until IS NULL",
            interval(signs_after),
            interval(former_verify_for),
        )
        .execute(&mut *tx)
        .await?;
        insert(&mut tx, kid, sealed, signs_after).await?;
        audit::record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Ends a key now: tokens under it are refused. `Some(false)`: no other one would sign, now or later, `None`: there is no
    /// such key that verifies.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn retire_signing_key(&self, kid: &str, audit: &Audit) -> Result<Option<bool>> {
        let mut tx = self.begin().await?;
        lock(&mut tx).await?;
        // Without it a key has to sign now, and one to go on signing: the one without an end.
        let enough = sqlx::query_scalar!(
            r#"/* retire_signing_key: enough */
             SELECT coalesce(bool_or(signs_from <= clock_timestamp()) AND bool_or(verifies_until IS NULL), false) AS "enough!"
               FROM headgate.signing_key
              WHERE kid <> $1 AND (verifies_until IS NULL OR verifies_until > clock_timestamp())"#,
            kid,
        )
        .fetch_one(&mut *tx)
        .await?;
        if !enough {
            let there = sqlx::query!(
                "/* retire_signing_key: there */ SELECT kid FROM headgate.signing_key WHERE kid = $1",
                kid,
            )
            .fetch_optional(&mut *tx)
            .await?;
            return Ok(there.map(|_| false));
        }
        let moved = sqlx::query!(
            "/* retire_signing_key */
             UPDATE headgate.signing_key SET verifies_until = clock_timestamp()
             WHERE kid = $1 AND (verifies_until IS NULL OR verifies_until > clock_timestamp())",
            kid,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if moved == 0 {
            return Ok(None);
        }
        audit::record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(Some(true))
    }

    /// Replaces the encrypted form of a key, after the key that encrypts it has changed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reseal_signing_key(&self, kid: &str, sealed: &[u8]) -> Result<()> {
        sqlx::query!(
            "/* reseal_signing_key */ UPDATE headgate.signing_key SET sealed = $2 WHERE kid = $1",
            kid,
            sealed,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// One process at a time changes the keys.
async fn lock(connection: &mut PgConnection) -> Result<()> {
    sqlx::query!(
        "/* signing_keys: lock */
         SELECT 1 AS locked FROM pg_advisory_xact_lock(hashtextextended('headgate.signing_key', 0))",
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

async fn insert(
    connection: &mut PgConnection,
    kid: &str,
    sealed: &[u8],
    signs_after: Duration,
) -> Result<()> {
    sqlx::query!(
        "/* signing_keys: insert */
         INSERT INTO headgate.signing_key (kid, sealed, signs_from) VALUES ($1, $2, clock_timestamp() + $3)",
        kid,
        sealed,
        interval(signs_after),
    )
    .execute(connection)
    .await?;
    Ok(())
}
