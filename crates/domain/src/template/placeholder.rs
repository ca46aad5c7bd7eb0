//! Placeholders: `{{column}}`, `{{column | filter}}`, `{{$us_core}}`, `{{$base_url}}`.

use super::column::{ColumnType, is_name};

/// What stands in a string of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// As it is.
    Literal(String),
    /// To be filled in.
    Placeholder(Placeholder),
}

/// A column whose value is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placeholder {
    pub column: String,
    pub filter: Option<Filter>,
}

/// What becomes of the column's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    String,
    Instant,
    Escape,
    /// Looked up in the table of this name.
    Code(String),
}

/// How the value of a column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Text, a uuid, or anything that a filter makes a string of.
    Text,
    /// A number or a boolean.
    Bare,
    Date,
    DateTime,
    Instant,
    Base64,
    /// JSON as it is.
    Json,
    /// Text with `& < > " '` escaped for XHTML.
    Escaped,
    /// Looked up.
    Code,
}

impl Placeholder {
    /// How it is written for a column of this type. `inside` a longer string everything is text.
    pub fn form(&self, column: ColumnType, inside: bool) -> Result<Form, String> {
        let name = column.name();
        let document = matches!(column, ColumnType::Json | ColumnType::Jsonb | ColumnType::Bytea);
        let form = match (&self.filter, column) {
            (Some(Filter::Code(_)), t) if is_key(t) => Form::Code,
            (Some(Filter::Code(_)), _) => {
                return Err(format!("a code table needs text, a boolean or an integer, not {name}"));
            }
            (Some(Filter::Escape), ColumnType::Text) => Form::Escaped,
            (Some(Filter::Escape), _) => return Err(format!("escape needs text, not {name}")),
            (Some(Filter::Instant), ColumnType::Timestamptz) => Form::Instant,
            (Some(Filter::Instant), _) => return Err(format!("instant needs timestamptz, not {name}")),
            (Some(Filter::String), _) if document => {
                return Err(format!("string cannot be used for {name}"));
            }
            (_, ColumnType::Date) => Form::Date,
            (_, ColumnType::Timestamptz) => Form::DateTime,
            (_, ColumnType::Bytea) => Form::Base64,
            (_, ColumnType::Json | ColumnType::Jsonb) => Form::Json,
            (_, ColumnType::Text | ColumnType::Uuid) | (Some(Filter::String), _) => Form::Text,
            (None, _) => Form::Bare,
        };
        match form {
            Form::Json | Form::Base64 if inside => Err(format!("{name} cannot be part of a longer string")),
            Form::Bare if inside => Ok(Form::Text),
            form => Ok(form),
        }
    }
}

/// Whether values of this type can be looked up in a code table.
fn is_key(column: ColumnType) -> bool {
    matches!(column, ColumnType::Text | ColumnType::Boolean) || column.is_integer()
}

/// Splits a string at its placeholders; `variable` gives the value of `$name`.
pub(super) fn parts<'v>(
    text: &str,
    variable: impl Fn(&str) -> Result<&'v str, String>,
) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        push_literal(&mut parts, &rest[..start]);
        let inner = &rest[start + 2..];
        let end = inner.find("}}").ok_or("a {{ is not closed by }}")?;
        match placeholder(&inner[..end], &variable)? {
            Part::Literal(value) => push_literal(&mut parts, &value),
            filled => parts.push(filled),
        }
        rest = &inner[end + 2..];
    }
    if rest.contains("}}") {
        return Err("a }} has no {{ before it".to_owned());
    }
    push_literal(&mut parts, rest);
    Ok(parts)
}

fn push_literal(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Part::Literal(before)) => before.push_str(text),
        _ => parts.push(Part::Literal(text.to_owned())),
    }
}

/// What stands between `{{` and `}}`.
fn placeholder<'v>(text: &str, variable: impl Fn(&str) -> Result<&'v str, String>) -> Result<Part, String> {
    let (name, filter) = match text.split_once('|') {
        Some((name, filter)) => (name.trim(), Some(filter.trim())),
        None => (text.trim(), None),
    };
    if let Some(name) = name.strip_prefix('$') {
        let value = variable(name)?;
        return match filter {
            None => Ok(Part::Literal(value.to_owned())),
            Some(_) => Err(format!("${name} takes no filter")),
        };
    }
    if !is_name(name) {
        return Err(format!("\"{name}\" is no column name: [a-z_][a-z0-9_]*"));
    }
    let filter = filter.map(parse_filter).transpose()?;
    Ok(Part::Placeholder(Placeholder { column: name.to_owned(), filter }))
}

fn parse_filter(text: &str) -> Result<Filter, String> {
    match text.split_once(':') {
        None if text == "string" => Ok(Filter::String),
        None if text == "instant" => Ok(Filter::Instant),
        None if text == "escape" => Ok(Filter::Escape),
        Some((name, table)) if name.trim() == "code" => Ok(Filter::Code(table.trim().to_owned())),
        _ => Err(format!("there is no filter \"{text}\": string, instant, escape or code: table")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Part>, String> {
        parts(text, |name| if name == "us_core" { Ok("6.1.0") } else { Err(format!("no ${name}")) })
    }

    fn column(name: &str, filter: Option<Filter>) -> Part {
        Part::Placeholder(Placeholder { column: name.to_owned(), filter })
    }

    #[test]
    fn a_string_is_split_at_its_placeholders() {
        assert_eq!(parsed("plain").unwrap(), [Part::Literal("plain".into())]);
        assert_eq!(parsed("{{ a }}").unwrap(), [column("a", None)]);
        let code = Some(Filter::Code("t".into()));
        assert_eq!(
            parsed("x{{a|string}}{{b | code : t}}y").unwrap(),
            [
                Part::Literal("x".into()),
                column("a", Some(Filter::String)),
                column("b", code),
                Part::Literal("y".into())
            ]
        );
        assert_eq!(parsed("p|{{$us_core}}!").unwrap(), [Part::Literal("p|6.1.0!".into())]);
    }

    #[test]
    fn what_is_no_placeholder_is_refused() {
        for wrong in
            ["{{a", "a}}", "{{}}", "{{A}}", "{{a b}}", "{{a | upper}}", "{{$other}}", "{{$us_core | string}}"]
        {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_filter_must_fit_its_column() {
        let filtered = |filter| Placeholder { column: "c".into(), filter };
        assert_eq!(filtered(None).form(ColumnType::Numeric, false), Ok(Form::Bare));
        assert_eq!(filtered(None).form(ColumnType::Numeric, true), Ok(Form::Text));
        assert_eq!(filtered(Some(Filter::String)).form(ColumnType::Bigint, false), Ok(Form::Text));
        assert_eq!(filtered(Some(Filter::String)).form(ColumnType::Date, false), Ok(Form::Date));
        assert!(filtered(Some(Filter::Instant)).form(ColumnType::Date, false).is_err());
        assert!(filtered(Some(Filter::Escape)).form(ColumnType::Uuid, false).is_err());
        assert!(filtered(Some(Filter::Code("t".into()))).form(ColumnType::Numeric, false).is_err());
        assert!(filtered(None).form(ColumnType::Jsonb, true).is_err());
        assert!(filtered(Some(Filter::String)).form(ColumnType::Bytea, false).is_err());
    }
}
