//! The two services Headgate needs, private to one process: a PostgreSQL cluster and an S3 server.
//!
//! `headgate demo` and the tests run the same code paths as production, which talk to a database and to an
//! S3 endpoint by URL and key. This crate supplies the two where nobody has set them up, on a bare machine:
//! [`postgres`] starts the PostgreSQL that is installed, in a folder of its own; [`s3`] is a real S3
//! protocol server (signatures, presigned URLs, checksums) over a folder. Neither uses a fixed port, so any
//! number of them live side by side, and both go away with the process, however it ends.
//!
//! It is not part of the production image.

pub mod postgres;
pub mod s3;
