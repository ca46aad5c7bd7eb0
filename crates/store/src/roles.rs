//! The database roles of the API and the workers: what each may do, and row-level security.

use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use crate::{Error, Result, Store};

/// The policies and grants, with `{api}` and `{worker}` for the names of the roles.
const ROLES: &str = include_str!("../../../migrations/roles.sql");

/// What whoever scales the workers may do, with `{observer}` for the name of the role.
const OBSERVER: &str = include_str!("../../../migrations/observer.sql");

/// The names of the roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles {
    /// The API connects as this one.
    pub api: String,
    /// Workers connect as this one.
    pub worker: String,
    /// Whoever scales the workers connects as this one.
    pub observer: String,
}

/// To whom something was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// To the roles of the API and the workers: both exist.
    pub engine: bool,
    /// To the observer.
    pub observer: bool,
}

impl Store {
    /// Grants the roles what they need and sets the policies: those of the API and the workers, where both exist, and the
    /// observer, where it does. Doing it again does no harm. With `create`, roles that are missing are created first, able
    /// to log in and without a password.
    ///
    /// # Errors
    /// When we may not create roles, or the database fails.
    pub async fn grant_roles(&self, roles: &Roles, create: bool) -> Result<Granted> {
        let mut tx = self.begin().await?;
        // Whoever waits for a table here makes everybody else wait behind: better to fail, and be run again.
        sqlx::query("/* grant_roles: patience */ SET LOCAL lock_timeout = '5s'").execute(&mut *tx).await?;
        let observer = is_there(&mut tx, &roles.observer, create).await?;
        let (api, worker) =
            (is_there(&mut tx, &roles.api, create).await?, is_there(&mut tx, &roles.worker, create).await?);
        let granted = Granted { engine: api && worker, observer };
        if granted.engine {
            let statements =
                ROLES.replace("{api}", &quoted(&roles.api)).replace("{worker}", &quoted(&roles.worker));
            sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *tx).await?;
            sqlx::query("/* grant_roles: tidy */ DROP FUNCTION pg_temp.has_policy(text, text)")
                .execute(&mut *tx)
                .await?;
        }
        if granted.observer {
            let statements = OBSERVER.replace("{observer}", &quoted(&roles.observer));
            sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(granted)
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

/// Whether there is such a role; with `create` there is one afterwards.
async fn is_there(connection: &mut PgConnection, name: &str, create: bool) -> Result<bool> {
    let there = sqlx::query("/* grant_roles: look */ SELECT FROM pg_roles WHERE rolname = $1")
        .bind(name)
        .fetch_optional(&mut *connection)
        .await?
        .is_some();
    if !there && create {
        let statement = format!("CREATE ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS", quoted(name));
        sqlx::query(AssertSqlSafe(statement)).execute(connection).await?;
    }
    Ok(there || create)
}

/// A name as an identifier.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests;
