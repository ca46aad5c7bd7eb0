//! Which relations a practice's schema offers, and of what types.
//!
//! A worker takes the catalogue and stores it (as JSON) in the control database; kick-off and the other
//! workers read it from there. What SQL text is later built from a stored catalogue is no wider than what is
//! found here: relation names pass [`identifier::quote`](crate::identifier::quote) and page-key types are a
//! closed list.

use std::collections::{BTreeMap, BTreeSet};

use headgate_domain::ResourceType;
use headgate_domain::mapping::{MappingSet, StreamMapping};
use headgate_domain::template::{Column, ColumnType, Problem, Program, Template};
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::statement::Statement;
use crate::transaction::ReadTransaction;
use crate::{Source, SourceError, attachments, identifier};

/// What a practice's schema offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// The schema.
    pub schema: String,
    /// The usable relations, in the order of [`ResourceType::ALL`]; those of one type in the order of its
    /// mapping file.
    pub relations: Vec<Relation>,
    /// Relations that are named like a resource type but cannot be read as one: their types are unsupported
    /// until somebody mends them.
    pub unusable: Vec<Unusable>,
    /// Whether there is a `tombstone` relation of the right shape.
    pub tombstone: bool,
    /// Whether there is a `group_member` relation of the right shape.
    pub group_member: bool,
    /// Which optional columns `group_member` has.
    #[serde(default)]
    pub group_columns: GroupColumns,
    /// Whether there is a relation `binary` of the right shape.
    #[serde(default)]
    pub binary: bool,
    /// Whether there is a function `horizon()`.
    pub horizon: bool,
}

/// The optional columns of `group_member`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupColumns {
    /// `member_group_id`: a group that is a member of the group.
    pub nested: bool,
    /// `inactive`: the row does not count.
    pub inactive: bool,
}

/// One readable relation of resources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    /// The type of its resources.
    pub resource_type: ResourceType,
    /// Its name in the schema.
    pub name: String,
    /// How its rows give resources.
    pub content: Content,
    /// The type of the column `page_key`; none where `id` is the key.
    pub page_key: Option<PageKeyType>,
    /// Whether the database itself keeps the leading key column free of nulls.
    pub key_not_null: bool,
    /// Whether bodies are certain to be well-formed JSON in UTF-8: `json` or `jsonb` in a database that is
    /// not `SQL_ASCII`.
    pub trusted: bool,
}

/// How the rows of a relation give resources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Each row has a finished resource in the column `resource`, which is of this type.
    Ready(BodyKind),
    /// Resources are made of plain columns.
    Mapped {
        /// By these templates. They travel with the relation, so that an export is read to its end by the
        /// mapping with which it was planned.
        mapping: StreamMapping,
        /// The columns that the templates use.
        columns: Vec<Column>,
    },
}

/// A relation that is there and cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unusable {
    /// Its name.
    pub relation: String,
    /// What is wrong: column names and types, in one line or several.
    pub problem: String,
}

/// The type of the column `resource`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyKind {
    /// `text` or `varchar`: anything may stand there.
    Text,
    /// `json`: well formed, white space as written.
    Json,
    /// `jsonb`: well formed, without line feeds, keys in an order of its own.
    Jsonb,
}

/// The types that a `page_key` may have: those with a btree order and one exact text form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants are PostgreSQL's own type names")]
pub enum PageKeyType {
    Smallint,
    Integer,
    Bigint,
    Numeric,
    Uuid,
    Text,
    Varchar,
    Date,
    Timestamp,
    Timestamptz,
}

impl PageKeyType {
    /// The type with this name, as `format_type` spells it without a modifier.
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "smallint" => Self::Smallint,
            "integer" => Self::Integer,
            "bigint" => Self::Bigint,
            "numeric" => Self::Numeric,
            "uuid" => Self::Uuid,
            "text" => Self::Text,
            "character varying" => Self::Varchar,
            "date" => Self::Date,
            "timestamp without time zone" => Self::Timestamp,
            "timestamp with time zone" => Self::Timestamptz,
            _ => return None,
        })
    }

    /// What a bound text is cast to.
    pub(crate) fn sql(self) -> &'static str {
        match self {
            Self::Smallint => "pg_catalog.int2",
            Self::Integer => "pg_catalog.int4",
            Self::Bigint => "pg_catalog.int8",
            Self::Numeric => "pg_catalog.numeric",
            Self::Uuid => "pg_catalog.uuid",
            Self::Text | Self::Varchar => "pg_catalog.text",
            Self::Date => "pg_catalog.date",
            Self::Timestamp => "pg_catalog.timestamp",
            Self::Timestamptz => "pg_catalog.timestamptz",
        }
    }

    /// Whether its order depends on a collation.
    pub(crate) fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Varchar)
    }
}

