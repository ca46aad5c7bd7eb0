//! Taking in an object: stream to a temporary file, check, publish by one rename.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::StreamExt;
use http::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{Checksum, ETagCondition, PutObjectInput, StreamingBlob};
use s3s::{S3Error, S3Request, S3Result, TrailingHeaders, s3_error};
use tempfile::NamedTempFile;

use super::key::TEMPORARY;
use super::object::{Attributes, write_attributes};
use super::storage::{blocking, failed};

/// How much of a body is collected before it is written, bytes.
const PIECE: usize = 1 << 20;

const CRC32: &str = "x-amz-checksum-crc32";
const CRC32C: &str = "x-amz-checksum-crc32c";
const CRC64NVME: &str = "x-amz-checksum-crc64nvme";
const SHA1: &str = "x-amz-checksum-sha1";
const SHA256: &str = "x-amz-checksum-sha256";

/// The headers a client may send after the body (`aws-chunked`), announced before it in `x-amz-trailer`.
#[derive(Debug)]
pub(super) struct Trailer {
    announced: Vec<String>,
    headers: Option<TrailingHeaders>,
}

impl Trailer {
    pub(super) fn of<T>(request: &S3Request<T>) -> Self {
        let announced =
            request.headers.get_all("x-amz-trailer").iter().filter_map(|value| value.to_str().ok());
        let announced =
            announced.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase());
        Self { announced: announced.collect(), headers: request.trailing_headers.clone() }
    }

    fn announces(&self, name: &str) -> bool {
        self.announced.iter().any(|announced| announced == name)
    }

    /// The value of a header; an error if it was announced and did not come.
    fn value(&self, name: &str) -> S3Result<Option<String>> {
        let read = |headers: &HeaderMap| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let value = self.headers.as_ref().and_then(|headers| headers.read(read)).flatten();
        if value.is_none() && self.announces(name) {
            return Err(s3_error!(InvalidRequest, "The trailer {name} was announced but not sent."));
        }
        Ok(value)
    }
}

/// Whether an object of the same key may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existing {
    Replace,
    Refuse,
}

/// What a put has made.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) etag: String,
    pub(super) checksums: Checksum,
}

/// An object that is being received. Dropping it removes its file.
struct Incoming {
    file: NamedTempFile,
    checksums: ChecksumHasher,
    md5: Option<Md5>,
    length: u64,
}

impl Incoming {
    fn write(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        for piece in pieces {
            self.checksums.update(piece);
            if let Some(md5) = &mut self.md5 {
                md5.update(piece);
            }
            self.file.write_all(piece)?;
            self.length += piece.len() as u64;
        }
        Ok(())
    }
}

/// Receives an object into its bucket's folder. Nothing is visible under the key unless all of the body
/// arrived and every checksum the client gave, in a header or after the body, agrees.
pub(super) async fn put_object(
    bucket: PathBuf,
    path: PathBuf,
    mut input: PutObjectInput,
    trailer: Trailer,
) -> S3Result<Published> {
    let existing = condition(&input)?;
    let body = input.body.take().ok_or_else(|| s3_error!(IncompleteBody))?;
    let announced = hashers(&input, &trailer);
    let with_md5 = input.content_md5.is_some();
    let incoming = blocking({
        let bucket = bucket.clone();
        move || {
            let file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(&bucket).map_err(no_bucket)?;
            Ok(Incoming { file, checksums: announced, md5: with_md5.then(Md5::new), length: 0 })
        }
    })
    .await?;
    let incoming = receive(incoming, body).await?;
    blocking(move || {
        let Incoming { mut file, checksums, md5, length } = incoming;
        let checksums = checksums.finalize();
        let length_given = input.content_length.and_then(|length| u64::try_from(length).ok());
        if length_given.is_some_and(|given| given != length) {
            return Err(s3_error!(IncompleteBody));
        }
        if md5.map(|md5| BASE64.encode(md5.finalize())) != input.content_md5 {
            return Err(s3_error!(
                BadDigest,
                "The Content-MD5 you specified did not match what was received."
            ));
        }
        compare(&given_checksums(&input, &trailer)?, &checksums)?;
        let crc32 = checksums.checksum_crc32.clone().unwrap_or_default();
        let attributes = attributes(input, crc32);
        write_attributes(&mut file, &attributes).map_err(failed)?;
        publish(file, &bucket.join(path), existing)?;
        Ok(Published { etag: attributes.etag, checksums })
    })
    .await
}

async fn receive(mut incoming: Incoming, mut body: StreamingBlob) -> S3Result<Incoming> {
    let mut pieces = Vec::new();
    let mut waiting = 0;
    loop {
        let piece = body.next().await.transpose().map_err(|_| {
            s3_error!(IncompleteBody, "The body ended early or does not agree with its signature.")
        })?;
        let ended = piece.is_none();
        waiting += piece.as_ref().map_or(0, Bytes::len);
        pieces.extend(piece);
        if waiting >= PIECE || ended {
            let full = std::mem::take(&mut pieces);
            waiting = 0;
            incoming = blocking(move || incoming.write(&full).map(|()| incoming).map_err(failed)).await?;
        }
        if ended {
            return Ok(incoming);
        }
    }
}

