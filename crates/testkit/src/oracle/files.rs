//! NDJSON files, line by line.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use flate2::bufread::MultiGzDecoder;

const BUFFER_BYTES: usize = 1 << 20;

/// The `*.ndjson` and `*.ndjson.gz` of a folder, in the order of their names.
///
/// # Errors
/// When the folder cannot be read or has none.
pub fn ndjson_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_file() && (name.ends_with(".ndjson") || name.ends_with(".ndjson.gz")) {
            files.push(path);
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "there is no *.ndjson in {}", folder.display());
    Ok(files)
}

/// Calls `each` with the number (from 1) and the bytes of every line that is not blank.
pub(super) fn lines(path: &Path, mut each: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
    let unreadable = || format!("cannot read {}", path.display());
    let packed = BufReader::with_capacity(BUFFER_BYTES, File::open(path).with_context(unreadable)?);
    let mut input: Box<dyn BufRead> = match path.extension().is_some_and(|extension| extension == "gz") {
        true => Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(packed))),
        false => Box::new(packed),
    };
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line).with_context(unreadable)? == 0 {
            return Ok(());
        }
        number += 1;
        let body = line.strip_suffix(b"\n").unwrap_or(&line);
        if !body.iter().all(u8::is_ascii_whitespace) {
            each(number, body)?;
        }
    }
}
