//! What can go wrong with a practice's database.
//!
//! A server's message may quote a row (`invalid input syntax for type uuid: "…"`, or whatever a view's
//! function raises), so it is dropped where it arrives: what remains is the SQLSTATE and the relation.

use std::fmt;
use std::io;

use sqlx::error::DatabaseError;

/// What can go wrong with a practice's database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The configuration cannot be used.
    #[error("source configuration: {0}")]
    Config(&'static str),
    /// The name of a schema or relation is outside `[a-z_][a-z0-9_]{0,62}`.
    #[error("the name of a {what} must match [a-z_][a-z0-9_]* and have at most 63 bytes")]
    Identifier {
        /// What the name was to be.
        what: &'static str,
    },
    /// The schema does not exist.
    #[error("the source has no schema {schema}")]
    NoSchema {
        /// Its configured name.
        schema: String,
    },
    /// The role may not look into the schema.
    #[error("the role may not use the schema {schema}; GRANT USAGE ON SCHEMA {schema} TO the role")]
    SchemaDenied {
        /// Its configured name.
        schema: String,
    },
    /// The database answered with an error.
    #[error("SQLSTATE {sqlstate}{}{}", Meaning(sqlstate), At(relation))]
    Database {
        /// Five characters, <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
        sqlstate: String,
        /// The relation or function being read, where there was one.
        relation: Option<String>,
    },
    /// The connection could not be made, or broke.
    #[error("connection to the source")]
    Io(#[source] io::Error),
    /// The connection could not be secured.
    #[error("TLS connection to the source")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No connection came free, or could be made, in time.
    #[error("no connection to the source within the connect timeout")]
    PoolTimedOut,
    /// The pool was closed.
    #[error("the source is closed")]
    Closed,
    /// The server did not answer although its own statement timeout had passed.
    #[error("the source did not answer in time{}", At(relation))]
    NoAnswer {
        /// The relation being read, where there was one.
        relation: Option<String>,
    },
    /// This connection leads to a server that has not seen what the plan saw: another role (primary,
    /// replica) or an earlier log position.
    #[error("the connection leads to a server that is behind the one that planned the export")]
    Behind,
    /// An answer did not have the agreed shape.
    #[error("unexpected answer of the source ({what}){}", At(relation))]
    Unexpected {
        /// Which part of the answer, or of the driver.
        what: &'static str,
        /// The relation being read, where there was one.
        relation: Option<String>,
    },
    /// Templates do not fit the relation that they are for.
    #[error("the mapping of the relation {relation} cannot be used: {problem}")]
    Mapping {
        /// Which relation.
        relation: String,
        /// The first thing that is wrong.
        problem: String,
    },
    /// The data break the source contract in a way that could lose or double a resource.
    #[error("the relation {relation} breaks the source contract: {problem}")]
    Contract {
        /// Which relation.
        relation: String,
        /// How.
        problem: ContractProblem,
    },
    /// There is no safe `transactionTime`.
    #[error("no safe transactionTime: {0}")]
    Horizon(HorizonProblem),
}

/// A breach of the contract that would lose or double a resource if reading went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContractProblem {
    /// A row cannot be paged to: it would be lost.
    #[error("a row has no id or no page_key")]
    NullKey,
    /// Two rows share `(page_key, id)`: one would be lost or doubled.
    #[error("two rows have the same page_key and id")]
    DuplicateKey,
    /// A row came with another patient than the one asked for.
    #[error("a row was read for a patient it does not belong to")]
    ForeignRow,
    /// The rows of a cohort did not come patient by patient.
    #[error("rows did not come in the order of the cohort")]
    Disorder,
}

/// Why no `transactionTime` can be vouched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HorizonProblem {
    /// Other sessions' transactions cannot be seen.
    #[error(
        "the role cannot see other sessions' transactions; GRANT pg_read_all_stats TO the role, or give the \
         schema a horizon() function, or set source.late_commit_allowance_s"
    )]
    NotPrivileged,
    /// A session hides its transactions.
    #[error(
        "track_activities is off for a session of this database, so its transaction cannot be seen; switch it \
         on, or give the schema a horizon() function, or set source.late_commit_allowance_s"
    )]
    NotTracked,
    /// A replica does not see the primary's open transactions.
    #[error(
        "the source is a replica, which does not see open transactions; set source.late_commit_allowance_s"
    )]
    ReplicaNeedsAllowance,
    /// The replica has replayed no transaction yet.
    #[error("the replica has not replayed a transaction since it started; write something on the primary")]
    NothingReplayed,
    /// `horizon()` returned NULL or an infinite time.
    #[error("horizon() returned no time")]
    NullHorizon,
    /// `horizon()` returns something else.
    #[error("horizon() must return timestamptz")]
    HorizonType,
    /// A time is outside what a calendar holds.
    #[error("a time of the source is out of range")]
    OutOfRange,
}

