//! `_elements`: which root elements of a resource are wanted.
//!
//! An item is `element`, which stands for every type, or `Type.element`. As soon as one item concerns a type, its
//! resources are reduced to the listed elements and to those that every resource keeps:
//!
//! - `resourceType`, `id` and `meta`, whose tags say that the resource is `SUBSETTED`,
//! - what the base specification (FHIR R4) demands of the type,
//! - `implicitRules` and `modifierExtension`, without which the rest could be misread,
//! - `contained`, where an element that stays refers into it.
//!
//! If every item names another type, resources stay whole.
//! (Bulk Data Access, section "Query Parameters", `_elements`.)

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ResourceType;
pub use crate::json_members::NotAnObject;

mod project;
mod table;
#[cfg(test)]
mod tests;

pub use project::Projection;

/// The elements that a request lists; none: resources stay whole. Serialized as a list of texts.
#[derive(Serialize, Deserialize, Default, Clone, Debug, PartialEq, Eq)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Elements(Vec<Item>);

/// `element` or `Type.element`. An element of a choice is `value`, `value[x]`, or `valueQuantity` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    resource_type: Option<ResourceType>,
    element: String,
}

/// Why an item of `_elements` is refused. Names are shown as far as they look like names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ElementsError {
    /// Nothing stands between two commas.
    #[error("an element is empty: write it as name or Type.name")]
    Empty,
    /// An element of an element.
    #[error("{0} is not at the root of a resource: only root elements can be listed")]
    NotRoot(String),
    /// The type is none that this server knows.
    #[error("the type in {0} is not a resource type of this server")]
    UnknownType(String),
    /// No type, or not the named one, has such an element in FHIR R4.
    #[error("{0} is not an element in FHIR R4")]
    UnknownElement(String),
}

impl Elements {
    /// Adds an item: `element` for every type that has it, or `Type.element`. One that is already there is not
    /// repeated.
    ///
    /// # Errors
    /// [`ElementsError`] for anything but a root element of a known type, with nothing added.
    pub fn add(&mut self, item: &str) -> Result<(), ElementsError> {
        let item: Item = item.parse()?;
        if !self.0.contains(&item) {
            self.0.push(item);
        }
        Ok(())
    }

    /// Whether resources of every type stay whole.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What reduces resources of a type; `None`: they stay whole, because no item concerns the type.
    #[must_use]
    pub fn projection(&self, resource_type: ResourceType) -> Option<Projection> {
        let listed = self.0.iter().filter(|item| item.resource_type.is_none_or(|t| t == resource_type));
        let names: Vec<&str> = listed.map(|item| item.element.as_str()).collect();
        (!names.is_empty()).then(|| Projection::new(resource_type, &names))
    }
}

impl FromStr for Item {
    type Err = ElementsError;

    fn from_str(item: &str) -> Result<Self, ElementsError> {
        let item = item.trim();
        let shown = || crate::search::shown(item);
        if item.is_empty() {
            return Err(ElementsError::Empty);
        }
        let (resource_type, element) = match item.split_once('.') {
            None => (None, item),
            Some((before, element)) if before.starts_with(|c: char| c.is_ascii_uppercase()) => {
                let resource_type = before.parse().map_err(|_| ElementsError::UnknownType(shown()))?;
                (Some(resource_type), element)
            }
            Some(_) => return Err(ElementsError::NotRoot(shown())),
        };
        if element.contains('.') {
            return Err(ElementsError::NotRoot(shown()));
        }
        let one;
        let types = match resource_type {
            None => ResourceType::ALL,
            Some(resource_type) => {
                one = [resource_type];
                &one
            }
        };
        if !types.iter().any(|t| project::has(*t, element)) {
            return Err(ElementsError::UnknownElement(shown()));
        }
        Ok(Self { resource_type, element: element.to_owned() })
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(resource_type) = self.resource_type {
            write!(f, "{resource_type}.")?;
        }
        f.write_str(&self.element)
    }
}

impl TryFrom<Vec<String>> for Elements {
    type Error = ElementsError;

    fn try_from(items: Vec<String>) -> Result<Self, ElementsError> {
        let mut elements = Self::default();
        for item in items {
            elements.add(&item)?;
        }
        Ok(elements)
    }
}

impl From<Elements> for Vec<String> {
    fn from(elements: Elements) -> Self {
        elements.0.iter().map(Item::to_string).collect()
    }
}
