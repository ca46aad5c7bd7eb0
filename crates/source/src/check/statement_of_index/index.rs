//! An index that an access path needs.

use std::collections::BTreeSet;
use std::fmt;

use crate::catalog::get;
use crate::statement::Statement;
use crate::transaction::ReadTransaction;
use crate::{SourceError, identifier};

use super::expression::Part;

/// A table, by schema and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Table {
    pub schema: String,
    pub name: String,
}

/// An index, as its statement says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Index {
    pub table: Table,
    pub parts: Vec<Part>,
    /// Columns that are compared with one value, by the view or by row-level security: an index may begin with
    /// them.
    pub pinned: BTreeSet<String>,
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.parts.iter().map(ToString::to_string).collect();
        let Table { schema, name } = &self.table;
        write!(f, "CREATE INDEX ON {}.{} ({});", quoted(schema), quoted(name), parts.join(", "))
    }
}

/// In quotes where they are needed.
fn quoted(name: &str) -> String {
    if identifier::is_valid(name) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

impl Index {
    /// Whether the table has such an index, though the planner likes another better: a small one on other
    /// columns, as long as there are few rows.
    pub async fn exists(&self, tx: &mut ReadTransaction) -> Result<bool, SourceError> {
        let mut statement = Statement::new(
            "SELECT array_agg(pg_get_indexdef(i.indexrelid, k.n, true) ORDER BY k.n) AS columns,
                    array_agg(coalesce(o.collname, '')::text ORDER BY k.n) AS collations
             FROM pg_index i
             JOIN pg_class c ON c.oid = i.indrelid
             JOIN pg_namespace s ON s.oid = c.relnamespace
             CROSS JOIN LATERAL generate_series(1, i.indnkeyatts::int) AS k(n)
             LEFT JOIN pg_collation o ON o.oid = i.indcollation[k.n - 1]
             WHERE i.indisvalid AND i.indpred IS NULL AND s.nspname = ",
        );
        let schema = statement.bind(self.table.schema.as_str());
        let name = statement.bind(self.table.name.as_str());
        statement.push(&format!("{schema} AND c.relname = {name} GROUP BY i.indexrelid"));
        for row in tx.fetch_all(statement, None).await? {
            let (columns, collations): (Vec<String>, Vec<String>) =
                (get(&row, "columns")?, get(&row, "collations")?);
            let is_pinned = |(column, _): &(&String, &String)| self.pinned.contains(*column);
            let found: Vec<_> = columns.iter().zip(&collations).skip_while(is_pinned).collect();
            let fits = |(part, (column, collation)): (&Part, &(&String, &String))| part.is(column, collation);
            if found.len() >= self.parts.len() && self.parts.iter().zip(&found).all(fits) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
