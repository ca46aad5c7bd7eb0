//! Merges the files of a run into the current state: one file per type, the latest version of each resource.
//!
//! All new files are written aside before the first is renamed, so what cannot be merged changes nothing. Each file is
//! replaced as a whole, and merging again what was merged before changes nothing: a merge that was interrupted is
//! done again. In memory are the ids of one type of the run, not those of the state.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::ExportError;
use super::folder::{make, sync, unfinished};
use super::manifest::Section;
use super::record::Record;
use super::summary::Merged;

const SUFFIX: &str = ".ndjson";
const BUFFER: usize = 256 * 1024;

/// What a run says of one type.
#[derive(Debug, Default)]
struct Change {
    /// Files of new versions, with the number of lines that each must have.
    files: Vec<(PathBuf, u64)>,
    deleted: HashSet<String>,
}

/// A file of the state that is written aside.
struct Aside {
    target: PathBuf,
    /// Resources in it; without any, the target is removed.
    resources: u64,
}

#[derive(Deserialize)]
struct Identity<'a> {
    #[serde(rename = "resourceType", borrow)]
    resource_type: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Bundle {
    entry: Vec<BundleEntry>,
}

#[derive(Deserialize)]
struct BundleEntry {
    request: BundleRequest,
}

#[derive(Deserialize)]
struct BundleRequest {
    method: String,
    url: String,
}

/// Merges the complete export in `run` into the folder `current`; a `full` one takes the place of all that is there.
///
/// # Errors
/// [`ExportError::Merge`] for a file that is not as the guide wants it, [`ExportError::Io`] for the file system.
pub(super) async fn merge(run: &Path, current: &Path, full: bool) -> Result<Merged, ExportError> {
    let record = Record::load(run).await?.ok_or_else(|| ExportError::Remembered {
        path: run.to_owned(),
        problem: "there is no record of an export in it",
    })?;
    make(current).await?;
    let merge = Merge { run: run.to_owned(), current: current.to_owned(), full, merged: Merged::default() };
    let merged = tokio::task::spawn_blocking(move || merge.run(&record)).await;
    let merged =
        merged.unwrap_or_else(|gone| Err(ExportError::io("merge into", current, io::Error::other(gone))))?;
    sync(current).await?;
    Ok(merged)
}

struct Merge {
    run: PathBuf,
    current: PathBuf,
    full: bool,
    merged: Merged,
}

impl Merge {
    fn run(mut self, record: &Record) -> Result<Merged, ExportError> {
        self.remove(|name| name.ends_with(".part"))?;
        let changes = self.changes(record)?;
        let mut aside = Vec::new();
        for (name, change) in &changes {
            aside.extend(self.one_type(name, change)?);
        }
        for written in &aside {
            self.merged.current += written.resources;
            self.put(written)?;
        }
        if self.full {
            let kept = |name: &str| name.strip_suffix(SUFFIX).is_some_and(|stem| changes.contains_key(stem));
            self.remove(|name| name.ends_with(SUFFIX) && !kept(name))?;
        }
        Ok(self.merged)
    }

    /// Sorts the files of the run by type.
    fn changes(&self, record: &Record) -> Result<BTreeMap<String, Change>, ExportError> {
        let mut changes: BTreeMap<String, Change> = BTreeMap::new();
        for kept in &record.files {
            let path = self.run.join(&kept.file);
            match kept.key.section {
                Section::Output => {
                    let name = kept.resource_type.clone().filter(|name| is_type(name));
                    let name =
                        name.ok_or_else(|| wrong(&path, 1, "the manifest does not tell the file's type"))?;
                    changes.entry(name).or_default().files.push((path, kept.received.lines));
                }
                Section::Deleted => {
                    each_line(&path, |line, text| {
                        for (name, id) in deletions(text).map_err(|problem| wrong(&path, line, problem))? {
                            changes.entry(name).or_default().deleted.insert(id);
                        }
                        Ok(())
                    })?;
                }
                Section::Error => {}
            }
        }
        Ok(changes)
    }

