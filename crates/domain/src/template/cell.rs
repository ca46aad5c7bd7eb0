//! The value of a column in a row.

use super::decimal::Decimal;

/// A value as it comes out of the database, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// SQL null, or a number or time that FHIR has no form for (`NaN`, `infinity`).
    Null,
    /// Text in UTF-8.
    Text(&'a [u8]),
    /// A uuid.
    Uuid(&'a [u8; 16]),
    /// A boolean.
    Boolean(bool),
    /// An integer of any size.
    Integer(i64),
    /// A decimal.
    Decimal(Decimal<'a>),
    /// Days since 2000-01-01.
    Date(i32),
    /// Microseconds since 2000-01-01T00:00:00Z.
    Timestamptz(i64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Well-formed JSON.
    Json(&'a [u8]),
}

impl Cell<'_> {
    /// Whether it counts as null: empty texts and JSON without content do, zero does not.
    pub(super) fn is_null(&self) -> bool {
        match self {
            Cell::Null => true,
            Cell::Text(text) => super::text::trim(text).is_empty(),
            Cell::Bytes(bytes) => bytes.is_empty(),
            Cell::Json(json) => super::text::is_empty_json(json),
            Cell::Date(days) => super::time::date(*days).is_none(),
            Cell::Timestamptz(micros) => super::time::moment(*micros).is_none(),
            Cell::Uuid(_) | Cell::Boolean(_) | Cell::Integer(_) | Cell::Decimal(_) => false,
        }
    }
}
