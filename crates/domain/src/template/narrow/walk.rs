//! The walk over a template.

use serde_json::{Value as Json, json};

use super::super::column::{Column, ColumnType};
use super::super::placeholder::{Filter, Form, Part, Placeholder};
use super::super::{Node, Object, Template};
use super::columns::{column, contains, is_one_of, needed, time};
use super::{ColumnTest, Narrow};
use crate::search::{self, Criterion, End, Need, Value};

pub(super) struct Walk<'a> {
    template: &'a Template,
    columns: &'a [Column],
}

impl<'a> Walk<'a> {
    pub(super) fn new(template: &'a Template, columns: &'a [Column]) -> Self {
        Self { template, columns }
    }

    /// What is needed for one of the criterion's values to be at one of its paths.
    pub(super) fn criterion(&self, root: &Object, criterion: &Criterion) -> Narrow {
        let paths = criterion.parameter.paths.iter();
        Narrow::any(paths.map(|path| self.below(root, path, &criterion.values)))
    }

    fn below(&self, object: &Object, path: &[&str], values: &[Value]) -> Narrow {
        let Some((name, rest)) = path.split_first() else { return Narrow::Always };
        Narrow::any(object.nodes(name).map(|node| self.at(node, rest, values)))
    }

    /// What is needed for one of the values to be at the path below the node.
    fn at(&self, node: &Node, path: &[&str], values: &[Value]) -> Narrow {
        match node {
            Node::Constant(line) => constant(line, |json| search::is_wanted(values, json, path)),
            Node::Value(placeholder) => self.value(placeholder, path, values),
            Node::Text(_) if !path.is_empty() => Narrow::Never,
            Node::Text(parts) => match texts(values) {
                Some(wanted) => self.text(parts, &wanted),
                None => Narrow::Always,
            },
            Node::Object(object) if path.is_empty() => {
                Narrow::any(values.iter().map(|value| self.element(object, value)))
            }
            Node::Object(object) => self.below(object, path, values),
            Node::Array(elements) => Narrow::any(elements.iter().map(|e| self.at(&e.it, path, values))),
        }
    }

    /// A placeholder that is the whole value.
    fn value(&self, placeholder: &Placeholder, path: &[&str], values: &[Value]) -> Narrow {
        let Some((column_type, form)) = self.form(placeholder, false) else { return Narrow::Always };
        match form {
            Form::Code => self.looked_up(placeholder, |json| search::is_wanted(values, json, path)),
            Form::Json => Narrow::Always,
            _ if !path.is_empty() => Narrow::Never,
            Form::Date | Form::DateTime | Form::Instant => {
                Narrow::any(values.iter().map(|value| match value {
                    Value::Date { prefix, from, to } => needed(search::needs(*prefix, *from, *to), |need| {
                        time(placeholder, column_type, *need, false)
                    }),
                    _ => Narrow::Always,
                }))
            }
            Form::Bare if column_type != ColumnType::Boolean => Narrow::Always,
            Form::Bare | Form::Text => match texts(values) {
                Some(wanted) => is_one_of(&placeholder.column, column_type, &wanted),
                None => Narrow::Always,
            },
            Form::Escaped | Form::Base64 => Narrow::Always,
        }
    }

    /// An object that is the element itself.
    fn element(&self, object: &Object, value: &Value) -> Narrow {
        match value {
            Value::Id(_) => Narrow::Never,
            Value::Token { system, code } => {
                // The codings may all turn out to be empty; then the object is looked at itself.
                let codings = object.nodes("coding").map(|node| self.codings(node, value));
                let itself = self.coded(object, system.as_deref(), code.as_deref());
                Narrow::any(codings.chain([itself]))
            }
            Value::Reference { resource_type, id } => {
                let each = object.nodes("reference");
                Narrow::any(each.map(|node| self.reference(node, resource_type.as_deref(), id)))
            }
            Value::Date { prefix, from, to } => {
                if object.nodes("event").chain(object.nodes("repeat")).next().is_some() {
                    return Narrow::Always;
                }
                needed(search::needs(*prefix, *from, *to), |need| self.bound(object, *need))
            }
        }
    }

    /// The codings of a CodeableConcept.
    fn codings(&self, node: &Node, value: &Value) -> Narrow {
        let Value::Token { system, code } = value else { return Narrow::Always };
        let wanted = |concept: &Json| search::is_wanted(std::slice::from_ref(value), concept, &[]);
        match node {
            Node::Constant(line) => constant(line, |codings| wanted(&json!({ "coding": codings }))),
            Node::Value(all) => self.found(all, |codings| wanted(&json!({ "coding": codings }))),
            Node::Array(elements) => Narrow::any(elements.iter().map(|element| match &element.it {
                Node::Constant(line) => constant(line, |coding| wanted(&json!({ "coding": [coding] }))),
                Node::Value(one) => self.found(one, |coding| wanted(&json!({ "coding": [coding] }))),
                Node::Object(coding) => self.coded(coding, system.as_deref(), code.as_deref()),
                Node::Text(_) | Node::Array(_) => Narrow::Never,
            })),
            Node::Object(_) | Node::Text(_) => Narrow::Never,
        }
    }

