//! The practices as everybody may know them, for the documents that need no token.
//!
//! Anyone may ask for such a document, as often as they like, and it takes the whole list of practices. So
//! each process asks the control database for it once a second at most, however many ask the process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_domain::practice::Practice;
use headgate_store::Store;
use tokio::sync::Mutex;

use crate::error::ApiError;

/// How long a list is good for.
const FRESH: Duration = Duration::from_secs(1);

/// The list that was read last, and when.
#[derive(Debug, Default)]
pub(crate) struct Directory(Mutex<Option<(Instant, Arc<[Practice]>)>>);

impl Directory {
    /// All practices by number, suspended ones too, as of a moment ago.
    pub(crate) async fn practices(&self, store: &Store) -> Result<Arc<[Practice]>, ApiError> {
        // The lock is held while the database is asked: those who come meanwhile wait for the one answer.
        let mut list = self.0.lock().await;
        if let Some((read_at, practices)) = &*list
            && read_at.elapsed() < FRESH
        {
            return Ok(practices.clone());
        }
        let read_at = Instant::now();
        let practices: Arc<[Practice]> =
            store.practices().await?.into_iter().map(|record| record.practice).collect();
        *list = Some((read_at, practices.clone()));
        Ok(practices)
    }
}