/// Puts the finished file under its key.
fn publish(mut file: NamedTempFile, destination: &Path, existing: Existing) -> S3Result<()> {
    let folder = destination.parent().ok_or_else(|| s3_error!(InternalError))?;
    for _ in 0..8 {
        fs::create_dir_all(folder).map_err(failed)?;
        let persisted = match existing {
            Existing::Replace => file.persist(destination),
            Existing::Refuse => file.persist_noclobber(destination),
        };
        match persisted {
            Ok(_) => return Ok(()),
            // A delete has just removed the folder as empty.
            Err(error) if error.error.kind() == io::ErrorKind::NotFound => file = error.file,
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(s3_error!(
                    PreconditionFailed,
                    "At least one of the pre-conditions you specified did not hold"
                ));
            }
            Err(error) => return Err(failed(error.error)),
        }
    }
    Err(s3_error!(InternalError, "the folder of the object keeps disappearing"))
}

/// S3 has `If-None-Match: *` for a put; whatever else is refused rather than ignored.
fn condition(input: &PutObjectInput) -> S3Result<Existing> {
    match (&input.if_none_match, &input.if_match) {
        (None, None) => Ok(Existing::Replace),
        (Some(ETagCondition::Any), None) => Ok(Existing::Refuse),
        _ => Err(s3_error!(NotImplemented, "only If-None-Match: * is implemented for a put")),
    }
}

/// Hashers for CRC-32, which is always kept, and for whatever the client announces.
fn hashers(input: &PutObjectInput, trailer: &Trailer) -> ChecksumHasher {
    let mut hasher = ChecksumHasher { crc32: Some(s3s::crypto::Crc32::new()), ..ChecksumHasher::default() };
    if input.checksum_crc32c.is_some() || trailer.announces(CRC32C) {
        hasher.crc32c = Some(s3s::crypto::Crc32c::new());
    }
    if input.checksum_crc64nvme.is_some() || trailer.announces(CRC64NVME) {
        hasher.crc64nvme = Some(s3s::crypto::Crc64Nvme::new());
    }
    if input.checksum_sha1.is_some() || trailer.announces(SHA1) {
        hasher.sha1 = Some(s3s::crypto::Sha1::new());
    }
    if input.checksum_sha256.is_some() || trailer.announces(SHA256) {
        hasher.sha256 = Some(s3s::crypto::Sha256::new());
    }
    hasher
}

/// The checksums the client gave, in headers or in the trailer. To be called after the end of the body.
fn given_checksums(input: &PutObjectInput, trailer: &Trailer) -> S3Result<Checksum> {
    let header = |value: &Option<String>, name| match value {
        Some(value) => Ok(Some(value.clone())),
        None => trailer.value(name),
    };
    Ok(Checksum {
        checksum_crc32: header(&input.checksum_crc32, CRC32)?,
        checksum_crc32c: header(&input.checksum_crc32c, CRC32C)?,
        checksum_crc64nvme: header(&input.checksum_crc64nvme, CRC64NVME)?,
        checksum_sha1: header(&input.checksum_sha1, SHA1)?,
        checksum_sha256: header(&input.checksum_sha256, SHA256)?,
        ..Checksum::default()
    })
}

fn compare(given: &Checksum, computed: &Checksum) -> S3Result<()> {
    let pairs = [
        (&given.checksum_crc32, &computed.checksum_crc32, "CRC32"),
        (&given.checksum_crc32c, &computed.checksum_crc32c, "CRC32C"),
        (&given.checksum_crc64nvme, &computed.checksum_crc64nvme, "CRC64NVME"),
        (&given.checksum_sha1, &computed.checksum_sha1, "SHA1"),
        (&given.checksum_sha256, &computed.checksum_sha256, "SHA256"),
    ];
    for (given, computed, name) in pairs {
        if given.is_some() && given != computed {
            return Err(s3_error!(
                BadDigest,
                "The {name} you specified did not match the calculated checksum."
            ));
        }
    }
    Ok(())
}

fn attributes(input: PutObjectInput, crc32: String) -> Attributes {
    // `aws-chunked` names the framing of the request, which ends here.
    let content_encoding = input.content_encoding.and_then(|value| {
        let kept: Vec<&str> =
            value.split(',').map(str::trim).filter(|coding| *coding != "aws-chunked").collect();
        (!kept.is_empty()).then(|| kept.join(","))
    });
    Attributes {
        // The dash keeps clients from taking it for an MD5, as in a multipart upload's tag.
        etag: format!("{}-1", hex::encode(rand::random::<[u8; 16]>())),
        crc32,
        content_type: input.content_type,
        content_encoding,
        content_disposition: input.content_disposition,
        cache_control: input.cache_control,
        metadata: input.metadata,
    }
}

fn no_bucket(error: io::Error) -> S3Error {
    if error.kind() == io::ErrorKind::NotFound { s3_error!(NoSuchBucket) } else { failed(error) }
}
