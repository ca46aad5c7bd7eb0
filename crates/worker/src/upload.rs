//! Uploading a file: from memory, so that it can be repeated, verified by the bucket against our CRC32.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use headgate_domain::file_name;
use headgate_domain::practice::PracticeOptions;
use headgate_metrics::storage;
use headgate_objects::ObjectError;
use headgate_store::{NewProblem, PublishedFile, ShardLease, StreamType};

use crate::Error;
use crate::context::Context;
use crate::error::rest;
use crate::frame::{FilledFile, Resume};

/// The content type of every file of lines (Bulk Data IG, Output File Request).
pub const NDJSON: &str = "application/fhir+ndjson";

/// Attempts, beyond those of the SDK within each.
const ATTEMPTS: i32 = 4;

/// A file that is in the bucket, to be published.
#[derive(Debug)]
pub struct UploadedFile {
    pub file: PublishedFile,
    pub problems: Vec<NewProblem>,
    pub references: Vec<(StreamType, String)>,
    pub resume: Resume,
}

/// Where the files of a practice go, and in which form.
#[derive(Debug)]
pub struct Place {
    /// The practice's prefix in the bucket.
    pub prefix: String,
    /// What an operator set for the practice.
    pub options: PracticeOptions,
}

/// Uploads a shard's file. Its memory returns to the budget when this ends.
pub async fn upload(
    context: Arc<Context>,
    lease: Arc<ShardLease>,
    place: Arc<Place>,
    filled: FilledFile,
) -> Result<UploadedFile, Error> {
    let _turn = context.uploads.acquire().await.expect("the semaphore is never closed");
    let (prefix, export, fence) = (&place.prefix, &lease.export, lease.fence);
    let bytes = filled.body.len() as u64;
    let (key, crc32) = match (&filled.attachment, lease.stream_type) {
        (None, StreamType::Resources(t)) => {
            let key = file_name::output_key(prefix, export, fence, t, filled.number);
            let crc32 = put(&context, &place.options, &key, filled.body, filled.crc32).await?;
            (key, crc32)
        }
        (Some(head), StreamType::Attachments) => {
            let key = file_name::attachment_key(prefix, export, fence, filled.number.number);
            store(&context, &key, filled.body, &head.content_type, None, filled.crc32).await?;
            (key, filled.crc32)
        }
        _ => return Err(Error::WrongFile),
    };
    drop(filled.taken);
    Ok(UploadedFile {
        file: PublishedFile {
            number: filled.number,
            object_key: key,
            resources: filled.resources.into(),
            bytes,
            sha256: filled.sha256,
            crc32,
            attachment_id: filled.attachment.map(|head| head.id),
        },
        problems: filled.problems,
        references: filled.references,
        resume: filled.resume,
    })
}

/// Puts an object of lines, patiently, compressed where the practice wants that. `crc32` is the checksum of the body; returns
/// that of the object.
pub async fn put(
    context: &Context,
    options: &PracticeOptions,
    key: &str,
    body: Bytes,
    crc32: u32,
) -> Result<u32, Error> {
    let (body, crc32, encoding) = if options.gzip {
        let compressed = tokio::task::spawn_blocking(move || gzip(&body)).await.map_err(|_| Error::Panic)?;
        let crc32 = crc32fast::hash(&compressed);
        (compressed, crc32, Some("gzip"))
    } else {
        (body, crc32, None)
    };
    store(context, key, body, NDJSON, encoding, crc32).await.map(|()| crc32)
}

/// Puts an object as it is, patiently.
async fn store(
    context: &Context,
    key: &str,
    body: Bytes,
    content_type: &str,
    encoding: Option<&str>,
    crc32: u32,
) -> Result<(), Error> {
    let mut attempt = 1;
    loop {
        let sent = context.objects.put(key, body.clone(), content_type, encoding, crc32).await;
        if sent.as_ref().is_err_and(ObjectError::is_damage) {
            storage::VERIFY_FAILED.add(1, &[]);
        }
        match sent {
            Ok(()) => return Ok(()),
            // Whoever drains leaves the rest to others.
            Err(error) if error.is_transient() && attempt < ATTEMPTS && !context.drain.is_cancelled() => {
                storage::RETRIES.add(1, &[]);
                tracing::warn!(attempt, %error, "an upload is repeated");
                let _drained = tokio::time::timeout(rest(attempt), context.drain.cancelled()).await;
                attempt += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The same bytes in gzip form. The time is left out, so that a repeated upload is the same object.
fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::fast());
    // Writing to memory cannot fail.
    let _infallible = encoder.write_all(body);
    Bytes::from(encoder.finish().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_is_compressed_is_the_same_when_it_is_unpacked() {
        let body = "{\"resourceType\":\"Goal\"}\n".repeat(1000);
        let compressed = gzip(body.as_bytes());
        assert!(compressed.len() * 10 < body.len());
        assert_eq!(compressed, gzip(body.as_bytes()));
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&compressed[..]).read_to_string(&mut unpacked).unwrap();
        assert_eq!(unpacked, body);
    }
}
