//! Decides whether a resource meets the queries of its type.

use serde_json::Value as Json;

use super::{Criterion, TypeFilter, Value, shape};
use crate::json_members::{NotAnObject, members};

/// Decides on the resources of one filtered type.
#[derive(Debug, Clone)]
pub struct Matcher {
    filters: Vec<TypeFilter>,
    /// The root elements that the queries look at; the others are stepped over.
    roots: Vec<&'static str>,
}

impl Matcher {
    /// `None` without a query.
    pub(super) fn new(filters: Vec<TypeFilter>) -> Option<Self> {
        let criteria = filters.iter().flat_map(TypeFilter::criteria);
        let paths = criteria.flat_map(|c| c.parameter.paths);
        let mut roots: Vec<_> = paths.filter_map(|path| path.first().copied()).collect();
        roots.sort_unstable();
        roots.dedup();
        (!filters.is_empty()).then_some(Self { filters, roots })
    }

    /// Whether a resource, as bytes of JSON, meets one of the queries. What cannot be read does not.
    #[must_use]
    pub fn matches(&self, line: &[u8]) -> bool {
        self.decide(line).unwrap_or(false)
    }

    /// The same, where somebody has to be told of what cannot be read.
    ///
    /// # Errors
    /// When it is not one JSON object, or an element that a query looks at holds what is no Unicode.
    pub fn decide(&self, line: &[u8]) -> Result<bool, NotAnObject> {
        let members = members(line)?;
        let picked: Vec<(&str, Json)> = members
            .iter()
            .filter(|(name, _)| self.roots.contains(&name.as_ref()))
            .map(|(name, raw)| Ok((name.as_ref(), serde_json::from_str(raw).map_err(|_| NotAnObject)?)))
            .collect::<Result<_, _>>()?;
        Ok(self.filters.iter().any(|f| f.criteria.iter().all(|criterion| meets(criterion, &picked))))
    }
}

/// Whether an element at one of the paths is one of the values.
fn meets(criterion: &Criterion, picked: &[(&str, Json)]) -> bool {
    criterion.parameter.paths.iter().any(|path| {
        let Some((root, rest)) = path.split_first() else { return false };
        picked.iter().any(|(name, element)| name == root && is_wanted(&criterion.values, element, rest))
    })
}

/// Whether an element at the path below this one is one of the values.
pub(crate) fn is_wanted(values: &[Value], element: &Json, path: &[&str]) -> bool {
    any_at(element, path, &|element: &Json| values.iter().any(|value| shape::matches(value, element)))
}

/// Whether an element at the path below this one is wanted; every element of an array counts.
fn any_at(element: &Json, path: &[&str], wanted: &dyn Fn(&Json) -> bool) -> bool {
    match (element, path.split_first()) {
        (Json::Array(elements), _) => elements.iter().any(|e| any_at(e, path, wanted)),
        (_, None) => wanted(element),
        (Json::Object(members), Some((name, rest))) => {
            members.get(*name).is_some_and(|below| any_at(below, rest, wanted))
        }
        _ => false,
    }
}
