//! From the template to its program, for the columns of one relation.

use super::codes::CodeTable;
use super::column::Column;
use super::condition::{self, Condition};
use super::decimal;
use super::placeholder::{Filter, Form, Part, Placeholder};
use super::program::{Check, Operation, Program, Span, Table, Test, Value, Values};
use super::{At, Node, Object, Problem, Template};
use crate::mapping::Json;

impl Template {
    /// Compiles the template for a relation with these columns; the program asks for their values by place.
    ///
    /// # Errors
    /// Every placeholder and condition that does not fit the columns.
    pub fn program(&self, columns: &[Column]) -> Result<Program, Vec<Problem>> {
        let mut compiler = Compiler {
            template: self,
            columns,
            program: Program {
                operations: Vec::new(),
                pool: Vec::new(),
                tables: Vec::new(),
                conditions: Vec::new(),
                when: None,
                suffix: self.suffix.clone(),
            },
            table_names: Vec::new(),
            after_constant: usize::MAX,
            problems: Vec::new(),
        };
        if let Some(root) = &self.root {
            compiler.program.when = root.when.as_ref().map(|when| compiler.condition(when));
            compiler.members(root);
        }
        if compiler.problems.is_empty() { Ok(compiler.program) } else { Err(compiler.problems) }
    }
}

struct Compiler<'a> {
    template: &'a Template,
    columns: &'a [Column],
    program: Program,
    /// Names of the program's tables, in their order.
    table_names: Vec<&'a str>,
    /// How many operations there were when the last of them became a constant member or element.
    after_constant: usize,
    problems: Vec<Problem>,
}

impl<'a> Compiler<'a> {
    fn members(&mut self, object: &'a Object) {
        for (name, member) in &object.members {
            let before = format!(",{}:", Json::String(name.clone()).to_line());
            self.node(&member.it, &before, &member.path);
        }
    }

    fn node(&mut self, node: &'a Node, before: &str, path: &str) {
        match node {
            Node::Constant(line) => self.constant(&[before, line]),
            Node::Value(placeholder) => {
                let value = self.value(placeholder, false, path);
                let before = self.span(&[before]);
                self.program.operations.push(Operation::Value { before, value });
            }
            Node::Text(parts) => self.text(parts, before, path),
            Node::Object(object) => {
                let when = object.when.as_ref().map(|when| self.condition(when));
                let open = self.open(before, when);
                self.members(object);
                self.close(open, Operation::CloseObject);
            }
            Node::Array(elements) => {
                let open = self.open(before, None);
                for element in elements {
                    self.node(&element.it, ",", &element.path);
                }
                self.close(open, Operation::CloseArray);
            }
        }
    }

    fn open(&mut self, before: &str, when: Option<usize>) -> usize {
        let before = self.span(&[before]);
        let when = when.map(index);
        self.program.operations.push(Operation::Open { before, when, end: 0 });
        self.program.operations.len() - 1
    }

    fn close(&mut self, open: usize, close: Operation) {
        self.program.operations.push(close);
        let after = index(self.program.operations.len());
        if let Operation::Open { end, .. } = &mut self.program.operations[open] {
            *end = after;
        }
    }

    fn text(&mut self, parts: &[Part], before: &str, path: &str) {
        let before = self.span(&[before]);
        self.program.operations.push(Operation::Text { before, parts: index(parts.len()) });
        for part in parts {
            let operation = match part {
                Part::Literal(text) => {
                    let line = Json::String(text.clone()).to_line();
                    Operation::Put(self.span(&[&line[1..line.len() - 1]]))
                }
                Part::Placeholder(placeholder) => {
                    let value = self.value(placeholder, true, path);
                    Operation::Value { before: Span { start: 0, end: 0 }, value }
                }
            };
            self.program.operations.push(operation);
        }
    }

    /// A constant member or element; one that follows another is put with it.
    fn constant(&mut self, texts: &[&str]) {
        let span = self.span(texts);
        if self.after_constant == self.program.operations.len()
            && let Some(Operation::Put(before)) = self.program.operations.last_mut()
        {
            before.end = span.end;
            return;
        }
        self.program.operations.push(Operation::Put(span));
        self.after_constant = self.program.operations.len();
    }

