//! What can go wrong in a load, told without any content of the files.

use std::path::PathBuf;

use headgate_domain::ResourceType;

use crate::database::DatabaseError;

/// Why nothing was loaded: a load is one transaction.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The folder cannot be listed.
    #[error("cannot list {}", .folder.display())]
    Folder {
        /// The folder to load from.
        folder: PathBuf,
        /// What the file system says.
        source: std::io::Error,
    },
    /// The folder has no `*.ndjson` or `*.ndjson.gz`.
    #[error("{} has no file named *.ndjson or *.ndjson.gz", .0.display())]
    NoFiles(PathBuf),
    /// A file cannot be read or unpacked.
    #[error("cannot read {} after line {line}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The last line that was read; 0 when there was none.
        line: u64,
        /// What the file system or the decompressor says.
        source: std::io::Error,
    },
    /// A line is not a resource that a practice's tables can hold.
    #[error("{} line {line}: {problem}", .file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        problem: LineProblem,
    },
    /// Two lines have the same type and id.
    #[error("two lines hold the same {0} id")]
    DuplicateId(ResourceType),
    /// The database could not be reached or refused.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The reading thread ended without a result.
    #[error("the reading thread stopped")]
    Reader(#[source] tokio::task::JoinError),
}

/// What is wrong with a line. No variant carries content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// Longer than [`MAX_LINE_BYTES`](super::MAX_LINE_BYTES).
    #[error("longer than {} MiB", super::MAX_LINE_BYTES >> 20)]
    TooLong,
    /// Not UTF-8, which JSON between systems must be (RFC 8259, 8.1).
    #[error("not UTF-8")]
    NotUtf8,
    /// Not a JSON object whose `resourceType` and `id`, where present, are strings.
    #[error("not a JSON object with a string resourceType and id (position {0})")]
    NotAResource(usize),
    /// No `resourceType`.
    #[error("no resourceType")]
    NoType,
    /// A `resourceType` without a table.
    #[error("a resourceType that cannot be exported")]
    UnknownType,
    /// No `id`.
    #[error("no id")]
    NoId,
    /// An `id` that is not `[A-Za-z0-9\-\.]{1,64}` (FHIR R4, Data Types, `id`).
    #[error("an id that is not a FHIR id")]
    InvalidId,
    /// The element that says whose the resource is names no patient.
    #[error("{0} names no patient")]
    NoPatient(&'static str),
    /// A Provenance none of whose targets belongs to a patient.
    #[error("no target of this Provenance is a patient or belongs to one")]
    NoOwnedTarget,
    /// A Provenance whose target is neither in the folder nor in the database.
    #[error("the target of this Provenance is not there, so its patient is unknown")]
    MissingTarget,
}
