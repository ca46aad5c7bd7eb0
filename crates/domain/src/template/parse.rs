//! From the document to the template.

use super::codes::CodeTables;
use super::condition::{self, Folded};
use super::placeholder::{self, Filter, Part, Placeholder};
use super::{At, Node, Object, Problem, Template, Variables};
use crate::ResourceType;
use crate::mapping::Json;

/// How deep objects and arrays may be nested: deeper than any resource, and what the writer keeps room for.
pub(super) const DEEPEST: usize = 24;

/// What is the same everywhere in a document.
struct Document<'a> {
    variables: &'a Variables,
    codes: &'a CodeTables,
    problems: Vec<Problem>,
}

impl Template {
    /// Parses a template, with a practice's variables put in. `path` is where it stands in its file.
    ///
    /// # Errors
    /// Everything that is wrong in it, as far as that can be seen without the columns of its relation.
    pub fn parse(
        json: &Json,
        resource_type: ResourceType,
        codes: &CodeTables,
        variables: &Variables,
        path: &str,
    ) -> Result<Self, Vec<Problem>> {
        let mut document = Document { variables, codes, problems: Vec::new() };
        let suffix = document.head(json, resource_type, path);
        let root = match json {
            Json::Object(members) => document.object(members, path, 0),
            _ => None,
        };
        if document.problems.is_empty() {
            let root = root.map(|(object, _)| object);
            Ok(Self { resource_type, suffix: suffix.unwrap_or_default(), root, codes: codes.clone() })
        } else {
            Err(document.problems)
        }
    }
}

