//! What can stop a step or a shard, and what follows from it.

use std::time::Duration;

use headgate_objects::ObjectError;
use headgate_source::{HorizonProblem, SourceError};

use crate::sources::DsnError;

/// An error of a worker's work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The control database.
    #[error(transparent)]
    Store(#[from] headgate_store::Error),
    /// The practice's source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// How to reach the practice's source.
    #[error(transparent)]
    Dsn(#[from] DsnError),
    /// The bucket.
    #[error("object storage: {0}")]
    Objects(#[from] ObjectError),
    /// A stored plan that this program cannot read.
    #[error("the stored {what} cannot be read by this version")]
    Stored {
        /// Which column.
        what: &'static str,
        /// Where the JSON is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The practice has gone, or was suspended.
    #[error("the practice is not there any more, or is suspended")]
    NoPractice,
    /// The practice's mapping set.
    #[error(transparent)]
    Mapping(#[from] crate::mappings::MappingsError),
    /// A type that the export needs is no longer in the source.
    #[error("the source no longer has a usable relation for {0}")]
    NoRelation(headgate_domain::ResourceType),
    /// A stream gave a file of another kind: a mistake of this program.
    #[error("a stream gave a file of another kind")]
    WrongFile,
    /// The source keeps tombstones that cannot be read, or are not there any more.
    #[error(
        "the source's relation tombstone cannot be read, or is gone since the export began, so what was deleted cannot be told"
    )]
    Tombstones,
    /// A thread could not be started.
    #[error("the lease keeper could not be started")]
    Thread(#[source] std::io::Error),
    /// The work panicked; the panic hook told where.
    #[error("the step panicked")]
    Panic,
}

/// What is to be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing: the lease belongs to somebody else, or the export ended.
    Leave,
    /// Give the lease back and try again after a while; the attempt counts.
    Retry,
    /// It cannot succeed: fail the export.
    Fail,
}

impl Error {
    /// What is to be done about it. Everything that time or an operator can mend is retried, so that a
    /// practice whose database is away or whose credentials are being changed waits and does not fail.
    #[must_use]
    pub fn fate(&self) -> Fate {
        match self {
            Error::Store(headgate_store::Error::LeaseLost) => Fate::Leave,
            Error::Source(
                SourceError::Contract { .. }
                | SourceError::Identifier { .. }
                | SourceError::Config(_)
                | SourceError::Horizon(
                    HorizonProblem::NotPrivileged
                    | HorizonProblem::NotTracked
                    | HorizonProblem::ReplicaNeedsAllowance
                    | HorizonProblem::HorizonType,
                ),
            )
            | Error::NoRelation(_)
            | Error::NoPractice
            | Error::WrongFile
            | Error::Stored { .. } => Fate::Fail,
            _ => Fate::Retry,
        }
    }
}

/// How long a step rests after its `attempt`th failure: 1 s, 2 s, 4 s, … 60 s.
#[must_use]
pub fn rest(attempt: i32) -> Duration {
    let exponent = u32::try_from(attempt.clamp(1, 7) - 1).unwrap_or(0);
    Duration::from_secs(2_u64.pow(exponent).min(60))
}
