//! Listing.

use std::ops::ControlFlow;
use std::time::SystemTime;

use crate::error::refused;
use crate::observe::observed;
use crate::{Objects, Result};

/// An object of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its length.
    pub bytes: u64,
    /// When it was put, where the server tells.
    pub modified: Option<SystemTime>,
}

impl Objects {
    /// The keys that begin with `prefix`, in order, at most `limit` of them.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        if limit == 0 {
            return Ok(keys);
        }
        self.list_each(prefix, |object| {
            keys.push(object.key);
            if keys.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .await?;
        Ok(keys)
    }

    /// Shows every object whose key begins with `prefix`, in the order of the keys, page by page, until it is told to
    /// stop.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn list_each(
        &self,
        prefix: &str,
        mut see: impl FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut pages =
            self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix).into_paginator().send();
        while let Some(page) = observed("list", "ListObjectsV2", async {
            pages.next().await.transpose().map_err(refused("list objects"))
        })
        .await?
        {
            for object in page.contents.unwrap_or_default() {
                let bytes = object.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
                let modified = object.last_modified.and_then(|time| SystemTime::try_from(time).ok());
                let Some(key) = object.key else { continue };
                if see(Listed { key, bytes, modified }).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
