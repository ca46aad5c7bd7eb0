//! What is no longer there: tombstones, and whether the resource is back.
//!
//! A tombstone says that a resource left its relation at some time, as a resource of some patient. It may be
//! back since, or belong to another patient, so each tombstone is looked at together with the rows that yield
//! its id now, in one statement and so in one snapshot. Filters and `_since` do not count here: a resource
//! that an export leaves out is not deleted.
//!
//! A template's resource has the row's id and a suffix: the row is looked up by what stands before the suffix,
//! and yields the resource if the template's condition is true for it.

use std::fmt;

use chrono::{DateTime, Utc};
use headgate_domain::ResourceType;
use sqlx::postgres::PgRow;

use crate::catalog::get;
use crate::statement::{Shape, Statement};
use crate::{Content, Marker, Relation, Source, SourceError, identifier};

/// The relation of tombstones.
const TOMBSTONE: &str = "tombstone";

/// A resource that has a tombstone.
#[derive(Clone, PartialEq, Eq)]
pub struct Deleted {
    /// The resource's id.
    pub id: String,
    /// `patient_id` of every row that yields a resource with this id now; empty: it is gone.
    pub owners: Vec<Option<String>>,
    /// Whose it was when it was deleted once more, after [`DeletedAsk::up_to`]. Where it was
    /// within the same patients, it may be in the output, and the later deletion is told later: nothing is told now.
    pub again_of: Vec<Option<String>>,
}

impl fmt::Debug for Deleted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deleted({} owners)", self.owners.len())
    }
}

/// Which tombstones to look at.
#[derive(Debug, Clone, Copy)]
pub struct DeletedAsk<'a> {
    /// Of which type.
    pub resource_type: ResourceType,
    /// All relations of the type, which say what is there.
    pub relations: &'a [Relation],
    /// Those after this time; members with full history: from the beginning.
    pub since: DateTime<Utc>,
    /// Those up to and including this time: the `transactionTime` of the export.
    pub up_to: DateTime<Utc>,
    /// Those before this time: the bound of a client that asked for one.
    pub until: Option<DateTime<Utc>>,
    /// Of whom.
    pub of: TombstonesOf<'a>,
}

/// Whose tombstones.
#[derive(Debug, Clone, Copy)]
pub enum TombstonesOf<'a> {
    /// Everybody's, and those of the practice: system level, directory types.
    Everybody,
    /// Those of patients: patient level.
    PatientRows,
    /// Those of these patients: group level, or patients named in the request.
    Members(&'a [DeletedMember]),
}

/// A patient whose tombstones are asked for.
#[derive(Clone, PartialEq, Eq)]
pub struct DeletedMember {
    /// The Patient's id.
    pub patient_id: String,
    /// Whether to ignore `since`: the patient joined the group after it.
    pub full_history: bool,
}

impl fmt::Debug for DeletedMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeletedMember").field("full_history", &self.full_history).finish_non_exhaustive()
    }
}

impl Source {
    /// The resources with a tombstone that is asked for, at most `limit`, each once, in the byte order of their
    /// ids, after `after`. Fewer than `limit` are the last. Tombstones without id or time, or with an id that
    /// FHIR does not allow, are passed over.
    ///
    /// # Errors
    /// [`SourceError::Config`] for a limit of zero, or relations that are none or of another type: without them
    /// everything would seem to be gone. As for any transaction; among them SQLSTATE 42P01 where the catalogue
    /// says that there is no relation of tombstones.
    pub async fn deleted(
        &self,
        marker: &Marker,
        ask: &DeletedAsk<'_>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Deleted>, SourceError> {
        if limit == 0 {
            return Err(SourceError::Config("a page must have at least one row"));
        }
        if ask.relations.is_empty() || ask.relations.iter().any(|r| r.resource_type != ask.resource_type) {
            return Err(SourceError::Config("deletions are asked for with all relations of their type"));
        }
        let mut tx = self.begin(marker).await?;
        let statement = statement(self.schema(), ask, after, limit)?;
        let rows = tx.fetch_all(statement, Some(TOMBSTONE)).await?;
        tx.finish().await?;
        rows.iter().map(deleted).collect()
    }
}

fn deleted(row: &PgRow) -> Result<Deleted, SourceError> {
    Ok(Deleted { id: get(row, "id")?, owners: get(row, "owners")?, again_of: get(row, "again_of")? })
}

