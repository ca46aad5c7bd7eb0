//! The folder of an export: made for its owner only, used by one process at a time, its files replaced as wholes.

use std::fs::TryLockError;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;

use super::error::ExportError;

/// What a file is called until it is whole.
pub(super) const UNFINISHED: &str = ".part";

/// A folder that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The lock is on the folder itself, so that no file of it has to stay.
    _lock: std::fs::File,
}

impl Folder {
    /// Makes the folder, for its owner only since the files hold health data, and takes it.
    pub(super) async fn take(path: &Path) -> Result<Folder, ExportError> {
        make(path).await?;
        let lock =
            std::fs::File::open(path).map_err(|source| ExportError::io("open the folder", path, source))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Err(ExportError::Busy(path.to_owned())),
            // Some network file systems cannot lock a folder; an export is possible there all the same.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Folder { path: path.to_owned(), _lock: lock }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Names of everything in it.
    pub(super) async fn names(&self) -> Result<Vec<String>, ExportError> {
        let io = |source| ExportError::io("read the folder", &self.path, source);
        let mut entries = tokio::fs::read_dir(&self.path).await.map_err(io)?;
        let mut names = Vec::new();
        while let Some(entry) = entries.next_entry().await.map_err(io)? {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }
}

/// Makes a folder, and those above it, for its owner only.
pub(super) async fn make(path: &Path) -> Result<(), ExportError> {
    let mut folder = tokio::fs::DirBuilder::new();
    folder
        .recursive(true)
        .mode(0o700)
        .create(path)
        .await
        .map_err(|source| ExportError::io("make the folder", path, source))
}

/// An empty file that only its owner may read. Whatever had the name is removed first, so that nothing is written
/// through a link that somebody left there.
pub(super) async fn create(path: &Path) -> Result<File, ExportError> {
    remove(path).await?;
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).await;
    opened.map_err(|source| ExportError::io("create", path, source))
}

/// Removes a file if it is there.
pub(super) async fn remove(path: &Path) -> Result<(), ExportError> {
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(ExportError::io("remove", path, error)),
        _ => Ok(()),
    }
}

/// Puts a file in place of another: after a crash it is there as it was or as it is to be, never in between.
pub(super) async fn replace(path: &Path, content: &[u8]) -> Result<(), ExportError> {
    let part = unfinished(path);
    let io = |source| ExportError::io("write", path, source);
    let mut file = create(&part).await?;
    file.write_all(content).await.map_err(io)?;
    file.sync_all().await.map_err(io)?;
    tokio::fs::rename(&part, path).await.map_err(io)?;
    sync(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))).await
}

/// Makes the renames of a folder durable.
pub(super) async fn sync(path: &Path) -> Result<(), ExportError> {
    let io = |source| ExportError::io("sync the folder", path, source);
    File::open(path).await.map_err(io)?.sync_all().await.map_err(io)
}

/// What a file is called until it is whole.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_folder_belongs_to_one_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let first = Folder::take(&path).await.unwrap();
        assert!(matches!(Folder::take(&path).await, Err(ExportError::Busy(_))));
        drop(first);
        assert!(Folder::take(&path).await.unwrap().names().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_replaced_file_is_whole_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        std::fs::write(&path, "open and longer").unwrap();
        replace(&path, b"new").await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!unfinished(&path).exists());
    }
}
