//! The files of an export as its manifests name them, page by page, while the export may still be running.
//!
//! A page is frozen once it was shown, but for its links (Bulk Data IG, Response: Output Manifest, `link`). So a file
//! is known by its place: page, section, and number within the section; that holds from one run to the next, too.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::error::ExportError;
use super::manifest::{FileEntry, Manifest, Section};
use super::names::Names;
use super::record::Kept;

/// The place of a file in the manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Key {
    /// From 0, as the pages are linked.
    pub(super) page: u32,
    pub(super) section: Section,
    /// From 0, within the page's section.
    pub(super) index: u32,
}

/// A file and the name it gets.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) key: Key,
    pub(super) entry: FileEntry,
    pub(super) name: String,
}

/// All files found so far, each once.
#[derive(Debug, Default)]
pub(super) struct Listing {
    files: Vec<Arc<Listed>>,
    /// The link in force of each file.
    links: Vec<Url>,
    /// A file that is listed twice has two places.
    places: HashMap<Key, usize>,
    by_url: HashMap<(Section, Url), usize>,
    pages: Vec<Page>,
    names: Names,
    transaction_time: String,
    request: Option<String>,
    requires_access_token: Option<bool>,
}

#[derive(Debug)]
struct Page {
    url: Url,
    /// How often its links were told.
    told: u32,
    /// All its files are known.
    settled: bool,
}

/// Where to get a file.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) url: Url,
    /// How often the links of its page were told.
    pub(super) told: u32,
    pub(super) requires_access_token: Option<bool>,
}

impl Listing {
    /// Begins with the names that files of an earlier run have.
    pub(super) fn new(known: &HashMap<Key, Kept>, transaction_time: Option<&str>) -> Self {
        let mut listing = Listing {
            transaction_time: transaction_time.unwrap_or_default().to_owned(),
            ..Listing::default()
        };
        known.values().for_each(|kept| listing.names.reserve(&kept.file));
        listing
    }

    /// Takes what a page says, for the first time or again; gives the files that are new, as numbers.
    pub(super) fn take(
        &mut self,
        page: u32,
        at: &Url,
        manifest: Manifest,
        known: &HashMap<Key, Kept>,
    ) -> Result<Vec<usize>, ExportError> {
        if self.pages.len() <= page as usize {
            self.pages.push(Page { url: at.clone(), told: 0, settled: false });
        }
        let new = self.tell(page, manifest)?;
        Ok(self.add(new, known))
    }

    /// Takes the links of a page that was told before. Files that it did not have then are left to whoever waits for
    /// the page; a page that nobody waits for any more must not have any.
    pub(super) fn refresh(&mut self, page: u32, manifest: Manifest) -> Result<(), ExportError> {
        let new = self.tell(page, manifest)?;
        if self.pages[page as usize].settled && !new.is_empty() {
            return Err(ExportError::ManifestChanged("more files"));
        }
        Ok(())
    }

    /// All files of a page are known.
    pub(super) fn settle(&mut self, page: u32) {
        self.pages[page as usize].settled = true;
    }

    /// Takes the facts, and the links of known files; gives the others.
    fn tell(&mut self, page: u32, manifest: Manifest) -> Result<Vec<(Key, FileEntry)>, ExportError> {
        self.take_facts(&manifest)?;
        let before = self.places.keys().filter(|key| key.page == page).count();
        let mut new = Vec::new();
        let mut again = 0;
        for (key, entry) in keys(page, &manifest.files).into_iter().zip(manifest.files) {
            match self.places.get(&key) {
                Some(&number) => {
                    again += 1;
                    same_file(&self.files[number].entry, &entry)?;
                    self.links[number] = entry.url;
                }
                None => new.push((key, entry)),
            }
        }
        if again < before {
            return Err(ExportError::ManifestChanged("fewer files"));
        }
        self.pages[page as usize].told += 1;
        Ok(new)
    }

    fn add(&mut self, new: Vec<(Key, FileEntry)>, known: &HashMap<Key, Kept>) -> Vec<usize> {
        let mut numbers = Vec::new();
        let mut first = Vec::new();
        for (key, entry) in new {
            let next = self.files.len() + first.len();
            match self.by_url.entry((entry.section, entry.url.clone())) {
                // The same address is the same file; it is wanted once.
                Entry::Occupied(found) => {
                    self.places.insert(key, *found.get());
                }
                Entry::Vacant(free) => {
                    free.insert(next);
                    self.places.insert(key, next);
                    numbers.push(next);
                    first.push((key, entry));
                }
            }
        }
        let unnamed: Vec<&FileEntry> =
            first.iter().filter(|(key, _)| !known.contains_key(key)).map(|(_, entry)| entry).collect();
        let mut names = self.names.assign(&unnamed).into_iter();
        for (key, entry) in first {
            let name = match known.get(&key) {
                Some(kept) => kept.file.clone(),
                None => names.next().unwrap_or_default(),
            };
            self.links.push(entry.url.clone());
            self.files.push(Arc::new(Listed { key, entry, name }));
        }
        numbers
    }

    fn take_facts(&mut self, manifest: &Manifest) -> Result<(), ExportError> {
        let told = &manifest.transaction_time;
        if self.transaction_time.is_empty() {
            self.transaction_time.clone_from(told);
        } else if !told.is_empty() && *told != self.transaction_time {
            return Err(ExportError::ManifestChanged("another transactionTime"));
        }
        self.request = self.request.take().or_else(|| manifest.request.clone());
        self.requires_access_token = manifest.requires_access_token.or(self.requires_access_token);
        Ok(())
    }

