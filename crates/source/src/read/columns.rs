//! The plain columns of a row, as templates ask for them.

use headgate_domain::template::{Cell, Column, ColumnType, Decimal};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::sql::{FIRST_COLUMN, ID, PATIENT};

/// Where each column of the templates stands in an answer, and its type.
#[derive(Debug, Clone)]
pub(super) struct Layout(Vec<(usize, ColumnType)>);

impl Layout {
    pub(super) fn new(columns: &[Column]) -> Self {
        let mut next = FIRST_COLUMN;
        let place = |column: &Column| {
            let place = match column.name.as_str() {
                "id" => ID,
                "patient_id" => PATIENT,
                _ => {
                    next += 1;
                    next - 1
                }
            };
            (place, column.column_type)
        };
        Self(columns.iter().map(place).collect())
    }
}

/// The columns of a row, borrowed.
#[derive(Clone, Copy)]
pub struct Columns<'a> {
    pub(super) row: &'a PgRow,
    pub(super) layout: &'a Layout,
}

impl<'a> Columns<'a> {
    /// The value of the column that stands at this place of the relation's list of columns.
    #[must_use]
    pub fn cell(&self, column: usize) -> Cell<'a> {
        let Some((place, column_type)) = self.layout.0.get(column) else { return Cell::Null };
        let value = self.row.try_get_raw(*place).ok().filter(|value| !sqlx::ValueRef::is_null(value));
        value.and_then(|value| cell(value.as_bytes().ok()?, *column_type)).unwrap_or(Cell::Null)
    }
}

/// Reads PostgreSQL's binary form of a value; none for bytes that are not one, and for numbers that FHIR
/// does not know.
fn cell(bytes: &[u8], column_type: ColumnType) -> Option<Cell<'_>> {
    Some(match column_type {
        ColumnType::Text => Cell::Text(bytes),
        ColumnType::Uuid => Cell::Uuid(bytes.try_into().ok()?),
        ColumnType::Boolean => Cell::Boolean(*bytes.first()? != 0),
        ColumnType::Smallint => Cell::Integer(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        ColumnType::Integer => Cell::Integer(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        ColumnType::Bigint => Cell::Integer(i64::from_be_bytes(bytes.try_into().ok()?)),
        ColumnType::Numeric => Cell::Decimal(decimal(bytes)?),
        ColumnType::Date => Cell::Date(i32::from_be_bytes(bytes.try_into().ok()?)),
        ColumnType::Timestamptz => Cell::Timestamptz(i64::from_be_bytes(bytes.try_into().ok()?)),
        ColumnType::Bytea => Cell::Bytes(bytes),
        ColumnType::Json => Cell::Json(bytes),
        // A version number stands before the text.
        ColumnType::Jsonb => Cell::Json(bytes.get(1..)?),
    })
}

/// Number of digits, weight, sign, scale, digits; the signs of `NaN` and the infinities are none of the two.
fn decimal(bytes: &[u8]) -> Option<Decimal<'_>> {
    let field = |i: usize| bytes.get(2 * i..2 * i + 2).map(|pair| [pair[0], pair[1]]);
    let negative = match u16::from_be_bytes(field(2)?) {
        0 => false,
        0x4000 => true,
        _ => return None,
    };
    let digits = bytes.get(8..8 + 2 * usize::from(u16::from_be_bytes(field(0)?)))?;
    Some(Decimal {
        negative,
        weight: i16::from_be_bytes(field(1)?),
        scale: u16::from_be_bytes(field(3)?),
        digits,
    })
}

#[cfg(test)]
#[path = "columns_tests.rs"]
mod tests;
