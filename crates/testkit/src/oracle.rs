//! What an export must be, computed from its input without any of the engine's code.
//!
//! Two things are held against each other: the lines, as multisets by type ([`Multiset`]; a line is kept as
//! 128 bits of its SHA-256, so that a million lines take 16 MB), and the names of the files
//! ([`check_names`]): `{type}_1`, `{type}_2`, … without a gap, at most so many lines a file, and a further part
//! `-{p}` only where the part before it was full in bytes.

mod files;
mod names;
pub mod search;
pub mod sql_form;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use aws_lc_rs::digest;
use serde::Deserialize;

pub use files::ndjson_files;
pub use names::{ExportedFile, Limits, check_names};

use files::lines;

/// A type whose lines differ from what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The resource type.
    pub resource_type: String,
    /// Lines that should be there and are not, each as often as it is missing.
    pub missing: u64,
    /// Lines that should not be there, or not so often.
    pub extra: u64,
}

/// Lines by resource type, without order, each as often as it occurs.
#[derive(Debug, Clone, Default)]
pub struct Multiset {
    types: BTreeMap<String, Vec<u128>>,
    bytes: u64,
}

impl Multiset {
    /// Adds a line, without its line feed; returns its type.
    ///
    /// # Errors
    /// When it is no JSON object with a `resourceType`.
    pub fn add(&mut self, line: &[u8]) -> Result<String> {
        let resource_type = resource_type(line)?;
        self.add_as(&resource_type, line);
        Ok(resource_type.into_owned())
    }

    /// Adds a line of a known type.
    pub fn add_as(&mut self, resource_type: &str, line: &[u8]) {
        self.bytes += line.len() as u64 + 1;
        let digest = short_digest(line);
        match self.types.get_mut(resource_type) {
            Some(digests) => digests.push(digest),
            None => {
                self.types.insert(resource_type.to_owned(), vec![digest]);
            }
        }
    }

    /// The lines of all `*.ndjson` and `*.ndjson.gz` of a folder. Blank lines do not count.
    ///
    /// # Errors
    /// When a file cannot be read or a line is not a resource; the error names the place.
    pub fn of_folder(folder: &Path) -> Result<Self> {
        let mut set = Self::default();
        for file in ndjson_files(folder)? {
            lines(&file, |number, line| {
                set.add(line).map(drop).with_context(|| format!("{}, line {number}", file.display()))
            })?;
        }
        Ok(set)
    }

    /// How many lines of each type there are.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.types.iter().map(|(name, digests)| (name.clone(), digests.len() as u64)).collect()
    }

    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.types.values().map(|digests| digests.len() as u64).sum()
    }

    /// Whether there is no line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// Bytes of all lines, with their line feeds.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sorts the lines. [`Multiset::differences`] wants both sides sorted.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        for digests in self.types.values_mut() {
            digests.sort_unstable();
        }
        self
    }

    /// How `found` differs from this, by type; empty when they are the same. Both must be sorted.
    #[must_use]
    pub fn differences(&self, found: &Multiset) -> Vec<Difference> {
        let names: BTreeSet<&String> = self.types.keys().chain(found.types.keys()).collect();
        names
            .into_iter()
            .map(|name| {
                let (missing, extra) = compared(self.digests(name), found.digests(name));
                let (missing, extra) = (missing.len() as u64, extra.len() as u64);
                Difference { resource_type: name.clone(), missing, extra }
            })
            .filter(|difference| difference.missing + difference.extra > 0)
            .collect()
    }

    /// Where in the folder that this was made of the first few lines are that `found` lacks.
    ///
    /// # Errors
    /// When the folder cannot be read any more.
    pub fn locate_missing(&self, found: &Multiset, folder: &Path, most: usize) -> Result<Vec<String>> {
        let missing: HashSet<u128> =
            self.types.iter().flat_map(|(name, digests)| compared(digests, found.digests(name)).0).collect();
        let mut places = Vec::new();
        for file in ndjson_files(folder)? {
            lines(&file, |number, line| {
                if places.len() < most && missing.contains(&short_digest(line)) {
                    places.push(format!("{}, line {number}", file.display()));
                }
                Ok(())
            })?;
        }
        Ok(places)
    }

    fn digests(&self, resource_type: &str) -> &[u128] {
        self.types.get(resource_type).map_or(&[], Vec::as_slice)
    }
}

/// What only the first and what only the second of two sorted lists has.
fn compared(expected: &[u128], found: &[u128]) -> (Vec<u128>, Vec<u128>) {
    let (mut missing, mut extra) = (Vec::new(), Vec::new());
    let (mut a, mut b) = (expected.iter().copied().peekable(), found.iter().copied().peekable());
    loop {
        match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if x == y => {
                a.next();
                b.next();
            }
            (Some(x), Some(y)) if x > y => extra.extend(b.next()),
            (Some(_), _) => missing.extend(a.next()),
            (None, Some(_)) => extra.extend(b.next()),
            (None, None) => return (missing, extra),
        }
    }
}

