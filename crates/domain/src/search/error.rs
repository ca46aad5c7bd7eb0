//! Why a query is refused.

use crate::ResourceType;

/// Why a `_typeFilter` is refused, as text for the client's OperationOutcome. It never repeats a value, which
/// may speak of a patient.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// There is no `?`.
    #[error("write the query as Type?parameter=value")]
    NotAQuery,
    /// The type is none that this server knows.
    #[error("the type before the ? is not a resource type of this server")]
    UnknownType,
    /// More text than [`super::MAX_TEXT`].
    #[error("the query is longer than {} bytes", super::MAX_TEXT)]
    TooLong,
    /// More criteria than [`super::MAX_CRITERIA`].
    #[error("the query has more than {} criteria", super::MAX_CRITERIA)]
    TooManyCriteria,
    /// More values than [`super::MAX_VALUES`].
    #[error("the query has more than {} values", super::MAX_VALUES)]
    TooManyValues,
    /// Nothing follows the `?`, or a part of the query is empty or has no `=`.
    #[error("the query has an empty part or one without a value: write it as {0}?parameter=value")]
    EmptyPart(ResourceType),
    /// A parameter that shapes a result, as `_include`, `_sort` or `_count`.
    #[error("{0} shapes a search result and cannot filter an export")]
    ResultParameter(String),
    /// A modifier, as in `code:in`.
    #[error("modifiers of search parameters are not supported ({0})")]
    Modifier(String),
    /// A chain, as in `subject.name`.
    #[error("chained search parameters are not supported ({0})")]
    Chain(String),
    /// A parameter that is not supported for the type.
    #[error("{name} is not a search parameter of {resource_type} here; supported are {}", names(*resource_type))]
    UnknownParameter {
        /// The type.
        resource_type: ResourceType,
        /// The name, as far as it looks like one.
        name: String,
    },
    /// A value is empty.
    #[error("{0} has an empty value")]
    EmptyValue(&'static str),
    /// A value is not what the parameter takes.
    #[error("{parameter} has a malformed value: write {form}")]
    Malformed {
        /// The parameter.
        parameter: &'static str,
        /// What is expected.
        form: &'static str,
    },
    /// A token with a system for an element that has none.
    #[error("{0} takes a code without a system: the element carries none that could be checked")]
    System(&'static str),
    /// The prefix `ap`.
    #[error("the prefix ap is not supported ({0}): write a range with ge and lt")]
    Approximately(&'static str),
}

fn names(resource_type: ResourceType) -> String {
    let names: Vec<_> = super::parameters(resource_type).iter().map(|p| p.name).collect();
    names.join(", ")
}

/// A name of the client as an error may show it: what does not look like a name is left out.
pub(crate) fn shown(name: &str) -> String {
    let is_name = |b: u8| b.is_ascii_alphabetic() || matches!(b, b'-' | b'_' | b':' | b'.' | b'[' | b']');
    if !name.is_empty() && name.len() <= 40 && name.bytes().all(is_name) { name } else { "a name" }.to_owned()
}
