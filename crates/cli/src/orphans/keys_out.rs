//! The keys of what is deleted, as evidence.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::private_file;

/// A new file with a key in each line, which only its owner can read.
#[derive(Debug)]
pub struct KeysOut {
    path: PathBuf,
    to: BufWriter<File>,
}

impl KeysOut {
    /// Makes the file; one that is there already is evidence of something else.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let file = private_file::create(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Failure::config(format!("{} is there already: name a new file", path.display()))
            }
            _ => Failure::config(format!("{} cannot be written: {error}", path.display())),
        })?;
        Ok(Self { path: path.to_owned(), to: BufWriter::new(file) })
    }

    /// Adds keys.
    pub fn add(&mut self, keys: &[String]) -> Result<(), Failure> {
        keys.iter().try_for_each(|key| writeln!(self.to, "{key}")).map_err(|error| self.failed(&error))
    }

    /// Returns when they are on the disk.
    pub fn keep(&mut self) -> Result<(), Failure> {
        let kept = self.to.flush().and_then(|()| self.to.get_ref().sync_all());
        kept.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::failed(format!("{} cannot be written: {error}; nothing was deleted", self.path.display()))
    }
}
