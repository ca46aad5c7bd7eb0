//! The manifest of an export (Bulk Data IG, Response - Complete Status), written piece by piece: it may list tens of
//! thousands of files, and the link to each is signed as it is written.

use std::io::Write as _;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

/// About the length of a piece, in bytes.
const PIECE: usize = 64 * 1024;

/// The manifest but for its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Everything changed up to this instant is in the output.
    pub transaction_time: DateTime<Utc>,
    /// The kick-off URL; of a GET with its query.
    pub request: String,
    /// Whether the file URLs want the access token; not where they are signed.
    pub requires_access_token: bool,
    /// The URL of the next page, where manifests are paged and this is not known to be the last one.
    pub next: Option<String>,
}

/// The files of a manifest, in its three lists.
#[derive(Debug, Clone, Default)]
pub struct Files<I> {
    /// Files of resources.
    pub output: I,
    /// Files of deletion bundles.
    pub deleted: I,
    /// Files of OperationOutcomes.
    pub error: I,
}

/// One file of a manifest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// The resource type of every line.
    #[serde(rename = "type")]
    pub resource_type: String,
    /// Where the file is.
    pub url: String,
    /// Lines in the file.
    pub count: u64,
    /// What lets a client verify the file.
    pub extension: EntryExtension,
}

/// Size and hash of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EntryExtension {
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 of the bytes, in lower-case hex.
    pub sha256: String,
}

impl Manifest {
    /// The JSON text of the manifest, in pieces. The lists are always there, also when empty: clients index them
    /// blindly.
    pub fn pieces<I: Iterator<Item = Entry>>(self, files: Files<I>) -> impl Iterator<Item = Vec<u8>> {
        let mut lists = [("output", files.output), ("deleted", files.deleted), ("error", files.error)]
            .into_iter()
            .map(|(name, entries)| List { name, entries, is_open: false, is_empty: true });
        let mut list = lists.next();
        let mut is_open = false;
        std::iter::from_fn(move || {
            let mut piece = Vec::new();
            if !is_open {
                is_open = true;
                self.open(&mut piece);
            }
            while let Some(current) = &mut list {
                if !current.write(&mut piece) {
                    return Some(piece);
                }
                list = lists.next();
                if list.is_none() {
                    self.close(&mut piece);
                    return Some(piece);
                }
            }
            None
        })
    }

    fn open(&self, piece: &mut Vec<u8>) {
        let head = Head {
            transaction_time: crate::instant::format(self.transaction_time),
            request: &self.request,
            requires_access_token: self.requires_access_token,
        };
        append(piece, &head);
        // The lists go on where the object would end.
        piece.pop();
    }

    fn close(&self, piece: &mut Vec<u8>) {
        if let Some(next) = &self.next {
            piece.extend_from_slice(br#","link":"#);
            append(piece, &json!([{ "relation": "next", "url": next }]));
        }
        piece.push(b'}');
    }
}

/// The members before the lists.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    transaction_time: String,
    request: &'a str,
    requires_access_token: bool,
}

/// A list that is being written.
struct List<I> {
    name: &'static str,
    entries: I,
    is_open: bool,
    is_empty: bool,
}

impl<I: Iterator<Item = Entry>> List<I> {
    /// Writes on until the piece is long enough, or the list ends and is closed. Returns whether it is closed.
    fn write(&mut self, piece: &mut Vec<u8>) -> bool {
        if !self.is_open {
            self.is_open = true;
            // Writing to memory does not fail.
            let _ = write!(piece, r#","{}":["#, self.name);
        }
        while piece.len() < PIECE {
            let Some(entry) = self.entries.next() else {
                piece.push(b']');
                return true;
            };
            if !self.is_empty {
                piece.push(b',');
            }
            self.is_empty = false;
            append(piece, &entry);
        }
        false
    }
}

/// What is written here is made of texts, numbers and lists: it always has a JSON form.
fn append(piece: &mut Vec<u8>, value: &impl Serialize) {
    let _ = serde_json::to_writer(piece, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(next: Option<&str>) -> Manifest {
        Manifest {
            transaction_time: DateTime::UNIX_EPOCH,
            request: "https://a.example/fhir/r4/$export?_type=\"Patient\"".into(),
            requires_access_token: false,
            next: next.map(str::to_owned),
        }
    }

    fn entry(n: usize) -> Entry {
        Entry {
            resource_type: "Patient".into(),
            url: format!("https://b.example/patient_{n}.ndjson"),
            count: 2,
            extension: EntryExtension { bytes: 10, sha256: "00".into() },
        }
    }

    fn entries(numbers: std::ops::Range<usize>) -> impl Iterator<Item = Entry> {
        numbers.map(entry)
    }

    #[test]
    fn empty_lists_are_kept_and_the_time_is_an_instant() {
        let files = Files { output: entries(1..2), deleted: entries(0..0), error: entries(0..0) };
        let pieces: Vec<_> = manifest(None).pieces(files).collect();
        assert_eq!(pieces.len(), 1);
        assert_eq!(
            String::from_utf8(pieces.concat()).unwrap(),
            r#"{"transactionTime":"1970-01-01T00:00:00.000Z","request":"https://a.example/fhir/r4/$export?_type=\"Patient\"","requiresAccessToken":false,"output":[{"type":"Patient","url":"https://b.example/patient_1.ndjson","count":2,"extension":{"bytes":10,"sha256":"00"}}],"deleted":[],"error":[]}"#
        );
    }

    #[test]
    fn a_list_may_end_where_a_piece_ends() {
        let written = |padding: usize| {
            let mut manifest = manifest(None);
            manifest.request.push_str(&"x".repeat(padding));
            let files = Files { output: entries(0..100), deleted: entries(0..1), error: entries(0..0) };
            String::from_utf8(manifest.pieces(files).collect::<Vec<_>>().concat()).unwrap()
        };
        let end = written(0).find(r#"],"deleted""#).unwrap();
        for padding in PIECE - end - 3..=PIECE - end + 3 {
            let read: serde_json::Value = serde_json::from_str(&written(padding)).unwrap();
            assert_eq!(read["output"].as_array().unwrap().len(), 100);
            assert_eq!(read["deleted"].as_array().unwrap().len(), 1);
        }
    }

    #[test]
    fn the_pieces_are_one_text_wherever_they_are_cut() {
        // The first list ends at every possible place near the end of a piece.
        for length in 520..580 {
            let files = Files { output: entries(0..length), deleted: entries(0..2), error: entries(0..700) };
            let pieces: Vec<_> = manifest(Some("https://a.example/?page=2")).pieces(files).collect();
            assert!(pieces.len() > 1 && pieces.iter().all(|piece| (1..PIECE + 1000).contains(&piece.len())));
            let read: serde_json::Value = serde_json::from_slice(&pieces.concat()).unwrap();
            let count = |list: &str| read[list].as_array().unwrap().len();
            assert_eq!((count("output"), count("deleted"), count("error")), (length, 2, 700));
            assert_eq!(read["output"][length - 1]["url"], entry(length - 1).url);
            assert_eq!(read["link"], json!([{ "relation": "next", "url": "https://a.example/?page=2" }]));
        }
    }
}
