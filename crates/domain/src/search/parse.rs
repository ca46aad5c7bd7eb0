//! Reads a query: `Type?parameter=value,value&parameter=value`.
//!
//! The text has been decoded once, as every parameter of a request. Some clients encode the inner query on its
//! own, so that it arrives encoded still: each name and value is therefore decoded once more where it has `%XX`. A
//! literal percent sign before two hexadecimal digits has to come as `%25`. A `+` stays what it is.
//!
//! Then the rules of FHIR search: a comma is "or", `|` divides system and code, and a backslash makes `,`, `|`, `$`
//! and `\` a part of the value.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use super::{
    Criterion, Kind, Parameter, Prefix, SearchError, TypeFilter, Value, date, error, parameters, shape,
};
use crate::ResourceType;

/// Most bytes of a query.
pub const MAX_TEXT: usize = 16_000;

/// Most criteria of a query.
pub const MAX_CRITERIA: usize = 20;

/// Most values of all criteria of a query.
pub const MAX_VALUES: usize = 200;

/// Parameters of FHIR search that shape the result instead of choosing resources.
const OF_RESULTS: &[&str] = &[
    "_include",
    "_revinclude",
    "_sort",
    "_count",
    "_elements",
    "_summary",
    "_total",
    "_contained",
    "_containedType",
    "_format",
    "_pretty",
    "_offset",
    "_maxresults",
];

impl FromStr for TypeFilter {
    type Err = SearchError;

    fn from_str(query: &str) -> Result<Self, SearchError> {
        if query.len() > MAX_TEXT {
            return Err(SearchError::TooLong);
        }
        let (name, rest) = query.trim().split_once('?').ok_or(SearchError::NotAQuery)?;
        let resource_type: ResourceType = name.parse().map_err(|_| SearchError::UnknownType)?;
        let mut filter = Self { resource_type, criteria: Vec::new(), text: format!("{name}?") };
        let mut values = 0;
        for part in rest.split('&') {
            if filter.criteria.len() == MAX_CRITERIA {
                return Err(SearchError::TooManyCriteria);
            }
            filter.add(part)?;
            values += filter.criteria.last().map_or(0, |c| c.values.len());
            if values > MAX_VALUES {
                return Err(SearchError::TooManyValues);
            }
        }
        // The text that is stored must be readable again, and can be longer than the one that was given.
        if filter.text.len() > MAX_TEXT { Err(SearchError::TooLong) } else { Ok(filter) }
    }
}

impl TypeFilter {
    /// Adds `parameter=value,value`.
    fn add(&mut self, part: &str) -> Result<(), SearchError> {
        let empty = SearchError::EmptyPart(self.resource_type);
        let (name, text) = part.split_once('=').ok_or(empty)?;
        let parameter = find(self.resource_type, &decode(name).unwrap_or_default())?;
        let text = decode(text).ok_or_else(|| malformed(parameter))?;
        let mut criterion = Criterion { parameter, values: Vec::new() };
        let mut before = if self.criteria.is_empty() { "" } else { "&" }.to_owned() + parameter.name + "=";
        for text in split_unescaped(&text, ',') {
            let (value, canonical) = read_value(parameter, text.trim())?;
            criterion.values.push(value);
            self.text.push_str(&before);
            // What the next reading would decode, or take as the end of the value.
            self.text.push_str(&canonical.replace('%', "%25").replace('&', "%26"));
            before = ",".to_owned();
        }
        self.criteria.push(criterion);
        Ok(())
    }
}

/// The text with `%XX` decoded; `None` if that is not UTF-8.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().ok()
}

fn find(resource_type: ResourceType, name: &str) -> Result<&'static Parameter, SearchError> {
    if let Some(parameter) = parameters(resource_type).iter().find(|p| p.name == name) {
        return Ok(parameter);
    }
    let shown = error::shown(name);
    let (base, modifier) = name.split_once(':').map_or((name, None), |(base, m)| (base, Some(m)));
    Err(if OF_RESULTS.contains(&base) {
        SearchError::ResultParameter(shown)
    } else if base == "_has" || name.contains('.') {
        SearchError::Chain(shown)
    } else if modifier.is_some() {
        SearchError::Modifier(shown)
    } else {
        SearchError::UnknownParameter { resource_type, name: shown }
    })
}

