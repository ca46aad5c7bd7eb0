//! The file of an object: its data, and after them its attributes.
//!
//! One file holds both, so that one rename publishes both. The attributes come last because the checksum is
//! known only once the data are written: JSON, then its length (4 bytes, big-endian), then [`MAGIC`].

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"hgobj\0\0\x01";

/// Bytes after the JSON: its length and [`MAGIC`].
const TAIL: usize = 4 + MAGIC.len();

/// How much of the end of a file is read at first; attributes are rarely longer.
const USUAL: u64 = 1024;

/// What is known of an object besides its data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attributes {
    /// Entity tag without quotes. Unique to each put; not an MD5.
    pub(super) etag: String,
    /// CRC-32 of the data in S3's form: four bytes, big-endian, base64.
    pub(super) crc32: String,
    pub(super) content_type: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) cache_control: Option<String>,
    /// The client's own `x-amz-meta-…` values.
    pub(super) metadata: Option<HashMap<String, String>>,
}

/// An object opened for reading.
#[derive(Debug)]
pub(super) struct Object {
    /// The data begin at position 0.
    pub(super) file: File,
    /// Length of the data, bytes.
    pub(super) length: u64,
    pub(super) modified: SystemTime,
    pub(super) attributes: Attributes,
}

impl Object {
    /// Opens an object's file and reads its attributes. Blocking.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let total = metadata.len();
        let mut end = read_end(&file, total, USUAL.min(total))?;
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "not the file of an object");
        let tail = end.len().checked_sub(TAIL).ok_or_else(broken)?;
        let (length, magic) = end[tail..].split_at(4);
        if magic != MAGIC {
            return Err(broken());
        }
        let json = u32::from_be_bytes(length.try_into().map_err(|_| broken())?);
        let footer = u64::from(json) + TAIL as u64;
        if footer > total {
            return Err(broken());
        }
        if footer > end.len() as u64 {
            end = read_end(&file, total, footer)?;
        }
        let start = end.len() - footer as usize;
        let attributes = serde_json::from_slice(&end[start..end.len() - TAIL])?;
        Ok(Self { file, length: total - footer, modified: metadata.modified()?, attributes })
    }
}

fn read_end(file: &File, total: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut end = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut end, total - length)?;
    Ok(end)
}

/// Writes the attributes after the data.
pub(super) fn write_attributes(file: &mut impl Write, attributes: &Attributes) -> io::Result<()> {
    let mut footer = serde_json::to_vec(attributes)?;
    let length = u32::try_from(footer.len()).map_err(io::Error::other)?;
    footer.extend_from_slice(&length.to_be_bytes());
    footer.extend_from_slice(MAGIC);
    file.write_all(&footer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(data: &[u8], attributes: &Attributes) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(data).unwrap();
        write_attributes(&mut file, attributes).unwrap();
        file
    }

    #[test]
    fn attributes_are_read_back_whatever_their_length() {
        for long in [0, 100, 5000] {
            let metadata = HashMap::from([("note".to_owned(), "n".repeat(long))]);
            let attributes =
                Attributes { etag: "e".to_owned(), metadata: Some(metadata), ..Attributes::default() };
            let object = Object::open(stored(b"one\ntwo\n", &attributes).path()).unwrap();
            assert_eq!((object.length, object.attributes), (8, attributes));
        }
    }

    #[test]
    fn a_file_cut_short_is_no_object() {
        let file = stored(b"one\ntwo\n", &Attributes::default());
        file.as_file().set_len(file.as_file().metadata().unwrap().len() - 1).unwrap();
        assert_eq!(Object::open(file.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