    fn span(&mut self, texts: &[&str]) -> Span {
        let start = index(self.program.pool.len());
        for text in texts {
            self.program.pool.extend_from_slice(text.as_bytes());
        }
        Span { start, end: index(self.program.pool.len()) }
    }

    fn value(&mut self, placeholder: &Placeholder, inside: bool, path: &str) -> Value {
        let nothing = Value { column: 0, form: Form::Text, table: 0 };
        let Some((place, column)) = self.column(&placeholder.column, path) else { return nothing };
        match placeholder.form(column.column_type, inside) {
            Ok(form) => Value { column: index(place), form, table: self.table(placeholder) },
            Err(message) => {
                self.problem(path, format!("column {}: {message}", column.name));
                nothing
            }
        }
    }

    fn column(&mut self, name: &str, path: &str) -> Option<(usize, &'a Column)> {
        let columns = self.columns;
        let found = columns.iter().position(|column| column.name == name);
        if found.is_none() {
            self.problem(path, format!("the relation has no column {name}"));
        }
        found.map(|place| (place, &columns[place]))
    }

    /// The program's table for a placeholder, made when it is first needed.
    fn table(&mut self, placeholder: &Placeholder) -> u32 {
        let Some(Filter::Code(name)) = &placeholder.filter else { return 0 };
        if let Some(place) = self.table_names.iter().position(|known| known == name) {
            return index(place);
        }
        let template = self.template;
        let Some((name, table)) = template.codes.find(name) else { return 0 };
        let table = self.compile_table(name, table);
        self.table_names.push(name);
        self.program.tables.push(table);
        index(self.program.tables.len() - 1)
    }

    fn compile_table(&mut self, name: &str, table: &CodeTable) -> Table {
        let mut code = |code: &Option<String>| code.as_ref().map(|line| self.span(&[line]));
        Table {
            name: name.to_owned(),
            entries: table
                .entries
                .iter()
                .map(|(value, line)| (value.as_bytes().to_vec(), code(line)))
                .collect(),
            other: code(&table.other),
        }
    }

    fn condition(&mut self, condition: &At<Condition>) -> usize {
        let mut lines = Vec::new();
        for line in &condition.it.any {
            let tests = line.iter().filter_map(|test| self.test(test, &condition.path));
            lines.push(tests.collect());
        }
        self.program.conditions.push(lines);
        self.program.conditions.len() - 1
    }

    fn test(&mut self, test: &condition::Test, path: &str) -> Option<Test> {
        let (place, column) = self.column(&test.column, path)?;
        if let Err(message) = test.check_type(column.column_type) {
            self.problem(path, format!("column {}: {message}", column.name));
            return None;
        }
        let check = match &test.check {
            condition::Check::IsNull => Check::Null(true),
            condition::Check::IsNotNull => Check::Null(false),
            condition::Check::In(list) => Check::In { values: values(list, column), wanted: true },
            condition::Check::NotIn(list) => Check::In { values: values(list, column), wanted: false },
        };
        Some(Test { column: place, check })
    }

    fn problem(&mut self, path: &str, message: String) {
        self.problems.push(Problem { path: path.to_owned(), message });
    }
}

/// The values in the type of the column, which they fit.
fn values(list: &[condition::Value], column: &Column) -> Values {
    use condition::Value;
    match list.first() {
        Some(Value::Boolean(_)) => Values::Boolean(
            list.iter().filter_map(|v| if let Value::Boolean(b) = v { Some(*b) } else { None }).collect(),
        ),
        Some(Value::Number(_)) => {
            let numbers = list.iter().filter_map(|v| if let Value::Number(n) = v { Some(n) } else { None });
            if column.column_type.is_integer() {
                Values::Integer(numbers.filter_map(|n| n.parse().ok()).collect())
            } else {
                Values::Decimal(numbers.filter_map(|n| decimal::Literal::parse(n)).collect())
            }
        }
        _ => Values::Text(
            list.iter()
                .filter_map(|v| if let Value::Text(t) = v { Some(t.clone().into_bytes()) } else { None })
                .collect(),
        ),
    }
}

fn index(length: usize) -> u32 {
    u32::try_from(length).expect("a template is smaller than 4 GiB")
}
