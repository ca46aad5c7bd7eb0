//! Listing.

use crate::error::refused;
use crate::observe::observed;
use crate::{Objects, Result};

impl Objects {
    /// The keys that begin with `prefix`, in order, at most `limit` of them.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        let mut pages =
            self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix).into_paginator().send();
        while keys.len() < limit
            && let Some(page) = observed("list", "ListObjectsV2", async {
                pages.next().await.transpose().map_err(refused("list objects"))
            })
            .await?
        {
            keys.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key));
        }
        keys.truncate(limit);
        Ok(keys)
    }
}
