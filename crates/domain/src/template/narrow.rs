//! What a row must look like for a template to give a resource that a query wants.
//!
//! The template is walked along the paths of the query's parameters, with the columns unknown. What is constant
//! there decides at once; where a column's value stands, the query becomes a test of the column. The result is
//! **necessary, not sufficient**: a row that it excludes gives no resource that the query wants, while one that
//! it lets pass is decided on the finished resource by the [`Matcher`](crate::search::Matcher). So whatever
//! cannot be expressed narrows nothing, and conditions within the template are not looked at: an object that is
//! not there matches nothing.

mod columns;
mod walk;

use std::fmt;

use super::Template;
use super::column::{Column, ColumnType};
use crate::search::{Side, TypeFilter};
use walk::Walk;

/// What must be true of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Narrow {
    /// Nothing.
    Always,
    /// It does not matter: no row gives such a resource.
    Never,
    /// All of these.
    All(Vec<Narrow>),
    /// One of these.
    Any(Vec<Narrow>),
    /// The value of a column.
    Column {
        /// Its name.
        name: String,
        /// Its type.
        column_type: ColumnType,
        /// What must be true of it.
        test: ColumnTest,
    },
}

/// What must be true of the value of a column. It is not true of null, if nothing else is said.
#[derive(Clone, PartialEq, Eq)]
pub enum ColumnTest {
    /// Its text is one of these, without blanks at its ends and what FHIR forbids in texts.
    In(Vec<String>),
    /// Its text, in the same form, is none of these.
    NotIn(Vec<String>),
    /// Its text holds this one.
    Contains(String),
    /// It is a moment, or the midnight in UTC of a day, on this side; or null, if so said.
    Time {
        /// Which side.
        side: Side,
        /// Whether null is as good.
        or_null: bool,
    },
}

/// Without values, which may name patients.
impl fmt::Debug for ColumnTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(values) => write!(f, "In({} values)", values.len()),
            Self::NotIn(values) => write!(f, "NotIn({} values)", values.len()),
            Self::Contains(_) => f.write_str("Contains(..)"),
            Self::Time { .. } => f.write_str("Time(..)"),
        }
    }
}

impl Narrow {
    /// All of these.
    #[must_use]
    pub fn all(parts: impl IntoIterator<Item = Narrow>) -> Self {
        let mut all = Vec::new();
        for part in parts {
            match part {
                Narrow::Always => {}
                Narrow::Never => return Narrow::Never,
                part => all.push(part),
            }
        }
        match all.len() {
            0 => Narrow::Always,
            1 => all.remove(0),
            _ => Narrow::All(all),
        }
    }

    /// One of these. Lists of values of the same column become one.
    #[must_use]
    pub fn any(parts: impl IntoIterator<Item = Narrow>) -> Self {
        let mut any: Vec<Narrow> = Vec::new();
        for part in parts {
            let alternatives = match part {
                Narrow::Always => return Narrow::Always,
                Narrow::Never => continue,
                Narrow::Any(alternatives) => alternatives,
                part => vec![part],
            };
            for part in alternatives {
                if !any.iter_mut().any(|known| known.take_in(&part)) {
                    any.push(part);
                }
            }
        }
        match any.len() {
            0 => Narrow::Never,
            1 => any.remove(0),
            _ => Narrow::Any(any),
        }
    }

    /// Adds the values of the other list, if both are lists of the same column.
    fn take_in(&mut self, other: &Narrow) -> bool {
        let Narrow::Column { name, test: ColumnTest::In(values), .. } = self else { return *self == *other };
        let Narrow::Column { name: theirs, test: ColumnTest::In(more), .. } = other else { return false };
        if name != theirs {
            return false;
        }
        for value in more {
            if !values.contains(value) {
                values.push(value.clone());
            }
        }
        true
    }
}

impl Template {
    /// What a row of a relation with these columns must look like for the template to give a resource that the
    /// query wants.
    #[must_use]
    pub fn narrow(&self, filter: &TypeFilter, columns: &[Column]) -> Narrow {
        let Some(root) = &self.root else { return Narrow::Never };
        if filter.resource_type() != self.resource_type {
            return Narrow::Always;
        }
        let walk = Walk::new(self, columns);
        Narrow::all(filter.criteria().iter().map(|criterion| walk.criterion(root, criterion)))
    }
}

#[cfg(test)]
mod tests;