/// The tombstones first, then for each the rows that yield its id, and its later tombstones.
///
/// The ids travel through an array because the planner takes one for several values, whatever it thinks of the
/// tombstones: it then looks each up in an index or, where there is none, reads the relation once for all of
/// them. For a single one it might read the relation once for each.
fn statement(
    schema: &str,
    ask: &DeletedAsk<'_>,
    after: Option<&str>,
    limit: u32,
) -> Result<Statement, SourceError> {
    let mut statement = Statement::new("WITH found AS MATERIALIZED (");
    found(&mut statement, schema, ask, after, limit)?;
    statement
        .push("), asked AS (SELECT a.id FROM pg_catalog.unnest(ARRAY(SELECT f.id FROM found f)) AS a(id)) ");
    statement.push(
        "SELECT f.id, coalesce(o.owners, '{}'::text[]) AS owners, coalesce(l.owners, '{}'::text[]) AS again_of
           FROM found f LEFT JOIN (",
    );
    statement.push("SELECT y.id, array_agg(y.owner) AS owners FROM (");
    for (i, relation) in ask.relations.iter().enumerate() {
        statement.push(if i == 0 { "" } else { " UNION ALL " });
        owners(&mut statement, schema, relation)?;
    }
    statement.push(") y GROUP BY y.id) o ON o.id COLLATE \"C\" = f.id LEFT JOIN (");
    again(&mut statement, schema, ask)?;
    statement.push(") l ON l.id = f.id ORDER BY f.id");
    Ok(statement)
}

/// A query for the ids of a page of tombstones.
fn found(
    statement: &mut Statement,
    schema: &str,
    ask: &DeletedAsk<'_>,
    after: Option<&str>,
    limit: u32,
) -> Result<(), SourceError> {
    let table = format!("{}.{TOMBSTONE}", identifier::quote(schema, "schema")?);
    statement.push(&format!("SELECT DISTINCT t.id::text COLLATE \"C\" AS id FROM {table} t"));
    let since = statement.bind(ask.since);
    let within = match ask.of {
        TombstonesOf::Everybody => format!("t.deleted_at > {since}"),
        TombstonesOf::PatientRows => format!("t.deleted_at > {since} AND t.patient_id IS NOT NULL"),
        TombstonesOf::Members(members) => {
            let patients: Vec<&str> = members.iter().map(|m| m.patient_id.as_str()).collect();
            let full: Vec<bool> = members.iter().map(|m| m.full_history).collect();
            let (patients, full) = (statement.bind(patients), statement.bind(full));
            statement.push(&format!(
                " JOIN ROWS FROM (pg_catalog.unnest({patients}::text[]), pg_catalog.unnest({full}::bool[]))
                       AS m(patient, full_history) ON t.patient_id = m.patient"
            ));
            if members.iter().any(|m| m.full_history) {
                format!("(m.full_history OR t.deleted_at > {since})")
            } else {
                format!("t.deleted_at > {since}")
            }
        }
    };
    let resource_type = statement.bind(ask.resource_type.name());
    let up_to = statement.bind(ask.up_to);
    statement.push(&format!(
        " WHERE t.resource_type = {resource_type}::text AND {within} AND t.deleted_at <= {up_to}
            AND t.id COLLATE \"C\" ~ '^[A-Za-z0-9.-]{{1,64}}$'"
    ));
    if let Some(until) = ask.until {
        let until = statement.bind(until);
        statement.push(&format!(" AND t.deleted_at < {until}"));
    }
    if let Some(after) = after {
        let after = statement.bind(after);
        statement.push(&format!(" AND t.id COLLATE \"C\" > {after}::text"));
    }
    let limit = statement.bind(i64::from(limit));
    statement.push(&format!(" ORDER BY 1 LIMIT {limit}"));
    Ok(())
}

/// A query for the owners of what was deleted once more after the time of the export. Few are: only what was deleted while
/// the export ran.
fn again(statement: &mut Statement, schema: &str, ask: &DeletedAsk<'_>) -> Result<(), SourceError> {
    let table = format!("{}.{TOMBSTONE}", identifier::quote(schema, "schema")?);
    let (resource_type, up_to) = (statement.bind(ask.resource_type.name()), statement.bind(ask.up_to));
    statement.push(&format!(
        "SELECT t.id::text COLLATE \"C\" AS id, array_agg(DISTINCT t.patient_id::text) AS owners FROM {table} t
          WHERE t.resource_type = {resource_type}::text AND t.deleted_at > {up_to} AND t.deleted_at < 'infinity'
          GROUP BY 1"
    ));
    Ok(())
}

/// A query for the owners of the rows of one relation that yield the ids that are asked for.
fn owners(statement: &mut Statement, schema: &str, relation: &Relation) -> Result<(), SourceError> {
    let from = Shape::new(schema, relation)?.from();
    let Content::Mapped { mapping, columns } = &relation.content else {
        statement.push(&format!(
            "SELECT a.id, r.patient_id::text AS owner FROM asked a JOIN {from}
                 ON r.id COLLATE \"C\" = a.id COLLATE \"C\""
        ));
        return Ok(());
    };
    let templates = mapping.templates().map_err(|problems| relation.mapping_error(&problems))?;
    let suffixes: Vec<&str> = templates.iter().map(|template| template.suffix()).collect();
    let suffixes = statement.bind(suffixes);
    let yields = templates.iter().zip(1..).map(|(template, n)| match template.sql_condition(columns) {
        Some(condition) => format!("(c.n = {n} AND {condition})"),
        None => format!("c.n = {n}"),
    });
    let yields: Vec<String> = yields.collect();
    statement.push(&format!(
        "SELECT c.id, r.patient_id::text AS owner
         FROM (SELECT a.id, s.n, left(a.id, length(a.id) - length(s.suffix)) AS row_id
               FROM asked a JOIN pg_catalog.unnest({suffixes}::text[]) WITH ORDINALITY AS s(suffix, n)
                   ON right(a.id, length(s.suffix)) = s.suffix) c
         JOIN {from} ON r.id COLLATE \"C\" = c.row_id COLLATE \"C\" WHERE {}",
        yields.join(" OR ")
    ));
    Ok(())
}

#[cfg(test)]
#[path = "deleted_tests.rs"]
mod tests;
