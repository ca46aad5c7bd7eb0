//! The compiled form of a template: a flat list of operations that writes a resource.
//!
//! Members and elements are written with a comma before them. When an object or array ends, the first comma
//! becomes its opening bracket; when it turns out to be empty, it is cut off as if it had never been begun.

use super::cell::Cell;
use super::parse::DEEPEST;
use super::placeholder::Form;
use super::{decimal, text, time};

/// A compiled template, for the columns of one relation.
#[derive(Debug, Clone)]
pub struct Program {
    pub(super) operations: Vec<Operation>,
    /// All constant bytes, referred to by spans.
    pub(super) pool: Vec<u8>,
    pub(super) tables: Vec<Table>,
    /// Condition of the resource and of its parts.
    pub(super) conditions: Vec<Vec<Vec<Test>>>,
    pub(super) when: Option<usize>,
    pub(super) suffix: String,
}

/// A part of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u32,
    pub end: u32,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Operation {
    /// Constants: whole members or elements, or a part of a text.
    Put(Span),
    /// A value with what comes before it; nothing if it is null.
    Value {
        before: Span,
        value: Value,
    },
    /// A string of the next `parts` operations, each a constant or a value; nothing if one is null.
    Text {
        before: Span,
        parts: u32,
    },
    /// Begins an object or array. `when` is its condition; if it is not true, go on at `end`.
    Open {
        before: Span,
        when: Option<u32>,
        end: u32,
    },
    CloseObject,
    CloseArray,
}

/// A column and how it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value {
    pub column: u32,
    pub form: Form,
    /// For [`Form::Code`].
    pub table: u32,
}

/// A compiled code table.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub name: String,
    /// By value, in its order.
    pub entries: Vec<(Vec<u8>, Option<Span>)>,
    pub other: Option<Span>,
}

/// A compiled test of one column.
#[derive(Debug, Clone)]
pub(super) struct Test {
    pub column: usize,
    pub check: Check,
}

#[derive(Debug, Clone)]
pub(super) enum Check {
    Null(bool),
    In { values: Values, wanted: bool },
}

#[derive(Debug, Clone)]
pub(super) enum Values {
    Text(Vec<Vec<u8>>),
    Integer(Vec<i64>),
    Boolean(Vec<bool>),
    Decimal(Vec<decimal::Literal>),
}

/// An object or array that has been begun.
#[derive(Debug, Clone, Copy, Default)]
struct Frame {
    /// Length of the output before it.
    undo: usize,
    /// Where its bracket goes.
    open: usize,
    /// Whether a placeholder in it gave a value, or its condition is true.
    live: bool,
}

impl Program {
    /// What the resource's id has behind the row's.
    #[must_use]
    pub fn suffix(&self) -> &str {
        &self.suffix
    }