impl Relation {
    /// The programs of its templates; none where its resources are finished.
    ///
    /// # Errors
    /// [`SourceError::Mapping`] when the templates do not fit the columns: a catalogue that was not made by
    /// [`Source::catalog`].
    pub fn programs(&self) -> Result<Vec<Program>, SourceError> {
        match &self.content {
            Content::Ready(_) => Ok(Vec::new()),
            Content::Mapped { mapping, columns } => {
                mapping.programs(columns).map_err(|problems| self.mapping_error(&problems))
            }
        }
    }

    pub(crate) fn mapping_error(&self, problems: &[Problem]) -> SourceError {
        let problem = problems.first().map(ToString::to_string).unwrap_or_default();
        SourceError::Mapping { relation: self.name.clone(), problem }
    }

    /// The most resources that one of its rows can give.
    #[must_use]
    pub fn most_per_row(&self) -> u32 {
        match &self.content {
            Content::Ready(_) => 1,
            Content::Mapped { mapping, .. } => mapping.most_per_row().unwrap_or(1).max(1),
        }
    }
}

impl Catalog {
    /// The relations of a type; none if the practice does not have it.
    pub fn relations_of(&self, resource_type: ResourceType) -> impl Iterator<Item = &Relation> {
        self.relations.iter().filter(move |r| r.resource_type == resource_type)
    }

    /// Whether there are tombstones that cannot be read. Sources need not keep any.
    #[must_use]
    pub fn has_unusable_tombstones(&self) -> bool {
        self.unusable.iter().any(|unusable| unusable.relation == "tombstone")
    }
}

impl Source {
    /// Reads which relations there are and of what types. Touches the system catalogue only. The types of
    /// the mapping set are looked for as it says, all others as relations with a column `resource`.
    ///
    /// # Errors
    /// [`SourceError::NoSchema`] and [`SourceError::SchemaDenied`], and whatever stands in the way of a read
    /// transaction. A schema without any relation is not an error.
    pub async fn catalog(&self, mappings: Option<&MappingSet>) -> Result<Catalog, SourceError> {
        let mut tx = self.begin_unmarked(&[]).await?;
        let catalog = read(&mut tx, self.schema(), mappings).await?;
        tx.finish().await?;
        Ok(catalog)
    }
}

/// The columns of one relation.
type Columns = BTreeMap<String, Attribute>;

/// A column as the system catalogue describes it.
#[derive(Debug, Clone)]
struct Attribute {
    type_name: String,
    not_null: bool,
    readable: bool,
}

async fn read(
    tx: &mut ReadTransaction,
    schema: &str,
    mappings: Option<&MappingSet>,
) -> Result<Catalog, SourceError> {
    let facts = facts(tx, schema).await?;
    let shapes = shapes(tx, schema).await?;
    let mut catalog = Catalog {
        schema: schema.to_owned(),
        relations: Vec::new(),
        unusable: Vec::new(),
        tombstone: false,
        group_member: false,
        group_columns: GroupColumns::default(),
        binary: false,
        horizon: facts.horizon,
    };
    for resource_type in ResourceType::ALL.iter().copied() {
        match mappings.and_then(|mappings| mappings.streams(resource_type)) {
            Some(streams) => catalog.add_mapped(streams, &shapes, facts.utf8),
            None => catalog.add_ready(resource_type, &shapes, facts.utf8),
        }
    }
    catalog.add_others(&shapes);
    Ok(catalog)
}

impl Catalog {
    /// Looks at the relations that hold no resources.
    fn add_others(&mut self, shapes: &BTreeMap<String, Columns>) {
        let all = |columns: &Columns, wanted: &[(&str, &[&str])]| {
            wanted.iter().try_for_each(|(column, types)| expect(columns, column, types).map(drop))
        };
        let mut unusable = |name: &str, problem| {
            self.unusable.push(Unusable { relation: name.to_owned(), problem });
        };
        if let Some(columns) = shapes.get("tombstone") {
            match all(columns, TOMBSTONE) {
                Ok(()) => self.tombstone = true,
                Err(problem) => unusable("tombstone", problem),
            }
        }
        if let Some(columns) = shapes.get("group_member") {
            match all(columns, GROUP_MEMBER).and_then(|()| GroupColumns::of(columns)) {
                Ok(found) => (self.group_member, self.group_columns) = (true, found),
                Err(problem) => unusable("group_member", problem),
            }
        }
        if let Some(columns) = shapes.get(attachments::BINARY) {
            match all(columns, attachments::COLUMNS) {
                Ok(()) => self.binary = true,
                Err(problem) => unusable(attachments::BINARY, problem),
            }
        }
    }

