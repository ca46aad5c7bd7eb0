//! The files of one export: found page by page, downloaded several at a time, kept in the record.
//!
//! Finding and downloading go on side by side, so that files of a partial manifest come while the export is running.
//! An attempt that fails is made again. A link that is refused has most likely expired: the page that told it is
//! asked once for all downloads that meet this, and they go on with fresh links.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use url::Url;

use super::client::Client;
use super::error::{ExportError, FileProblem};
use super::fetch::{Failure, Fetch};
use super::folder::{remove, replace, unfinished};
use super::listing::{Link, Listed, Listing};
use super::manifest::{Page, Section};
use super::outcome::Warnings;
use super::part::received;
use super::poll::{Polled, Polls};
use super::progress::Progress;
use super::record::{Kept, Ledger, Record};
use super::tally::Received;

const WHAT: &str = "reading the manifest";
const TRIES: u32 = 3;
/// Once for the link of the manifest, once more for one that expired while its download was repeated.
const REFRESHES: u32 = 2;
const MOST_PAGES: u32 = 10_000;

/// The downloads of one export.
pub(super) struct Downloads<'a> {
    client: &'a Client,
    status_url: Url,
    out: PathBuf,
    parallel: usize,
    progress: &'a Progress,
    ledger: Ledger,
    /// There may be files of an earlier run.
    resumed: bool,
    listing: Mutex<Listing>,
    /// Held while a page is asked for fresh links.
    refreshing: tokio::sync::Mutex<()>,
}

impl<'a> Downloads<'a> {
    /// Goes on with what the record says; `resumed` tells whether an earlier run wrote it.
    pub(super) fn new(
        client: &'a Client,
        out: &Path,
        record: Record,
        resumed: bool,
        parallel: usize,
        progress: &'a Progress,
    ) -> Self {
        let status_url = record.status_url.clone();
        let transaction_time = record.transaction_time.clone();
        let ledger = Ledger::new(out, record);
        let listing = Listing::new(ledger.known(), transaction_time.as_deref());
        Downloads {
            client,
            status_url,
            out: out.to_owned(),
            parallel: parallel.max(1),
            progress,
            ledger,
            resumed,
            listing: Mutex::new(listing),
            refreshing: tokio::sync::Mutex::new(()),
        }
    }

    /// Waits for the export, downloads everything, then writes `manifest.json` and completes the record.
    pub(super) async fn run(self) -> Result<Record, ExportError> {
        let (found, files) = unbounded_channel();
        if let Err(error) = tokio::try_join!(self.find(found), self.fetch_all(files)) {
            // The next run is spared what is here; if this fails too, the first error is the one to report.
            let _ = self.ledger.save().await;
            return Err(error);
        }
        let manifest = {
            let listing = self.listing();
            if !self.ledger.known().keys().all(|key| listing.has(key)) {
                return Err(ExportError::ManifestChanged("fewer files"));
            }
            serde_json::to_vec_pretty(&listing.record()).expect("a manifest holds only text and numbers")
        };
        self.warn().await?;
        // With it, the renames of all files before become durable.
        replace(&self.out.join("manifest.json"), &manifest).await?;
        self.ledger.complete().await
    }

    /// Follows the pages of the manifest to the last (Bulk Data IG, Response: Output Manifest, `link`).
    async fn find(&self, found: UnboundedSender<usize>) -> Result<(), ExportError> {
        let mut url = self.status_url.clone();
        for page in 0..MOST_PAGES {
            match self.find_in_page(page, &url, &found).await? {
                None => return Ok(()),
                Some(next) if self.listing().has_page(&next) => {
                    return Err(protocol("its pages go in a circle"));
                }
                Some(next) => url = next,
            }
        }
        Err(protocol("it has too many pages"))
    }

    /// Waits until a page is complete or leads to the next one, and passes on its files as they appear.
    async fn find_in_page(
        &self,
        page: u32,
        url: &Url,
        found: &UnboundedSender<usize>,
    ) -> Result<Option<Url>, ExportError> {
        let mut polls = Polls::new(self.client, url.clone(), &self.status_url, self.progress);
        loop {
            let (told, complete) = match polls.next().await? {
                Polled::Complete(told) => (Some(told), true),
                Polled::Running(told) => (told, false),
            };
            let Some(told) = told else { continue };
            let next = self.take(page, url, told, found).await?;
            if complete || next.is_some() {
                self.listing().settle(page);
                return Ok(next);
            }
        }
    }

    async fn take(
        &self,
        page: u32,
        url: &Url,
        told: Page,
        found: &UnboundedSender<usize>,
    ) -> Result<Option<Url>, ExportError> {
        self.ledger.found(&told.manifest.transaction_time).await;
        let numbers = {
            let mut listing = self.listing();
            let numbers = listing.take(page, url, told.manifest, self.ledger.known())?;
            if !numbers.is_empty() {
                self.progress.downloading(listing.count() as u64, listing.bytes());
            }
            numbers
        };
        for number in numbers {
            // The other side ends only with an error, which is the one to report.
            let _ = found.send(number);
        }
        Ok(told.next)
    }

