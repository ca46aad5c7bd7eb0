//! The bucket that holds the files, by the S3 protocol.
//!
//! Whole objects go in ([`Objects::put`]), links to them go out ([`Objects::signer`]), prefixes are
//! deleted. Every upload carries the CRC32 that its writer computed, the server compares it before the object
//! becomes visible, and the answer is compared again here: so a file that is published is the file that was
//! written. The body's SHA-256 is not signed where the transport protects it anyway, which halves the cost of
//! an upload.
//!
//! Texts of errors name an action, a status and the server's error code; never a signature, a link or a secret.

mod config;
mod connect;
mod credentials;
mod delete;
mod error;
mod link;
mod list;
mod observe;
mod put;
mod signer;
#[cfg(test)]
mod tests;

use std::fmt;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};

pub use config::{Keys, S3Config};
pub use error::ObjectError;
pub use link::LONGEST_LINK;
pub use list::Listed;
pub use put::Head;
pub use signer::LinkSigner;

use credentials::Kept;
use error::refused;
use observe::observed;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, ObjectError>;

/// The bucket. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Objects {
    client: Client,
    bucket: String,
    /// The region to create the bucket in; `None` where the server has none.
    region: Option<String>,
    sign_payload: bool,
    credentials: Kept,
}

impl Objects {
    /// Asks whether the bucket is there and we may use it.
    ///
    /// # Errors
    /// When it is not, or the server does not answer.
    pub async fn check(&self) -> Result<()> {
        observed("check", "HeadBucket", async {
            self.client.head_bucket().bucket(&self.bucket).send().await.map_err(refused("find the bucket"))
        })
        .await?;
        Ok(())
    }

    /// Creates the bucket unless it is there.
    ///
    /// # Errors
    /// When it cannot be created.
    pub async fn ensure_bucket(&self) -> Result<()> {
        match self.check().await {
            Err(error) if error.status() == Some(404) => {}
            found => return found,
        }
        let place = self.region.as_deref().filter(|region| *region != "us-east-1").map(|region| {
            CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(region))
                .build()
        });
        let create = self.client.create_bucket().bucket(&self.bucket).set_create_bucket_configuration(place);
        create.send().await.map_err(refused("create the bucket"))?;
        Ok(())
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}
