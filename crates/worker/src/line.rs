//! From a row to the lines of its resources, and why there is none.

use std::borrow::Cow;
use std::collections::BTreeMap;

use headgate_domain::template::Program;
use headgate_domain::{ResourceType, ids};
use headgate_source::{Body, Columns, Row};
use headgate_store::NewProblem;
use serde::Deserialize;

/// The code of [`Reason::NeedsToken`].
pub const ATTACHMENTS_NEED_TOKEN: &str = "attachments_need_token";

/// The code of [`Reason::NoBinary`].
pub const ATTACHMENTS_NOT_IN_SOURCE: &str = "attachments_not_in_source";

/// Why a row is not exported, or not all that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    Empty,
    TooLong,
    InvalidJson,
    WrongType,
    WrongId,
    IllegalId,
    /// Of an attachment.
    Missing,
    /// Of resources that lead to attachments by URL: these are not exported, and may not be had.
    NeedsToken,
    /// The same.
    NoBinary,
}

impl Reason {
    pub fn code(self) -> &'static str {
        match self {
            Reason::Empty => "empty",
            Reason::TooLong => "too_long",
            Reason::InvalidJson => "invalid_json",
            Reason::WrongType => "wrong_type",
            Reason::WrongId => "wrong_id",
            Reason::IllegalId => "illegal_id",
            Reason::Missing => "missing",
            Reason::NeedsToken => ATTACHMENTS_NEED_TOKEN,
            Reason::NoBinary => ATTACHMENTS_NOT_IN_SOURCE,
        }
    }

    pub fn diagnostics(self) -> &'static str {
        match self {
            Reason::Empty => "the source has a row for it, but no content",
            Reason::TooLong => "it is longer than this server exports",
            Reason::InvalidJson => "its content is not a well-formed JSON object with resourceType and id",
            Reason::WrongType => "its content is of another resource type than its relation",
            Reason::WrongId => "its content has another id than its row",
            Reason::IllegalId => "its id is not a FHIR id (1 to 64 letters, digits, - and .)",
            Reason::Missing => "the source has no such content, or not of the patients of this export",
            Reason::NeedsToken => {
                "attachments by URL need the practice's option file_access: token, and it is another"
            }
            Reason::NoBinary => "the source has no usable relation binary",
        }
    }

    /// Whether a code is that of a note about resources which are exported: no row was passed over.
    pub fn is_note(code: &str) -> bool {
        matches!(code, ATTACHMENTS_NEED_TOKEN | ATTACHMENTS_NOT_IN_SOURCE)
    }

    /// What is written down of rows that were passed over, by reason.
    pub fn problems(counts: BTreeMap<Reason, u64>) -> Vec<NewProblem> {
        counts
            .into_iter()
            .map(|(reason, rows)| NewProblem {
                reason: reason.code(),
                diagnostics: reason.diagnostics().to_owned(),
                rows,
            })
            .collect()
    }
}

/// The parts of a resource that are compared with its row. Parsing them parses the whole body.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "resourceType", borrow)]
    resource_type: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
}

/// The line of a row, without its line feed.
pub fn line<'a>(row: &Row<'a>, t: ResourceType, compacted: &'a mut Vec<u8>) -> Result<&'a [u8], Reason> {
    let body = match row.body {
        Body::Json(body) => body,
        Body::TooLong(_) => return Err(Reason::TooLong),
        Body::Columns(_) | Body::Null => return Err(Reason::Empty),
    };
    check(body, row.id, row.trusted, t)?;
    if memchr::memchr(b'\n', body).is_none() {
        return Ok(body);
    }
    // JSON strings hold no raw line feed, so these are white space between tokens.
    compacted.clear();
    compacted.extend(body.iter().filter(|b| **b != b'\n'));
    Ok(compacted)
}

