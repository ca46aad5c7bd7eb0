//! Storing an object, and looking at it.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::error::refused;
use crate::observe::observed;
use crate::{ObjectError, Objects, Result};

/// What the server knows of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its length.
    pub bytes: u64,
    /// Its CRC32, where the server keeps one.
    pub crc32: Option<u32>,
}

impl Objects {
    /// Stores an object, and makes sure that it is stored as it was sent. `encoding` is how it is
    /// compressed, if it is. `crc32` is the checksum of `body`, computed by whoever wrote it. Repeating a put is harmless.
    ///
    /// # Errors
    /// When the server refuses (also because the checksum does not fit: then nothing is stored), does not
    /// answer, or answers with another checksum or length.
    pub async fn put(
        &self,
        key: &str,
        body: Bytes,
        content_type: &str,
        encoding: Option<&str>,
        crc32: u32,
    ) -> Result<()> {
        observed("put", "PutObject", self.send(key, body, content_type, encoding, crc32)).await
    }

    async fn send(
        &self,
        key: &str,
        body: Bytes,
        content_type: &str,
        encoding: Option<&str>,
        crc32: u32,
    ) -> Result<()> {
        let length = body.len();
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type(content_type)
            .set_content_encoding(encoding.map(str::to_owned))
            .checksum_crc32(to_header(crc32))
            .body(ByteStream::from(body));
        let sent = match self.sign_payload {
            true => put.send().await,
            false => put.customize().disable_payload_signing().send().await,
        };
        let answer = sent.map_err(refused("store an object"))?;
        match answer.checksum_crc32() {
            Some(stored) if from_header(stored) == Some(crc32) => Ok(()),
            Some(_) => Err(ObjectError::Damaged("checksum")),
            None => self.compare(key, length as u64, crc32).await,
        }
    }

    /// For servers that do not repeat the checksum: asks for what was stored.
    async fn compare(&self, key: &str, bytes: u64, crc32: u32) -> Result<()> {
        let head = self.head(key).await?.ok_or(ObjectError::Damaged("existence"))?;
        if head.bytes != bytes {
            return Err(ObjectError::Damaged("length"));
        }
        match head.crc32 {
            Some(stored) if stored != crc32 => Err(ObjectError::Damaged("checksum")),
            _ => Ok(()),
        }
    }

    /// Looks at an object; `None` if there is none.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn head(&self, key: &str) -> Result<Option<Head>> {
        let head =
            self.client.head_object().bucket(&self.bucket).key(key).checksum_mode(ChecksumMode::Enabled);
        let asked =
            observed("head", "HeadObject", async { head.send().await.map_err(refused("look at an object")) });
        match asked.await {
            Ok(head) => Ok(Some(Head {
                bytes: head.content_length().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default(),
                crc32: head.checksum_crc32().and_then(from_header),
            })),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// S3 writes a CRC32 as base64 of its four bytes, the highest first.
fn to_header(crc32: u32) -> String {
    STANDARD.encode(crc32.to_be_bytes())
}

fn from_header(text: &str) -> Option<u32> {
    let bytes = STANDARD.decode(text).ok()?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}
