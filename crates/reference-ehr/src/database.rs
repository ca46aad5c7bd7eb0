//! Connecting to the EHR's database, and its errors without its data.

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};

/// The database could not be reached or refused a statement.
///
/// A refusal is told by SQLSTATE and constraint alone: the server's own message may quote a row, and a
/// row is a patient's data.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The server refused a statement.
    #[error("the database refused a statement: SQLSTATE {sqlstate}{}", in_constraint(.constraint))]
    Refused {
        /// The five characters of the SQLSTATE.
        sqlstate: String,
        /// The constraint that was violated, where there was one.
        constraint: Option<String>,
    },
    /// The connection string is wrong, or the connection failed.
    #[error("the database cannot be used")]
    Unusable(#[source] sqlx::Error),
}

fn in_constraint(constraint: &Option<String>) -> String {
    constraint.as_ref().map(|name| format!(" (constraint {name})")).unwrap_or_default()
}

impl DatabaseError {
    /// Whether the server refused with this SQLSTATE.
    pub(crate) fn is(&self, code: &str) -> bool {
        matches!(self, DatabaseError::Refused { sqlstate, .. } if sqlstate == code)
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(refusal) => DatabaseError::Refused {
                sqlstate: refusal.code().unwrap_or_default().into_owned(),
                constraint: refusal.constraint().map(str::to_owned),
            },
            other => DatabaseError::Unusable(other),
        }
    }
}

/// Opens one connection. Statements are not logged: a slow `COPY` is no news here.
pub(crate) async fn connect(dsn: &str) -> Result<PgConnection, DatabaseError> {
    let options =
        PgConnectOptions::from_str(dsn)?.application_name("headgate-ehr").disable_statement_logging();
    Ok(options.connect().await?)
}

/// Runs one statement without parameters and returns the number of rows it touched. Names that come
/// from outside must have gone through [`quoted`].
pub(crate) async fn execute(connection: &mut PgConnection, sql: String) -> Result<u64, DatabaseError> {
    Ok(sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?.rows_affected())
}

/// A name as SQL identifier.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL literal.
pub(crate) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(quoted("a\"; DROP"), "\"a\"\"; DROP\"");
        assert_eq!(literal("a'b\\"), "E'a''b\\\\'");
    }
}