    /// Writes the resource of a row, without a line feed; `cell` gives the value of the column of an index.
    /// Returns whether the row gives this resource; if not, nothing was written.
    pub fn write<'c>(&self, cell: impl Fn(usize) -> Cell<'c>, out: &mut Vec<u8>) -> bool {
        if self.when.is_some_and(|when| !self.holds(when, &cell)) {
            return false;
        }
        let mut frames = [Frame::default(); DEEPEST + 1];
        frames[0].open = out.len();
        let mut depth = 0;
        let mut at = 0;
        while let Some(operation) = self.operations.get(at) {
            at += 1;
            match *operation {
                Operation::Put(span) => out.extend_from_slice(self.bytes(span)),
                Operation::Value { before, value } => {
                    let undo = out.len();
                    out.extend_from_slice(self.bytes(before));
                    if self.put(value, cell(value.column as usize), true, out) {
                        frames[depth].live = true;
                    } else {
                        out.truncate(undo);
                    }
                }
                Operation::Text { before, parts } => {
                    let parts = &self.operations[at..at + parts as usize];
                    at += parts.len();
                    frames[depth].live |= self.put_text(before, parts, &cell, out);
                }
                Operation::Open { before, when, end } => {
                    if when.is_some_and(|when| !self.holds(when as usize, &cell)) {
                        at = end as usize;
                        continue;
                    }
                    depth += 1;
                    let undo = out.len();
                    out.extend_from_slice(self.bytes(before));
                    frames[depth] = Frame { undo, open: out.len(), live: when.is_some() };
                }
                Operation::CloseObject | Operation::CloseArray => {
                    let is_array = matches!(operation, Operation::CloseArray);
                    frames[depth - 1].live |= close(frames[depth], is_array, out);
                    depth -= 1;
                }
            }
        }
        let open = frames[0].open;
        if out.len() == open {
            return false;
        }
        out[open] = b'{';
        out.push(b'}');
        true
    }

    fn bytes(&self, span: Span) -> &[u8] {
        &self.pool[span.start as usize..span.end as usize]
    }

    /// A string of constants and values; nothing if one of them is null.
    fn put_text<'c>(
        &self,
        before: Span,
        parts: &[Operation],
        cell: &impl Fn(usize) -> Cell<'c>,
        out: &mut Vec<u8>,
    ) -> bool {
        let undo = out.len();
        out.extend_from_slice(self.bytes(before));
        out.push(b'"');
        for part in parts {
            match *part {
                Operation::Value { value, .. } => {
                    if !self.put(value, cell(value.column as usize), false, out) {
                        out.truncate(undo);
                        return false;
                    }
                }
                Operation::Put(span) => out.extend_from_slice(self.bytes(span)),
                _ => unreachable!("a text is made of constants and values"),
            }
        }
        out.push(b'"');
        true
    }

    /// Writes a value, as a string in quotes where it is one and `whole`. Returns false if it is null; what
    /// was written then is to be cut off.
    fn put(&self, value: Value, cell: Cell<'_>, whole: bool, out: &mut Vec<u8>) -> bool {
        let quoted = whole && !matches!(value.form, Form::Bare | Form::Json | Form::Code);
        if quoted {
            out.push(b'"');
        }
        let there = match (value.form, cell) {
            (_, Cell::Null) => false,
            (Form::Code, cell) => self.put_code(value.table, cell, whole, out),
            (Form::Escaped, Cell::Text(bytes)) => put_trimmed(bytes, out, text::write_escaped),
            (_, Cell::Text(bytes)) => put_trimmed(bytes, out, text::write),
            (_, Cell::Uuid(uuid)) => written(|| text::write_uuid(uuid, out)),
            (_, Cell::Boolean(value)) => {
                written(|| out.extend_from_slice(if value { b"true" } else { b"false" }))
            }
            (_, Cell::Integer(value)) => written(|| text::write_integer(value, out)),
            (_, Cell::Decimal(value)) => written(|| value.write(out)),
            (_, Cell::Date(days)) => {
                time::date(days).is_some_and(|date| written(|| time::write_date(date, out)))
            }
            (form, Cell::Timestamptz(micros)) => time::moment(micros)
                .is_some_and(|moment| written(|| time::write_moment(moment, form == Form::Instant, out))),
            (_, Cell::Bytes(bytes)) => !bytes.is_empty() && written(|| text::write_base64(bytes, out)),
            (_, Cell::Json(json)) => !text::is_empty_json(json) && written(|| text::write_json(json, out)),
        };
        if quoted {
            out.push(b'"');
        }
        there
    }

    /// Looks a value up and writes what it becomes.
    fn put_code(&self, table: u32, cell: Cell<'_>, whole: bool, out: &mut Vec<u8>) -> bool {
        let table = &self.tables[table as usize];
        let Some(place) = table.place(cell) else { return false };
        let Some(span) = place.map_or(table.other, |i| table.entries[i].1) else { return false };
        let code = self.bytes(span);
        // Within a longer string a code stands without its quotes.
        out.extend_from_slice(if whole { code } else { &code[1..code.len() - 1] });
        true
    }

    /// Whether a condition is true.
    pub(super) fn holds<'c>(&self, condition: usize, cell: &impl Fn(usize) -> Cell<'c>) -> bool {
        self.conditions[condition]
            .iter()
            .any(|line| line.iter().all(|test| test.check.holds(cell(test.column))))
    }
}

impl Table {
    /// Where the value's entry is; `Some(None)` for a value without one, none for null.
    pub(super) fn place(&self, cell: Cell<'_>) -> Option<Option<usize>> {
        match cell {
            Cell::Text(bytes) => {
                let key = text::trim(bytes);
                // Exact, but for control characters, which do not count.
                let similar = || self.entries.iter().position(|(value, _)| text::equals(key, value));
                (!key.is_empty()).then(|| self.exact(key).or_else(similar))
            }
            Cell::Boolean(value) => Some(self.exact(if value { b"true" } else { b"false" })),
            Cell::Integer(value) => Some(self.exact(itoa::Buffer::new().format(value).as_bytes())),
            _ => None,
        }
    }

    fn exact(&self, key: &[u8]) -> Option<usize> {
        self.entries.binary_search_by(|(value, _)| value.as_slice().cmp(key)).ok()
    }
}

impl Check {
    fn holds(&self, cell: Cell<'_>) -> bool {
        match self {
            Check::Null(wanted) => cell.is_null() == *wanted,
            Check::In { values, wanted } => !cell.is_null() && values.contain(cell) == *wanted,
        }
    }
}

impl Values {
    fn contain(&self, cell: Cell<'_>) -> bool {
        match (self, cell) {
            (Values::Text(values), Cell::Text(text)) => {
                let text = text::trim(text);
                values.iter().any(|value| text::equals(text, value))
            }
            (Values::Integer(values), Cell::Integer(value)) => values.contains(&value),
            (Values::Boolean(values), Cell::Boolean(value)) => values.contains(&value),
            (Values::Decimal(values), Cell::Decimal(value)) => values.iter().any(|v| v.equals(&value)),
            _ => false,
        }
    }
}

/// Ends an object or array; returns whether it makes what it stands in live.
fn close(frame: Frame, is_array: bool, out: &mut Vec<u8>) -> bool {
    let is_empty = out.len() == frame.open;
    if is_empty || !(frame.live || is_array) {
        out.truncate(frame.undo);
        return false;
    }
    let (open, close) = if is_array { (b'[', b']') } else { (b'{', b'}') };
    out[frame.open] = open;
    out.push(close);
    frame.live
}

fn put_trimmed(text: &[u8], out: &mut Vec<u8>, write: impl Fn(&[u8], &mut Vec<u8>)) -> bool {
    let text = text::trim(text);
    !text.is_empty() && written(|| write(text, out))
}

fn written(write: impl FnOnce()) -> bool {
    write();
    true
}