impl Document<'_> {
    fn problem(&mut self, path: &str, message: impl Into<String>) {
        self.problems.push(Problem { path: path.to_owned(), message: message.into() });
    }

    /// Checks what every resource must have; returns the suffix of its id.
    fn head(&mut self, json: &Json, resource_type: ResourceType, path: &str) -> Option<String> {
        let name = resource_type.name();
        if json.get("resourceType").and_then(Json::as_str) != Some(name) {
            self.problem(path, format!("a template of this file has \"resourceType\": \"{name}\""));
        }
        let stamp = json.get("meta").and_then(|meta| meta.get("lastUpdated")).and_then(Json::as_str);
        if stamp.is_none_or(|stamp| stamp.replace(' ', "") != "{{last_updated|instant}}") {
            let message = "must be \"{{last_updated | instant}}\": what clients compare with _since";
            self.problem(&format!("{path}.meta.lastUpdated"), message);
        }
        let id = json.get("id").and_then(Json::as_str).map(|id| id.replace(' ', ""));
        let suffix = id.as_deref().and_then(|id| id.strip_prefix("{{id}}"));
        let legal =
            |suffix: &&str| suffix.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
        match suffix.filter(legal).filter(|suffix| suffix.len() < 32) {
            Some(suffix) => Some(suffix.to_owned()),
            None => {
                self.problem(
                    &format!("{path}.id"),
                    "must be \"{{id}}\", or with a suffix of letters, digits, - and .",
                );
                None
            }
        }
    }

    /// The node, and whether it has placeholders or conditions; none if it is never there.
    fn node(&mut self, json: &Json, path: &str, depth: usize) -> Option<(Node, bool)> {
        match json {
            Json::String(text) => self.string(text, path),
            Json::Object(members) => {
                let (object, live) = self.object(members, path, depth + 1)?;
                Some((if live { Node::Object(object) } else { Node::Constant(object.to_line()) }, live))
            }
            Json::Array(elements) => self.array(elements, path, depth + 1),
            Json::Null => {
                self.problem(path, "null is no value in FHIR; leave the member out");
                None
            }
            constant => Some((Node::Constant(constant.to_line()), false)),
        }
    }

    fn string(&mut self, text: &str, path: &str) -> Option<(Node, bool)> {
        let mut parts = match placeholder::parts(text, |name| self.variables.get(name)) {
            Ok(parts) => parts,
            Err(message) => {
                self.problem(path, message);
                return None;
            }
        };
        for part in &parts {
            if let Part::Placeholder(placeholder) = part {
                self.table(placeholder, parts.len() > 1, path);
            }
        }
        match parts.as_mut_slice() {
            [] => {
                self.problem(path, "an empty string is no value in FHIR; leave the member out");
                None
            }
            [Part::Literal(text)] => {
                Some((Node::Constant(Json::String(std::mem::take(text)).to_line()), false))
            }
            [Part::Placeholder(placeholder)] => Some((Node::Value(placeholder.clone()), true)),
            _ => Some((Node::Text(parts), true)),
        }
    }

    /// Checks the code table of a placeholder.
    fn table(&mut self, placeholder: &Placeholder, inside: bool, path: &str) {
        let Some(Filter::Code(name)) = &placeholder.filter else { return };
        match self.codes.get(name) {
            None => {
                let known: Vec<&str> = self.codes.names().collect();
                self.problem(
                    path,
                    format!("there is no code table \"{name}\"; this file has: {}", known.join(", ")),
                );
            }
            Some(table) if inside && !table.is_text() => {
                self.problem(path, format!("the table \"{name}\" does not hold strings only, so it cannot be part of a longer string"));
            }
            Some(_) => {}
        }
    }

    fn array(&mut self, elements: &[Json], path: &str, depth: usize) -> Option<(Node, bool)> {
        self.check_depth(path, depth);
        if elements.is_empty() {
            self.problem(path, "an empty array is no value in FHIR; leave the member out");
        }
        let mut nodes = Vec::new();
        let mut any_live = false;
        for (i, element) in elements.iter().enumerate() {
            let path = format!("{path}[{i}]");
            if let Some((it, live)) = self.node(element, &path, depth) {
                any_live |= live;
                nodes.push(At { path, it });
            }
        }
        if nodes.is_empty() {
            return None;
        }
        if any_live {
            return Some((Node::Array(nodes), true));
        }
        let lines: Vec<&str> = nodes.iter().filter_map(|node| node.it.as_constant()).collect();
        Some((Node::Constant(format!("[{}]", lines.join(","))), false))
    }

    /// The object, and whether it has placeholders or conditions; none if it is never there.
    fn object(&mut self, members: &[(String, Json)], path: &str, depth: usize) -> Option<(Object, bool)> {
        self.check_depth(path, depth);
        let when = match members.iter().find(|(name, _)| name == "$when") {
            None => Some(None),
            Some((_, condition)) => self.condition(condition, &format!("{path}.$when")),
        };
        let mut nodes = Vec::new();
        let mut live = matches!(when, Some(Some(_)));
        let mut size = 0;
        for (name, value) in members.iter().filter(|(name, _)| name != "$when") {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            size += 1;
            if name.starts_with('$') || name.contains("{{") || name.is_empty() {
                self.problem(&path, "is no name of an element; \"$when\" is the only word with a $");
            }
            if let Some((it, is_live)) = self.node(value, &path, depth) {
                live |= is_live;
                nodes.push((name.clone(), At { path, it }));
            }
        }
        if size == 0 {
            self.problem(path, "an object without members is no value in FHIR; leave it out");
        }
        let when = when?;
        (!nodes.is_empty()).then_some((Object { when, members: nodes }, live))
    }

    /// The condition: `Some(None)` if it is always true, `None` if it never is.
    #[expect(clippy::option_option, reason = "never there, always there, or under a condition")]
    fn condition(&mut self, json: &Json, path: &str) -> Option<Option<At<condition::Condition>>> {
        let Some(text) = json.as_str() else {
            self.problem(path, "a condition is a string");
            return Some(None);
        };
        match condition::parse(text, |name| self.variables.get(name)) {
            Ok(Folded::Always) => Some(None),
            Ok(Folded::Never) => None,
            Ok(Folded::When(it)) => Some(Some(At { path: path.to_owned(), it })),
            Err(message) => {
                self.problem(path, message);
                Some(None)
            }
        }
    }

    fn check_depth(&mut self, path: &str, depth: usize) {
        if depth == DEEPEST {
            self.problem(path, format!("objects and arrays are nested deeper than {DEEPEST}"));
        }
    }
}

impl Object {
    /// An object of constants on one line. It is put together from its members, in which variables were put in.
    fn to_line(&self) -> String {
        let member = |(name, at): &(String, At<Node>)| {
            Some(format!("{}:{}", Json::String(name.clone()).to_line(), at.it.as_constant()?))
        };
        let members: Vec<String> = self.members.iter().filter_map(member).collect();
        format!("{{{}}}", members.join(","))
    }
}

impl Node {
    fn as_constant(&self) -> Option<&str> {
        match self {
            Node::Constant(line) => Some(line),
            _ => None,
        }
    }
}