    pub(super) fn file(&self, number: usize) -> Arc<Listed> {
        self.files[number].clone()
    }

    pub(super) fn link(&self, number: usize) -> Link {
        let page = &self.pages[self.files[number].key.page as usize];
        Link {
            url: self.links[number].clone(),
            told: page.told,
            requires_access_token: self.requires_access_token,
        }
    }

    /// The address of a page.
    pub(super) fn page(&self, page: u32) -> Url {
        self.pages[page as usize].url.clone()
    }

    /// Whether a page of this address was seen.
    pub(super) fn has_page(&self, url: &Url) -> bool {
        self.pages.iter().any(|page| page.url == *url)
    }

    /// Whether a file of an earlier run is still listed.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.places.contains_key(key)
    }

    pub(super) fn count(&self) -> usize {
        self.files.len()
    }

    /// Bytes of all files, if all are told.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.files.iter().map(|file| file.entry.bytes).sum()
    }

    /// What `manifest.json` holds.
    pub(super) fn record(&self) -> Value {
        let names: Vec<String> = self.files.iter().map(|file| file.name.clone()).collect();
        let manifest = Manifest {
            transaction_time: self.transaction_time.clone(),
            request: self.request.clone(),
            requires_access_token: self.requires_access_token,
            files: self.files.iter().map(|file| file.entry.clone()).collect(),
        };
        manifest.record(&names)
    }
}

fn keys(page: u32, files: &[FileEntry]) -> Vec<Key> {
    let mut next: HashMap<Section, u32> = HashMap::new();
    let key = |entry: &FileEntry| {
        let next = next.entry(entry.section).or_default();
        *next += 1;
        Key { page, section: entry.section, index: *next - 1 }
    };
    files.iter().map(key).collect()
}

fn same_file(known: &FileEntry, fresh: &FileEntry) -> Result<(), ExportError> {
    let facts = |file: &FileEntry| (file.resource_type.clone(), file.count, file.bytes, file.sha256.clone());
    if facts(known) == facts(fresh) {
        return Ok(());
    }
    Err(ExportError::ManifestChanged("other types, counts or digests"))
}

#[cfg(test)]
mod tests {
    use super::super::manifest;
    use super::*;

    fn page(text: &str) -> Manifest {
        let at = "https://h.example/status/1".parse().unwrap();
        manifest::Page::parse(text.as_bytes(), &at).unwrap().manifest
    }

    fn taken(listing: &mut Listing, number: u32, text: &str) -> Result<Vec<usize>, ExportError> {
        let url = format!("https://h.example/status/1?page={number}").parse().unwrap();
        listing.take(number, &url, page(text), &HashMap::new())
    }

    #[test]
    fn a_page_that_is_told_again_brings_links_and_what_was_added() {
        let mut listing = Listing::default();
        let first =
            r#"{"transactionTime":"t","output":[{"type":"A","url":"a?s=1"}],"error":[{"url":"e?s=1"}]}"#;
        assert_eq!(taken(&mut listing, 0, first).unwrap(), [0, 1]);
        let more =
            r#"{"output":[{"type":"A","url":"a?s=2"},{"type":"B","url":"b"}],"error":[{"url":"e?s=2"}]}"#;
        assert_eq!(taken(&mut listing, 0, more).unwrap(), [2]);
        let link = listing.link(1);
        assert_eq!((link.url.query(), link.told), (Some("s=2"), 2));
        assert_eq!(taken(&mut listing, 1, r#"{"output":[{"type":"A","url":"c"}]}"#).unwrap(), [3]);
        assert_eq!(listing.file(3).key, Key { page: 1, section: Section::Output, index: 0 });
    }

    #[test]
    fn a_file_that_two_pages_list_is_one_file() {
        let mut listing = Listing::default();
        taken(&mut listing, 0, r#"{"output":[{"type":"A","url":"a"},{"type":"A","url":"a"}]}"#).unwrap();
        let second = r#"{"output":[{"type":"A","url":"a"},{"type":"B","url":"b"}]}"#;
        assert_eq!(taken(&mut listing, 1, second).unwrap(), [1]);
        // Told again with other links, the places are still those of the same files.
        assert_eq!(taken(&mut listing, 1, &second.replace("\"a\"", "\"a?s\"")).unwrap(), [0_usize; 0]);
        assert_eq!(listing.count(), 2);
    }

    #[test]
    fn a_page_that_is_settled_does_not_grow() {
        let mut listing = Listing::default();
        taken(&mut listing, 0, r#"{"output":[{"type":"A","url":"a"}]}"#).unwrap();
        let grown = || page(r#"{"output":[{"type":"A","url":"a"},{"type":"A","url":"b"}]}"#);
        listing.refresh(0, grown()).unwrap();
        assert_eq!(listing.count(), 1);
        listing.settle(0);
        assert!(matches!(listing.refresh(0, grown()), Err(ExportError::ManifestChanged("more files"))));
    }

    #[test]
    fn a_manifest_that_changes_is_refused() {
        let first = r#"{"transactionTime":"t","output":[{"type":"A","url":"a","count":1}]}"#;
        for changed in [
            r#"{"transactionTime":"u","output":[{"type":"A","url":"a","count":1}]}"#,
            r#"{"transactionTime":"t","output":[{"type":"A","url":"a","count":2}]}"#,
            r#"{"transactionTime":"t","output":[]}"#,
        ] {
            let mut listing = Listing::default();
            taken(&mut listing, 0, first).unwrap();
            let error = taken(&mut listing, 0, changed).unwrap_err();
            assert!(matches!(error, ExportError::ManifestChanged(_)), "{changed}");
        }
    }
}
