//! What the columns of a view are in the tables below it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::catalog::get;
use crate::check::indexes::plan_of;
use crate::statement::{Shape, Statement};
use crate::transaction::ReadTransaction;
use crate::{PageKeyType, Relation, Source, SourceError};

use super::Access;
use super::expression::{self, Part};
use super::index::{Index, Table};

/// One branch of a view: its columns in terms of the tables that it reads, as the planner writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// The tables, by alias.
    pub tables: BTreeMap<String, Table>,
    pub page_key: Option<String>,
    pub id: String,
    pub patient_id: String,
    pub last_updated: String,
    /// See [`Index::pinned`].
    pub pinned: BTreeSet<String>,
}

impl Origin {
    /// The index for an access path; none if none can serve it, because its columns come from several tables or
    /// from none.
    pub fn index(&self, access: Access, page_key: Option<PageKeyType>) -> Option<Index> {
        let parts = match access {
            Access::Key => self.key(page_key),
            Access::Patient => [vec![Part::plain(&self.patient_id)], self.key(page_key)].concat(),
            Access::Window => vec![Part::plain(&self.last_updated)],
        };
        let mut tables = BTreeSet::new();
        for part in &parts {
            let aliases = expression::aliases(&part.expression, self.tables.keys());
            if aliases.is_empty() || !expression::can_be_indexed(&part.expression) {
                return None;
            }
            tables.extend(aliases.into_iter().map(|alias| &self.tables[alias]));
        }
        let mut tables = tables.into_iter();
        let (table, None) = (tables.next()?, tables.next()) else { return None };
        let parts = parts.into_iter().map(|part| part.without_aliases(self.tables.keys())).collect();
        Some(Index { table: table.clone(), parts, pinned: self.pinned.clone() })
    }

    /// What rows are paged by. An id that is the page key in other words adds nothing to it.
    fn key(&self, page_key: Option<PageKeyType>) -> Vec<Part> {
        let id = Part::text(&self.id);
        match (&self.page_key, page_key) {
            (Some(key), Some(t)) => {
                let part = if t.is_text() { Part::text(key) } else { Part::plain(key) };
                if expression::is_made_of(&self.id, key) { vec![part] } else { vec![part, id] }
            }
            _ => vec![id],
        }
    }
}

/// Asks the planner what the view selects.
pub(super) async fn of_view(source: &Source, relation: &Relation) -> Result<Vec<Origin>, SourceError> {
    let shape = Shape::new(source.schema(), relation)?;
    let explain = format!("EXPLAIN (VERBOSE, FORMAT JSON) SELECT * FROM {}", shape.from());
    let mut tx = source.begin_unmarked(&[]).await?;
    let row = tx.fetch_one(Statement::new(explain), Some(&relation.name)).await?;
    let plan = plan_of(&row, &relation.name)?;
    let places = places(&mut tx, source.schema(), relation).await?;
    let mut origins = Vec::new();
    for branch in branches(&plan) {
        let output = |column: &str| {
            let place = places.get(column)?;
            branch["Output"][*place].as_str().map(|text| expression::trimmed(text).to_owned())
        };
        let mut tables = BTreeMap::new();
        scans(branch, &mut tables);
        let mut names = BTreeMap::new();
        for (alias, table) in tables {
            names.insert(alias, root(&mut tx, &table).await?);
        }
        origins.push(Origin {
            tables: names,
            page_key: output("page_key"),
            id: output("id").unwrap_or_default(),
            patient_id: output("patient_id").unwrap_or_default(),
            last_updated: output("last_updated").unwrap_or_default(),
            pinned: pinned(branch),
        });
    }
    tx.finish().await?;
    Ok(origins)
}

/// Where each column of the view stands.
async fn places(
    tx: &mut ReadTransaction,
    schema: &str,
    relation: &Relation,
) -> Result<BTreeMap<String, usize>, SourceError> {
    let mut statement = Statement::new(
        "SELECT a.attname::text AS name FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE a.attnum > 0 AND NOT a.attisdropped AND n.nspname = ",
    );
    let schema = statement.bind(schema);
    let name = statement.bind(relation.name.as_str());
    statement.push(&format!("{schema} AND c.relname = {name} ORDER BY a.attnum"));
    let rows = tx.fetch_all(statement, Some(&relation.name)).await?;
    rows.iter().enumerate().map(|(place, row)| Ok((get(row, "name")?, place))).collect()
}

