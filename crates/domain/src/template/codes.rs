//! Code tables: what a value of the EHR is called in FHIR.

use std::collections::BTreeMap;

use super::Problem;
use crate::mapping::Json;

/// The code tables of a mapping file, by name.
#[derive(Debug, Clone, Default)]
pub struct CodeTables {
    tables: BTreeMap<String, CodeTable>,
}

/// One table.
#[derive(Debug, Clone)]
pub(super) struct CodeTable {
    /// Value and what it becomes, on one line of JSON; in the order of the values.
    pub entries: Vec<(String, Option<String>)>,
    /// What all other values become; none: the element is left out.
    pub other: Option<String>,
}

impl CodeTables {
    /// Reads `{"table": {"value": …, "*": …}}`.
    ///
    /// # Errors
    /// Everything that is wrong in it, with `path` before its places.
    pub fn parse(json: Option<&Json>, path: &str) -> Result<Self, Vec<Problem>> {
        let mut tables = BTreeMap::new();
        let mut problems = Vec::new();
        let members = match json {
            None => return Ok(Self::default()),
            Some(Json::Object(members)) => members,
            Some(_) => return Err(vec![problem(path, "code tables are an object: {\"table\": {…}}")]),
        };
        for (name, table) in members {
            match CodeTable::parse(table) {
                Ok(table) => drop(tables.insert(name.clone(), table)),
                Err(message) => problems.push(problem(&format!("{path}.{name}"), &message)),
            }
        }
        if problems.is_empty() { Ok(Self { tables }) } else { Err(problems) }
    }

    pub(super) fn get(&self, name: &str) -> Option<&CodeTable> {
        self.tables.get(name)
    }

    /// The table with the name as it is kept here.
    pub(super) fn find(&self, name: &str) -> Option<(&str, &CodeTable)> {
        self.tables.get_key_value(name).map(|(name, table)| (name.as_str(), table))
    }

    /// The names of the tables.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }
}

impl CodeTable {
    fn parse(json: &Json) -> Result<Self, String> {
        let Json::Object(members) = json else {
            return Err("a code table is an object: {\"value\": …, \"*\": …}".to_owned());
        };
        let mut entries = Vec::new();
        let mut other = None;
        for (value, code) in members {
            if has_placeholder(code) {
                return Err(format!("the entry \"{value}\" has a placeholder; a code table holds constants"));
            }
            let code = (*code != Json::Null).then(|| code.to_line());
            match value.as_str() {
                "*" => other = Some(code),
                value if value != value.trim() || value.is_empty() => {
                    return Err(format!("no value of a column is \"{value}\": blanks around it are cut"));
                }
                value => entries.push((value.to_owned(), code)),
            }
        }
        entries.sort();
        let other =
            other.ok_or("an entry \"*\" must say what becomes of all other values; null leaves them out")?;
        Ok(Self { entries, other })
    }

    /// Whether it makes nothing of some values.
    pub fn leaves_out(&self) -> bool {
        self.other.is_none() || self.entries.iter().any(|(_, code)| code.is_none())
    }

    /// Whether every entry is a string, so that it can be part of a longer one.
    pub fn is_text(&self) -> bool {
        self.entries
            .iter()
            .map(|(_, code)| code)
            .chain([&self.other])
            .flatten()
            .all(|code| code.starts_with('"'))
    }
}

fn has_placeholder(json: &Json) -> bool {
    match json {
        Json::String(text) => text.contains("{{"),
        Json::Array(elements) => elements.iter().any(has_placeholder),
        Json::Object(members) => members.iter().any(|(_, value)| has_placeholder(value)),
        _ => false,
    }
}

fn problem(path: &str, message: &str) -> Problem {
    Problem { path: path.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<CodeTables, Vec<Problem>> {
        CodeTables::parse(Some(&serde_json::from_str(text).unwrap()), "codes")
    }

    #[test]
    fn a_table_says_what_becomes_of_every_value() {
        let tables = parsed(r#"{"t": {"b": "x", "a": {"code": "y"}, "*": null}}"#).unwrap();
        let table = tables.get("t").unwrap();
        assert_eq!(table.entries[0], ("a".to_owned(), Some(r#"{"code":"y"}"#.to_owned())));
        assert_eq!(table.other, None);
        assert!(!table.is_text());
        let error = parsed(r#"{"t": {"a": "x"}}"#).unwrap_err();
        assert_eq!(error[0].path, "codes.t");
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for wrong in [
            r#"[]"#,
            r#"{"t": []}"#,
            r#"{"t": {"a": "{{b}}", "*": null}}"#,
            r#"{"t": {" a": "b", "*": null}}"#,
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
