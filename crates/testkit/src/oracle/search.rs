//! `_typeFilter`, decided slowly and from the definitions of FHIR R4 alone (its Search page, and the search
//! parameters of each type): on a parsed resource, element by element. It shares no code with the engine.

mod definitions;
mod time;

use std::fmt;

use anyhow::{Context as _, Result};
use serde_json::Value;

pub use definitions::{Definition, Shape, definition};
pub use time::{Prefix, Range};

/// One query: the resources of a type that meet every criterion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The type.
    pub resource_type: String,
    /// The criteria.
    pub criteria: Vec<Criterion>,
}

/// One parameter of a query; one of the values is enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Criterion {
    /// The name of the search parameter.
    pub parameter: String,
    /// The alternatives.
    pub values: Vec<Wanted>,
}

/// A value of a search parameter: what it means, not how it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A code, perhaps of a system. `Some("")` is a code without a system (`|code`); no code is any of the
    /// system (`system|`).
    Token {
        /// The system.
        system: Option<String>,
        /// The code.
        code: Option<String>,
    },
    /// A date with its prefix (`None`: none is written) and precision.
    Date {
        /// How it is compared.
        prefix: Option<Prefix>,
        /// The date as FHIR writes it.
        text: String,
    },
    /// A resource.
    Reference {
        /// Its type; any if `None`.
        resource_type: Option<String>,
        /// Its id.
        id: String,
    },
    /// The id of the resource itself.
    Id(String),
}

