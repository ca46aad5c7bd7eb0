//! Downloads all files of a manifest, several at a time.
//!
//! A body is streamed to `NAME.part` while it is counted and digested; when it is what the manifest says it is synced
//! and renamed. A body that breaks off or does not match is fetched again. A link that is refused has most likely
//! expired: the status is polled once for all downloads that meet this, and they go on with fresh links.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::sync::Mutex;
use url::Url;

use super::Options;
use super::client::Client;
use super::error::{ExportError, FileProblem, host_of};
use super::http::send;
use super::manifest::{FileEntry, Manifest, Section};
use super::names::file_names;
use super::progress::Progress;
use super::tally::{Received, Tally};

const WHAT: &str = "downloading a file";
const TRIES: u32 = 3;
/// Once for the link of the manifest, once more for one that expired while its download was repeated.
const REFRESHES: u32 = 2;
const REDIRECTS: u32 = 5;
const WRITE_BUFFER: usize = 256 * 1024;

/// The downloads of one export.
pub(super) struct Downloads<'a> {
    client: &'a Client,
    status_url: &'a Url,
    manifest: &'a Manifest,
    names: Vec<String>,
    out: PathBuf,
    parallel: usize,
    progress: &'a Progress,
    links: Mutex<Links>,
}

/// The links in force, and how often they were renewed.
struct Links {
    generation: u32,
    urls: Arc<Vec<Url>>,
}

/// A file that is on disk and verified.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) section: Section,
    pub(super) resource_type: Option<String>,
    pub(super) bytes: u64,
    /// Resources; in a file of deletions, resources deleted.
    pub(super) resources: u64,
}

/// How one attempt ended badly.
enum Failure {
    /// Another attempt may do.
    Again(FileProblem),
    /// The link is not accepted.
    Link(FileProblem),
    /// No use in going on.
    Fatal(ExportError),
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        Failure::Fatal(error)
    }
}

impl<'a> Downloads<'a> {
    pub(super) fn new(
        client: &'a Client,
        status_url: &'a Url,
        manifest: &'a Manifest,
        options: &Options,
        progress: &'a Progress,
    ) -> Self {
        let urls = manifest.files.iter().map(|file| file.url.clone()).collect();
        Downloads {
            client,
            status_url,
            manifest,
            names: file_names(&manifest.files),
            out: options.out.clone(),
            parallel: options.parallel.max(1),
            progress,
            links: Mutex::new(Links { generation: 0, urls: Arc::new(urls) }),
        }
    }

    /// Downloads everything, then writes `manifest.json`.
    pub(super) async fn run(self) -> Result<Vec<Fetched>, ExportError> {
        let files = &self.manifest.files;
        let total: Option<u64> = files.iter().map(|file| file.bytes).sum();
        self.progress.downloading(files.len() as u64, total);
        let fetched = stream::iter(0..files.len())
            .map(|index| self.file(index))
            .buffer_unordered(self.parallel)
            .try_collect()
            .await?;
        self.write_manifest().await?;
        Ok(fetched)
    }

    /// Fetches one file, with all the patience that the module's page describes.
    async fn file(&self, index: usize) -> Result<Fetched, ExportError> {
        let (mut generation, mut urls) = self.links().await;
        let (mut tries, mut refreshes) = (1, 0);
        let received = loop {
            let problem = match self.fetch(index, &urls[index]).await {
                Ok(received) => break received,
                Err(Failure::Fatal(error)) => return Err(error),
                Err(Failure::Link(_)) if refreshes < REFRESHES => {
                    refreshes += 1;
                    (generation, urls) = self.fresh_links(generation).await?;
                    continue;
                }
                Err(Failure::Again(_)) if tries < TRIES => {
                    tokio::time::sleep(Duration::from_millis(500) * tries * tries).await;
                    tries += 1;
                    continue;
                }
                Err(Failure::Link(problem) | Failure::Again(problem)) => problem,
            };
            return Err(ExportError::File { name: self.names[index].clone(), problem, tries });
        };
        self.progress.file_done();
        let entry = &self.manifest.files[index];
        let resources = match entry.section {
            Section::Deleted => count_deletions(self.out.join(&self.names[index])).await?,
            Section::Output | Section::Error => received.lines,
        };
        Ok(Fetched {
            section: entry.section,
            resource_type: entry.resource_type.clone(),
            bytes: received.bytes,
            resources,
        })
    }

