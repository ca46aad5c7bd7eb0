//! Deleting.

use aws_sdk_s3::operation::RequestId as _;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use crate::error::refused;
use crate::observe::observed;
use crate::{ObjectError, Objects, Result};

/// Most keys of one request (S3, DeleteObjects).
const BATCH: usize = 1000;

impl Objects {
    /// Deletes every object whose key begins with `prefix`, and returns how many there were.
    ///
    /// # Errors
    /// [`ObjectError::Prefix`] for a prefix that could cover more than was meant: it must have two segments at
    /// least and end in a slash. Else when the server refuses or does not answer; some objects may then be
    /// gone, and repeating it deletes the rest.
    pub async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        if !is_narrow(prefix) {
            return Err(ObjectError::Prefix);
        }
        let mut deleted = 0;
        loop {
            // From the start each time: what was listed is gone.
            let keys = self.list(prefix, BATCH).await?;
            if keys.is_empty() {
                return Ok(deleted);
            }
            deleted += keys.len() as u64;
            self.delete(keys).await?;
        }
    }

    /// Deletes these objects. Those that do not exist count as deleted.
    ///
    /// # Errors
    /// When the server refuses any, or does not answer; some may then be gone.
    pub async fn delete(&self, keys: impl IntoIterator<Item = String>) -> Result<()> {
        let mut keys = keys.into_iter().peekable();
        while keys.peek().is_some() {
            observed("delete", "DeleteObjects", self.delete_batch(keys.by_ref().take(BATCH))).await?;
        }
        Ok(())
    }

    async fn delete_batch(&self, keys: impl Iterator<Item = String>) -> Result<()> {
        const ACTION: &str = "delete objects";
        let invalid = |_| ObjectError::NoAnswer { action: ACTION, cause: "the request could not be made" };
        let objects = keys
            .map(|key| ObjectIdentifier::builder().key(key).build())
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(invalid)?;
        let objects = Delete::builder().set_objects(Some(objects)).quiet(true).build().map_err(invalid)?;
        let answer = self.client.delete_objects().bucket(&self.bucket).delete(objects).send().await;
        let answer = answer.map_err(refused(ACTION))?;
        // The request as a whole succeeds even if single objects do not.
        match answer.errors().first() {
            None => Ok(()),
            Some(first) => Err(ObjectError::Refused {
                action: ACTION,
                status: 200,
                code: first.code().unwrap_or("without a reason").to_owned(),
                request: answer.request_id().map(ToOwned::to_owned),
            }),
        }
    }
}

fn is_narrow(prefix: &str) -> bool {
    match prefix.strip_suffix('/') {
        Some(path) => path.split('/').count() >= 2 && path.split('/').all(|segment| !segment.is_empty()),
        None => false,
    }
}