/// The parts of a text between separators that no backslash precedes.
fn split_unescaped(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == separator && !escaped {
            parts.push(&text[start..at]);
            start = at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    parts.push(&text[start..]);
    parts
}

/// A value and a text that is read as the same.
fn read_value(parameter: &'static Parameter, text: &str) -> Result<(Value, String), SearchError> {
    if text.is_empty() {
        return Err(SearchError::EmptyValue(parameter.name));
    }
    let malformed = || malformed(parameter);
    match parameter.kind {
        Kind::Id if shape::is_id(text) => Ok((Value::Id(text.to_owned()), text.to_owned())),
        Kind::Id => Err(malformed()),
        Kind::Token => read_token(parameter, text),
        Kind::Date => {
            let (prefix, name, rest) = read_prefix(parameter, text)?;
            let (from, to) = date::range(rest).ok_or_else(malformed)?;
            Ok((Value::Date { prefix, from, to }, format!("{name}{}", rest.replace(' ', "+"))))
        }
        Kind::Reference => {
            let (found_type, id) = shape::target(text).ok_or_else(malformed)?;
            let implied = (parameter.name == "patient").then_some("Patient");
            if implied.zip(found_type).is_some_and(|(implied, found)| implied != found) {
                return Err(malformed());
            }
            let resource_type = implied.or(found_type).map(str::to_owned);
            let canonical = resource_type.as_ref().map_or(id.to_owned(), |t| format!("{t}/{id}"));
            Ok((Value::Reference { resource_type, id: id.to_owned() }, canonical))
        }
    }
}

fn malformed(parameter: &'static Parameter) -> SearchError {
    let form = match parameter.kind {
        Kind::Id => "an id of letters, digits, - and .",
        Kind::Token => "code, system|code, system| or |code, with \\ before , | $ and \\ that belong to it",
        Kind::Date => {
            "2024, 2024-03, 2024-03-08 or 2024-03-08T14:05:09Z, after eq, ne, gt, lt, ge, le, sa or eb"
        }
        Kind::Reference if parameter.name == "patient" => "id or Patient/id",
        Kind::Reference => "id or Type/id",
    };
    SearchError::Malformed { parameter: parameter.name, form }
}

fn read_token(parameter: &'static Parameter, text: &str) -> Result<(Value, String), SearchError> {
    let malformed = || malformed(parameter);
    let parts: Option<Vec<String>> = split_unescaped(text, '|').into_iter().map(unescape).collect();
    let (system, code) = match parts.ok_or_else(malformed)?.as_slice() {
        [code] => (None, Some(code.clone())),
        [system, code] if system.is_empty() && code.is_empty() => return Err(malformed()),
        [system, code] => (Some(system.clone()), (!code.is_empty()).then(|| code.clone())),
        _ => return Err(malformed()),
    };
    if system.is_some() && !parameter.has_system {
        return Err(SearchError::System(parameter.name));
    }
    let mut canonical = String::new();
    if let Some(system) = &system {
        let _ = write!(canonical, "{}|", escape(system));
    }
    canonical.push_str(&escape(code.as_deref().unwrap_or_default()));
    Ok((Value::Token { system, code }, canonical))
}

/// The text without the backslashes that FHIR search knows; `None` for another one and for control characters,
/// which no code has.
fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => chars.next().filter(|c| matches!(c, ',' | '|' | '$' | '\\'))?,
            c if c.is_control() => return None,
            c => c,
        });
    }
    Some(plain)
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, ',' | '|' | '$' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// The prefix, its name (none for `eq`) and what follows.
fn read_prefix<'a>(
    parameter: &'static Parameter,
    text: &'a str,
) -> Result<(Prefix, &'static str, &'a str), SearchError> {
    const PREFIXES: &[(&str, Prefix)] = &[
        ("ne", Prefix::Ne),
        ("lt", Prefix::Lt),
        ("gt", Prefix::Gt),
        ("le", Prefix::Le),
        ("ge", Prefix::Ge),
        ("sa", Prefix::Sa),
        ("eb", Prefix::Eb),
    ];
    if text.starts_with("ap") {
        return Err(SearchError::Approximately(parameter.name));
    }
    for (name, prefix) in PREFIXES {
        if let Some(rest) = text.strip_prefix(name) {
            return Ok((*prefix, name, rest));
        }
    }
    Ok((Prefix::Eq, "", text.strip_prefix("eq").unwrap_or(text)))
}
