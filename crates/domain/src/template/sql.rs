//! The SQL form of a template: an expression of type `jsonb` that makes the same resource, null where the row
//! gives none. Column names match `[a-z_][a-z0-9_]*` and are quoted; all else is constants of the template.

use std::fmt::Write as _;

use super::codes::CodeTable;
use super::column::{Column, ColumnType};
use super::condition::{Check, Condition, Value};
use super::placeholder::{Filter, Form, Part, Placeholder};
use super::{Node, Object, Template};

/// PostgreSQL takes at most 100 arguments, two for each member.
const MEMBERS_PER_CALL: usize = 48;

impl Template {
    /// The expression, over a relation with these columns under the alias `r`. The columns must be those of
    /// which a [`Program`](super::Program) could be made.
    #[must_use]
    pub fn sql(&self, columns: &[Column]) -> String {
        let sql = Sql { template: self, columns };
        match &self.root {
            None => "NULL::jsonb".to_owned(),
            Some(root) => {
                let object = format!("jsonb_strip_nulls({})", sql.build(root));
                match &root.when {
                    Some(when) => format!("CASE WHEN {} THEN {object} END", sql.condition(&when.it)),
                    None => object,
                }
            }
        }
    }

    /// The condition under which a row gives the resource, for a relation under the alias `r`; none: always.
    #[must_use]
    pub fn sql_condition(&self, columns: &[Column]) -> Option<String> {
        let sql = Sql { template: self, columns };
        match &self.root {
            None => Some("false".to_owned()),
            Some(root) => root.when.as_ref().map(|when| sql.condition(&when.it)),
        }
    }
}

impl Template {
    /// The value of a column, for a relation under the alias `r`: null where it counts as null, texts without
    /// blanks at their ends and what FHIR forbids.
    #[must_use]
    pub fn column_sql(&self, name: &str, columns: &[Column]) -> String {
        Sql { template: self, columns }.column(name)
    }
}

struct Sql<'a> {
    template: &'a Template,
    columns: &'a [Column],
}

