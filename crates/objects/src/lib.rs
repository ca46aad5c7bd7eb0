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

/// Of how much of the bucket our credentials are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Of it as a whole.
    Whole,
    /// Of parts at most, and of these there is nothing to be seen but by using them.
    Part,
}

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
    /// Asks whether the bucket is there and knows us.
    ///
    /// # Errors
    /// When it is not, or the server does not answer.
    pub async fn check(&self) -> Result<Access> {
        let asked = observed("check", "HeadBucket", async {
            self.client.head_bucket().bucket(&self.bucket).send().await.map_err(refused("find the bucket"))
        });
        match asked.await {
            Ok(_) => Ok(Access::Whole),
            // Of a bucket as a whole nobody is told who may list it in part or not at all. The answer has no body, so what is
            // wrong is asked by an object that is not there.
            Err(error) if error.status() == Some(403) => self.is_known().await,
            Err(error) => Err(error),
        }
    }

    async fn is_known(&self) -> Result<Access> {
        let get = self.client.get_object().bucket(&self.bucket).key("headgate/never-there");
        let asked =
            observed("check", "GetObject", async { get.send().await.map_err(refused("use the bucket")) });
        match asked.await {
            Ok(_) => Ok(Access::Part),
            Err(ObjectError::Refused { code, .. }) if code == "NoSuchKey" || code == "AccessDenied" => {
                Ok(Access::Part)
            }
            Err(error) => Err(error),
        }
    }

    /// Creates the bucket unless it is there.
    ///
    /// # Errors
    /// When it cannot be created.
    pub async fn ensure_bucket(&self) -> Result<()> {
        match self.check().await {
            Err(error) if error.status() == Some(404) => {}
            found => return found.map(drop),
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
