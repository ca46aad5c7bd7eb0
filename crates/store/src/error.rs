//! What can go wrong with the control database. Texts carry SQLSTATE and constraint, never a row's content.

use headgate_metrics::database::CONNECTION_TIMEOUTS;

/// Result of the store.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the control database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database or the connection to it failed.
    #[error("control database: {}", describe(.0))]
    Database(#[source] Opaque),
    /// The schema is not one that this program knows.
    #[error("{0}")]
    Schema(String),
    /// The schema is absent, older than this program needs, or not granted to our role yet: `headgate migrate` helps.
    #[error("{0}")]
    Unmigrated(String),
    /// A row holds what no version of this program writes.
    #[error("inconsistent row in {table}.{column}")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// A row with this key exists already.
    #[error("it exists already ({constraint})")]
    Exists {
        /// The violated constraint.
        constraint: String,
    },
    /// A row that is referred to does not exist.
    #[error("it refers to something that does not exist ({constraint})")]
    Missing {
        /// The violated constraint.
        constraint: String,
    },
    /// It was changed since it was read: it is of another revision. Nothing was written.
    #[error("it was changed meanwhile: read it again")]
    Stale,
    /// More of something than there may be. Nothing was written.
    #[error("there may be at most {most} {of}")]
    TooMany {
        /// Of what.
        of: &'static str,
        /// How many there may be.
        most: u32,
    },
    /// A list was asked to go on from a place that it does not know.
    #[error("the cursor is not one that this list gave out")]
    Cursor,
    /// A deed with this idempotency key was done before. Nothing was written.
    #[error("a request with this idempotency key was made before")]
    Repeated,
    /// The lease under which a worker wrote is no longer its own: nothing was written.
    #[error("the lease is lost")]
    LeaseLost,
    /// A doorbell could not be rung.
    #[error("the queue refused a message: {0}")]
    Queue(String),
}

/// A database error whose `Debug` shows no row content (PostgreSQL puts values into `DETAIL`).
pub struct Opaque(pub(crate) sqlx::Error);

impl std::fmt::Debug for Opaque {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&describe(self))
    }
}

impl std::fmt::Display for Opaque {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&describe(self))
    }
}

impl std::error::Error for Opaque {}

fn describe(error: &Opaque) -> String {
    match &error.0 {
        sqlx::Error::Database(e) => {
            let code = e.code().unwrap_or_default().into_owned();
            match e.constraint() {
                Some(constraint) => format!("SQLSTATE {code}, constraint {constraint}"),
                None => format!("SQLSTATE {code}"),
            }
        }
        sqlx::Error::Io(e) => format!("connection: {}", e.kind()),
        sqlx::Error::PoolTimedOut => "no connection became free in time".to_owned(),
        sqlx::Error::PoolClosed => "the pool is closed".to_owned(),
        sqlx::Error::RowNotFound => "a row that must exist is missing".to_owned(),
        sqlx::Error::ColumnDecode { index, .. } => format!("column {index} cannot be decoded"),
        sqlx::Error::Configuration(_) => "the URL is not a PostgreSQL URL".to_owned(),
        sqlx::Error::Tls(_) => "TLS failed".to_owned(),
        _ => "protocol error".to_owned(),
    }
}

impl Error {
    /// Whether trying again later can help (the database is away, busy or failing over).
    #[must_use]
    pub fn is_transient(&self) -> bool {
        let Error::Database(Opaque(error)) = self else { return false };
        match error {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Protocol(_) => true,
            sqlx::Error::Database(e) => e.code().is_some_and(|code| {
                matches!(code.as_ref(), "40001" | "40P01" | "25006" | "25P03" | "55P03" | "57014")
                    || code.starts_with("08")
                    || code.starts_with("53")
                    || code.starts_with("57P")
            }),
            _ => false,
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Database(e) = &error {
            let constraint = e.constraint().unwrap_or_default().to_owned();
            if e.is_unique_violation() {
                return Error::Exists { constraint };
            }
            if e.is_foreign_key_violation() {
                return Error::Missing { constraint };
            }
        }
        if matches!(error, sqlx::Error::PoolTimedOut) {
            CONNECTION_TIMEOUTS.add(1, &[("db.client.connection.pool.name", "control".into())]);
        }
        Error::Database(Opaque(error))
    }
}

/// Turns a text from a row into a typed value, or names the column.
pub(crate) fn parsed<T: std::str::FromStr>(
    text: &str,
    table: &'static str,
    column: &'static str,
) -> Result<T> {
    text.parse().map_err(|_| Error::Inconsistent { table, column })
}

/// Turns a number from a row into another width, or names the column.
pub(crate) fn number<T, U: TryFrom<T>>(value: T, table: &'static str, column: &'static str) -> Result<U> {
    U::try_from(value).map_err(|_| Error::Inconsistent { table, column })
}

/// Reads a JSON column.
pub(crate) fn json<T: serde::de::DeserializeOwned>(
    value: serde_json::Value,
    table: &'static str,
    column: &'static str,
) -> Result<T> {
    serde_json::from_value(value).map_err(|_| Error::Inconsistent { table, column })
}

/// Whether a change that met no row failed because the row is of another revision than was wanted.
pub(crate) fn stale_if(if_match: Option<i64>, exists: bool) -> Result<()> {
    if exists && if_match.is_some() { Err(Error::Stale) } else { Ok(()) }
}
