//! `export.json`: what is needed to go on with an export after an interruption at any point.
//!
//! It holds the request, the status URL, and each file that is here with its size and digest; no token, and no link.
//! It is replaced as a whole: once the server has accepted, then as files come in, and at the end. A file that is
//! here and not in it yet is known by the manifest's digest, or downloaded again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use url::Url;

use super::error::ExportError;
use super::folder::{Folder, UNFINISHED, remove, replace};
use super::kick_off::Asked;
use super::listing::Key;
use super::tally::Received;

const NAME: &str = "export.json";
const VERSION: u32 = 1;
const BETWEEN_SAVES: Duration = Duration::from_secs(1);

/// An export as the folder remembers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    pub(super) state: State,
    pub(super) asked: Asked,
    pub(super) status_url: Url,
    pub(super) kicked_off_at: DateTime<Utc>,
    /// When the last file was verified.
    pub(super) completed_at: Option<DateTime<Utc>>,
    /// From the first manifest on.
    pub(super) transaction_time: Option<String>,
    /// The folder held nothing else, so all files in it are of this export.
    pub(super) alone: bool,
    /// The export is deleted at the server.
    pub(super) deleted: bool,
    pub(super) files: Vec<Kept>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Running,
    Complete,
}

/// A file that is on disk and verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    #[serde(flatten)]
    pub(super) key: Key,
    /// Name in the folder.
    pub(super) file: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none", default)]
    pub(super) resource_type: Option<String>,
    pub(super) received: Received,
    /// Resources; in a file of deletions, resources deleted.
    pub(super) resources: u64,
}

impl Record {
    pub(super) fn new(asked: Asked, status_url: Url, kicked_off_at: DateTime<Utc>, alone: bool) -> Self {
        Record {
            version: VERSION,
            state: State::Running,
            asked,
            status_url,
            kicked_off_at,
            completed_at: None,
            transaction_time: None,
            alone,
            deleted: false,
            files: Vec::new(),
        }
    }

    /// What a folder holds, if it holds an export.
    pub(super) async fn load(folder: &Path) -> Result<Option<Record>, ExportError> {
        let path = folder.join(NAME);
        let bytes = match tokio::fs::read(&path).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ExportError::io("read", &path, source)),
        };
        match serde_json::from_slice::<Record>(&bytes) {
            Ok(record) if record.version == VERSION && record.files.iter().all(Kept::is_here) => {
                Ok(Some(record))
            }
            _ => Err(ExportError::Remembered {
                path,
                problem: "it is not a record of an export of this version; choose another folder",
            }),
        }
    }

    pub(super) async fn save(&self, folder: &Path) -> Result<(), ExportError> {
        let text = serde_json::to_vec_pretty(self).expect("a record holds only text and numbers");
        replace(&folder.join(NAME), &text).await
    }

    /// Removes everything of this export, the record last.
    pub(super) async fn forget(&self, folder: &Folder) -> Result<(), ExportError> {
        let ours = |name: &str| self.alone && (name.ends_with(".ndjson") || name.ends_with(UNFINISHED));
        for name in folder.names().await?.iter().filter(|name| ours(name)) {
            remove(&folder.path().join(name)).await?;
        }
        for kept in &self.files {
            remove(&folder.path().join(&kept.file)).await?;
        }
        remove(&folder.path().join("manifest.json")).await?;
        remove(&folder.path().join(NAME)).await
    }

    /// Whether the folder is as it was when the export was completed, by the sizes of its files.
    pub(super) async fn check_sizes(&self, folder: &Path) -> Result<(), ExportError> {
        for kept in &self.files {
            let size = tokio::fs::metadata(folder.join(&kept.file)).await.map(|found| found.len());
            if !size.is_ok_and(|size| size == kept.received.bytes) {
                return Err(ExportError::FileChanged { name: kept.file.clone() });
            }
        }
        Ok(())
    }
}

impl Kept {
    /// Nothing in an edited record leads out of the folder.
    fn is_here(&self) -> bool {
        Path::new(&self.file).file_name().is_some_and(|name| name == self.file.as_str())
    }
}

/// Whether a name in a folder says nothing about what else is there.
pub(super) fn is_trace_of_record(name: &str) -> bool {
    name.strip_suffix(UNFINISHED) == Some(NAME)
}

/// The record of a running export, saved as it grows.
#[derive(Debug)]
pub(super) struct Ledger {
    folder: PathBuf,
    /// From before this run.
    known: HashMap<Key, Kept>,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    record: Record,
    next_save: Instant,
}

impl Ledger {
    /// Goes on with a record that is saved.
    pub(super) fn new(folder: &Path, record: Record) -> Self {
        let known = record.files.iter().map(|kept| (kept.key, kept.clone())).collect();
        let next_save = Instant::now();
        Ledger { folder: folder.to_owned(), known, now: Mutex::new(Now { record, next_save }) }
    }

    /// What an earlier run kept.
    pub(super) fn known(&self) -> &HashMap<Key, Kept> {
        &self.known
    }

    /// Adds a file that is verified and has its name. Saves now and then, so that many small files do not make
    /// writing the record the work.
    pub(super) async fn keep(&self, kept: Kept) -> Result<(), ExportError> {
        let mut now = self.now.lock().await;
        if self.known.contains_key(&kept.key) {
            now.record.files.retain(|old| old.key != kept.key);
        }
        now.record.files.push(kept);
        let begun = Instant::now();
        if begun < now.next_save {
            return Ok(());
        }
        now.record.save(&self.folder).await?;
        now.next_save = Instant::now() + BETWEEN_SAVES.max(begun.elapsed() * 20);
        Ok(())
    }

    /// Saves what is known by now.
    pub(super) async fn save(&self) -> Result<(), ExportError> {
        self.now.lock().await.record.save(&self.folder).await
    }

    /// Remembers the transaction time of the first manifest.
    pub(super) async fn found(&self, transaction_time: &str) {
        let mut now = self.now.lock().await;
        if !transaction_time.is_empty() {
            now.record.transaction_time.get_or_insert_with(|| transaction_time.to_owned());
        }
    }

    /// All files are here.
    pub(super) async fn complete(self) -> Result<Record, ExportError> {
        let mut record = self.now.into_inner().record;
        record.files.sort_by_key(|kept| kept.key);
        record.state = State::Complete;
        record.completed_at = Some(Utc::now());
        record.save(&self.folder).await?;
        Ok(record)
    }
}
