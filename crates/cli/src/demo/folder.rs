//! The demo's folder: a temporary one, or one that the caller names and that is used again.
//!
//! A named folder is taken only if it is empty or carries our mark, and only the entries that a demo makes are ever
//! deleted in it. The mark is locked while a demo runs, so that two of them never share a folder.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::private_file::{self, Existing};

/// Its presence says that the folder is a demo's.
const MARK: &str = ".headgate-demo";

/// The objects of the S3 server.
pub(super) const S3: &str = "s3";
/// What the client downloads.
pub(super) const EXPORTS: &str = "exports";
/// The sample documents, until they are loaded.
pub(super) const SAMPLE: &str = "sample";

/// Entries that each run makes anew.
const MADE_ANEW: [&str; 3] = [S3, EXPORTS, SAMPLE];

/// The log of the engine.
pub(super) const LOG: &str = "headgate.log";

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    /// It holds something, and is not marked as a demo's.
    #[error("{} is not empty and was not made by a demo; name another folder with --dir", .0.display())]
    NotOurs(PathBuf),
    /// A demo runs in it.
    #[error("another demo is running in {}; name another folder with --dir", .0.display())]
    InUse(PathBuf),
    /// The system says no.
    #[error("{}: {source}", path.display())]
    File {
        /// What could not be used.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The folder of one run.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    temporary: Option<TempDir>,
    /// Locked as long as it is open.
    _mark: File,
}

impl Folder {
    /// Takes the named folder, which is made if it is missing, or a temporary one.
    pub(super) fn open(named: Option<&Path>) -> Result<Self, FolderError> {
        let Some(named) = named else {
            let temporary = tempfile::Builder::new().prefix("headgate-demo-").tempdir();
            let temporary = temporary.map_err(at(&std::env::temp_dir()))?;
            let mark = mark(temporary.path())?;
            return Ok(Self { path: temporary.path().to_owned(), temporary: Some(temporary), _mark: mark });
        };
        fs::create_dir_all(named).map_err(at(named))?;
        let path = named.canonicalize().map_err(at(named))?;
        let is_empty = fs::read_dir(&path).map_err(at(&path))?.next().is_none();
        if !is_empty && !path.join(MARK).is_file() {
            return Err(FolderError::NotOurs(path));
        }
        let mark = mark(&path)?;
        Ok(Self { path, temporary: None, _mark: mark })
    }

    /// Its absolute path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it goes away with the demo.
    pub(super) fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    /// Deletes what an earlier run left and this one makes anew.
    pub(super) fn clear(&self) -> Result<(), FolderError> {
        for name in MADE_ANEW {
            let path = self.path.join(name);
            match fs::remove_dir_all(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(FolderError::File { path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes a folder in it that only its owner can enter.
    pub(super) fn make(&self, name: &str) -> Result<PathBuf, FolderError> {
        let path = self.path.join(name);
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(at(&path))?;
        Ok(path)
    }

    /// Writes a file that only its owner can read, over the one of an earlier run.
    pub(super) fn write_secret(&self, name: &str, text: &str) -> Result<PathBuf, FolderError> {
        let path = self.path.join(name);
        private_file::write(&path, text, Existing::Replace).map_err(at(&path))?;
        Ok(path)
    }

    /// Opens the log anew.
    pub(super) fn log(&self) -> Result<File, FolderError> {
        let path = self.path.join(LOG);
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).map_err(at(&path))
    }

    /// The last lines of the log.
    pub(super) fn log_tail(&self) -> String {
        let log = fs::read(self.path.join(LOG)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Leaves everything in place, a temporary folder too.
    pub(super) fn keep(self) {
        if let Some(temporary) = self.temporary {
            let _path = temporary.keep();
        }
    }

    /// Removes a temporary folder; a named one stays.
    pub(super) fn remove(self) -> Result<(), FolderError> {
        match self.temporary {
            Some(temporary) => temporary.close().map_err(at(&self.path)),
            None => Ok(()),
        }
    }
}

/// Marks the folder as ours and locks it.
fn mark(folder: &Path) -> Result<File, FolderError> {
    let path = folder.join(MARK);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(FolderError::InUse(folder.to_owned())),
        Err(TryLockError::Error(source)) => return Err(FolderError::File { path, source }),
    }
    let text = "This folder was made by `headgate demo`. It may be deleted while no demo runs in it.\n";
    file.write_all(text.as_bytes()).map_err(at(&path))?;
    Ok(file)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> FolderError + use<> {
    let path = path.to_owned();
    move |source| FolderError::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_somebody_else_is_refused_and_left_alone() {
        let theirs = tempfile::tempdir().unwrap();
        fs::create_dir(theirs.path().join("s3")).unwrap();
        let refused = Folder::open(Some(theirs.path())).unwrap_err();
        assert!(matches!(refused, FolderError::NotOurs(_)), "{refused}");
        assert_eq!(fs::read_dir(theirs.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_named_folder_is_used_again_but_never_by_two() {
        let parent = tempfile::tempdir().unwrap();
        let named = parent.path().join("a/b");
        let first = Folder::open(Some(&named)).unwrap();
        assert!(matches!(Folder::open(Some(&named)).unwrap_err(), FolderError::InUse(_)));
        first.write_secret("letter.txt", "dear").unwrap();
        fs::write(first.make("s3").unwrap().join("object"), "old").unwrap();
        first.remove().unwrap();

        let second = Folder::open(Some(&named)).unwrap();
        second.clear().unwrap();
        assert!(!named.join("s3").exists());
        assert!(named.join("letter.txt").exists());
    }

    #[test]
    fn a_temporary_folder_goes_away_unless_it_is_kept() {
        let gone = Folder::open(None).unwrap();
        let path = gone.path().to_owned();
        gone.remove().unwrap();
        assert!(!path.exists());
        let kept = Folder::open(None).unwrap();
        let path = kept.path().to_owned();
        kept.keep();
        assert!(path.is_dir());
        fs::remove_dir_all(path).unwrap();
    }
}
