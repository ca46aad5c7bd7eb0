//! The database roles of the API and the workers: what each may do, and row-level security.

use sqlx::{AssertSqlSafe, Row as _};

use crate::{Error, Result, Store};

/// The policies and grants, with `{api}` and `{worker}` for the names of the roles.
const ROLES: &str = include_str!("../../../migrations/roles.sql");

/// The names of the roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles {
    /// The API connects as this one.
    pub api: String,
    /// Workers connect as this one.
    pub worker: String,
}

impl Store {
    /// Grants the roles what they need and sets the policies, where both roles exist; returns whether they do. Doing it
    /// again does no harm. With `create`, roles that are missing are created first, able to log in and without a
    /// password.
    ///
    /// # Errors
    /// When we may not create roles, or the database fails.
    pub async fn grant_roles(&self, roles: &Roles, create: bool) -> Result<bool> {
        let mut tx = self.begin().await?;
        // Whoever waits for a table here makes everybody else wait behind: better to fail, and be run again.
        sqlx::query("/* grant_roles: patience */ SET LOCAL lock_timeout = '5s'").execute(&mut *tx).await?;
        for name in [&roles.api, &roles.worker] {
            let there = sqlx::query("/* grant_roles: look */ SELECT FROM pg_roles WHERE rolname = $1")
                .bind(name)
                .fetch_optional(&mut *tx)
                .await?
                .is_some();
            if !there && !create {
                return Ok(false);
            }
            if !there {
                let statement = format!("CREATE ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS", quoted(name));
                sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await?;
            }
        }
        let statements =
            ROLES.replace("{api}", &quoted(&roles.api)).replace("{worker}", &quoted(&roles.worker));
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *tx).await?;
        sqlx::query("/* grant_roles: tidy */ DROP FUNCTION pg_temp.has_policy(text, text)")
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Whether row-level security binds this connection: it is neither a superuser's nor the owner's, nor may it go
    /// past it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_bound_by_policies(&self) -> Result<bool> {
        let row = sqlx::query(
            "/* is_bound_by_policies */ SELECT row_security_active('headgate.export'::regclass) AS bound",
        )
        .fetch_one(&self.pool)
        .await?;
        row.try_get("bound").map_err(Error::from)
    }
}

/// A name as an identifier.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests;
