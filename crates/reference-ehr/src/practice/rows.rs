//! Rows on their way into the database, as text for `COPY` (PostgreSQL, "COPY", Text Format).
//!
//! The generator names a table, its columns and their values; rows of one table gather in a buffer that is
//! handed over when it is full. So the memory in use does not grow with the practice.

use std::collections::BTreeMap;
use std::io::Write as _;

use chrono::{Datelike as _, NaiveDate};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::keys::Keys;
use crate::generate::json::Decimal;
use crate::generate::moment::Moment;

/// When a table's buffer is handed over, in bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// Rows of one table, ready to be sent.
#[derive(Debug)]
pub(super) struct Chunk {
    pub table: &'static str,
    pub columns: Vec<&'static str>,
    pub rows: u64,
    pub data: Vec<u8>,
}

/// Takes rows, gives them their ids, and sends them in chunks.
pub(super) struct Rows {
    chunks: BTreeMap<&'static str, Chunk>,
    filled: mpsc::Sender<Chunk>,
    keys: Keys,
    /// What `created_at` and `updated_at` are set to.
    stamp: String,
    is_closed: bool,
}

impl Rows {
    pub(super) fn new(filled: mpsc::Sender<Chunk>, keys: Keys, stamp: String) -> Self {
        Self { chunks: BTreeMap::new(), filled, keys, stamp, is_closed: false }
    }

    /// An id for a row that others refer to before it is written.
    pub(super) fn key(&mut self) -> Uuid {
        self.keys.next()
    }

    /// Adds a row as it is. All rows of a table name the same columns in the same order; `NULL` is `None`.
    pub(super) fn insert(&mut self, table: &'static str, values: &[(&'static str, &dyn Value)]) {
        let chunk = self.chunks.entry(table).or_insert_with(|| Chunk {
            table,
            columns: values.iter().map(|(column, _)| *column).collect(),
            rows: 0,
            data: Vec::with_capacity(CHUNK_BYTES / 8),
        });
        debug_assert!(values.iter().map(|(column, _)| column).eq(&chunk.columns), "columns of {table}");
        for (place, (_, value)) in values.iter().enumerate() {
            if place > 0 {
                chunk.data.push(b'\t');
            }
            value.write(&mut chunk.data);
        }
        chunk.data.push(b'\n');
        chunk.rows += 1;
        if chunk.data.len() >= CHUNK_BYTES {
            self.flush(table);
        }
    }

    /// Adds a row with a new id, which it returns: a child of another row.
    pub(super) fn add(&mut self, table: &'static str, values: &[(&'static str, &dyn Value)]) -> Uuid {
        let id = self.key();
        let mut row: Vec<(&'static str, &dyn Value)> = vec![("id", &id)];
        row.extend_from_slice(values);
        self.insert(table, &row);
        id
    }

    /// Adds a row that is stamped with `created_at` and `updated_at`: a record of its own.
    pub(super) fn record(&mut self, table: &'static str, id: Uuid, values: &[(&'static str, &dyn Value)]) {
        let stamp = std::mem::take(&mut self.stamp);
        let mut row: Vec<(&'static str, &dyn Value)> = vec![("id", &id)];
        row.extend_from_slice(values);
        row.extend_from_slice(&[("created_at", &stamp), ("updated_at", &stamp)]);
        self.insert(table, &row);
        self.stamp = stamp;
    }

    /// The clock of the load.
    pub(super) fn stamp(&self) -> String {
        self.stamp.clone()
    }

    /// Whether nobody takes rows any more, so that generating on is useless.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Hands over what is left.
    pub(super) fn finish(mut self) {
        let tables: Vec<&'static str> = self.chunks.keys().copied().collect();
        for table in tables {
            self.flush(table);
        }
    }

    fn flush(&mut self, table: &'static str) {
        let Some(chunk) = self.chunks.get_mut(table).filter(|chunk| chunk.rows > 0) else { return };
        let full = Chunk {
            table,
            columns: chunk.columns.clone(),
            rows: std::mem::take(&mut chunk.rows),
            data: std::mem::replace(&mut chunk.data, Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8)),
        };
        self.is_closed |= self.filled.blocking_send(full).is_err();
    }
}

/// A value as the text format spells it.
pub(super) trait Value {
    /// Appends the value, escaped.
    fn write(&self, out: &mut Vec<u8>);
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.push(byte),
        }
    }
}

impl Value for &str {
    fn write(&self, out: &mut Vec<u8>) {
        write_text(self, out);
    }
}

impl Value for String {
    fn write(&self, out: &mut Vec<u8>) {
        write_text(self, out);
    }
}

impl Value for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(if *self { b't' } else { b'f' });
    }
}

impl Value for i64 {
    fn write(&self, out: &mut Vec<u8>) {
        write!(out, "{self}").expect("a Vec takes everything");
    }
}

impl Value for Decimal {
    fn write(&self, out: &mut Vec<u8>) {
        write!(out, "{self}").expect("a Vec takes everything");
    }
}

impl Value for Uuid {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
    }
}

impl Value for Moment {
    fn write(&self, out: &mut Vec<u8>) {
        self.write_instant(out);
    }
}

impl Value for NaiveDate {
    fn write(&self, out: &mut Vec<u8>) {
        let (year, month, day) = (self.year(), self.month(), self.day());
        write!(out, "{year:04}-{month:02}-{day:02}").expect("a Vec takes everything");
    }
}

/// Bytes, in hexadecimal.
impl Value for Vec<u8> {
    fn write(&self, out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        out.extend_from_slice(b"\\\\x");
        for byte in self {
            out.push(DIGITS[usize::from(byte >> 4)]);
            out.push(DIGITS[usize::from(byte & 15)]);
        }
    }
}

impl<T: Value> Value for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.write(out),
            None => out.extend_from_slice(b"\\N"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::rng::Rng;

    fn text(value: &dyn Value) -> String {
        let mut out = Vec::new();
        value.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_written_as_copy_reads_them() {
        assert_eq!(text(&"a\tb\\c\r\nd"), "a\\tb\\\\c\\r\\nd");
        assert_eq!(text(&None::<bool>), "\\N");
        assert_eq!(text(&Some(Decimal(710, 2))), "7.10");
        assert_eq!(text(&vec![0_u8, 171]), "\\\\x00ab");
        assert_eq!(text(&NaiveDate::from_ymd_opt(987, 6, 5).unwrap()), "0987-06-05");
        assert_eq!(text(&Moment(1_709_787_909)), "2024-03-07T05:05:09.000Z");
    }

    #[test]
    fn rows_gather_by_table_until_they_are_handed_over() {
        let (filled, mut chunks) = mpsc::channel(9);
        let mut rows = Rows::new(filled, Keys::new(Rng::new(1, 0)), "now".to_owned());
        rows.insert("b", &[("x", &1_i64), ("y", &"é")]);
        rows.record("a", Uuid::nil(), &[("x", &true)]);
        rows.insert("b", &[("x", &2_i64), ("y", &None::<&str>)]);
        rows.finish();
        let first = chunks.try_recv().unwrap();
        assert_eq!((first.table, first.rows), ("a", 1));
        assert_eq!(first.columns, ["id", "x", "created_at", "updated_at"]);
        assert_eq!(first.data, b"00000000-0000-0000-0000-000000000000\tt\tnow\tnow\n");
        let second = chunks.try_recv().unwrap();
        assert_eq!((second.table, second.rows), ("b", 2));
        assert_eq!(second.data, "1\té\n2\t\\N\n".as_bytes());
    }
}
