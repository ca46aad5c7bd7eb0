//! Uploading a file: from memory, so that it can be repeated, verified by the bucket against our CRC32.

use std::sync::Arc;

use headgate_domain::file_name;
use headgate_store::{NewProblem, PublishedFile, ShardLease};

use crate::Error;
use crate::context::Context;
use crate::error::rest;
use crate::frame::{FilledFile, Resume};

/// The content type of every file (Bulk Data IG, Output File Request).
pub const NDJSON: &str = "application/fhir+ndjson";

/// Attempts, beyond those of the SDK within each.
const ATTEMPTS: i32 = 4;

/// A file that is in the bucket, to be published.
#[derive(Debug)]
pub struct UploadedFile {
    pub file: PublishedFile,
    pub problems: Vec<NewProblem>,
    pub resume: Resume,
}

/// Uploads a shard's file. Its memory returns to the budget when this ends.
pub async fn upload(
    context: Arc<Context>,
    lease: Arc<ShardLease>,
    prefix: Arc<str>,
    filled: FilledFile,
) -> Result<UploadedFile, Error> {
    let _turn = context.uploads.acquire().await.expect("the semaphore is never closed");
    let key = file_name::output_key(&prefix, &lease.export, lease.fence, lease.resource_type, filled.number);
    put(&context, &key, &filled.body, filled.crc32).await?;
    let bytes = filled.body.len() as u64;
    drop(filled.body);
    drop(filled.taken);
    Ok(UploadedFile {
        file: PublishedFile {
            number: filled.number,
            object_key: key,
            resources: filled.resources.into(),
            bytes,
            sha256: filled.sha256,
            crc32: filled.crc32,
        },
        problems: filled.problems,
        resume: filled.resume,
    })
}

/// Puts an object, patiently.
pub async fn put(context: &Context, key: &str, body: &bytes::Bytes, crc32: u32) -> Result<(), Error> {
    let mut attempt = 1;
    loop {
        match context.objects.put(key, body.clone(), NDJSON, crc32).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_transient() && attempt < ATTEMPTS => {
                tracing::warn!(attempt, %error, "an upload is repeated");
                tokio::time::sleep(rest(attempt)).await;
                attempt += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
