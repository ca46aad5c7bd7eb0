//! Rows in PostgreSQL's binary COPY format (PostgreSQL, "COPY", Binary Format): nothing to escape, so a
//! body arrives as it is.

use super::row::{Owner, Row};
use headgate_domain::ResourceType;

const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: &[u8] = &(-1_i16).to_be_bytes();

/// Rows of one destination, ready to be sent as one `COPY … FROM STDIN (FORMAT binary)`.
pub(super) struct Batch {
    bytes: Vec<u8>,
}

/// Where the rows of a batch go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Destination {
    /// `(id, patient_id, resource)` of this type.
    Table(ResourceType),
    /// `(file, line, id, target_type, target_id, resource)` of a Provenance whose patient the database
    /// must look up.
    PendingProvenance,
}

impl Destination {
    pub(super) fn of(row: &Row<'_>) -> Self {
        match row.owner {
            Owner::SameAs(..) => Destination::PendingProvenance,
            _ => Destination::Table(row.resource_type),
        }
    }
}

impl Batch {
    pub(super) fn new(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.extend_from_slice(HEADER);
        Self { bytes }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a row; `file` and `line` are kept only for a Provenance that may turn out to be nobody's.
    pub(super) fn push(&mut self, row: &Row<'_>, file: usize, line: u64, body: &[u8]) {
        match &row.owner {
            Owner::Practice => {
                self.columns(3);
                self.value(row.id.as_bytes());
                self.null();
            }
            Owner::Patient(patient) => {
                self.columns(3);
                self.value(row.id.as_bytes());
                self.value(patient.as_bytes());
            }
            Owner::SameAs(target_type, target_id) => {
                self.columns(6);
                self.value(&(file as u64).to_be_bytes());
                self.value(&line.to_be_bytes());
                self.value(row.id.as_bytes());
                self.value(target_type.name().as_bytes());
                self.value(target_id.as_bytes());
            }
        }
        self.value(body);
    }

    /// The whole of the COPY data.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(TRAILER);
        self.bytes
    }

    fn columns(&mut self, count: i16) {
        self.bytes.extend_from_slice(&count.to_be_bytes());
    }

    fn null(&mut self) {
        self.bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    }

    fn value(&mut self, value: &[u8]) {
        let len = i32::try_from(value.len()).expect("a line is at most MAX_LINE_BYTES long");
        self.bytes.extend_from_slice(&len.to_be_bytes());
        self.bytes.extend_from_slice(value);
    }
}