impl Sql<'_> {
    /// The value of a node; null if it disappears.
    fn value(&self, node: &Node) -> String {
        match node {
            Node::Constant(line) => format!("{}::jsonb", literal(line)),
            Node::Value(placeholder) => self.placeholder(placeholder, false),
            Node::Text(parts) => self.text(parts),
            Node::Object(object) => {
                format!("CASE WHEN {} THEN {} END", self.there(node), self.build(object))
            }
            Node::Array(elements) => {
                let one = |node: &Node| match node {
                    Node::Constant(_) => format!("jsonb_build_array({})", self.value(node)),
                    _ => format!(
                        "CASE WHEN {} THEN jsonb_build_array({}) ELSE '[]'::jsonb END",
                        self.there(node),
                        self.value(node)
                    ),
                };
                let all: Vec<String> = elements.iter().map(|element| one(&element.it)).collect();
                format!("nullif({}, '[]'::jsonb)", all.join(" || "))
            }
        }
    }

    /// The object with its members, whether or not it disappears. Null members go at the root, all at once.
    fn build(&self, object: &Object) -> String {
        let member =
            |(name, at): &(String, super::At<Node>)| format!("{}, {}", literal(name), self.value(&at.it));
        let members: Vec<String> = object.members.iter().map(member).collect();
        let call = |members: &[String]| format!("jsonb_build_object({})", members.join(", "));
        members.chunks(MEMBERS_PER_CALL).map(call).collect::<Vec<_>>().join(" || ")
    }

    /// Whether a placeholder in the node gives a value, or a condition in it is true: what keeps the objects
    /// around it.
    fn live(&self, node: &Node) -> String {
        match node {
            Node::Constant(_) => "false".to_owned(),
            Node::Array(elements) => any(elements.iter().map(|element| self.live(&element.it))),
            _ => self.there(node),
        }
    }

    /// Whether the node is there.
    fn there(&self, node: &Node) -> String {
        match node {
            Node::Constant(_) => "true".to_owned(),
            Node::Value(placeholder) => self.filled(placeholder),
            Node::Text(parts) => {
                let filled = parts.iter().filter_map(|part| match part {
                    Part::Placeholder(placeholder) => Some(self.filled(placeholder)),
                    Part::Literal(_) => None,
                });
                format!("({})", filled.collect::<Vec<_>>().join(" AND "))
            }
            Node::Array(elements) => any(elements.iter().map(|element| self.there(&element.it))),
            Node::Object(Object { when: None, members }) => {
                any(members.iter().map(|(_, at)| self.live(&at.it)))
            }
            Node::Object(Object { when: Some(when), members }) => {
                let content = any(members.iter().map(|(_, at)| self.there(&at.it)));
                format!("({} AND {content})", self.condition(&when.it))
            }
        }
    }

    fn text(&self, parts: &[Part]) -> String {
        let part = |part: &Part| match part {
            Part::Literal(text) => literal(text),
            Part::Placeholder(placeholder) => self.placeholder(placeholder, true),
        };
        parts.iter().map(part).collect::<Vec<_>>().join(" || ")
    }

    /// The value of a placeholder; `inside` a longer string it is text.
    fn placeholder(&self, placeholder: &Placeholder, inside: bool) -> String {
        let Some(column_type) = self.column_type(&placeholder.column) else { return "NULL".to_owned() };
        let value = self.column(&placeholder.column);
        let form = placeholder.form(column_type, inside).unwrap_or(Form::Text);
        match (form, &placeholder.filter) {
            (Form::Code, Some(Filter::Code(name))) => match self.template.codes.get(name) {
                Some(table) => code(table, &value, inside),
                None => "NULL".to_owned(),
            },
            (Form::Escaped, _) => {
                let escapes =
                    [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\"", "&quot;"), ("'", "&#39;")];
                let escape = |value: String, (from, to): (&str, &str)| {
                    format!("replace({value}, {}, {})", literal(from), literal(to))
                };
                escapes.into_iter().fold(value, escape)
            }
            (Form::Instant, _) => timestamp(&value, ".MS"),
            (Form::DateTime, _) => timestamp(&value, ""),
            (Form::Date, _) => format!("to_char({value}, 'YYYY-MM-DD')"),
            (Form::Base64, _) => format!("translate(encode({value}, 'base64'), E'\\n', '')"),
            (Form::Text, _) if column_type != ColumnType::Text => format!("({value})::text"),
            _ => value,
        }
    }

    /// Whether a placeholder gives a value. Cheaper than to make the value: it is asked for every object around.
    fn filled(&self, placeholder: &Placeholder) -> String {
        if let Some(Filter::Code(name)) = &placeholder.filter
            && self.template.codes.get(name).is_none_or(CodeTable::leaves_out)
        {
            return format!("({}) IS NOT NULL", self.placeholder(placeholder, false));
        }
        self.is_there(&placeholder.column)
    }

    /// Whether a column has a value: not null, nor what counts as null.
    fn is_there(&self, name: &str) -> String {
        match self.column_type(name) {
            Some(ColumnType::Text) => format!("coalesce(btrim(r.\"{name}\"::text, {BLANKS}) <> '', false)"),
            // Not by way of jsonb, which refuses what json may hold: an escaped NUL.
            Some(ColumnType::Json) => {
                format!("coalesce(r.\"{name}\"::text COLLATE \"C\" !~ {NO_CONTENT}, false)")
            }
            _ => format!("({}) IS NOT NULL", self.column(name)),
        }
    }

    fn column_type(&self, name: &str) -> Option<ColumnType> {
        self.columns.iter().find(|column| column.name == name).map(|column| column.column_type)
    }

    /// The value of a column, null where it counts as null.
    fn column(&self, name: &str) -> String {
        let column = format!("r.\"{name}\"");
        match self.column_type(name) {
            Some(ColumnType::Text) => {
                format!("nullif(btrim(translate({column}::text, {FORBIDDEN}, ''), E' \\t\\n\\r'), '')")
            }
            Some(ColumnType::Numeric) => {
                format!("CASE WHEN {column} - {column} = 0 THEN {column} END")
            }
            Some(ColumnType::Date) => {
                format!("CASE WHEN {column} BETWEEN '0001-01-01' AND '9999-12-31' THEN {column} END")
            }
            Some(ColumnType::Timestamptz) => format!(
                "CASE WHEN {column} >= '0001-01-01T00:00:00Z' AND {column} < '10000-01-01T00:00:00Z' THEN {column} END"
            ),
            Some(ColumnType::Bytea) => format!("nullif({column}, '')"),
            Some(ColumnType::Json | ColumnType::Jsonb) => format!(
                "CASE WHEN {column}::jsonb NOT IN ('null', '[]', '{{}}', '\"\"') THEN {column}::jsonb END"
            ),
            _ => column,
        }
    }

    /// A condition that is true or not true.
    fn condition(&self, condition: &Condition) -> String {
        let test = |test: &super::condition::Test| {
            // Texts are compared byte by byte, as the program does, whatever the column's collation.
            let is_text = self.column_type(&test.column) == Some(ColumnType::Text);
            let collation = if is_text { " COLLATE \"C\"" } else { "" };
            let column = format!("({}){collation}", self.column(&test.column));
            match &test.check {
                Check::IsNull => format!("NOT ({})", self.is_there(&test.column)),
                Check::IsNotNull => self.is_there(&test.column),
                Check::In(values) => format!("coalesce({column} IN ({}), false)", list(values)),
                Check::NotIn(values) => format!("coalesce({column} NOT IN ({}), false)", list(values)),
            }
        };
        let line =
            |line: &Vec<super::condition::Test>| line.iter().map(test).collect::<Vec<_>>().join(" AND ");
        any(condition.any.iter().map(line))
    }
}

