//! Printing results: tables for people, JSON for programs.

use std::fmt::Display;
use std::io::Write as _;

use comfy_table::{Table, TableComponent, presets};
use serde::Serialize;
use serde_json::Value;

/// Prints a text. A reader that has gone away (`| head`) is no error.
pub fn print(text: impl Display) {
    let _gone = writeln!(std::io::stdout(), "{text}");
}

/// Prints a text beside an output that is somebody's input.
pub fn print_beside(text: impl Display) {
    let _gone = writeln!(std::io::stderr(), "{text}");
}

/// Prints a value as JSON in one line.
pub fn print_json(value: &impl Serialize) {
    print(serde_json::to_string(value).expect("results have only texts as keys"));
}

/// A table with these headings.
pub fn table<const N: usize>(headings: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header(headings);
    for between_rows in [
        TableComponent::HorizontalLines,
        TableComponent::LeftBorderIntersections,
        TableComponent::MiddleIntersections,
        TableComponent::RightBorderIntersections,
    ] {
        table.remove_style(between_rows);
    }
    table
}

/// A table of a list of JSON objects: a column for each heading, which is also the member's name.
pub fn list<const N: usize>(items: &[Value], columns: [&str; N]) -> Table {
    let mut table = table(columns.map(heading).each_ref().map(String::as_str));
    for item in items {
        table.add_row(columns.map(|column| cell(&item[column])));
    }
    table
}

/// A table of one JSON object: a row for each member. Lists of objects are left to the caller.
pub fn object(value: &Value) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    for (name, value) in value.as_object().into_iter().flatten() {
        let nested = value.as_array().is_some_and(|list| list.iter().any(Value::is_object));
        if !nested {
            table.add_row([heading(name), cell(value)]);
        }
    }
    table
}

fn heading(name: &str) -> String {
    name.replace('_', " ")
}

/// A JSON value as people write it.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(members) if members.is_empty() => "-".to_owned(),
        // Such as a practice's options: those that are not set say nothing.
        Value::Object(members) => {
            let given = members.iter().filter(|(_, value)| !value.is_null());
            given
                .map(|(name, value)| format!("{}: {}", heading(name), cell(value)))
                .collect::<Vec<_>>()
                .join(", ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_shows_the_named_members_and_a_dash_for_what_is_not_there() {
        let text =
            list(&[json!({"name": "a", "key_ids": ["k", "l"], "secret": 1})], ["name", "key_ids", "none"])
                .to_string();
        assert!(text.contains("key ids") && text.contains("k, l") && text.contains('-'), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn an_object_within_is_written_without_what_is_not_set() {
        let suspended = json!({"by": "operator ann", "reason": "a leaked key", "until": null});
        assert_eq!(cell(&suspended), "by: operator ann, reason: a leaked key");
        assert_eq!(cell(&json!({})), "-");
    }
}
