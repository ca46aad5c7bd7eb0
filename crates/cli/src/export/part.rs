//! `NAME.part`: a file on its way to disk, counted and digested as it is written.

use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncWriteExt, BufWriter};

use super::error::ExportError;
use super::folder::{create, remove, unfinished};
use super::tally::{Received, Tally};

const BUFFER: usize = 256 * 1024;

/// The beginning of a file, and what is known of it.
pub(super) struct Part {
    path: PathBuf,
    file: BufWriter<File>,
    tally: Tally,
}

impl Part {
    /// Begins at the beginning.
    pub(super) async fn begin(target: &Path) -> Result<Part, ExportError> {
        let path = unfinished(target);
        let file = BufWriter::with_capacity(BUFFER, create(&path).await?);
        Ok(Part { path, file, tally: Tally::new() })
    }

    /// Goes on behind what an earlier attempt left, if that can be the beginning of a file of `total` bytes. Whether
    /// it is shows the digest of the whole.
    pub(super) async fn found(target: &Path, total: u64) -> Result<Option<Part>, ExportError> {
        let path = unfinished(target);
        let usable = match tokio::fs::symlink_metadata(&path).await {
            Ok(found) => {
                found.is_file() && found.mode() & 0o077 == 0 && found.len() > 0 && found.len() < total
            }
            Err(_) => false,
        };
        if !usable {
            return Ok(None);
        }
        let Some(tally) = tally_of(&path).await? else { return Ok(None) };
        let opened = OpenOptions::new().append(true).open(&path).await;
        let file = opened.map_err(|source| ExportError::io("open", &path, source))?;
        Ok(Some(Part { path, file: BufWriter::with_capacity(BUFFER, file), tally }))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.tally.bytes()
    }

    pub(super) async fn write(&mut self, chunk: &[u8]) -> Result<(), ExportError> {
        self.tally.add(chunk);
        self.file.write_all(chunk).await.map_err(|source| ExportError::io("write", &self.path, source))
    }

    /// Leaves what is there to a later attempt.
    pub(super) async fn leave(mut self) -> Result<(), ExportError> {
        self.file.flush().await.map_err(|source| ExportError::io("write", &self.path, source))
    }

    /// Nothing of it is of use.
    pub(super) async fn discard(self) -> Result<(), ExportError> {
        drop(self.file);
        remove(&self.path).await
    }

    /// Ends the writing: the file, not yet under its name.
    pub(super) async fn end(mut self) -> Result<Ended, ExportError> {
        let io = |source| ExportError::io("write", &self.path, source);
        self.file.flush().await.map_err(io)?;
        Ok(Ended { path: self.path, file: self.file.into_inner(), received: self.tally.finish() })
    }
}

/// A file that is written to its end.
pub(super) struct Ended {
    path: PathBuf,
    file: File,
    pub(super) received: Received,
}

impl Ended {
    /// Gives it its name, once its content is durable.
    pub(super) async fn name(self, target: &Path) -> Result<Received, ExportError> {
        self.file.sync_all().await.map_err(|source| ExportError::io("sync", &self.path, source))?;
        tokio::fs::rename(&self.path, target)
            .await
            .map_err(|source| ExportError::io("rename to", target, source))?;
        Ok(self.received)
    }

    pub(super) async fn discard(self) -> Result<(), ExportError> {
        remove(&self.path).await
    }
}

/// Counts and digests a file on disk; `None` if there is none, or something else of that name.
pub(super) async fn received(path: &Path) -> Result<Option<Received>, ExportError> {
    match tokio::fs::symlink_metadata(path).await {
        Ok(found) if found.is_file() => Ok(tally_of(path).await?.map(Tally::finish)),
        _ => Ok(None),
    }
}

async fn tally_of(path: &Path) -> Result<Option<Tally>, ExportError> {
    let owned = path.to_owned();
    let read = move || -> std::io::Result<Tally> {
        let mut file = std::fs::File::open(owned)?;
        let mut tally = Tally::new();
        let mut buffer = vec![0; BUFFER];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(tally),
                length => tally.add(&buffer[..length]),
            }
        }
    };
    match tokio::task::spawn_blocking(read).await.unwrap_or_else(|gone| Err(std::io::Error::other(gone))) {
        Ok(tally) => Ok(Some(tally)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ExportError::io("read", path, source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_an_attempt_left_is_continued_to_the_same_digest() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.ndjson");
        let mut whole = Part::begin(&target).await.unwrap();
        whole.write(b"{}\n{}\n").await.unwrap();
        let whole = whole.end().await.unwrap().received;
        let mut first = Part::begin(&target).await.unwrap();
        first.write(b"{}\n{").await.unwrap();
        first.leave().await.unwrap();
        let mut second = Part::found(&target, 6).await.unwrap().unwrap();
        assert_eq!(second.bytes(), 4);
        second.write(b"}\n").await.unwrap();
        assert_eq!(second.end().await.unwrap().name(&target).await.unwrap(), whole);
        assert_eq!(received(&target).await.unwrap(), Some(whole));
    }

    #[tokio::test]
    async fn what_cannot_be_a_beginning_is_not_continued() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.ndjson");
        assert!(Part::found(&target, 6).await.unwrap().is_none());
        let mut first = Part::begin(&target).await.unwrap();
        first.write(b"{}\n{}\n").await.unwrap();
        first.leave().await.unwrap();
        assert!(Part::found(&target, 6).await.unwrap().is_none());
        std::fs::remove_file(unfinished(&target)).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", unfinished(&target)).unwrap();
        assert!(Part::found(&target, 1 << 40).await.unwrap().is_none());
    }
}
