//! Counts what was downloaded, from the files themselves.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use headgate_domain::ResourceType;

/// The files of one type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) resources: u64,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// Counts the lines of a folder's NDJSON files by type, which is the name up to `_`.
pub(super) async fn tally(folder: PathBuf) -> Result<BTreeMap<String, Tally>> {
    let counted = tokio::task::spawn_blocking(move || {
        read(&folder).with_context(|| format!("cannot count the files in {}", folder.display()))
    });
    counted.await?
}

fn read(folder: &Path) -> io::Result<BTreeMap<String, Tally>> {
    let mut by_type: BTreeMap<String, Tally> = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some(name) = type_of(&entry.file_name().to_string_lossy()) else { continue };
        let (lines, bytes) = count(&entry.path())?;
        let tally = by_type.entry(name).or_default();
        tally.resources += lines;
        tally.files += 1;
        tally.bytes += bytes;
    }
    Ok(by_type)
}

/// `Patient` for `patient_1.ndjson`. Files of no known type, such as the manifest, are not counted.
fn type_of(name: &str) -> Option<String> {
    let (t, _) = name.strip_suffix(".ndjson")?.split_once('_')?;
    ResourceType::ALL.iter().find(|known| known.lower_case() == t).map(ToString::to_string)
}

/// Line feeds and bytes of a file.
fn count(path: &Path) -> io::Result<(u64, u64)> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 256 * 1024];
    let (mut lines, mut bytes) = (0, 0);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((lines, bytes));
        }
        lines += memchr::memchr_iter(b'\n', &buffer[..read]).count() as u64;
        bytes += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_counted_by_the_type_in_their_name() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("patient_1.ndjson", "{}\n{}\n"),
            ("patient_2-2.ndjson", "{}\n"),
            ("allergyintolerance_1.ndjson", "{}\n"),
            ("manifest.json", "{}\n"),
            ("other_1.ndjson", "{}\n"),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let found = tally(folder.path().to_owned()).await.unwrap();
        assert_eq!(
            found,
            BTreeMap::from([
                ("AllergyIntolerance".to_owned(), Tally { resources: 1, files: 1, bytes: 3 }),
                ("Patient".to_owned(), Tally { resources: 3, files: 2, bytes: 9 }),
            ])
        );
    }
}
