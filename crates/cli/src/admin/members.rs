//! Who is in a group: from the command line, or a file that is sent while it is read.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::Shown;
use super::args::Change;
use super::client::AdminClient;
use super::group::Which;
use crate::failure::Failure;
use crate::input;
use crate::output;

/// Patients of a group.
#[derive(Debug, Args)]
pub struct Members {
    #[command(flatten)]
    which: Which,
    /// Patient ids.
    #[arg(value_name = "PATIENT_ID", required_unless_present = "file", conflicts_with = "file")]
    ids: Vec<String>,
    /// File with the patient ids: CSV (the first column; one id a line is CSV too), NDJSON or JSON (a list, or
    /// {"patient_ids": […]}); `-` is standard input. CSV and NDJSON may have 500,000 ids.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What the file is; by its name's ending if not given, else CSV.
    #[arg(long, value_enum, requires = "file")]
    format: Option<Format>,
    #[command(flatten)]
    terms: Change,
}

/// How a file holds ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The first column.
    Csv,
    /// A JSON text a line: an id, or an object with patient_id.
    Ndjson,
    /// A list, or an object with patient_ids.
    Json,
}

/// What is to become of the patients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// They join.
    Add,
    /// They leave.
    Remove,
    /// They and no others are in.
    Replace,
}

impl Deed {
    /// The request's method, and for lines of text the parameter `action`.
    fn asked(self) -> (Method, Option<&'static str>) {
        match self {
            Self::Add => (Method::POST, Some("add")),
            Self::Remove => (Method::POST, Some("remove")),
            Self::Replace => (Method::PUT, None),
        }
    }

    fn body(self, ids: Value) -> Value {
        match self {
            Self::Add => json!({ "add": ids }),
            Self::Remove => json!({ "remove": ids }),
            Self::Replace => json!({ "patient_ids": ids }),
        }
    }
}

/// Sends the patients.
pub(super) async fn send(client: &AdminClient, deed: Deed, members: &Members) -> Result<Shown, Failure> {
    let practice = members.which.practice.to_string();
    let path = ["practices", &practice, "groups", &members.which.group, "members"];
    let (method, action) = deed.asked();
    let lines = async |file: &Path, content_type: &str| {
        let file = if file == Path::new(input::STDIN) { Path::new("/dev/stdin") } else { file };
        let query = [("action", action.map(str::to_owned))];
        client.upload(method.clone(), &path, &query, content_type, file, &members.terms).await
    };
    let answer = match &members.file {
        Some(file) => match members.format.unwrap_or_else(|| Format::of(file)) {
            Format::Csv => lines(file, "text/csv").await?,
            Format::Ndjson => lines(file, "application/x-ndjson").await?,
            Format::Json => {
                let body = deed.body(listed(&input::text("--file", file)?)?);
                client.change(method, &path, &body, &members.terms).await?
            }
        },
        None => {
            let body = deed.body(members.ids.clone().into());
            client.change(method, &path, &body, &members.terms).await?
        }
    };
    Ok(shown(answer))
}

fn shown(answer: Value) -> Shown {
    let mut tables = vec![output::object(&answer["group"])];
    let mut counts = answer.clone();
    if let Value::Object(members) = &mut counts {
        members.remove("group");
    }
    tables.push(output::object(&counts));
    Shown { tables, ..Shown::nothing(answer) }
}

impl Format {
    fn of(file: &Path) -> Self {
        match file.extension().and_then(|ending| ending.to_str()) {
            Some("ndjson" | "jsonl") => Self::Ndjson,
            Some("json") => Self::Json,
            _ => Self::Csv,
        }
    }
}

/// The ids of a JSON file. What is wrong is told without a word of it.
fn listed(text: &str) -> Result<Value, Failure> {
    let wrong = || Failure::config("--file: must hold a list of texts, or {\"patient_ids\": […]}");
    let value: Value = serde_json::from_str(text).map_err(|error| {
        Failure::config(format!("--file: not JSON (line {}, column {})", error.line(), error.column()))
    })?;
    let ids = match value {
        Value::Object(mut members) => members.remove("patient_ids").ok_or_else(wrong)?,
        list => list,
    };
    let is_list = ids.as_array().is_some_and(|ids| ids.iter().all(Value::is_string));
    if is_list { Ok(ids) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_name_says_and_else_a_column() {
        for (name, format) in [
            ("ids.csv", Format::Csv),
            ("ids.txt", Format::Csv),
            ("-", Format::Csv),
            ("ids.ndjson", Format::Ndjson),
            ("ids.jsonl", Format::Ndjson),
            ("ids.json", Format::Json),
        ] {
            assert_eq!(Format::of(Path::new(name)), format, "{name}");
        }
    }

    #[test]
    fn ids_are_read_from_a_list_and_from_an_object_and_never_told() {
        assert_eq!(listed(r#"["a","b"]"#).unwrap(), json!(["a", "b"]));
        assert_eq!(listed(r#"{"patient_ids":["a"]}"#).unwrap(), json!(["a"]));
        for wrong in [r#"["cedar", 7]"#, r#"{"ids":["cedar"]}"#, r#""cedar""#, "cedar", r#"["cedar""#] {
            let error = listed(wrong).unwrap_err().to_string();
            assert!(error.contains("--file: ") && !error.contains("cedar"), "{error}");
        }
    }
}