impl Query {
    /// Whether a resource of the type meets every criterion.
    ///
    /// # Errors
    /// When FHIR has no such parameter for the type, or a value is none of its kind.
    pub fn matches(&self, resource: &Value) -> Result<bool> {
        for criterion in &self.criteria {
            if !criterion.is_met(&self.resource_type, resource)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Criterion {
    fn is_met(&self, resource_type: &str, resource: &Value) -> Result<bool> {
        let definition = definition(resource_type, &self.parameter)
            .with_context(|| format!("FHIR R4 has no parameter {} of {resource_type}", self.parameter))?;
        let elements = definition.elements(resource);
        for wanted in &self.values {
            for element in &elements {
                if wanted.is(&definition, element)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl Wanted {
    fn is(&self, definition: &Definition, element: &Value) -> Result<bool> {
        match (self, definition.shape) {
            (Self::Id(id), Shape::Id) => Ok(element.as_str() == Some(id)),
            (Self::Token { system, code }, shape) => {
                Ok(tokens(shape, element).iter().any(|token| token.is(system.as_deref(), code.as_deref())))
            }
            (Self::Date { prefix, text }, Shape::Date) => {
                let searched = Range::of_text(text).with_context(|| format!("{text} is no date"))?;
                let held = Range::of_element(element);
                Ok(held.is_some_and(|held| prefix.unwrap_or(Prefix::Eq).compares(&held, &searched)))
            }
            (Self::Reference { resource_type, id }, Shape::Reference | Shape::Patient) => {
                let Some((of, target)) = element["reference"].as_str().and_then(target) else {
                    return Ok(false);
                };
                let only = if definition.shape == Shape::Patient { Some("Patient") } else { None };
                let allowed = [only, resource_type.as_deref()].into_iter().flatten().all(|t| t == of);
                Ok(allowed && target == id)
            }
            _ => anyhow::bail!("{self} is no value of {:?}", definition.shape),
        }
    }
}

/// A coding, an identifier or a bare code.
struct Token<'a> {
    system: Option<&'a str>,
    code: Option<String>,
}

impl Token<'_> {
    fn is(&self, system: Option<&str>, code: Option<&str>) -> bool {
        let of_system = match system {
            None => true,
            Some("") => self.system.is_none(),
            Some(system) => self.system == Some(system),
        };
        of_system && code.is_none_or(|code| self.code.as_deref() == Some(code))
    }
}

fn tokens(shape: Shape, element: &Value) -> Vec<Token<'_>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match shape {
        Shape::Concept => element["coding"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|c| tokens(Shape::Coding, c))
            .collect(),
        Shape::Coding => vec![Token { system: element["system"].as_str(), code: text(&element["code"]) }],
        Shape::Identifier => {
            vec![Token { system: element["system"].as_str(), code: text(&element["value"]) }]
        }
        Shape::Code => vec![Token { system: None, code: text(element) }],
        Shape::Flag => vec![Token { system: None, code: element.as_bool().map(|flag| flag.to_string()) }],
        Shape::Id | Shape::Date | Shape::Reference | Shape::Patient => Vec::new(),
    }
}

/// Type and id of a literal reference: relative, absolute, perhaps of a version.
fn target(reference: &str) -> Option<(&str, &str)> {
    let parts: Vec<&str> = reference.split('/').collect();
    let parts = match parts.as_slice() {
        [before @ .., "_history", _] => before,
        all => all,
    };
    match parts {
        [.., of, id] if !of.is_empty() && !id.is_empty() => Some((of, id)),
        _ => None,
    }
}

/// As FHIR writes it, with `,`, `|`, `$` and `\` of values escaped (FHIR R4, Escaping Search Parameters).
impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => f.write_str(id),
            Self::Token { system: None, code } => f.write_str(&escaped(code.as_deref().unwrap_or_default())),
            Self::Token { system: Some(system), code } => {
                write!(f, "{}|{}", escaped(system), escaped(code.as_deref().unwrap_or_default()))
            }
            Self::Date { prefix, text } => {
                write!(f, "{}{text}", prefix.map(Prefix::letters).unwrap_or_default())
            }
            Self::Reference { resource_type: Some(t), id } => write!(f, "{t}/{id}"),
            Self::Reference { resource_type: None, id } => f.write_str(id),
        }
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if matches!(c, ',' | '|' | '$' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<String> = self.values.iter().map(ToString::to_string).collect();
        write!(f, "{}={}", self.parameter, values.join(","))
    }
}

/// `Type?parameter=value,value&parameter=value`.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let criteria: Vec<String> = self.criteria.iter().map(ToString::to_string).collect();
        write!(f, "{}?{}", self.resource_type, criteria.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn query(resource_type: &str, parameter: &str, wanted: Wanted) -> Query {
        let criterion = Criterion { parameter: parameter.into(), values: vec![wanted] };
        Query { resource_type: resource_type.into(), criteria: vec![criterion] }
    }

    fn token(system: Option<&str>, code: Option<&str>) -> Wanted {
        Wanted::Token { system: system.map(str::to_owned), code: code.map(str::to_owned) }
    }

    #[test]
    fn a_token_is_compared_with_each_coding_of_each_concept() {
        let resource = json!({ "code": { "coding": [
            { "system": "http://loinc.org", "code": "8867-4" }, { "code": "HR" }, { "system": "http://x.example" },
        ] } });
        for (system, code, matches) in [
            (None, Some("8867-4"), true),
            (None, Some("HR"), true),
            (Some("http://loinc.org"), Some("8867-4"), true),
            (Some("http://loinc.org"), Some("HR"), false),
            (Some(""), Some("HR"), true),
            (Some(""), Some("8867-4"), false),
            (Some("http://x.example"), None, true),
            (Some("http://y.example"), None, false),
            (None, Some("8867"), false),
        ] {
            let query = query("Observation", "code", token(system, code));
            assert_eq!(query.matches(&resource).unwrap(), matches, "{query}");
        }
    }

    #[test]
    fn codes_flags_and_identifiers_are_tokens_too() {
        let resource = json!({ "active": true, "gender": "other",
            "identifier": [{ "system": "urn:oid:1.2", "value": "7" }] });
        for (parameter, wanted, matches) in [
            ("active", token(None, Some("true")), true),
            ("active", token(None, Some("false")), false),
            ("gender", token(None, Some("other")), true),
            ("identifier", token(Some("urn:oid:1.2"), Some("7")), true),
            ("identifier", token(Some("urn:oid:1.2"), None), true),
            ("identifier", token(Some("urn:oid:1.3"), Some("7")), false),
        ] {
            let query = query("Patient", parameter, wanted);
            assert_eq!(query.matches(&resource).unwrap(), matches, "{query}");
        }
    }

    #[test]
    fn a_reference_is_compared_by_type_and_id_and_patient_means_patients_alone() {
        for (reference, parameter, of, matches) in [
            ("Patient/1", "patient", None, true),
            ("Patient/1", "subject", Some("Patient"), true),
            ("Patient/1", "subject", Some("Group"), false),
            ("https://x.example/fhir/Patient/1/_history/2", "patient", Some("Patient"), true),
            ("Group/1", "patient", None, false),
            ("Group/1", "subject", None, true),
            ("Patient/11", "patient", None, false),
            ("#1", "subject", None, false),
        ] {
            let resource = json!({ "subject": { "reference": reference } });
            let wanted = Wanted::Reference { resource_type: of.map(str::to_owned), id: "1".into() };
            let query = query("Observation", parameter, wanted);
            assert_eq!(query.matches(&resource).unwrap(), matches, "{reference} {query}");
        }
    }

    #[test]
    fn special_characters_of_a_value_are_escaped() {
        assert_eq!(token(Some("a|b"), Some("c,d")).to_string(), r"a\|b|c\,d");
    }
}