fn short_digest(line: &[u8]) -> u128 {
    let digest = digest::digest(&digest::SHA256, line);
    let mut first = [0; 16];
    first.copy_from_slice(&digest.as_ref()[..16]);
    u128::from_be_bytes(first)
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow, rename = "resourceType")]
    resource_type: Cow<'a, str>,
}

/// The type of a resource. Nearly all lines begin with it; the others are parsed.
fn resource_type(line: &[u8]) -> Result<Cow<'_, str>> {
    const USUAL: &[u8] = b"{\"resourceType\":\"";
    if let Some(rest) = line.strip_prefix(USUAL)
        && let Some(end) = memchr::memchr2(b'"', b'\\', rest)
        && rest[end] == b'"'
    {
        return Ok(String::from_utf8_lossy(&rest[..end]));
    }
    // The parser's own text would quote the line.
    let typed: Typed<'_> =
        serde_json::from_slice(line).ok().context("it is not a JSON object with a resourceType")?;
    Ok(typed.resource_type)
}

/// The output files of an export that a client has written into a folder, and their lines.
///
/// # Errors
/// When a file cannot be read, its name is not of the form `{type}_{n}[-{p}].ndjson`, a line in it is of
/// another type, or it does not end with a line feed.
pub fn read_export(folder: &Path) -> Result<(Multiset, Vec<ExportedFile>)> {
    let mut set = Multiset::default();
    let mut exported = Vec::new();
    for path in ndjson_files(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut file = ExportedFile::named(&name)?;
        lines(&path, |number, line| {
            let resource_type = set.add(line).with_context(|| format!("{name}, line {number}"))?;
            anyhow::ensure!(
                resource_type.to_ascii_lowercase() == file.stem,
                "{name}, line {number} is of type {resource_type}"
            );
            file.add(&resource_type, line.len() as u64 + 1);
            Ok(())
        })?;
        let length = std::fs::metadata(&path)?.len();
        anyhow::ensure!(
            file.bytes == length,
            "{name} has {length} bytes, its lines {}: a blank line, or no line feed at the end",
            file.bytes
        );
        exported.push(file);
    }
    Ok((set, exported))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(lines: &[&str]) -> Multiset {
        let mut set = Multiset::default();
        for line in lines {
            set.add(line.as_bytes()).unwrap();
        }
        set.sorted()
    }

    const A: &str = r#"{"resourceType":"Patient","id":"a"}"#;
    const B: &str = r#"{"resourceType":"Patient","id":"b"}"#;

    #[test]
    fn the_order_of_lines_does_not_matter_but_their_number_does() {
        assert_eq!(set(&[A, B]).differences(&set(&[B, A])), []);
        let difference = |missing, extra| Difference { resource_type: "Patient".into(), missing, extra };
        assert_eq!(set(&[A, B]).differences(&set(&[A, B, B])), [difference(0, 1)]);
        assert_eq!(set(&[A, A, B]).differences(&set(&[A, B])), [difference(1, 0)]);
        assert_eq!(set(&[A]).differences(&set(&[B])), [difference(1, 1)]);
        assert_eq!(set(&[A]).differences(&set(&[])), [difference(1, 0)]);
    }

    #[test]
    fn one_changed_byte_is_a_difference() {
        let spaced = r#"{"resourceType":"Patient", "id":"a"}"#;
        assert_eq!(set(&[A]).differences(&set(&[spaced])).len(), 1);
    }

    #[test]
    fn the_type_is_found_wherever_it_stands() {
        let late = br#"{"id":"a","contained":[{"resourceType":"Device"}],"resourceType":"Patient"}"#;
        assert_eq!(resource_type(late).unwrap(), "Patient");
        assert_eq!(resource_type(A.as_bytes()).unwrap(), "Patient");
        assert!(resource_type(br#"{"id":"a"}"#).is_err());
        assert!(resource_type(b"[]").is_err());
    }

    #[test]
    fn an_export_is_read_from_its_files_and_a_line_of_another_type_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("patient_1.ndjson"), format!("{A}\n{B}\n")).unwrap();
        let (lines, files) = read_export(folder.path()).unwrap();
        assert_eq!((lines.len(), files[0].lines), (2, 2));
        assert_eq!(lines.bytes(), files[0].bytes);
        std::fs::write(folder.path().join("device_1.ndjson"), format!("{A}\n")).unwrap();
        assert!(read_export(folder.path()).is_err());
    }

    #[test]
    fn missing_lines_are_located_in_the_input() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("in.ndjson"), format!("{A}\n\n{B}\n")).unwrap();
        let all = Multiset::of_folder(folder.path()).unwrap().sorted();
        let places = all.locate_missing(&set(&[A]), folder.path(), 5).unwrap();
        assert_eq!(places.len(), 1);
        assert!(places[0].ends_with("in.ndjson, line 3"), "{places:?}");
    }
}