    /// A Coding or an Identifier.
    fn coded(&self, object: &Object, system: Option<&str>, code: Option<&str>) -> Narrow {
        let system = match system {
            // That a system is absent is left to the finished resource.
            None | Some("") => Narrow::Always,
            Some(system) => Narrow::any(object.nodes("system").map(|node| self.is_text(node, &[system]))),
        };
        let code = match code {
            None => Narrow::Always,
            Some(code) => {
                let nodes = object.nodes("code").chain(object.nodes("value"));
                Narrow::any(nodes.map(|node| self.is_text(node, &[code])))
            }
        };
        Narrow::all([system, code])
    }

    /// The text of a Reference. What it names is found by the matcher's own rules; the `type` beside it is not
    /// looked at.
    fn reference(&self, node: &Node, resource_type: Option<&str>, id: &str) -> Narrow {
        let leads_to = |resource_type: Option<&str>, reference: &Json| {
            let resource_type = resource_type.map(str::to_owned);
            let value = Value::Reference { resource_type, id: id.to_owned() };
            search::is_wanted(&[value], &json!({ "reference": reference }), &[])
        };
        match node {
            Node::Constant(line) => constant(line, |text| leads_to(None, text)),
            Node::Value(placeholder) => match self.form(placeholder, false) {
                Some((ColumnType::Text, Form::Text)) => contains(placeholder, id),
                Some((column_type, Form::Text)) => is_one_of(&placeholder.column, column_type, &[id]),
                _ => self.found(placeholder, |text| leads_to(None, text)),
            },
            Node::Text(parts) => {
                let Some((prefix, placeholder, suffix)) = around(parts) else { return Narrow::Always };
                let relative = prefix.strip_suffix('/').filter(|t| is_type(t) && !suffix.contains('/'));
                let Some(its_type) = relative else { return Narrow::Always };
                let same_type = resource_type.is_none_or(|wanted| wanted == its_type);
                let id = id.strip_suffix(suffix).filter(|_| same_type);
                match self.form(placeholder, true) {
                    // With a slash in it the value says more than an id: a version, or who knows what.
                    Some((ColumnType::Text, Form::Text)) => Narrow::any([
                        id.map_or(Narrow::Never, |id| {
                            is_one_of(&placeholder.column, ColumnType::Text, &[id])
                        }),
                        contains(placeholder, "/"),
                    ]),
                    Some((column_type, Form::Text)) => {
                        id.map_or(Narrow::Never, |id| is_one_of(&placeholder.column, column_type, &[id]))
                    }
                    Some((_, Form::Code)) => self.looked_up(placeholder, |text| {
                        let text = format!("{prefix}{}{suffix}", text.as_str().unwrap_or_default());
                        leads_to(None, &Json::String(text))
                    }),
                    _ => Narrow::Always,
                }
            }
            Node::Object(_) | Node::Array(_) => Narrow::Never,
        }
    }

    /// One end of a Period.
    fn bound(&self, period: &Object, need: Need) -> Narrow {
        let name = match need.end {
            End::Start => "start",
            End::Stop => "end",
        };
        let each = period.nodes(name).map(|node| match node {
            Node::Value(placeholder) => match self.form(placeholder, false) {
                Some((column_type, Form::Date | Form::DateTime | Form::Instant)) => {
                    time(placeholder, column_type, need, need.or_missing)
                }
                _ => Narrow::Always,
            },
            _ => Narrow::Always,
        });
        let missing = period.nodes(name).next().is_none() && need.or_missing;
        Narrow::any(each.chain(missing.then_some(Narrow::Always)))
    }

    /// A member that must be one of these texts.
    fn is_text(&self, node: &Node, wanted: &[&str]) -> Narrow {
        match node {
            Node::Constant(line) => constant(line, |json| json.as_str().is_some_and(|t| wanted.contains(&t))),
            Node::Value(placeholder) => self.filled(placeholder, wanted, false),
            Node::Text(parts) => self.text(parts, wanted),
            Node::Object(_) | Node::Array(_) => Narrow::Never,
        }
    }