impl SourceError {
    /// Whether another attempt, on a new connection, may well succeed: conflicts, timeouts, locks, lost
    /// connections, a server that starts, stops, is full or is behind.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Database { sqlstate, .. } => {
                matches!(
                    sqlstate.as_str(),
                    // serialization failure or conflict with recovery, deadlock
                    "40001" | "40P01"
                    // statement timeout or cancel, and the shutdowns
                    | "57014" | "57P01" | "57P02" | "57P03" | "57P05"
                    // lock timeout, idle in transaction for too long, a plan cached before an ALTER
                    | "55P03" | "25P03" | "0A000"
                ) || sqlstate.starts_with("08")
                    || sqlstate.starts_with("53")
            }
            Self::Io(_) | Self::PoolTimedOut | Self::NoAnswer { .. } | Self::Behind => true,
            _ => false,
        }
    }

    /// Whether the statement took too long, so that a smaller page may succeed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Database { sqlstate, .. } => sqlstate == "57014",
            Self::NoAnswer { .. } => true,
            _ => false,
        }
    }

    /// The SQLSTATE, where the database answered with one.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Database { sqlstate, .. } => Some(sqlstate),
            _ => None,
        }
    }

    /// Translates the driver's error, dropping every text that may quote data.
    pub(crate) fn from_sqlx(error: sqlx::Error, relation: Option<&str>) -> Self {
        let relation = relation.map(str::to_owned);
        match error {
            sqlx::Error::Database(e) => Self::Database { sqlstate: sqlstate_of(e.as_ref()), relation },
            sqlx::Error::Io(e) => Self::Io(e),
            sqlx::Error::Tls(e) => Self::Tls(e),
            sqlx::Error::PoolTimedOut => Self::PoolTimedOut,
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Self::Closed,
            sqlx::Error::Configuration(_) => Self::Config("the DSN cannot be parsed"),
            sqlx::Error::Protocol(_) => Self::Unexpected { what: "protocol", relation },
            sqlx::Error::BeginFailed => Self::Unexpected { what: "transaction", relation },
            _ => Self::Unexpected { what: "value", relation },
        }
    }

    pub(crate) fn contract(relation: &str, problem: ContractProblem) -> Self {
        Self::Contract { relation: relation.to_owned(), problem }
    }

    pub(crate) fn unexpected(what: &'static str, relation: Option<&str>) -> Self {
        Self::Unexpected { what, relation: relation.map(str::to_owned) }
    }
}

fn sqlstate_of(error: &dyn DatabaseError) -> String {
    error.code().unwrap_or_default().into_owned()
}

/// ` (relation patient)`, or nothing.
struct At<'a>(&'a Option<String>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(relation) => write!(f, " (relation {relation})"),
            None => Ok(()),
        }
    }
}

/// What the SQLSTATEs that an operator meets mean.
struct Meaning<'a>(&'a str);

impl fmt::Display for Meaning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            "28P01" | "28000" => ": login refused",
            "3D000" => ": no such database",
            "3F000" => ": no such schema",
            "42P01" => ": no such relation",
            "42703" => ": no such column",
            "42501" => ": permission denied",
            "40001" => ": conflict with recovery or another transaction",
            "55P03" => ": waited too long for a lock",
            "57014" => ": statement timeout",
            "57P01" | "57P02" | "57P03" => ": the server is starting or stopping",
            "53300" => ": too many connections",
            _ => "",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(sqlstate: &str) -> SourceError {
        SourceError::Database { sqlstate: sqlstate.to_owned(), relation: Some("patient".to_owned()) }
    }

    #[test]
    fn what_time_may_heal_is_transient() {
        for code in ["40001", "40P01", "57014", "57P01", "57P02", "57P03", "55P03", "08006", "53300"] {
            assert!(database(code).is_transient(), "{code}");
        }
        assert!(SourceError::Behind.is_transient());
        assert!(SourceError::PoolTimedOut.is_transient());
        assert!(SourceError::Io(io::ErrorKind::ConnectionReset.into()).is_transient());
    }

    #[test]
    fn what_somebody_must_mend_is_not_transient() {
        for code in ["42P01", "42703", "42501", "28P01", "3D000", "22P02"] {
            assert!(!database(code).is_transient(), "{code}");
        }
        assert!(!SourceError::contract("patient", ContractProblem::DuplicateKey).is_transient());
        assert!(!SourceError::Horizon(HorizonProblem::NotPrivileged).is_transient());
    }

    #[test]
    fn only_a_timeout_is_a_timeout() {
        assert!(database("57014").is_timeout());
        assert!(!database("55P03").is_timeout());
        assert!(!SourceError::Behind.is_timeout());
    }

    #[test]
    fn the_text_names_the_relation_and_the_meaning() {
        assert_eq!(database("42501").to_string(), "SQLSTATE 42501: permission denied (relation patient)");
    }
}
