//! What can go wrong with a relational EHR.

use crate::database::DatabaseError;

/// Why an EHR was not installed or not filled: either is one transaction, so nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum PracticeError {
    /// A schema's name that would have to be quoted.
    #[error(
        "\"{0}\" cannot be a schema's name here: lower-case letters, digits and _, at most 63, no digit first"
    )]
    Name(String),
    /// The schema is there already.
    #[error("the schema {0} exists already; drop it, or choose another name")]
    Installed(String),
    /// The schema has no tables of the reference EHR.
    #[error("the schema {0} is not a reference EHR")]
    NotInstalled(String),
    /// There are patients already.
    #[error("the EHR in schema {0} has patients already; generate into an empty one")]
    NotEmpty(String),
    /// A practice without patients.
    #[error("a practice has at least one patient")]
    NoPatients,
    /// The database could not be reached or refused.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The generating thread ended without a result.
    #[error("the generating thread stopped")]
    Generator(#[source] tokio::task::JoinError),
}

impl From<sqlx::Error> for PracticeError {
    fn from(error: sqlx::Error) -> Self {
        PracticeError::Database(error.into())
    }
}