    /// A string with placeholders in it that must be one of these.
    fn text(&self, parts: &[Part], wanted: &[&str]) -> Narrow {
        if let Some((prefix, placeholder, suffix)) = around(parts) {
            let inner = |text: &&'_ str| text.strip_prefix(prefix)?.strip_suffix(suffix).map(str::to_owned);
            let inner: Vec<String> = wanted.iter().filter_map(inner).collect();
            let inner: Vec<&str> = inner.iter().map(String::as_str).collect();
            return self.filled(placeholder, &inner, true);
        }
        let literal = |part: Option<&Part>| match part {
            Some(Part::Literal(text)) => text.clone(),
            _ => String::new(),
        };
        let (prefix, suffix) = (literal(parts.first()), literal(parts.last()));
        let fits = |text: &&str| text.starts_with(&prefix) && text.ends_with(&suffix);
        if wanted.iter().any(fits) { Narrow::Always } else { Narrow::Never }
    }

    /// A placeholder, `inside` a longer string or not, that must give one of these texts.
    fn filled(&self, placeholder: &Placeholder, wanted: &[&str], inside: bool) -> Narrow {
        match self.form(placeholder, inside) {
            Some((_, Form::Code)) => {
                self.looked_up(placeholder, |json| json.as_str().is_some_and(|text| wanted.contains(&text)))
            }
            Some((column_type, Form::Text)) => is_one_of(&placeholder.column, column_type, wanted),
            Some((_, Form::Bare)) => Narrow::Never,
            _ => Narrow::Always,
        }
    }

    /// A placeholder that can be more than a text: a code table that holds what is wanted, or JSON.
    fn found(&self, placeholder: &Placeholder, wanted: impl Fn(&Json) -> bool) -> Narrow {
        match self.form(placeholder, false) {
            Some((_, Form::Code)) => self.looked_up(placeholder, wanted),
            Some((_, Form::Text)) => Narrow::Never,
            _ => Narrow::Always,
        }
    }

    /// The values of a column for which its code table gives what is wanted.
    fn looked_up(&self, placeholder: &Placeholder, wanted: impl Fn(&Json) -> bool) -> Narrow {
        let Some(Filter::Code(name)) = &placeholder.filter else { return Narrow::Always };
        let Some(table) = self.template.codes.get(name) else { return Narrow::Always };
        let Some((column_type, _)) = self.form(placeholder, false) else { return Narrow::Always };
        let gives = |code: &Option<String>| {
            code.as_ref().is_some_and(|line| constant(line, &wanted) != Narrow::Never)
        };
        let others = gives(&table.other);
        let listed = table.entries.iter().filter(|(_, code)| gives(code) != others);
        let listed: Vec<&str> = listed.map(|(value, _)| value.as_str()).collect();
        if others {
            let values = listed.into_iter().map(str::to_owned).collect();
            return column(&placeholder.column, column_type, ColumnTest::NotIn(values));
        }
        is_one_of(&placeholder.column, column_type, &listed)
    }

    /// Type of the column and how it is written.
    fn form(&self, placeholder: &Placeholder, inside: bool) -> Option<(ColumnType, Form)> {
        let column = self.columns.iter().find(|column| column.name == placeholder.column)?;
        Some((column.column_type, placeholder.form(column.column_type, inside).ok()?))
    }
}

impl Object {
    /// The members of this name.
    fn nodes<'o>(&'o self, name: &'o str) -> impl Iterator<Item = &'o Node> {
        self.members.iter().filter(move |(member, _)| member == name).map(|(_, at)| &at.it)
    }
}

/// A constant decides at once.
fn constant(line: &str, wanted: impl Fn(&Json) -> bool) -> Narrow {
    match serde_json::from_str(line) {
        Ok(json) if !wanted(&json) => Narrow::Never,
        _ => Narrow::Always,
    }
}

/// The strings that values are; none if one of them is a time, which can be written in many ways.
fn texts(values: &[Value]) -> Option<Vec<&str>> {
    let mut texts = Vec::new();
    for value in values {
        match value {
            Value::Id(id) => texts.push(id.as_str()),
            Value::Token { system: None, code: Some(code) } => texts.push(code.as_str()),
            Value::Token { .. } | Value::Reference { .. } => {}
            Value::Date { .. } => return None,
        }
    }
    Some(texts)
}

/// What stands before and after the only placeholder of a string.
fn around(parts: &[Part]) -> Option<(&str, &Placeholder, &str)> {
    match parts {
        [Part::Placeholder(it)] => Some(("", it, "")),
        [Part::Literal(before), Part::Placeholder(it)] => Some((before, it, "")),
        [Part::Placeholder(it), Part::Literal(after)] => Some(("", it, after)),
        [Part::Literal(before), Part::Placeholder(it), Part::Literal(after)] => Some((before, it, after)),
        _ => None,
    }
}

/// Whether a text is the type in a relative reference.
fn is_type(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase()) && text.bytes().all(|b| b.is_ascii_alphabetic())
}