    /// Adds the relation of a type with finished resources, if there is one.
    fn add_ready(&mut self, resource_type: ResourceType, shapes: &BTreeMap<String, Columns>, utf8: bool) {
        let name = resource_type.relation();
        let Some(columns) = shapes.get(name) else { return };
        match ready(resource_type, columns, utf8) {
            Ok(relation) => self.relations.push(relation),
            Err(problem) => self.unusable.push(Unusable { relation: name.to_owned(), problem }),
        }
    }

    /// Adds the relations of a type as its mapping says: all of them, or the type would be exported in part.
    fn add_mapped(&mut self, streams: &[StreamMapping], shapes: &BTreeMap<String, Columns>, utf8: bool) {
        let mut relations = Vec::new();
        let mut unusable = Vec::new();
        for stream in streams {
            // Nothing comes of it for the practice's version of US Core.
            if stream.templates().is_ok_and(|templates| templates.iter().all(Template::is_never)) {
                continue;
            }
            let found = match shapes.get(&stream.relation) {
                Some(columns) => mapped(stream, columns, utf8),
                None => Err(format!("there is no such relation, which {} reads", stream.file())),
            };
            match found {
                Ok(relation) => relations.push(relation),
                Err(problem) => unusable.push(Unusable { relation: stream.relation.clone(), problem }),
            }
        }
        if unusable.is_empty() {
            self.relations.extend(relations);
        }
        self.unusable.extend(unusable);
    }
}

impl GroupColumns {
    /// Those that are there. One that is there and cannot be read would make members of those who are none.
    fn of(columns: &Columns) -> Result<Self, String> {
        let is_there = |name: &str, types| match columns.get(name) {
            None => Ok(false),
            Some(_) => expect(columns, name, types).map(|_| true),
        };
        Ok(Self { nested: is_there("member_group_id", TEXT)?, inactive: is_there("inactive", &["boolean"])? })
    }
}

pub(crate) const TEXT: &[&str] = &["text", "character varying"];
pub(crate) const INSTANT: &[&str] = &["timestamp with time zone"];
const BODY: &[&str] = &["text", "character varying", "json", "jsonb"];

const TOMBSTONE: &[(&str, &[&str])] =
    &[("resource_type", TEXT), ("id", TEXT), ("patient_id", TEXT), ("deleted_at", INSTANT)];
const GROUP_MEMBER: &[(&str, &[&str])] =
    &[("group_id", TEXT), ("patient_id", TEXT), ("member_since", INSTANT), ("member_until", INSTANT)];

/// The relation of finished resources that these columns make, or what is wrong with them.
fn ready(resource_type: ResourceType, columns: &Columns, utf8: bool) -> Result<Relation, String> {
    let body = match expect(columns, "resource", BODY)?.type_name.as_str() {
        "json" => BodyKind::Json,
        "jsonb" => BodyKind::Jsonb,
        _ => BodyKind::Text,
    };
    let trusted = utf8 && body != BodyKind::Text;
    relation(resource_type, resource_type.relation(), Content::Ready(body), columns, trusted)
}

/// The relation that a stream of a mapping reads, or everything that does not fit.
fn mapped(stream: &StreamMapping, columns: &Columns, utf8: bool) -> Result<Relation, String> {
    let told = |problems: Vec<Problem>| {
        let lines: Vec<String> =
            problems.iter().map(|problem| format!("{}: {problem}", stream.file())).collect();
        lines.join("\n")
    };
    let templates = stream.templates().map_err(told)?;
    let mut seen = BTreeSet::new();
    let mut used: Vec<Column> = Vec::new();
    let mut problems = Vec::new();
    for (name, path) in templates.iter().flat_map(|template| template.column_paths()) {
        // Each column once, at the first of its places.
        if !seen.insert(name.clone()) {
            continue;
        }
        match column_for_templates(columns, &name) {
            Ok(column_type) => used.push(Column { name, column_type }),
            Err(problem) => problems.push(format!("{}: {path}: {problem}", stream.file())),
        }
    }
    if !problems.is_empty() {
        return Err(problems.join("\n"));
    }
    stream.programs(&used).map_err(told)?;
    let content = Content::Mapped { mapping: stream.clone(), columns: used };
    relation(stream.resource_type, &stream.relation, content, columns, utf8)
}

