//! Counts what comes in (bytes, lines, SHA-256) and compares it with what the manifest says.

use aws_lc_rs::digest::{Context, SHA256};

use serde::{Deserialize, Serialize};

use super::manifest::FileEntry;

/// A running count over the chunks of one file.
pub(super) struct Tally {
    bytes: u64,
    lines: u64,
    /// The current line has something in it.
    line_open: bool,
    digest: Context,
}

/// What was received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Received {
    pub(super) bytes: u64,
    /// Lines that hold something; the last one counts without a line feed too.
    pub(super) lines: u64,
    /// Lower-case hex.
    pub(super) sha256: String,
}

/// How a file differs from its manifest entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Number of bytes.
    #[error("it has {got} bytes, the manifest says {expected}")]
    Bytes {
        /// By the manifest.
        expected: u64,
        /// On disk.
        got: u64,
    },
    /// Number of lines.
    #[error("it has {got} resources, the manifest says {expected}")]
    Count {
        /// By the manifest.
        expected: u64,
        /// On disk.
        got: u64,
    },
    /// Digest.
    #[error("its SHA-256 is not that of the manifest")]
    Sha256,
}

impl Tally {
    pub(super) fn new() -> Self {
        Tally { bytes: 0, lines: 0, line_open: false, digest: Context::new(&SHA256) }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn add(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len() as u64;
        self.digest.update(chunk);
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', chunk) {
            self.lines += u64::from(self.line_open || has_text(&chunk[start..end]));
            self.line_open = false;
            start = end + 1;
        }
        self.line_open |= has_text(&chunk[start..]);
    }

    pub(super) fn finish(self) -> Received {
        Received {
            bytes: self.bytes,
            lines: self.lines + u64::from(self.line_open),
            sha256: hex::encode(self.digest.finish()),
        }
    }
}

fn has_text(line: &[u8]) -> bool {
    line.iter().any(|byte| !byte.is_ascii_whitespace())
}

impl Received {
    /// Compares with everything that the manifest gives; it need not give anything.
    pub(super) fn compare(&self, entry: &FileEntry) -> Result<(), Mismatch> {
        if let Some(expected) = entry.bytes
            && expected != self.bytes
        {
            return Err(Mismatch::Bytes { expected, got: self.bytes });
        }
        if let Some(expected) = entry.count
            && expected != self.lines
        {
            return Err(Mismatch::Count { expected, got: self.lines });
        }
        match &entry.sha256 {
            Some(expected) if !expected.eq_ignore_ascii_case(&self.sha256) => Err(Mismatch::Sha256),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::manifest::Section;

    fn received(chunks: &[&str]) -> Received {
        let mut tally = Tally::new();
        for chunk in chunks {
            tally.add(chunk.as_bytes());
        }
        tally.finish()
    }

    fn entry(count: Option<u64>, bytes: Option<u64>, sha256: Option<&str>) -> FileEntry {
        FileEntry {
            section: Section::Output,
            resource_type: None,
            url: "https://h.example/a".parse().unwrap(),
            count,
            bytes,
            sha256: sha256.map(str::to_owned),
            extension: None,
        }
    }

    #[test]
    fn lines_are_counted_wherever_the_chunks_are_cut() {
        let text = "{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n";
        for cut in 0..=text.len() {
            assert_eq!(received(&[&text[..cut], &text[cut..]]).lines, 3, "cut at {cut}");
        }
        let single: Vec<&str> = (0..text.len()).map(|i| &text[i..=i]).collect();
        assert_eq!(received(&single), received(&[text]));
    }

    #[test]
    fn a_last_line_without_line_feed_counts() {
        assert_eq!(received(&["{}\n{", "}"]).lines, 2);
    }

    #[test]
    fn blank_lines_do_not_count() {
        assert_eq!(received(&["{}\r\n\r\n", "\n", "{}\r\n", "  "]).lines, 2);
        assert_eq!(received(&[]).lines, 0);
    }

    #[test]
    fn the_digest_is_sha_256_in_hex() {
        assert_eq!(
            received(&["a", "bc"]).sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn every_kind_of_difference_is_found() {
        let got = received(&["{}\n{}\n"]);
        assert_eq!(got.compare(&entry(Some(3), None, None)), Err(Mismatch::Count { expected: 3, got: 2 }));
        assert_eq!(got.compare(&entry(None, Some(7), None)), Err(Mismatch::Bytes { expected: 7, got: 6 }));
        assert_eq!(got.compare(&entry(Some(2), Some(6), Some("00"))), Err(Mismatch::Sha256));
    }

    #[test]
    fn a_file_as_promised_and_a_manifest_that_promises_nothing_are_fine() {
        let got = received(&["{}\n{}\n"]);
        let upper = got.sha256.to_uppercase();
        assert_eq!(got.compare(&entry(Some(2), Some(6), Some(&upper))), Ok(()));
        assert_eq!(got.compare(&entry(None, None, None)), Ok(()));
    }
}