    async fn links(&self) -> (u32, Arc<Vec<Url>>) {
        let links = self.links.lock().await;
        (links.generation, links.urls.clone())
    }

    /// Links newer than `seen`. The first download to ask polls, holding the lock; the others find its result.
    async fn fresh_links(&self, seen: u32) -> Result<(u32, Arc<Vec<Url>>), ExportError> {
        let mut links = self.links.lock().await;
        if links.generation == seen {
            // Silent, because the download bar stays on the screen.
            let manifest = self.client.wait(self.status_url, &Progress::silent()).await?;
            same_files(&self.manifest.files, &manifest.files)?;
            links.urls = Arc::new(manifest.files.into_iter().map(|file| file.url).collect());
            links.generation += 1;
        }
        Ok((links.generation, links.urls.clone()))
    }

    async fn fetch(&self, index: usize, url: &Url) -> Result<Received, Failure> {
        let response = self.open(url).await?;
        let host = host_of(response.url());
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if content_type.is_some_and(|text| text.trim_start().starts_with("text/html")) {
            return Err(Failure::Again(FileProblem::WebPage { host }));
        }
        let name = &self.names[index];
        let part = self.out.join(format!("{name}.part"));
        let written = match self.write(response, &host, &part).await {
            Ok((file, received)) => match received.compare(&self.manifest.files[index]) {
                Ok(()) => Ok((file, received)),
                Err(mismatch) => {
                    self.progress.received_in_vain(received.bytes);
                    Err(Failure::Again(FileProblem::Mismatch(mismatch)))
                }
            },
            Err(failure) => Err(failure),
        };
        let (file, received) = match written {
            Ok(written) => written,
            Err(failure) => {
                // What is left behind is overwritten by the next attempt; its removal is a courtesy.
                let _ = tokio::fs::remove_file(&part).await;
                return Err(failure);
            }
        };
        file.sync_all().await.map_err(|source| ExportError::io("sync", &part, source))?;
        let path = self.out.join(name);
        tokio::fs::rename(&part, &path)
            .await
            .map_err(|source| ExportError::io("rename to", &path, source))?;
        Ok(received)
    }

