//! The inline keys of an app. A rotation overlaps: the new key is added, and works, before the former one is taken
//! out or stops at a time that was set.

use chrono::{DateTime, Utc};
use headgate_domain::ClientId;
use serde_json::Value;
use sqlx::PgConnection;

use crate::audit::{self, Audit};
use crate::error::stale_if;
use crate::{Error, Result, Store};

/// Keys of an app that work at a time, at most: as many as a key set may have.
const MOST: u32 = 32;

/// A public key of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppKey {
    /// Its id.
    pub kid: String,
    /// The JWK.
    pub jwk: Value,
    /// Since when it works.
    pub created_at: DateTime<Utc>,
    /// When it stops working by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl AppKey {
    /// Whether it works at a time.
    #[must_use]
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| end > now)
    }
}

pub(super) async fn insert(
    connection: &mut PgConnection,
    client: &ClientId,
    keys: &[(String, Value)],
) -> Result<()> {
    let (kids, jwks): (Vec<String>, Vec<Value>) = keys.iter().cloned().unzip();
    sqlx::query!(
        "/* app keys: insert */
         INSERT INTO headgate.app_key (client_id, kid, jwk)
         SELECT $1, key.kid, key.jwk FROM unnest($2::text[], $3::jsonb[]) AS key (kid, jwk)",
        client.as_str(),
        &kids,
        &jwks,
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn revoke_all(connection: &mut PgConnection, client: &ClientId) -> Result<()> {
    sqlx::query!(
        "/* app keys: revoke all */
         UPDATE headgate.app_key SET revoked_at = clock_timestamp() WHERE client_id = $1 AND revoked_at IS NULL",
        client.as_str(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The keys of these apps with the client id of each.
pub(super) async fn read(connection: &mut PgConnection, clients: &[String]) -> Result<Vec<(String, AppKey)>> {
    let rows = sqlx::query!(
        "/* app keys: read */
         SELECT client_id, kid, jwk, created_at, expires_at, revoked_at FROM headgate.app_key
         WHERE client_id = ANY ($1) ORDER BY client_id, kid",
        clients,
    )
    .fetch_all(connection)
    .await?;
    let keys = rows.into_iter().map(|row| {
        let key = AppKey {
            kid: row.kid,
            jwk: row.jwk,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        };
        (row.client_id, key)
    });
    Ok(keys.collect())
}

impl Store {
    /// Adds keys to an app. The ones that are there work on, or stop at `former_expire_at`. With `replace_url`, an app
    /// that had its keys at a URL has these instead. `None` when there is no such app.
    ///
    /// # Errors
    /// [`crate::Error::Exists`] when the app has, or had, a key of one of the ids: ids are never used twice.
    /// [`crate::Error::TooMany`] when more than 32 would work at a time, [`crate::Error::Stale`] when it is not of the
    /// revision `if_match`.
    pub async fn add_app_keys(
        &self,
        client: &ClientId,
        keys: &[(String, Value)],
        former_expire_at: Option<DateTime<Utc>>,
        replace_url: bool,
        if_match: Option<i64>,
        audit: &Audit,
    ) -> Result<Option<()>> {
        let mut tx = self.begin().await?;
        let Some(()) = touch(&mut tx, client, replace_url, if_match).await? else {
            drop(tx);
            stale_if(if_match, self.app(client).await?.is_some())?;
            return Ok(None);
        };
        if let Some(end) = former_expire_at {
            sqlx::query!(
                "/* add_app_keys: former */
                 UPDATE headgate.app_key SET expires_at = least(expires_at, $2)
                 WHERE client_id = $1 AND revoked_at IS NULL",
                client.as_str(),
                end,
            )
            .execute(&mut *tx)
            .await?;
        }
        insert(&mut tx, client, keys).await?;
        let live = sqlx::query_scalar!(
            r#"/* add_app_keys: live */
             SELECT count(*) AS "live!" FROM headgate.app_key
             WHERE client_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())"#,
            client.as_str(),
        )
        .fetch_one(&mut *tx)
        .await?;
        if live > i64::from(MOST) {
            return Err(Error::TooMany { of: "keys of an app that work at a time", most: MOST });
        }
        audit::record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(Some(()))
    }

    /// Revokes a key of an app now, or has it stop at a time. `None` when the app has no such key that works.
    ///
    /// # Errors
    /// [`crate::Error::Stale`] when the app is not of the revision `if_match`.
    pub async fn revoke_app_key(
        &self,
        client: &ClientId,
        kid: &str,
        at: Option<DateTime<Utc>>,
        if_match: Option<i64>,
        audit: &Audit,
    ) -> Result<Option<()>> {
        let mut tx = self.begin().await?;
        let Some(()) = touch(&mut tx, client, false, if_match).await? else {
            drop(tx);
            stale_if(if_match, self.app(client).await?.is_some())?;
            return Ok(None);
        };
        let moved = sqlx::query!(
            "/* revoke_app_key */
             UPDATE headgate.app_key
             SET revoked_at = CASE WHEN $3::timestamptz IS NULL THEN clock_timestamp() END,
                 expires_at = least(expires_at, $3)
             WHERE client_id = $1 AND kid = $2 AND revoked_at IS NULL",
            client.as_str(),
            kid,
            at,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if moved == 0 {
            return Ok(None);
        }
        audit::record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(Some(()))
    }
}

/// Gives the app its next revision.
async fn touch(
    connection: &mut PgConnection,
    client: &ClientId,
    replace_url: bool,
    if_match: Option<i64>,
) -> Result<Option<()>> {
    let moved = sqlx::query!(
        "/* app keys: touch */
         UPDATE headgate.app
         SET revision = revision + 1, jwks_url = CASE WHEN $2 THEN NULL ELSE jwks_url END
         WHERE client_id = $1 AND ($3::bigint IS NULL OR revision = $3)",
        client.as_str(),
        replace_url,
        if_match,
    )
    .execute(connection)
    .await?
    .rows_affected();
    Ok((moved == 1).then_some(()))
}
