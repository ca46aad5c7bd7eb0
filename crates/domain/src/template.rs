//! Row templates: how a row of plain columns becomes a FHIR resource.
//!
//! A template is a resource with placeholders, conditions and code tables; the notation is described for its
//! writers in `docs/MAPPING.md`. It is parsed once ([`Template::parse`]) and then gives three things:
//!
//! - [`Template::program`]: a flat program that writes the resource's bytes for a row. It allocates nothing
//!   and copies each byte once: members are written optimistically, each with the comma before it, and an
//!   object that turns out to be empty is cut off again.
//! - [`Template::sql`]: an expression that makes the same resource in PostgreSQL, for filters and checks,
//!   and the oracle of the tests: program and expression must agree on every row.
//! - [`Template::narrow`]: what a row must look like to give a resource that a query wants.
//!
//! Everything that can be wrong with a template is found here, against the columns of its relation, with the
//! path in the document; once a program is made no row can make it fail.

mod cell;
mod codes;
mod column;
mod compile;
mod condition;
mod decimal;
mod misses;
mod narrow;
mod parse;
mod placeholder;
mod program;
mod sql;
mod text;
mod time;
mod variables;

pub use cell::Cell;
pub use codes::CodeTables;
pub use column::{Column, ColumnType, is_name};
pub use decimal::Decimal;
pub use narrow::{ColumnTest, Narrow};
pub use program::Program;
pub use variables::{EXAMPLE_BASE_URL, Variables};

use std::collections::BTreeSet;
use std::fmt;

use condition::Condition;
use placeholder::{Part, Placeholder};

use crate::ResourceType;

/// A parsed template.
#[derive(Debug, Clone)]
pub struct Template {
    resource_type: ResourceType,
    /// What follows `{{id}}` in the resource's id.
    suffix: String,
    /// None: no row gives this resource (its condition is never true).
    root: Option<Object>,
    codes: CodeTables,
}

/// What stands at a place of the document.
#[derive(Debug, Clone)]
enum Node {
    /// JSON without placeholders, on one line.
    Constant(String),
    /// A placeholder that is the whole value.
    Value(Placeholder),
    /// A string with placeholders in it.
    Text(Vec<Part>),
    /// An object with placeholders or a condition.
    Object(Object),
    /// An array with placeholders.
    Array(Vec<At<Node>>),
}

/// An object with placeholders or a condition.
#[derive(Debug, Clone)]
struct Object {
    when: Option<At<Condition>>,
    members: Vec<(String, At<Node>)>,
}

/// A part of the document and where it stands.
#[derive(Debug, Clone)]
struct At<T> {
    path: String,
    it: T,
}

/// Something wrong in a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where in the document: `streams[0].resources[1].code.text`.
    pub path: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl std::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.path.is_empty() { "" } else { ": " };
        write!(f, "{}{separator}{}", self.path, self.message)
    }
}

impl Template {
    /// The type of its resources.
    #[must_use]
    pub fn resource_type(&self) -> ResourceType {
        self.resource_type
    }

    /// What its ids have behind the row's id: `-bp`, or nothing.
    #[must_use]
    pub fn suffix(&self) -> &str {
        &self.suffix
    }

    /// Whether no row can give both resources: their conditions want different values of the same column.
    #[must_use]
    pub fn excludes(&self, other: &Template) -> bool {
        let (Some(mine), Some(others)) = (&self.root, &other.root) else { return true };
        match (&mine.when, &others.when) {
            (Some(mine), Some(others)) => {
                let pairs = |line| others.it.any.iter().map(move |other| (line, other));
                mine.it.any.iter().flat_map(pairs).all(|(a, b)| condition::exclude(a, b))
            }
            _ => false,
        }
    }

    /// Whether no row ever gives this resource, because of the practice's version of US Core.
    #[must_use]
    pub fn is_never(&self) -> bool {
        self.root.is_none()
    }

    /// The columns that it uses.
    #[must_use]
    pub fn columns(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut add = |column: &str| {
            found.insert(column.to_owned());
        };
        if let Some(root) = &self.root {
            root.each_column(&mut |column, _| add(column));
        }
        found
    }

    /// Where each column is used first, for messages about columns that a relation lacks.
    #[must_use]
    pub fn column_paths(&self) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = Vec::new();
        if let Some(root) = &self.root {
            root.each_column(&mut |column, path| {
                if found.iter().all(|(known, _)| known != column) {
                    found.push((column.to_owned(), path.to_owned()));
                }
            });
        }
        found
    }
}

impl Object {
    fn each_column(&self, f: &mut impl FnMut(&str, &str)) {
        if let Some(when) = &self.when {
            for test in when.it.any.iter().flatten() {
                f(&test.column, &when.path);
            }
        }
        for (_, member) in &self.members {
            member.it.each_column(&member.path, f);
        }
    }
}

impl Node {
    fn each_column(&self, path: &str, f: &mut impl FnMut(&str, &str)) {
        match self {
            Node::Constant(_) => {}
            Node::Value(placeholder) => f(&placeholder.column, path),
            Node::Text(parts) => {
                for part in parts {
                    if let Part::Placeholder(placeholder) = part {
                        f(&placeholder.column, path);
                    }
                }
            }
            Node::Object(object) => object.each_column(f),
            Node::Array(elements) => {
                for element in elements {
                    element.it.each_column(&element.path, f);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
