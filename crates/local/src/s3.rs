//! A local S3 server: the real protocol over a folder.
//!
//! [`S3Server`] speaks S3 by the crate `s3s` (signature version 4 in the header and in the query, streaming
//! uploads, XML) and keeps objects in files by a small storage of its own. What it promises is what Headgate
//! relies on: a put is checked against the client's checksums before anything becomes visible, data and
//! attributes become visible in one rename, and no key leads out of its bucket.
//!
//! It serves the loopback interface only, and knows one pair of keys. It does not survive a crash of the
//! machine (nothing is flushed to disk), has no multipart uploads, versions or policies. One process at a
//! time should serve a folder, though two do no harm.
//!
//! Nothing is logged: requests carry object keys and presigned URLs.

mod key;
mod listing;
mod object;
mod put;
mod server;
mod storage;

pub use server::{S3Options, S3Server};

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is not one of the loopback interface.
    #[error("the local S3 server listens on the loopback interface only, not on {0}")]
    NotLoopback(std::net::SocketAddr),
    /// A bucket name that S3 does not allow.
    #[error("{0:?} is not a valid bucket name")]
    BucketName(String),
    /// The port could not be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The folder of the objects could not be made.
    #[error("cannot use the folder {}", path.display())]
    Folder {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

#[cfg(test)]
mod tests;
