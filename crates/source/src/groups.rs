//! The groups that the EHR itself keeps: `group_member`.
//!
//! A row says that a patient, or where there is a column `member_group_id` another group, is a member of a group
//! from `member_since` (null: always) until before `member_until` (null: for ever). A row that is `inactive`
//! says nothing. A patient is a member of a group by each path of rows that leads there, for as long as all
//! rows of the path hold: from the latest of their `member_since` until the earliest of their `member_until`.
//! A circle of groups adds nothing and ends the search.

use std::fmt;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;

use crate::catalog::get;
use crate::statement::Statement;
use crate::{Catalog, Marker, Source, SourceError, identifier};

/// The relation of memberships.
const GROUP_MEMBER: &str = "group_member";

/// What a group's id must look like to be asked for.
const FHIR_ID: &str = "'^[A-Za-z0-9.-]{1,64}$'";

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceGroup {
    /// Its id.
    pub group_id: String,
    /// How many patients are members now.
    pub members: u64,
}

/// A member of a group, or a former one.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceMember {
    /// The Patient's id.
    pub patient_id: String,
    /// When the present membership began, at the earliest; none: it always was. Of a former member: when the
    /// earliest of the memberships that were asked for began.
    pub since: Option<DateTime<Utc>>,
    /// When a former member left at last; none: a member now.
    pub until: Option<DateTime<Utc>>,
}

impl fmt::Debug for SourceMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceMember").field("is_member", &self.until.is_none()).finish_non_exhaustive()
    }
}

impl Source {
    /// The groups with an id that FHIR allows, in the byte order of their ids, at most `limit`. A group without
    /// members now is among them as long as a row names it. None where the catalogue has no `group_member`.
    ///
    /// # Errors
    /// As for any transaction.
    pub async fn groups(&self, catalog: &Catalog, limit: u32) -> Result<Vec<SourceGroup>, SourceError> {
        if !catalog.group_member {
            return Ok(Vec::new());
        }
        let mut tx = self.begin_unmarked(&[]).await?;
        let rows = tx.fetch_all(groups(self.schema(), catalog, limit)?, Some(GROUP_MEMBER)).await?;
        tx.finish().await?;
        let group = |row: &PgRow| {
            Ok(SourceGroup {
                group_id: get(row, "group_id")?,
                members: get::<i64>(row, "members")?.unsigned_abs(),
            })
        };
        rows.iter().map(group).collect()
    }

    /// The members of a group now, and with `since` also those who left after it, at most `limit`, each once,
    /// in the byte order of their ids, after `after`. Fewer than `limit` are the last; a group that nobody
    /// knows has none.
    ///
    /// # Errors
    /// [`SourceError::Config`] for a limit of zero, and where the catalogue has no `group_member`: a cohort
    /// without members would be an empty export. As for any transaction.
    pub async fn group_members(
        &self,
        catalog: &Catalog,
        marker: &Marker,
        group_id: &str,
        since: Option<DateTime<Utc>>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<SourceMember>, SourceError> {
        if limit == 0 {
            return Err(SourceError::Config("a page must have at least one row"));
        }
        if !catalog.group_member {
            return Err(SourceError::Config("the source has no relation group_member that can be read"));
        }
        let mut tx = self.begin(marker).await?;
        let statement = members(self.schema(), catalog, group_id, since, after, limit)?;
        let rows = tx.fetch_all(statement, Some(GROUP_MEMBER)).await?;
        tx.finish().await?;
        let member = |row: &PgRow| {
            Ok(SourceMember {
                patient_id: get(row, "patient")?,
                since: get(row, "since")?,
                until: get(row, "until")?,
            })
        };
        rows.iter().map(member).collect()
    }
}

/// The relation and its optional columns, under the alias `m`.
struct Membership {
    table: String,
    /// ` AND …`: the row says something.
    active: &'static str,
    nested: bool,
}

impl Membership {
    fn new(schema: &str, catalog: &Catalog) -> Result<Self, SourceError> {
        Ok(Self {
            table: format!("{}.{GROUP_MEMBER} m", identifier::quote(schema, "schema")?),
            active: if catalog.group_columns.inactive { " AND m.inactive IS NOT TRUE" } else { "" },
            nested: catalog.group_columns.nested,
        })
    }
}

/// Whether a row holds now.
const HOLDS: &str = "(m.member_since IS NULL OR m.member_since <= now())
                     AND (m.member_until IS NULL OR m.member_until > now())";

/// All groups, which groups each of them leads to, and the patients of those. Ids of groups are compared by the
/// column's own collation, whatever it is, because `default` yields to it: so its index serves.
fn groups(schema: &str, catalog: &Catalog, limit: u32) -> Result<Statement, SourceError> {
    let Membership { table, active, nested } = Membership::new(schema, catalog)?;
    let mut statement = Statement::default();
    let limit = statement.bind(i64::from(limit));
    let further = if nested {
        format!(
            "UNION SELECT g.root, m.member_group_id::text COLLATE \"default\" FROM reach g
             JOIN {table} ON m.group_id = g.group_id
             WHERE m.member_group_id IS NOT NULL AND m.patient_id IS NULL AND {HOLDS}{active}"
        )
    } else {
        String::new()
    };
    statement.push(&format!(
        "WITH RECURSIVE named AS MATERIALIZED (
             SELECT DISTINCT m.group_id::text COLLATE \"C\" AS id FROM {table}
             WHERE m.group_id COLLATE \"C\" ~ {FHIR_ID} ORDER BY 1 LIMIT {limit}
         ), reach AS (
             SELECT n.id AS root, n.id COLLATE \"default\" AS group_id FROM named n {further}
         )
         SELECT n.id AS group_id, count(DISTINCT m.patient_id) AS members
         FROM named n JOIN reach g ON g.root = n.id
         LEFT JOIN {table} ON m.group_id = g.group_id AND m.patient_id IS NOT NULL AND {HOLDS}{active}
         GROUP BY n.id ORDER BY n.id"
    ));
    Ok(statement)
}