    /// Writes the new state of a type aside; nothing if it stays as it is.
    fn one_type(&mut self, name: &str, change: &Change) -> Result<Option<Aside>, ExportError> {
        let target = self.current.join(format!("{name}{SUFFIX}"));
        let latest = latest(name, change)?;
        let merges = !self.full && target.exists();
        if latest.is_empty() && !merges {
            return Ok(None);
        }
        let path = unfinished(&target);
        let io = |source| ExportError::io("write", &path, source);
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut out = BufWriter::with_capacity(BUFFER, opened.map_err(io)?);
        let (mut resources, mut removed) = (0, 0);
        if merges {
            each_line(&target, |line, text| {
                let id = identity(&target, line, text, name)?.id;
                if latest.contains_key(&*id) {
                    return Ok(());
                }
                // A resource that was deleted and made again is in both lists, if the server is not strict.
                if change.deleted.contains(&*id) {
                    removed += 1;
                    return Ok(());
                }
                resources += 1;
                write_line(&mut out, text).map_err(io)
            })?;
        }
        for (number, (file, _)) in change.files.iter().enumerate() {
            each_line(file, |line, text| {
                let id = identity(file, line, text, name)?.id;
                if latest.get(&*id) != Some(&(number, line)) {
                    return Ok(());
                }
                resources += 1;
                write_line(&mut out, text).map_err(io)
            })?;
        }
        out.into_inner().map_err(|error| io(error.into_error()))?.sync_all().map_err(io)?;
        self.merged.written += latest.len() as u64;
        self.merged.removed += removed;
        Ok(Some(Aside { target, resources }))
    }

    fn put(&self, written: &Aside) -> Result<(), ExportError> {
        let target = &written.target;
        let put = match written.resources {
            0 => std::fs::remove_file(unfinished(target)).and_then(|()| match std::fs::remove_file(target) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }),
            _ => std::fs::rename(unfinished(target), target),
        };
        put.map_err(|source| ExportError::io("replace", target, source))
    }

    /// Removes files of the state by name.
    fn remove(&self, unwanted: impl Fn(&str) -> bool) -> Result<(), ExportError> {
        let io = |source| ExportError::io("read the folder", &self.current, source);
        for entry in std::fs::read_dir(&self.current).map_err(io)? {
            let entry = entry.map_err(io)?;
            if entry.file_name().to_str().is_some_and(&unwanted) {
                let path = entry.path();
                std::fs::remove_file(&path).map_err(|source| ExportError::io("remove", &path, source))?;
            }
        }
        Ok(())
    }
}

/// Where the latest version of each id is: number of the file, and line.
fn latest(name: &str, change: &Change) -> Result<HashMap<String, (usize, u64)>, ExportError> {
    let mut latest = HashMap::new();
    for (number, (file, lines)) in change.files.iter().enumerate() {
        let mut found = 0;
        each_line(file, |line, text| {
            found += 1;
            latest.insert(identity(file, line, text, name)?.id.into_owned(), (number, line));
            Ok(())
        })?;
        if found != *lines {
            return Err(wrong(
                file,
                found,
                "the file has another number of lines than when it was downloaded",
            ));
        }
    }
    Ok(latest)
}

fn identity<'a>(path: &Path, line: u64, text: &'a [u8], name: &str) -> Result<Identity<'a>, ExportError> {
    let identity = serde_json::from_slice::<Identity<'a>>(text)
        .map_err(|_| wrong(path, line, "it is not a resource with a type and an id"))?;
    if identity.resource_type != name {
        return Err(wrong(path, line, "the resource is of another type than the file"));
    }
    Ok(identity)
}

/// Type and id of each resource that a line of a file of deletions names.
fn deletions(text: &[u8]) -> Result<Vec<(String, String)>, &'static str> {
    let bundle: Bundle = serde_json::from_slice(text)
        .map_err(|_| "it is not a Bundle of deletions as the guide describes it")?;
    let deletion = |entry: BundleEntry| {
        if entry.request.method != "DELETE" {
            return Err("an entry of the Bundle is not a deletion");
        }
        let mut parts = entry.request.url.rsplit('/');
        match (parts.next(), parts.next()) {
            (Some(id), Some(name)) if is_id(id) && is_type(name) => Ok((name.to_owned(), id.to_owned())),
            _ => Err("a deletion does not name a type and an id"),
        }
    };
    bundle.entry.into_iter().map(deletion).collect()
}

fn is_type(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// Calls with each line that holds something, and its number from 1.
fn each_line(
    path: &Path,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let io = |source| ExportError::io("read", path, source);
    let mut file = BufReader::with_capacity(BUFFER, File::open(path).map_err(io)?);
    let mut text = Vec::new();
    let mut line = 0;
    loop {
        text.clear();
        if file.read_until(b'\n', &mut text).map_err(io)? == 0 {
            return Ok(());
        }
        line += 1;
        let held = text.trim_ascii();
        if !held.is_empty() {
            take(line, held)?;
        }
    }
}

fn write_line(out: &mut impl Write, text: &[u8]) -> io::Result<()> {
    out.write_all(text)?;
    out.write_all(b"\n")
}

fn wrong(path: &Path, line: u64, problem: &'static str) -> ExportError {
    ExportError::Merge { path: path.to_owned(), line, problem }
}