    async fn fetch_all(&self, files: UnboundedReceiver<usize>) -> Result<(), ExportError> {
        let next = |mut files: UnboundedReceiver<usize>| async move {
            files.recv().await.map(|number| (number, files))
        };
        let files = stream::unfold(files, next);
        files.map(Ok).try_for_each_concurrent(self.parallel, |number| self.file(number)).await
    }

    /// Brings one file here, unless it is.
    async fn file(&self, number: usize) -> Result<(), ExportError> {
        let listed = self.listing().file(number);
        let target = self.out.join(&listed.name);
        let received = match self.here(&listed, &target).await? {
            Some(received) => {
                self.progress.received(received.bytes);
                received
            }
            None => self.fetch(number, &listed, &target).await?,
        };
        self.progress.file_done();
        let resources = match listed.key.section {
            Section::Deleted => count_deletions(&target).await?,
            Section::Output | Section::Error => received.lines,
        };
        let kept = Kept {
            key: listed.key,
            file: listed.name.clone(),
            resource_type: listed.entry.resource_type.clone(),
            received,
            resources,
        };
        match self.ledger.known().get(&listed.key) {
            Some(known) if *known == kept => Ok(()),
            _ => self.ledger.keep(kept).await,
        }
    }

    /// A file that an earlier run brought, if it is whole: by what that run wrote down, or by the manifest's digest,
    /// and by all that the manifest tells.
    async fn here(&self, listed: &Listed, target: &Path) -> Result<Option<Received>, ExportError> {
        let known = self.ledger.known().get(&listed.key);
        if !self.resumed || (known.is_none() && listed.entry.sha256.is_none()) {
            return Ok(None);
        }
        let Some(found) = received(target).await? else { return Ok(None) };
        let as_written = known.is_none_or(|kept| kept.received == found);
        Ok((as_written && found.compare(&listed.entry).is_ok()).then_some(found))
    }

    /// Downloads one file, with all the patience that the module's page describes.
    async fn fetch(&self, number: usize, listed: &Listed, target: &Path) -> Result<Received, ExportError> {
        let fetch = Fetch { client: self.client, listed, target, progress: self.progress };
        let mut link = self.listing().link(number);
        let (mut tries, mut refreshes) = (1, 0);
        let problem = loop {
            match fetch.run(&link).await {
                Ok(received) => return Ok(received),
                Err(Failure::Fatal(error)) => return Err(error),
                Err(Failure::Link(_)) if refreshes < REFRESHES => {
                    refreshes += 1;
                    link = self.fresh_link(number, &link).await?;
                }
                Err(Failure::Again(_)) if tries < TRIES => {
                    tokio::time::sleep(Duration::from_millis(500) * tries * tries).await;
                    tries += 1;
                }
                Err(Failure::Link(problem) | Failure::Again(problem)) => break problem,
            }
        };
        // A beginning is kept where the next run can go on behind it, and not where it may be what the server refuses.
        if !matches!(problem, FileProblem::Broken { .. }) {
            remove(&unfinished(target)).await?;
        }
        Err(ExportError::File { name: listed.name.clone(), problem, tries })
    }

    /// A link newer than `refused`. The first download to ask polls, holding the lock; the others find its result.
    async fn fresh_link(&self, number: usize, refused: &Link) -> Result<Link, ExportError> {
        let _asking = self.refreshing.lock().await;
        let link = self.listing().link(number);
        if link.told > refused.told {
            return Ok(link);
        }
        let page = self.listing().file(number).key.page;
        let url = self.listing().page(page);
        // Silent, because the download bar stays on the screen.
        let silent = Progress::silent();
        let told = Polls::new(self.client, url.clone(), &self.status_url, &silent).again().await?;
        let mut listing = self.listing();
        listing.refresh(page, told.manifest)?;
        Ok(listing.link(number))
    }

    /// Shows what the error files say.
    async fn warn(&self) -> Result<(), ExportError> {
        let mut warnings = Warnings::default();
        let count = self.listing().count();
        for number in 0..count {
            let listed = self.listing().file(number);
            if listed.key.section == Section::Error {
                warnings.read(&self.out.join(&listed.name)).await?;
            }
        }
        warnings.lines().iter().for_each(|line| self.progress.note(line));
        Ok(())
    }

    fn listing(&self) -> std::sync::MutexGuard<'_, Listing> {
        self.listing.lock().expect("nothing panics while it holds the lock")
    }
}

fn protocol(problem: &str) -> ExportError {
    ExportError::Protocol { what: WHAT, problem: problem.to_owned() }
}

/// Resources deleted: each line of such a file is a transaction Bundle with an entry per deletion. A line that is
/// none counts for one.
async fn count_deletions(path: &Path) -> Result<u64, ExportError> {
    #[derive(Deserialize)]
    struct Bundle {
        #[serde(default)]
        entry: Vec<IgnoredAny>,
    }
    let file = tokio::fs::read(path).await.map_err(|source| ExportError::io("read", path, source))?;
    let lines = file.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let deletions = lines.map(|line| match serde_json::from_slice::<Bundle>(line) {
        Ok(bundle) => bundle.entry.len() as u64,
        Err(_) => 1,
    });
    Ok(deletions.sum())
}