/// The parts of a `UNION ALL`, or of a partitioned table; else the plan itself.
fn branches(plan: &Value) -> Vec<&Value> {
    let below = plan["Plans"].as_array().map(Vec::as_slice).unwrap_or_default();
    let width = |plan: &Value| plan["Output"].as_array().map(Vec::len);
    match (plan["Node Type"].as_str(), below) {
        (Some("Append" | "Merge Append"), plans) if !plans.is_empty() => {
            plans.iter().flat_map(branches).collect()
        }
        // It hands on the columns that it gets, in their order.
        (Some("Subquery Scan"), [inner]) if width(plan) == width(inner) || inner["Node Type"] == "Append" => {
            branches(inner)
        }
        _ => vec![plan],
    }
}

/// Every table that a plan reads, by alias; none below what makes one row of several.
fn scans(plan: &Value, tables: &mut BTreeMap<String, Table>) {
    if matches!(plan["Node Type"].as_str(), Some("Aggregate" | "Group" | "WindowAgg" | "Unique" | "SetOp")) {
        return;
    }
    if let (Some(alias), Some(schema), Some(table)) =
        (plan["Alias"].as_str(), plan["Schema"].as_str(), plan["Relation Name"].as_str())
    {
        let found = Table { schema: schema.to_owned(), name: table.to_owned() };
        // The parts of a partitioned table `d` are called `d_1`, `d_2`, and above them it is `d` again.
        if let Some((whole, part)) = alias.rsplit_once('_')
            && part.parse::<u32>().is_ok()
        {
            tables.entry(whole.to_owned()).or_insert_with(|| found.clone());
        }
        tables.insert(alias.to_owned(), found);
    }
    for below in plan["Plans"].as_array().into_iter().flatten() {
        scans(below, tables);
    }
}

/// The columns that a plan compares with one value.
fn pinned(plan: &Value) -> BTreeSet<String> {
    let conditions =
        ["Filter", "Index Cond", "Recheck Cond"].map(|name| plan[name].as_str().unwrap_or_default());
    let mut found: BTreeSet<String> =
        conditions.into_iter().flat_map(expression::pinned).map(str::to_owned).collect();
    for below in plan["Plans"].as_array().into_iter().flatten() {
        found.extend(pinned(below));
    }
    found
}

/// The table itself, or the partitioned table that it is a part of.
async fn root(tx: &mut ReadTransaction, table: &Table) -> Result<Table, SourceError> {
    let mut statement = Statement::new(
        "SELECT rn.nspname::text AS schema, r.relname::text AS name
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_class r ON r.oid = coalesce(pg_partition_root(c.oid), c.oid)
         JOIN pg_namespace rn ON rn.oid = r.relnamespace WHERE n.nspname = ",
    );
    let schema = statement.bind(table.schema.as_str());
    let name = statement.bind(table.name.as_str());
    statement.push(&format!("{schema} AND c.relname = {name}"));
    let row = tx.fetch_one(statement, None).await?;
    Ok(Table { schema: get(&row, "schema")?, name: get(&row, "name")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin {
            tables: [("p", "problem"), ("n", "note")]
                .map(|(alias, name)| (alias.to_owned(), table(name)))
                .into(),
            page_key: Some("p.id".to_owned()),
            id: "(p.id)::text".to_owned(),
            patient_id: "(p.patient_id)::text".to_owned(),
            last_updated: "p.updated_at".to_owned(),
            pinned: BTreeSet::new(),
        }
    }

    fn table(name: &str) -> Table {
        Table { schema: "ehr".to_owned(), name: name.to_owned() }
    }

    const UUID: Option<PageKeyType> = Some(PageKeyType::Uuid);

    #[test]
    fn an_id_made_of_the_page_key_needs_no_place_of_its_own() {
        let mut origin = origin();
        let statement = |origin: &Origin, access| origin.index(access, UUID).unwrap().to_string();
        assert_eq!(statement(&origin, Access::Key), "CREATE INDEX ON ehr.problem (id);");
        assert_eq!(
            statement(&origin, Access::Patient),
            "CREATE INDEX ON ehr.problem ((patient_id::text), id);"
        );
        assert_eq!(statement(&origin, Access::Window), "CREATE INDEX ON ehr.problem (updated_at);");
        origin.id = "p.code".to_owned();
        assert_eq!(statement(&origin, Access::Key), "CREATE INDEX ON ehr.problem (id, code COLLATE \"C\");");
    }

    #[test]
    fn columns_of_two_tables_have_no_index_in_common() {
        let mut origin = origin();
        origin.last_updated = "GREATEST(p.updated_at, n.updated_at)".to_owned();
        assert_eq!(origin.index(Access::Window, UUID), None);
        origin.last_updated = "n.updated_at".to_owned();
        assert_eq!(
            origin.index(Access::Window, UUID).unwrap().to_string(),
            "CREATE INDEX ON ehr.note (updated_at);"
        );
        origin.patient_id = "NULL::text".to_owned();
        assert_eq!(origin.index(Access::Patient, UUID), None);
    }
}
