//! `--state`: a chain of exports, each asking for what changed since the transaction time of the one before, and the
//! merged state that they add up to.
//!
//! ```text
//! DIR/runs/1/                 the files of the first run, which is full
//! DIR/runs/2/                 what changed since
//! DIR/current/Patient.ndjson  one file per type: the latest version of each resource, without those deleted
//! FILE                        the last run that is in DIR/current, and its transaction time
//! ```
//!
//! The current state is what a full export would give, as far as the server reports what is gone: the guide knows
//! deletions, but not patients who left a group.
//!
//! FILE is moved on last: after all files of a run are verified and merged. Merging a run twice gives the same as
//! merging it once, so a run that was killed anywhere is simply gone on with.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::args::parse_instant;
use super::client::Client;
use super::error::ExportError;
use super::folder::{Folder, replace};
use super::kick_off::{Asked, Request};
use super::merge::merge;
use super::progress::Progress;
use super::summary::Summary;
use super::{Options, record::Record};

const VERSION: u32 = 1;

/// What FILE holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Chain {
    version: u32,
    base_url: String,
    level: String,
    /// The request of the first run; the others differ in `_since` only.
    asked: Asked,
    /// The last run that is merged; 0 before the first.
    run: u64,
    transaction_time: Option<String>,
    updated_at: DateTime<Utc>,
}

/// Makes the next run, or goes on with it, and merges it.
///
/// # Errors
/// Any [`ExportError`]; the state stands for the runs before then.
pub(super) async fn run(
    client: &Client,
    options: &Options,
    state: &Path,
    progress: &Progress,
) -> Result<Summary, ExportError> {
    let folder = Folder::take(&options.out).await?;
    let current = folder.path().join("current");
    let mut chain = Chain::load(state, client, options).await?;
    if chain.run == 0 {
        check_new(folder.path(), &current, state).await?;
    }
    let mut restart = options.restart;
    loop {
        let number = chain.run + 1;
        let since = chain.transaction_time.clone();
        let full = since.is_none();
        let out = folder.path().join("runs").join(number.to_string());
        let request = Request { since, ..options.request.clone() };
        let one = Options { request, out: out.clone(), restart, ..options.clone() };
        let mut summary = match client.export(&one, progress).await {
            Err(error) if !restart && error.is_over() => {
                // Nothing of the run was merged, so nothing is lost; a job that runs by itself must not stay here.
                progress.note(&format!("run {number} cannot be finished ({error}); it is started anew"));
                client.export(&Options { restart: true, ..one }, progress).await?
            }
            result => result?,
        };
        let time = usable(&summary.transaction_time)?;
        let mut merged = merge(&out, &current, full).await?;
        merged.run = number;
        chain.run = number;
        chain.transaction_time = Some(time);
        chain.save(state).await?;
        summary.merged = Some(merged);
        if !summary.already_complete {
            return Ok(summary);
        }
        // It was complete and not merged when an earlier run was interrupted, which may be long ago.
        progress.note(&format!("run {number} was complete and is merged now; going on with the next"));
        restart = false;
    }
}

impl Chain {
    async fn load(path: &Path, client: &Client, options: &Options) -> Result<Chain, ExportError> {
        let asked = options.request.at(&client.base_url)?;
        let unusable = |problem| ExportError::Remembered { path: path.to_owned(), problem };
        let bytes = match tokio::fs::read(path).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Chain {
                    version: VERSION,
                    base_url: client.base_url.to_string(),
                    level: options.request.level.to_string(),
                    asked,
                    run: 0,
                    transaction_time: None,
                    updated_at: Utc::now(),
                });
            }
            Err(source) => return Err(ExportError::io("read", path, source)),
        };
        match serde_json::from_slice::<Chain>(&bytes) {
            Ok(chain) if chain.version != VERSION => {
                Err(unusable("it is of another version of this program"))
            }
            Ok(chain) if chain.asked != asked => Err(unusable(
                "it belongs to another request: the base URL, the level and all that is asked for must stay the \
                 same from run to run; use another file and another folder",
            )),
            Ok(chain) => Ok(chain),
            Err(_) => Err(unusable("it is not a state file of this program")),
        }
    }

    async fn save(&mut self, path: &Path) -> Result<(), ExportError> {
        self.updated_at = Utc::now();
        let text = serde_json::to_vec_pretty(self).expect("a state holds only text and numbers");
        replace(path, &text).await
    }
}

/// A first run is merged into nothing. It may have been begun before; a state that only lost its file is not a new
/// one, though.
async fn check_new(folder: &Path, current: &Path, state: &Path) -> Result<(), ExportError> {
    let begun = Record::load(&folder.join("runs").join("1")).await?.is_some();
    let merged = tokio::fs::try_exists(current).await;
    let merged = merged.map_err(|source| ExportError::io("read", current, source))?;
    if begun || !merged {
        return Ok(());
    }
    Err(ExportError::Remembered {
        path: state.to_owned(),
        problem: "it is not there, but the folder has a current state and no first run; name the right file, or \
                  another folder",
    })
}

/// The chain hangs on the transaction time, so it must be one.
fn usable(transaction_time: &str) -> Result<String, ExportError> {
    parse_instant(transaction_time).map_err(|_| ExportError::Protocol {
        what: "reading the manifest",
        problem:
            "its transactionTime is not an instant, so no next run can begin there; the state is as it was"
                .to_owned(),
    })
}
