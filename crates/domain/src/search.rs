//! `_typeFilter`: which resources of a type are wanted, written as a FHIR search query.
//!
//! Every criterion is decided on the finished resource, by the [`Matcher`]: SQL may leave out rows of which no
//! resource can match, but it never decides. So one evaluator is the truth for ready bodies and for templates.
//!
//! What is not understood is refused by name ([`SearchError`]) and never ignored: a filter that is dropped in
//! silence would widen the export. (Bulk Data Access, section "_typeFilter Query Parameter".)

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ResourceType;

mod date;
mod error;
mod matcher;
mod needs;
mod parse;
mod shape;
mod split;
mod table;
#[cfg(test)]
mod tests;

pub use error::SearchError;
pub(crate) use error::shown;
pub use matcher::Matcher;
pub(crate) use matcher::is_wanted;
pub use needs::{End, Need, Side, needs};
pub use parse::{MAX_CRITERIA, MAX_TEXT, MAX_VALUES};
pub use split::split;
pub use table::parameters;

/// One query: the resources of one type that meet every criterion.
///
/// It is read with [`str::parse`] from `Type?parameter=value&parameter=value`; [`fmt::Display`] gives a text
/// that parses to an equal value. Its [`fmt::Debug`] form has no values, which may name patients.
#[derive(Clone, PartialEq, Eq)]
pub struct TypeFilter {
    resource_type: ResourceType,
    criteria: Vec<Criterion>,
    text: String,
}

impl TypeFilter {
    /// The type whose resources are filtered. No other type is touched.
    #[must_use]
    pub fn resource_type(&self) -> ResourceType {
        self.resource_type
    }

    /// The criteria, at least one; a resource has to meet all of them.
    #[must_use]
    pub fn criteria(&self) -> &[Criterion] {
        &self.criteria
    }
}

impl fmt::Display for TypeFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for TypeFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.criteria.iter().map(|c| c.parameter.name).collect();
        write!(f, "{}?{}", self.resource_type, names.join("&"))
    }
}

/// One parameter of a query and what it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Criterion {
    /// What is looked at.
    pub parameter: &'static Parameter,
    /// The alternatives, at least one: the criterion is met if one of them matches.
    pub values: Vec<Value>,
}

/// A search parameter of a type.
#[derive(Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The name as a query has it: `clinical-status`.
    pub name: &'static str,
    /// How its values are written and compared.
    pub kind: Kind,
    /// Paths of element names from the root of the resource; each is looked at, arrays on the way are passed
    /// through. The elements of a choice stand one by one: `effectiveDateTime`, `effectivePeriod`.
    pub paths: &'static [&'static [&'static str]],
    /// Whether the elements at the paths carry a code system, for tokens. If not (`code`, `boolean`), a value
    /// with a system is refused, because it could not be checked.
    pub has_system: bool,
}

/// How the values of a parameter are written and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The id of the resource itself.
    Id,
    /// A code, an identifier or a flag.
    Token,
    /// A date, a moment or a range of time.
    Date,
    /// A reference to a resource.
    Reference,
}

/// A value of a criterion. Its [`fmt::Debug`] form names only its kind, because it may speak of a patient.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// A legal FHIR id.
    Id(String),
    /// A code and the system it is of.
    Token {
        /// The system; `Some("")` is `|code`, a code without a system; `None` is any system or none.
        system: Option<String>,
        /// The code, compared exactly; `None` is `system|`, any code of the system. One of both is there.
        code: Option<String>,
    },
    /// The range of time that a text stands for by its precision: `2024-03` is the whole month, in UTC.
    Date {
        /// How the range is compared with that of the resource.
        prefix: Prefix,
        /// The beginning, inclusive.
        from: DateTime<Utc>,
        /// The end, exclusive.
        to: DateTime<Utc>,
    },
    /// A resource that the element refers to. Where a query or an element has a URL, only its end counts.
    Reference {
        /// The type referred to; `None` is any. Parameters named `patient` always have `Patient`.
        resource_type: Option<String>,
        /// A legal FHIR id, compared exactly.
        id: String,
    },
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Value::Id(_) => "Id",
            Value::Token { .. } => "Token",
            Value::Date { .. } => "Date",
            Value::Reference { .. } => "Reference",
        })
    }
}

/// How a range of time in a query (`s`) is compared with that of a resource (`r`), as FHIR R4 defines it
/// (section "Prefixes" of its search page). `ap` is refused, because each server may define it at will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// `s` contains `r`.
    Eq,
    /// `s` does not contain `r`.
    Ne,
    /// A part of `r` is before `s`.
    Lt,
    /// A part of `r` is after `s`.
    Gt,
    /// As `Lt` or `Eq`.
    Le,
    /// As `Gt` or `Eq`.
    Ge,
    /// All of `r` is after `s`.
    Sa,
    /// All of `r` is before `s`.
    Eb,
}

/// The queries of one export. Types without a query are not filtered; queries of the same type are
/// alternatives.
#[derive(Default, Clone, Debug, PartialEq, Eq)]
pub struct TypeFilters(Vec<TypeFilter>);

impl TypeFilters {
    /// Adds a query; one that is already there is not repeated.
    pub fn push(&mut self, filter: TypeFilter) {
        if !self.0.contains(&filter) {
            self.0.push(filter);
        }
    }

    /// Whether no type is filtered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The queries of a type, which are alternatives; none if the type is not filtered.
    pub fn of(&self, resource_type: ResourceType) -> impl Iterator<Item = &TypeFilter> {
        self.0.iter().filter(move |f| f.resource_type == resource_type)
    }

    /// The types that are filtered.
    #[must_use]
    pub fn types(&self) -> BTreeSet<ResourceType> {
        self.0.iter().map(TypeFilter::resource_type).collect()
    }

    /// What decides on resources of a type; `None` if the type is not filtered.
    #[must_use]
    pub fn matcher(&self, resource_type: ResourceType) -> Option<Matcher> {
        Matcher::new(self.of(resource_type).cloned().collect())
    }
}

/// As a list of the queries' texts.
impl Serialize for TypeFilters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|filter| &filter.text))
    }
}

impl<'de> Deserialize<'de> for TypeFilters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut filters = Self::default();
        for text in Vec::<String>::deserialize(deserializer)? {
            filters.push(text.parse().map_err(serde::de::Error::custom)?);
        }
        Ok(filters)
    }
}