/// What a table makes of a value. In a longer string it is text.
fn code(table: &CodeTable, value: &str, inside: bool) -> String {
    let code = |line: &Option<String>| match line {
        None => "NULL".to_owned(),
        Some(line) if inside => {
            let text: Option<String> = serde_json::from_str(line).ok();
            literal(&text.unwrap_or_default())
        }
        Some(line) => format!("{}::jsonb", literal(line)),
    };
    let mut cases = String::new();
    for (from, to) in &table.entries {
        // Writing to a String cannot fail.
        let _infallible = write!(cases, " WHEN {} THEN {}", literal(from), code(to));
    }
    let other = code(&table.other);
    if cases.is_empty() {
        return format!("CASE WHEN ({value}) IS NOT NULL THEN {other} END");
    }
    format!("CASE WHEN ({value}) IS NOT NULL THEN CASE ({value})::text{cases} ELSE {other} END END")
}

fn timestamp(value: &str, fraction: &str) -> String {
    format!("to_char(({value}) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS{fraction}\"Z\"')")
}

/// Control characters that FHIR forbids in strings.
const FORBIDDEN: &str = "E'\\x01\\x02\\x03\\x04\\x05\\x06\\x07\\x08\\x0b\\x0c\\x0e\\x0f\\x10\\x11\\x12\\x13\\x14\\x15\\x16\\x17\\x18\\x19\\x1a\\x1b\\x1c\\x1d\\x1e\\x1f'";

/// The same and all that counts as blank: a text of these alone counts as null.
const BLANKS: &str = "E'\\x01\\x02\\x03\\x04\\x05\\x06\\x07\\x08\\x09\\x0a\\x0b\\x0c\\x0d\\x0e\\x0f\\x10\\x11\\x12\\x13\\x14\\x15\\x16\\x17\\x18\\x19\\x1a\\x1b\\x1c\\x1d\\x1e\\x1f '";

/// JSON without content.
const NO_CONTENT: &str = r#"E'^[ \t\n\r]*(null|""|\\[[ \t\n\r]*\\]|\\{[ \t\n\r]*\\})[ \t\n\r]*$'"#;

/// One of these; none: false.
fn any(conditions: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = conditions.filter(|condition| condition != "false").collect();
    all.dedup();
    match all.len() {
        0 => "false".to_owned(),
        1 => all.remove(0),
        _ if all.iter().any(|condition| condition == "true") => "true".to_owned(),
        _ => format!("({})", all.join(" OR ")),
    }
}

fn list(values: &[Value]) -> String {
    let one = |value: &Value| match value {
        Value::Text(text) => literal(text),
        Value::Number(number) => number.clone(),
        Value::Boolean(value) => value.to_string(),
    };
    values.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A text as SQL literal, whatever `standard_conforming_strings` says.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