    /// Asks for a file: with the token if the manifest says so, and then along redirects without it (a server that
    /// checks tokens may send on to a signed link).
    async fn open(&self, link: &Url) -> Result<Response, Failure> {
        let mut with_token = self.needs_token(link);
        let mut url = link.clone();
        for _ in 0..=REDIRECTS {
            self.client.http.check(WHAT, &url)?;
            let request = || self.client.http.get(&url).header(ACCEPT, "application/fhir+ndjson");
            let sent = if with_token {
                self.client.authorized(WHAT, &url, request).await
            } else {
                send(WHAT, &url, request()).await
            };
            let response = match sent {
                Ok(response) => response,
                Err(ExportError::Network { what: WHAT, host, source }) => {
                    return Err(Failure::Again(FileProblem::Broken { host, source }));
                }
                Err(error) => return Err(error.into()),
            };
            if !response.status().is_redirection() {
                return accepted(response, host_of(&url));
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            url = location.and_then(|text| url.join(text).ok()).ok_or_else(|| ExportError::Protocol {
                what: WHAT,
                problem: "a redirect names no address".to_owned(),
            })?;
            with_token = false;
        }
        Err(ExportError::Protocol { what: WHAT, problem: "too many redirects".to_owned() }.into())
    }

    /// As the manifest says. One that does not say gets the token for files on the FHIR server only: elsewhere it
    /// would be given away.
    fn needs_token(&self, url: &Url) -> bool {
        let same_server = || url.origin() == self.client.base_url.origin();
        self.manifest.requires_access_token.unwrap_or_else(same_server)
    }

    async fn write(
        &self,
        mut response: Response,
        host: &str,
        part: &PathBuf,
    ) -> Result<(File, Received), Failure> {
        let io = |action: &str, source| ExportError::io(action, part, source);
        let mut file = BufWriter::with_capacity(WRITE_BUFFER, create(part).await?);
        let mut tally = Tally::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    tally.add(&chunk);
                    file.write_all(&chunk).await.map_err(|source| io("write", source))?;
                    self.progress.received(chunk.len() as u64);
                }
                Ok(None) => break,
                Err(error) => {
                    self.progress.received_in_vain(tally.bytes());
                    let source = error.without_url();
                    return Err(Failure::Again(FileProblem::Broken { host: host.to_owned(), source }));
                }
            }
        }
        file.flush().await.map_err(|source| io("write", source))?;
        Ok((file.into_inner(), tally.finish()))
    }

    async fn write_manifest(&self) -> Result<(), ExportError> {
        let path = self.out.join("manifest.json");
        let part = self.out.join("manifest.json.part");
        let text = serde_json::to_vec_pretty(&self.manifest.record(&self.names))
            .expect("a manifest holds only text and numbers");
        let io = |source| ExportError::io("write", &path, source);
        let mut file = create(&part).await?;
        file.write_all(&text).await.map_err(io)?;
        file.sync_all().await.map_err(io)?;
        tokio::fs::rename(&part, &path).await.map_err(io)?;
        // The renames are durable once the folder is.
        let folder = File::open(&self.out).await.map_err(io)?;
        folder.sync_all().await.map_err(io)
    }
}

/// An empty file that only its owner may read. Whatever had the name is removed first, so that nothing is written
/// through a link that somebody left there.
async fn create(path: &PathBuf) -> Result<File, ExportError> {
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(ExportError::io("replace", path, error));
        }
        _ => {}
    }
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).await;
    opened.map_err(|source| ExportError::io("create", path, source))
}

/// Sorts an answer into file, refused link, and failure that may pass.
fn accepted(response: Response, host: String) -> Result<Response, Failure> {
    match response.status() {
        StatusCode::OK => Ok(response),
        // 400 is what S3 answers when the credentials that signed a link have expired.
        status @ (StatusCode::BAD_REQUEST
        | StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::GONE) => Err(Failure::Link(FileProblem::LinkRefused { host, status })),
        status => Err(Failure::Again(FileProblem::Status { host, status })),
    }
}

/// A manifest is frozen but for its links (Bulk Data IG, Output File Request), so entries keep their places.
fn same_files(known: &[FileEntry], fresh: &[FileEntry]) -> Result<(), ExportError> {
    if known.len() != fresh.len() {
        return Err(ExportError::ManifestChanged("another number of files"));
    }
    let facts = |file: &FileEntry| {
        (file.section, file.resource_type.clone(), file.count, file.bytes, file.sha256.clone())
    };
    if known.iter().zip(fresh).any(|(a, b)| facts(a) != facts(b)) {
        return Err(ExportError::ManifestChanged("other types, counts or digests"));
    }
    Ok(())
}

/// Resources deleted: each line of such a file is a transaction Bundle with an entry per deletion. A line that is
/// none counts for one.
async fn count_deletions(path: PathBuf) -> Result<u64, ExportError> {
    #[derive(Deserialize)]
    struct Bundle {
        #[serde(default)]
        entry: Vec<IgnoredAny>,
    }
    let file = tokio::fs::read(&path).await.map_err(|source| ExportError::io("read", &path, source))?;
    let lines = file.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let deletions = lines.map(|line| match serde_json::from_slice::<Bundle>(line) {
        Ok(bundle) => bundle.entry.len() as u64,
        Err(_) => 1,
    });
    Ok(deletions.sum())
}
