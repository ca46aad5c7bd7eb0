//! Patients' ids in lines: NDJSON and CSV.
//!
//! A wrong line is told by its number, never by its text, which may be a patient's id or worse.

use bytes::{Buf as _, Bytes, BytesMut};
use headgate_domain::ids::is_fhir_id;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::Deserialize;

/// Longest line, in bytes without its end.
const MAX_LINE: usize = 1024;

/// The form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Ndjson,
    Csv,
}

impl Form {
    /// The form that a request's content type names; `None` for a body that is one JSON document.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match media_type.as_str() {
            "application/x-ndjson" | "application/ndjson" => Some(Form::Ndjson),
            "text/csv" => Some(Form::Csv),
            _ => None,
        }
    }
}

/// What a line holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Patient(String),
    /// Nothing: an empty line, or the heading of a column.
    Nothing,
    Wrong,
}

/// Cuts a body that arrives in pieces into lines.
#[derive(Debug)]
pub(super) struct Lines {
    form: Form,
    pending: BytesMut,
    /// How far `pending` was searched for an end of line.
    searched: usize,
    /// Lines so far.
    pub(super) number: usize,
}

impl Lines {
    pub(super) fn new(form: Form) -> Self {
        Self { form, pending: BytesMut::new(), searched: 0, number: 0 }
    }

    /// Takes a piece of the body; its lines come from [`next`](Self::next).
    pub(super) fn take(&mut self, piece: &Bytes) {
        self.pending.extend_from_slice(piece);
    }

    /// The next whole line. One that is too long is wrong before it has ended; reading on makes no sense then.
    pub(super) fn next(&mut self) -> Option<Line> {
        let rest = self.pending.get(self.searched..).unwrap_or_default();
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(at) => {
                let line = self.pending.split_to(self.searched + at);
                self.pending.advance(1);
                self.searched = 0;
                Some(self.read(&line))
            }
            None if self.pending.len() > MAX_LINE + 1 => {
                self.pending.clear();
                self.searched = 0;
                self.number += 1;
                Some(Line::Wrong)
            }
            None => {
                self.searched = self.pending.len();
                None
            }
        }
    }

    /// What is left when the body has ended: a line without an end.
    pub(super) fn last(&mut self) -> Option<Line> {
        let line = self.pending.split();
        (!line.is_empty()).then(|| self.read(&line))
    }

    fn read(&mut self, line: &[u8]) -> Line {
        self.number += 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // A byte order mark, as spreadsheets write it.
        let line = if self.number == 1 { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) } else { line };
        if line.len() > MAX_LINE {
            return Line::Wrong;
        }
        let Ok(line) = std::str::from_utf8(line) else { return Line::Wrong };
        if line.trim().is_empty() {
            return Line::Nothing;
        }
        let id = match self.form {
            Form::Ndjson => of_json(line),
            Form::Csv => first_column(line),
        };
        match id {
            Some(id) if self.form == Form::Csv && self.number == 1 && id == "patient_id" => Line::Nothing,
            Some(id) if is_fhir_id(&id) => Line::Patient(id),
            _ => Line::Wrong,
        }
    }
}

fn of_json(line: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Patient {
        patient_id: String,
    }
    // A struct would also be read from a list.
    match line.trim_start().as_bytes().first()? {
        b'"' => serde_json::from_str(line).ok(),
        b'{' => serde_json::from_str(line).ok().map(|patient: Patient| patient.patient_id),
        _ => None,
    }
}

/// The first field of a line (RFC 4180). Ids have neither quotes nor commas.
fn first_column(line: &str) -> Option<String> {
    // A quote that is left open goes on in the next line, which would then be read as somebody's id.
    if line.bytes().filter(|byte| *byte == b'"').count() % 2 == 1 {
        return None;
    }
    let field = match line.trim_start().strip_prefix('"') {
        Some(rest) => {
            let (field, rest) = rest.split_once('"')?;
            if !rest.trim_start().is_empty() && !rest.trim_start().starts_with(',') {
                return None;
            }
            field
        }
        None => line.split(',').next()?,
    };
    Some(field.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(form: Form, body: &str, piece: usize) -> Vec<Line> {
        let mut lines = Lines::new(form);
        let mut found = Vec::new();
        for bytes in body.as_bytes().chunks(piece) {
            lines.take(&Bytes::copy_from_slice(bytes));
            while let Some(line) = lines.next() {
                found.push(line);
            }
        }
        found.extend(lines.last());
        assert_eq!(lines.number, found.len());
        found
    }

    fn patients(ids: &[&str]) -> Vec<Line> {
        ids.iter().map(|id| Line::Patient((*id).to_owned())).collect()
    }

    #[test]
    fn ids_come_in_both_forms_however_the_body_is_cut() {
        for piece in [1, 2, 3, 7, 1000] {
            let ndjson = "\"a\"\n{\"patient_id\":\"b-1\"}\r\n  \"c.2\" ";
            assert_eq!(read(Form::Ndjson, ndjson, piece), patients(&["a", "b-1", "c.2"]));
            let csv = "a\r\n\"b-1\",Meier\nc.2,\"x\"\n";
            assert_eq!(read(Form::Csv, csv, piece), patients(&["a", "b-1", "c.2"]));
        }
    }

    #[test]
    fn a_heading_counts_in_the_first_line_only() {
        let found = read(Form::Csv, "\u{feff}patient_id,name\na\npatient_id\n", 5);
        assert_eq!(found[0], Line::Nothing);
        // An underscore is in no FHIR id.
        assert_eq!(found[2], Line::Wrong);
        assert_eq!(read(Form::Ndjson, "\"patient_id\"\n", 100), [Line::Wrong]);
    }

    #[test]
    fn what_is_not_an_id_is_wrong() {
        for line in [
            "a b",
            "[\"a\"]",
            "7",
            "null",
            "{\"id\":\"a\"}",
            "{\"patient_id\":\"a\",\"x\":1}",
            "\"a/b\"",
            "\"a\"\"b\"",
        ] {
            assert_eq!(read(Form::Ndjson, line, 100), [Line::Wrong], "{line}");
        }
        for line in ["a b", "a/b", "\"a", "\"a\"b", ",a", "'a'", "a;b", "ä"] {
            assert_eq!(read(Form::Csv, line, 100), [Line::Wrong], "{line}");
        }
        assert_eq!(read(Form::Csv, "\n\n", 1), [Line::Nothing, Line::Nothing]);
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let long = "a".repeat(100_000);
        let mut lines = Lines::new(Form::Csv);
        lines.take(&Bytes::from(long));
        assert_eq!(lines.next(), Some(Line::Wrong));
        assert!(lines.pending.is_empty());
        assert_eq!(read(Form::Csv, &format!("{}\n", "a".repeat(1025)), 5000), [Line::Wrong]);
    }

    #[test]
    fn the_content_type_names_the_form() {
        for (value, form) in [
            ("text/csv; charset=utf-8", Some(Form::Csv)),
            ("Application/X-NDJSON", Some(Form::Ndjson)),
            ("application/json", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
            assert_eq!(Form::of(&headers), form, "{value}");
        }
    }
}
