//! The S3 operations over a folder: one folder a bucket, one file an object.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use s3s::dto::{
    CommonPrefix, CreateBucketInput, CreateBucketOutput, DeleteObjectInput, DeleteObjectOutput,
    DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, ETagCondition, GetObjectInput,
    GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
    ListObjectsV2Input, ListObjectsV2Output, PutObjectInput, PutObjectOutput, StreamingBlob,
};
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, dto, s3_error};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::key::object_path;
use super::listing::{self, Position, Query};
use super::object::Object;
use super::put::{self, Trailer};

/// How much is read at a time, bytes.
const PIECE: usize = 1 << 20;

/// Most keys on a page of a listing, as in S3.
const LONGEST_PAGE: i32 = 1000;

/// Objects in files below a root folder.
#[derive(Clone)]
pub(super) struct Storage {
    root: PathBuf,
}

impl Storage {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The folder of a bucket, whose name the protocol layer has checked: letters, digits, dots and dashes.
    fn bucket(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    async fn open(&self, bucket: &str, key: &str) -> S3Result<Object> {
        let bucket = self.bucket(bucket);
        let path = bucket.join(object_path(key)?);
        blocking(move || match Object::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !bucket.is_dir() => {
                Err(s3_error!(NoSuchBucket))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(s3_error!(NoSuchKey)),
            object => object.map_err(failed),
        })
        .await
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage").field("root", &self.root).finish()
    }
}

#[async_trait::async_trait]
impl S3 for Storage {
    async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let folder = self.bucket(&req.input.bucket);
        blocking(move || match fs::create_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(s3_error!(BucketAlreadyOwnedByYou))
            }
            made => made.map_err(failed),
        })
        .await?;
        let location = Some(format!("/{}", req.input.bucket));
        Ok(S3Response::new(CreateBucketOutput { location }))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        let folder = self.bucket(&req.input.bucket);
        blocking(move || exists(&folder)).await?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let trailer = Trailer::of(&req);
        let path = object_path(&req.input.key)?;
        let published = put::put_object(self.bucket(&req.input.bucket), path, req.input, trailer).await?;
        let checksums = published.checksums;
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(ETag::Strong(published.etag)),
            checksum_crc32: checksums.checksum_crc32,
            checksum_crc32c: checksums.checksum_crc32c,
            checksum_crc64nvme: checksums.checksum_crc64nvme,
            checksum_sha1: checksums.checksum_sha1,
            checksum_sha256: checksums.checksum_sha256,
            ..PutObjectOutput::default()
        }))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let Object { file, length, modified, attributes } = self.open(&input.bucket, &input.key).await?;
        check_conditions(&attributes.etag, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let whole = 0..length;
        let part = input.range.map(|range| range.check(length)).transpose()?;
        let content_range =
            part.as_ref().map(|part| format!("bytes {}-{}/{length}", part.start, part.end - 1));
        // The checksum is that of the whole object.
        let crc32 = content_range.is_none().then_some(attributes.crc32);
        let part = part.unwrap_or(whole);

        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(PIECE);
        tokio::io::AsyncSeekExt::seek(&mut file, io::SeekFrom::Start(part.start)).await.map_err(failed)?;
        let piece = usize::try_from(part.end - part.start).map_or(PIECE, |length| length.clamp(1, PIECE));
        let body = ReaderStream::with_capacity(file.take(part.end - part.start), piece);
        Ok(S3Response::new(GetObjectOutput {
            body: Some(StreamingBlob::wrap(body)),
            content_length: Some(signed(part.end - part.start)?),
            content_range,
            accept_ranges: Some("bytes".to_owned()),
            e_tag: Some(ETag::Strong(attributes.etag)),
            last_modified: Some(modified.into()),
            checksum_crc32: crc32,
            content_type: attributes.content_type,
            content_encoding: attributes.content_encoding,
            content_disposition: attributes.content_disposition,
            cache_control: attributes.cache_control,
            metadata: attributes.metadata,
            ..GetObjectOutput::default()
        }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = req.input;
        let Object { length, modified, attributes, .. } = self.open(&input.bucket, &input.key).await?;
        check_conditions(&attributes.etag, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(signed(length)?),
            accept_ranges: Some("bytes".to_owned()),
            e_tag: Some(ETag::Strong(attributes.etag)),
            last_modified: Some(modified.into()),
            checksum_crc32: Some(attributes.crc32),
            content_type: attributes.content_type,
            content_encoding: attributes.content_encoding,
            content_disposition: attributes.content_disposition,
            cache_control: attributes.cache_control,
            metadata: attributes.metadata,
            ..HeadObjectOutput::default()
        }))
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let bucket = self.bucket(&req.input.bucket);
        blocking(move || {
            exists(&bucket)?;
            delete(&bucket, &req.input.key)
        })
        .await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let bucket = self.bucket(&req.input.bucket);
        let wanted = req.input.delete;
        let quiet = wanted.quiet.unwrap_or(false);
        let (deleted, errors) = blocking(move || {
            exists(&bucket)?;
            let (mut deleted, mut errors) = (Vec::new(), Vec::new());
            for object in wanted.objects {
                let key = Some(object.key);
                match delete(&bucket, key.as_deref().unwrap_or_default()) {
                    Ok(()) => deleted.push(DeletedObject { key, ..DeletedObject::default() }),
                    Err(error) => errors.push(dto::Error {
                        key,
                        code: Some(error.code().as_str().to_owned()),
                        message: error.message().map(str::to_owned),
                        version_id: None,
                    }),
                }
            }
            Ok((deleted, errors))
        })
        .await?;
        let deleted = (!quiet).then_some(deleted);
        let errors = Some(errors);
        Ok(S3Response::new(DeleteObjectsOutput { deleted, errors, ..DeleteObjectsOutput::default() }))
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let bucket = self.bucket(&input.bucket);
        let query = query(&input)?;
        let limit = query.limit;
        let (page, contents) = blocking(move || {
            exists(&bucket)?;
            let page = listing::page(&bucket, &query).map_err(failed)?;
            let contents = page.keys.iter().filter_map(|key| listed(&bucket, key).transpose());
            let contents = contents.collect::<S3Result<Vec<_>>>()?;
            Ok((page, contents))
        })
        .await?;
        let folded = page.prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(prefix) });
        let common_prefixes: Vec<_> = folded.collect();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(input.prefix.unwrap_or_default()),
            delimiter: input.delimiter,
            start_after: input.start_after,
            encoding_type: input.encoding_type,
            continuation_token: input.continuation_token,
            max_keys: i32::try_from(limit).ok(),
            key_count: i32::try_from(contents.len() + common_prefixes.len()).ok(),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.as_ref().map(Position::token),
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            ..ListObjectsV2Output::default()
        }))
    }
}

