//! Tests of single columns.

use chrono::TimeDelta;

use super::super::column::ColumnType;
use super::super::placeholder::Placeholder;
use super::{ColumnTest, Narrow};
use crate::search::{Need, Side};

/// A column whose text must be one of these; those that a value of its type never has do not count.
pub(super) fn is_one_of(name: &str, column_type: ColumnType, wanted: &[&str]) -> Narrow {
    let can_be = |text: &str| match column_type {
        ColumnType::Uuid => is_uuid(text),
        ColumnType::Boolean => matches!(text, "true" | "false"),
        ColumnType::Smallint | ColumnType::Integer | ColumnType::Bigint => {
            text.parse::<i64>().is_ok_and(|number| number.to_string() == text)
        }
        _ => !text.contains('\0'),
    };
    match column_type {
        ColumnType::Text
        | ColumnType::Uuid
        | ColumnType::Boolean
        | ColumnType::Smallint
        | ColumnType::Integer
        | ColumnType::Bigint => {
            let values: Vec<String> = wanted.iter().filter(|t| can_be(t)).map(|t| (*t).to_owned()).collect();
            if values.is_empty() { Narrow::Never } else { column(name, column_type, ColumnTest::In(values)) }
        }
        _ => Narrow::Always,
    }
}

/// Whether it is a uuid as it is written into resources.
fn is_uuid(text: &str) -> bool {
    let dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    let fits =
        |(at, b): (usize, u8)| if dash(at) { b == b'-' } else { matches!(b, b'0'..=b'9' | b'a'..=b'f') };
    text.len() == 36 && text.bytes().enumerate().all(fits)
}

pub(super) fn contains(placeholder: &Placeholder, text: &str) -> Narrow {
    column(&placeholder.column, ColumnType::Text, ColumnTest::Contains(text.to_owned()))
}

pub(super) fn column(name: &str, column_type: ColumnType, test: ColumnTest) -> Narrow {
    Narrow::Column { name: name.to_owned(), column_type, test }
}

/// One of the lists of needs.
pub(super) fn needed(lists: Option<Vec<Vec<Need>>>, narrow: impl Fn(&Need) -> Narrow) -> Narrow {
    let Some(lists) = lists else { return Narrow::Always };
    Narrow::any(lists.iter().map(|list| Narrow::all(list.iter().map(&narrow))))
}

/// A column on one side of a moment. Resources hold days and seconds, or milliseconds, which stand for a range:
/// so it may be off by as much.
pub(super) fn time(placeholder: &Placeholder, column_type: ColumnType, need: Need, or_null: bool) -> Narrow {
    let off = if column_type == ColumnType::Date { TimeDelta::days(1) } else { TimeDelta::seconds(1) };
    let side = match need.side {
        Side::From(time) => time.checked_sub_signed(off).map(Side::From),
        Side::UpTo(time) => time.checked_add_signed(off).map(Side::UpTo),
    };
    let Some(side) = side else { return Narrow::Always };
    column(&placeholder.column, column_type, ColumnTest::Time { side, or_null })
}