/// The groups that lead to the one that is asked for, with the time for which they do; then the patients of
/// all of them. `greatest` and `least` pass over nulls, which bound nothing.
fn members(
    schema: &str,
    catalog: &Catalog,
    group_id: &str,
    since: Option<DateTime<Utc>>,
    after: Option<&str>,
    limit: u32,
) -> Result<Statement, SourceError> {
    let Membership { table, active, nested } = Membership::new(schema, catalog)?;
    let mut statement = Statement::default();
    let group_id = statement.bind(group_id);
    let limit = statement.bind(i64::from(limit));
    // Whoever left before this is not asked for.
    let left_after = match since {
        Some(since) => format!("least({}, now())", statement.bind(since)),
        None => "now()".to_owned(),
    };
    let after = match after {
        Some(after) => format!(" AND m.patient_id COLLATE \"C\" > {}::text", statement.bind(after)),
        None => String::new(),
    };
    let (from, to) = ("greatest(g.since, m.member_since)", "least(g.until, m.member_until)");
    let asked_for = format!("{from} <= now() AND {to} > {left_after} AND {from} < {to}{active}");
    let further = if nested {
        format!(
            "UNION SELECT m.member_group_id::text COLLATE \"default\", {from}, {to} FROM reach g
             JOIN {table} ON m.group_id = g.group_id
             WHERE m.member_group_id IS NOT NULL AND m.patient_id IS NULL AND {asked_for}"
        )
    } else {
        String::new()
    };
    statement.push(&format!(
        "WITH RECURSIVE reach AS (
             SELECT {group_id}::text COLLATE \"default\" AS group_id, '-infinity'::timestamptz AS since,
                    'infinity'::timestamptz AS until {further}
         ), path AS (
             SELECT m.patient_id::text COLLATE \"C\" AS patient, {from} AS since, {to} AS until
             FROM reach g JOIN {table} ON m.group_id = g.group_id
             WHERE m.patient_id IS NOT NULL AND {asked_for}{after}
         ), member AS (
             SELECT p.patient, coalesce(min(p.since) FILTER (WHERE p.until > now()), min(p.since)) AS since,
                    CASE WHEN max(p.until) <= now() THEN max(p.until) END AS until
             FROM path p GROUP BY p.patient ORDER BY p.patient LIMIT {limit}
         )
         SELECT m.patient, CASE WHEN m.since >= '0001-01-01T00:00:00Z' THEN m.since END AS since, m.until
         FROM member m ORDER BY m.patient"
    ));
    Ok(statement)
}

#[cfg(test)]
#[path = "groups_tests.rs"]
mod tests;