fn query(input: &ListObjectsV2Input) -> S3Result<Query> {
    let limit = input.max_keys.unwrap_or(LONGEST_PAGE).min(LONGEST_PAGE);
    let limit = usize::try_from(limit).map_err(|_| s3_error!(InvalidArgument, "max-keys is negative"))?;
    let after = match (&input.continuation_token, &input.start_after) {
        (Some(token), _) => {
            let position = Position::parse(token);
            Some(position.ok_or_else(|| s3_error!(InvalidArgument, "The continuation token is incorrect"))?)
        }
        (None, start_after) => start_after.clone().map(Position::Key),
    };
    Ok(Query {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone().filter(|delimiter| !delimiter.is_empty()),
        after,
        limit,
    })
}

/// One entry of a listing; `None` if the object has just been deleted.
fn listed(bucket: &Path, key: &str) -> S3Result<Option<dto::Object>> {
    let object = match Object::open(&bucket.join(object_path(key)?)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        object => object.map_err(failed)?,
    };
    Ok(Some(dto::Object {
        key: Some(key.to_owned()),
        size: Some(signed(object.length)?),
        e_tag: Some(ETag::Strong(object.attributes.etag)),
        last_modified: Some(object.modified.into()),
        ..dto::Object::default()
    }))
}

/// Deletes an object if it exists, and the folders that are empty without it.
fn delete(bucket: &Path, key: &str) -> S3Result<()> {
    let path = bucket.join(object_path(key)?);
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed.map_err(failed)?,
    }
    let above = path.ancestors().skip(1).take_while(|folder| *folder != bucket);
    // The first that is not empty ends it.
    let _emptied = above.map(fs::remove_dir).take_while(Result::is_ok).count();
    Ok(())
}

fn exists(bucket: &Path) -> S3Result<()> {
    if bucket.is_dir() { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
}

fn check_conditions(
    etag: &str,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    let holds = |condition: &ETagCondition| match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(wanted) => wanted.value() == etag,
    };
    if if_match.is_some_and(|condition| !holds(condition)) {
        return Err(s3_error!(PreconditionFailed));
    }
    if if_none_match.is_some_and(holds) {
        return Err(s3_error!(NotModified));
    }
    Ok(())
}

fn signed(length: u64) -> S3Result<i64> {
    i64::try_from(length).map_err(S3Error::internal_error)
}

/// The reply to a failed file operation: its kind, without a path.
pub(super) fn failed(error: io::Error) -> S3Error {
    S3Error::with_message(s3s::S3ErrorCode::InternalError, error.kind().to_string())
}

/// Runs file operations where they may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> S3Result<T> + Send + 'static,
) -> S3Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(s3_error!(InternalError, "a file operation was abandoned")))
}
