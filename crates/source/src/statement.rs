//! SQL text and its bound values, built side by side.

use sqlx::postgres::{PgArguments, Postgres};
use sqlx::{Arguments, AssertSqlSafe, Encode, SqlSafeStr, SqlStr, Type};

use crate::catalog::{PageKeyType, Relation};
use crate::identifier;
use crate::{Key, SourceError};

/// A statement under construction. Text comes from this crate's own literals, from quoted identifiers and
/// from placeholders; every value is bound.
#[derive(Default)]
pub(crate) struct Statement {
    sql: String,
    arguments: PgArguments,
}

impl Statement {
    pub(crate) fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), arguments: PgArguments::default() }
    }

    /// Appends text.
    pub(crate) fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    /// Puts text before what is there.
    pub(crate) fn prefix(mut self, sql: &str) -> Self {
        self.sql.insert_str(0, sql);
        self
    }

    /// Binds a value and returns its placeholder: `$3`.
    pub(crate) fn bind<'v, T>(&mut self, value: T) -> String
    where
        T: Encode<'v, Postgres> + Type<Postgres>,
    {
        self.arguments.add(value).expect("texts, numbers, times and arrays of them can be encoded");
        format!("${}", self.arguments.len())
    }

    /// The text and the values, for the driver. The text holds nothing but what this crate wrote.
    pub(crate) fn into_parts(self) -> (SqlStr, PgArguments) {
        (AssertSqlSafe(self.sql).into_sql_str(), self.arguments)
    }
}

/// How one relation is ordered and compared: the pieces of SQL text that all access paths share. The
/// relation is always aliased `r`.
pub(crate) struct Shape {
    table: String,
    page_key: Option<PageKeyType>,
}

impl Shape {
    pub(crate) fn new(schema: &str, relation: &Relation) -> Result<Self, SourceError> {
        let schema = identifier::quote(schema, "schema")?;
        let name = identifier::quote(&relation.name, "relation")?;
        Ok(Self { table: format!("{schema}.{name}"), page_key: relation.page_key })
    }

    /// `"schema"."relation" r`
    pub(crate) fn from(&self) -> String {
        format!("{} r", self.table)
    }

    /// The key's columns, named `k` (where there is a page key) and `i`.
    pub(crate) fn columns(&self) -> String {
        match self.page_key() {
            Some(page_key) => format!("{page_key} AS k, r.id COLLATE \"C\" AS i"),
            None => "r.id COLLATE \"C\" AS i".to_owned(),
        }
    }

    /// The order of the relation, by its own columns.
    pub(crate) fn order(&self) -> String {
        match self.page_key() {
            Some(page_key) => format!("{page_key}, r.id COLLATE \"C\""),
            None => "r.id COLLATE \"C\"".to_owned(),
        }
    }

    /// The same order, by the columns that [`Shape::columns`] named, in a query around it aliased `p`.
    pub(crate) fn outer_order(&self) -> &'static str {
        if self.page_key.is_some() { "p.k, p.i" } else { "p.i" }
    }

    /// The page key as text, in a query around [`Shape::columns`] aliased `p`.
    pub(crate) fn outer_page_key(&self) -> &'static str {
        if self.page_key.is_some() { "p.k::text" } else { "''::text" }
    }

    /// ` AND <key> > bound`. The first, redundant comparison is the one that the planner pushes down into a
    /// view's base table.
    pub(crate) fn after(&self, statement: &mut Statement, key: &Key) {
        self.compare(statement, key, ">");
    }

    /// ` AND <key> <= bound`.
    pub(crate) fn up_to(&self, statement: &mut Statement, key: &Key) {
        self.compare(statement, key, "<=");
    }

    fn compare(&self, statement: &mut Statement, key: &Key, operator: &str) {
        let Some(page_key) = self.page_key() else {
            let id = statement.bind(key.id.as_str());
            statement.push(&format!(" AND r.id COLLATE \"C\" {operator} {id}::text"));
            return;
        };
        let k = statement.bind(key.page_key.as_str());
        let k = format!("{k}::text::{}", self.page_key.map_or("text", PageKeyType::sql));
        let id = statement.bind(key.id.as_str());
        let weak = if operator == ">" { ">=" } else { "<=" };
        statement.push(&format!(
            " AND {page_key} {weak} {k} AND ({page_key}, r.id COLLATE \"C\") {operator} ({k}, {id}::text)"
        ));
    }

    /// Whether the leading column of a row's key is null. The index answers this.
    pub(crate) fn leading_key_is_null(&self) -> &'static str {
        if self.page_key.is_some() { "r.page_key IS NULL" } else { "r.id IS NULL" }
    }

    /// Whether a row cannot be paged to.
    pub(crate) fn key_is_null(&self) -> &'static str {
        if self.page_key.is_some() { "(r.page_key IS NULL OR r.id IS NULL)" } else { "r.id IS NULL" }
    }

    /// The page key's expression, or none.
    fn page_key(&self) -> Option<&'static str> {
        self.page_key.map(|t| if t.is_text() { "r.page_key COLLATE \"C\"" } else { "r.page_key" })
    }
}
