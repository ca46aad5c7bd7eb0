//! Files that hold secrets: readable by their owner only, from their first byte on.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// What to do with a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and nothing is written.
    Refuse,
    /// It is replaced.
    Replace,
}

/// Writes a file that only its owner can read.
///
/// # Errors
/// Those of the file system; [`io::ErrorKind::AlreadyExists`] for a file that is to stay.
pub fn write(path: &Path, content: &str, existing: Existing) -> io::Result<()> {
    if existing == Existing::Replace {
        // A file keeps its mode when it is overwritten, so the old one has to go.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    create(path)?.write_all(content.as_bytes())
}

/// Makes a new file that only its owner can read.
///
/// # Errors
/// Those of the file system; [`io::ErrorKind::AlreadyExists`] where there is one.
pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_readable_by_its_owner_only_even_where_an_open_file_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "open").unwrap();
        assert_eq!(write(&path, "x", Existing::Refuse).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        write(&path, "secret", Existing::Replace).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "secret");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