/// The type of a column that a template uses.
fn column_for_templates(columns: &Columns, name: &str) -> Result<ColumnType, String> {
    let column = columns.get(name).ok_or_else(|| format!("there is no column {name}"))?;
    if !column.readable {
        return Err(format!("the role may not SELECT {name}"));
    }
    ColumnType::from_name(&column.type_name)
        .map_err(|advice| format!("{name} has the type {}, {advice}", column.type_name))
}

/// What every relation must have.
fn relation(
    resource_type: ResourceType,
    name: &str,
    content: Content,
    columns: &Columns,
    trusted: bool,
) -> Result<Relation, String> {
    let id = expect(columns, "id", TEXT)?;
    expect(columns, "patient_id", TEXT)?;
    expect(columns, "last_updated", INSTANT)?;
    let (page_key, key_not_null) = match columns.get("page_key") {
        None => (None, id.not_null),
        Some(column) => {
            let page_key = PageKeyType::from_name(&column.type_name).ok_or_else(|| {
                format!("page_key has the type {}, which cannot be paged by", column.type_name)
            })?;
            if !column.readable {
                return Err("the role may not SELECT page_key".to_owned());
            }
            (Some(page_key), column.not_null)
        }
    };
    Ok(Relation { resource_type, name: name.to_owned(), content, page_key, key_not_null, trusted })
}

/// The column, if it is there, readable and of one of these types.
fn expect<'c>(columns: &'c Columns, name: &str, types: &[&str]) -> Result<&'c Attribute, String> {
    let column = columns.get(name).ok_or_else(|| format!("there is no column {name}"))?;
    if !types.contains(&column.type_name.as_str()) {
        return Err(format!("{name} has the type {}, not {}", column.type_name, types.join(" or ")));
    }
    if !column.readable {
        return Err(format!("the role may not SELECT {name}"));
    }
    Ok(column)
}

/// Facts about the schema as a whole.
struct Facts {
    utf8: bool,
    horizon: bool,
}

async fn facts(tx: &mut ReadTransaction, schema: &str) -> Result<Facts, SourceError> {
    let mut statement = Statement::new(
        "SELECT has_schema_privilege(n.oid, 'USAGE') AS usable,
                pg_encoding_to_char(d.encoding)::text <> 'SQL_ASCII' AS utf8,
                EXISTS (SELECT FROM pg_proc f WHERE f.pronamespace = n.oid AND f.proname = 'horizon'
                        AND f.pronargs = 0) AS horizon
         FROM pg_namespace n, pg_database d
         WHERE d.datname = current_database() AND n.nspname = ",
    );
    let name = statement.bind(schema);
    statement.push(&name);
    let row = tx
        .fetch_optional(statement, None)
        .await?
        .ok_or_else(|| SourceError::NoSchema { schema: schema.to_owned() })?;
    if !get::<bool>(&row, "usable")? {
        return Err(SourceError::SchemaDenied { schema: schema.to_owned() });
    }
    Ok(Facts { utf8: get(&row, "utf8")?, horizon: get(&row, "horizon")? })
}

/// The columns of every relation of the schema whose name Headgate could use.
async fn shapes(tx: &mut ReadTransaction, schema: &str) -> Result<BTreeMap<String, Columns>, SourceError> {
    let mut statement = Statement::new(
        "SELECT c.relname::text AS relation, a.attname::text AS name,
                format_type(a.atttypid, NULL) AS type_name, a.attnotnull AS not_null,
                has_column_privilege(c.oid, a.attnum, 'SELECT') AS readable
         FROM pg_class c
         JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname = ",
    );
    let name = statement.bind(schema);
    statement.push(&name);
    let mut shapes: BTreeMap<String, Columns> = BTreeMap::new();
    for row in tx.fetch_all(statement, None).await? {
        let relation: String = get(&row, "relation")?;
        if !identifier::is_valid(&relation) {
            continue;
        }
        let column = Attribute {
            type_name: get(&row, "type_name")?,
            not_null: get(&row, "not_null")?,
            readable: get(&row, "readable")?,
        };
        shapes.entry(relation).or_default().insert(get(&row, "name")?, column);
    }
    Ok(shapes)
}

/// A column of one of this crate's own queries.
pub(crate) fn get<'r, T>(row: &'r PgRow, column: &str) -> Result<T, SourceError>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(column).map_err(|e| SourceError::from_sqlx(e, None))
}

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;
