//! The `CREATE INDEX` statements that a relation lacks.
//!
//! The index of a table is on its own columns. That of a view is on the table below it, whose columns and
//! expressions the planner tells: `EXPLAIN VERBOSE` writes out what the view selects in terms of the tables
//! that it reads. A view that takes a column from two tables at once has no index that could serve it.

mod expression;
mod index;
mod origin;

use std::collections::BTreeSet;

use crate::catalog::get;
use crate::statement::Statement;
use crate::{PageKeyType, Relation, Source, SourceError};

use expression::Part;
use index::{Index, Table};
use origin::Origin;

/// What is said of a view that has no table to index.
const NO_TABLE: &str = "-- a view, which takes these columns from no single table: index what they come from";

/// What an index is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Pages of all patients.
    Key,
    /// Pages of one patient.
    Patient,
    /// Rows that have changed.
    Window,
}

/// Where the columns of a relation come from.
pub(super) struct Statements {
    relation: Table,
    page_key: Option<PageKeyType>,
    place: Place,
}

enum Place {
    /// A table, or a materialized view.
    Here,
    /// A foreign table: the index belongs to the other server.
    Elsewhere,
    /// A view, with its branches.
    Below(Vec<Origin>),
}

impl Statements {
    /// Finds out what the relation is made of.
    pub async fn of(source: &Source, relation: &Relation) -> Result<Self, SourceError> {
        let mut statement = Statement::new(
            "SELECT c.relkind::text AS kind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = ",
        );
        let schema = statement.bind(source.schema());
        let name = statement.bind(relation.name.as_str());
        statement.push(&format!("{schema} AND c.relname = {name}"));
        let mut tx = source.begin_unmarked(&[]).await?;
        let row = tx.fetch_one(statement, Some(&relation.name)).await?;
        tx.finish().await?;
        let place = match get::<String>(&row, "kind")?.as_str() {
            "v" => Place::Below(origin::of_view(source, relation).await?),
            "f" => Place::Elsewhere,
            _ => Place::Here,
        };
        let table = Table { schema: source.schema().to_owned(), name: relation.name.clone() };
        Ok(Self { relation: table, page_key: relation.page_key, place })
    }

    /// What to create for an access path; nothing if it is there.
    pub async fn missing(&self, source: &Source, access: Access) -> Result<Vec<String>, SourceError> {
        let wanted: Option<BTreeSet<Index>> = match &self.place {
            Place::Here => Some([self.own(access)].into()),
            Place::Elsewhere => return Ok(vec![format!("{} -- on the foreign server", self.own(access))]),
            Place::Below(origins) => origins.iter().map(|o| o.index(access, self.page_key)).collect(),
        };
        let Some(wanted) = wanted else { return Ok(vec![format!("{} {NO_TABLE}", self.own(access))]) };
        let mut missing = Vec::new();
        let mut tx = source.begin_unmarked(&[]).await?;
        for index in wanted {
            if !index.exists(&mut tx).await? {
                missing.push(index.to_string());
            }
        }
        tx.finish().await?;
        Ok(missing)
    }

    /// The index on the relation's own columns.
    fn own(&self, access: Access) -> Index {
        let page_key =
            self.page_key.map(|t| if t.is_text() { Part::text("page_key") } else { Part::plain("page_key") });
        let key: Vec<Part> = page_key.into_iter().chain([Part::text("id")]).collect();
        let parts = match access {
            Access::Key => key,
            Access::Patient => [vec![Part::plain("patient_id")], key].concat(),
            Access::Window => vec![Part::plain("last_updated")],
        };
        Index { table: self.relation.clone(), parts, pinned: BTreeSet::new() }
    }
}
