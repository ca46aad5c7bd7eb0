//! The keys of what is deleted, as evidence.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::failure::Failure;
use crate::private_file;

/// A new file with a key in each line, which only its owner can read; or the standard output, where nothing else is
/// printed then: a container may have no place for a file.
#[derive(Debug)]
pub struct KeysOut {
    name: String,
    to: BufWriter<To>,
}

#[derive(Debug)]
enum To {
    File(File),
    Output(io::Stdout),
}

/// Whether this names the standard output.
pub fn is_standard_output(path: &Path) -> bool {
    path.as_os_str() == "-"
}

impl KeysOut {
    /// Makes the file; one that is there already is evidence of something else.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        if is_standard_output(path) {
            let to = BufWriter::new(To::Output(io::stdout()));
            return Ok(Self { name: "the standard output".to_owned(), to });
        }
        let file = private_file::create(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Failure::config(format!("{} is there already: name a new file", path.display()))
            }
            _ => Failure::config(format!("{} cannot be written: {error}", path.display())),
        })?;
        Ok(Self { name: path.display().to_string(), to: BufWriter::new(To::File(file)) })
    }

    /// Adds keys.
    pub fn add(&mut self, keys: &[String]) -> Result<(), Failure> {
        keys.iter().try_for_each(|key| writeln!(self.to, "{key}")).map_err(|error| self.failed(&error))
    }

    /// Returns when they are on the disk, or with whoever reads the output.
    pub fn keep(&mut self) -> Result<(), Failure> {
        let kept = self.to.flush().and_then(|()| match self.to.get_ref() {
            To::File(file) => file.sync_all(),
            To::Output(_) => Ok(()),
        });
        kept.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::failed(format!("{} cannot be written: {error}; nothing was deleted", self.name))
    }
}

impl Write for To {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            To::File(file) => file.write(bytes),
            To::Output(output) => output.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            To::File(file) => file.flush(),
            To::Output(output) => output.flush(),
        }
    }
}