/// Writes the line of a resource that a template makes of a row, with its line feed; returns whether the row
/// gives it. What cannot be exported is cut off again.
pub fn assemble(
    program: &Program,
    row: &Row<'_>,
    columns: &Columns<'_>,
    resource_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<bool, Reason> {
    let start = out.len();
    if !program.write(|column| columns.cell(column), out) {
        return Ok(false);
    }
    let line = &out[start..];
    let problem = if row.id.len() + program.suffix().len() > ids::FHIR_ID_LENGTH {
        Some(Reason::IllegalId)
    } else if line.len() > resource_bytes {
        Some(Reason::TooLong)
    } else if !row.trusted && std::str::from_utf8(line).is_err() {
        Some(Reason::InvalidJson)
    } else {
        None
    };
    match problem {
        Some(reason) => {
            out.truncate(start);
            Err(reason)
        }
        None => {
            out.push(b'\n');
            Ok(true)
        }
    }
}

/// Gives each resource of a row, as a line without a line feed, with what its id has behind the row's. What cannot be
/// exported is left out.
pub fn each_line(row: &Row<'_>, t: ResourceType, programs: &[Program], mut f: impl FnMut(&str, &[u8])) {
    if let Body::Columns(columns) = row.body {
        let mut out = Vec::new();
        for program in programs {
            out.clear();
            if matches!(assemble(program, row, &columns, usize::MAX, &mut out), Ok(true)) {
                f(program.suffix(), &out[..out.len() - 1]);
            }
        }
    } else if let Ok(line) = line(row, t, &mut Vec::new()) {
        f("", line);
    }
}

fn check(body: &[u8], id: &str, trusted: bool, t: ResourceType) -> Result<(), Reason> {
    if !trusted && std::str::from_utf8(body).is_err() {
        return Err(Reason::InvalidJson);
    }
    let head: Head<'_> = serde_json::from_slice(body).map_err(|_| Reason::InvalidJson)?;
    if head.resource_type != t.name() {
        return Err(Reason::WrongType);
    }
    if head.id != id {
        return Err(Reason::WrongId);
    }
    if ids::is_fhir_id(id) { Ok(()) } else { Err(Reason::IllegalId) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(body: &str) -> Result<(), Reason> {
        check(body.as_bytes(), "a1", false, ResourceType::Patient)
    }

    #[test]
    fn only_a_whole_resource_of_the_rows_type_and_id_passes() {
        assert_eq!(checked(r#"{"resourceType":"Patient","id":"a1","x":[{"y":7.10}]}"#), Ok(()));
        assert_eq!(checked(r#"{"id":"a1","resourceType":"Pat\u0069ent"}"#), Ok(()));
        assert_eq!(checked(r#"{"resourceType":"Goal","id":"a1"}"#), Err(Reason::WrongType));
        assert_eq!(checked(r#"{"resourceType":"Patient","id":"a2"}"#), Err(Reason::WrongId));
        for broken in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"resourceType":"Patient"}"#,
            r#"{"resourceType":"Patient","id":"a1""#,
            r#"{"resourceType":"Patient","id":"a1"} x"#,
            r#"{"resourceType":"Patient","id":"a1","x":nul}"#,
            "{\"resourceType\":\"Patient\",\"id\":\"a1\",\"x\":\"raw\nfeed\"}",
            "\u{feff}{\"resourceType\":\"Patient\",\"id\":\"a1\"}",
            r#"{"resourceType":"Patient","id":"a1","id":"a1"}"#,
        ] {
            assert_eq!(checked(broken), Err(Reason::InvalidJson), "{broken}");
        }
        assert_eq!(
            check(
                b"{\"resourceType\":\"Patient\",\"id\":\"a1\",\"x\":\"\xff\"}",
                "a1",
                false,
                ResourceType::Patient
            ),
            Err(Reason::InvalidJson)
        );
        assert_eq!(
            check(br#"{"resourceType":"Patient","id":"a/1"}"#, "a/1", false, ResourceType::Patient),
            Err(Reason::IllegalId)
        );
    }
}
