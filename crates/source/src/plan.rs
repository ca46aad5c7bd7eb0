//! Cutting a relation into shards.
//!
//! For all patients, planning walks the relation's key: each step finds the last key of the next slice. The
//! slices are `(-∞, k1], (k1, k2], … (kn, ∞)`, so together they cover every row, those included that are
//! inserted after the walk has passed. The walk reads keys only, from the index, and carries no filter: a
//! filter could make one step read the whole relation.
//!
//! For a cohort the rows are counted per patient, and the caller packs patients into shards.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::catalog::get;
use crate::statement::{Shape, Statement};
use crate::transaction::ReadTransaction;
use crate::{ContractProblem, Key, Marker, Relation, Source, SourceError};

/// How many patients are counted by one statement.
const PATIENTS_PER_STATEMENT: usize = 1000;

/// One step of the walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boundary {
    /// The slice ends at `last`, and at least one row comes after it.
    Next {
        /// Rows in the slice when it was walked.
        rows: u64,
        /// Its last key, which belongs to it.
        last: Key,
    },
    /// The slice is the last one and has no upper bound.
    Last {
        /// Rows in the slice when it was walked; may be zero.
        rows: u64,
    },
}

impl Source {
    /// Finds the end of the slice of `shard_rows` rows that begins after `after`, or at the start.
    ///
    /// # Errors
    /// [`SourceError::Contract`] when a row could not be paged to; else as for any transaction.
    pub async fn boundary(
        &self,
        relation: &Relation,
        marker: &Marker,
        after: Option<&Key>,
        shard_rows: u64,
    ) -> Result<Boundary, SourceError> {
        let rows = i64::try_from(shard_rows).ok().filter(|rows| *rows > 0);
        let rows = rows.ok_or(SourceError::Config("a shard must have at least one row"))?;
        let mut tx = self.begin(marker).await?;
        if after.is_none() && !relation.key_not_null {
            refuse_null_keys(&mut tx, relation).await?;
        }
        let boundary = walk(&mut tx, relation, after, rows).await?;
        tx.finish().await?;
        Ok(boundary)
    }

    /// Counts the rows of each of these patients, in the order given; those without rows are left out.
    ///
    /// # Errors
    /// As for [`Source::boundary`].
    pub async fn count_by_patient(
        &self,
        relation: &Relation,
        marker: &Marker,
        patients: &[String],
    ) -> Result<Vec<(String, u64)>, SourceError> {
        let mut counts = Vec::new();
        // A transaction each, so that a large cohort does not hold one open.
        for patients in patients.chunks(PATIENTS_PER_STATEMENT) {
            let mut tx = self.begin(marker).await?;
            count(&mut tx, relation, patients, &mut counts).await?;
            tx.finish().await?;
        }
        Ok(counts)
    }
}

async fn walk(
    tx: &mut ReadTransaction,
    relation: &Relation,
    after: Option<&Key>,
    rows: i64,
) -> Result<Boundary, SourceError> {
    let statement = boundary_statement(&tx.schema, relation, after, rows)?;
    let name = relation.name.as_str();
    let found = tx.fetch_all(statement, Some(name)).await?;
    let slice = u64::try_from(rows).unwrap_or(u64::MAX);
    match found.as_slice() {
        [] => Ok(Boundary::Last { rows: rest(tx, relation, after, rows).await? }),
        [_] => Ok(Boundary::Last { rows: slice }),
        [last, next, ..] => {
            let last = key(last, name)?;
            if last == key(next, name)? {
                return Err(SourceError::contract(name, ContractProblem::DuplicateKey));
            }
            Ok(Boundary::Next { rows: slice, last })
        }
    }
}

/// The last row of the slice, and the row after it.
pub(crate) fn boundary_statement(
    schema: &str,
    relation: &Relation,
    after: Option<&Key>,
    rows: i64,
) -> Result<Statement, SourceError> {
    let shape = Shape::new(schema, relation)?;
    let mut statement = Statement::new(format!(
        "SELECT {}, p.i FROM (SELECT {} FROM {} WHERE true",
        shape.outer_page_key(),
        shape.columns(),
        shape.from()
    ));
    if let Some(after) = after {
        shape.after(&mut statement, after);
    }
    let skip = statement.bind(rows - 1);
    statement.push(&format!(
        " ORDER BY {} OFFSET {skip} LIMIT 2) p ORDER BY {}",
        shape.order(),
        shape.outer_order()
    ));
    Ok(statement)
}

/// How many rows there are after the key, fewer than a whole slice.
async fn rest(
    tx: &mut ReadTransaction,
    relation: &Relation,
    after: Option<&Key>,
    rows: i64,
) -> Result<u64, SourceError> {
    let shape = Shape::new(&tx.schema, relation)?;
    let mut statement =
        Statement::new(format!("SELECT count(*) AS n FROM (SELECT FROM {} WHERE true", shape.from()));
    if let Some(after) = after {
        shape.after(&mut statement, after);
    }
    let limit = statement.bind(rows);
    statement.push(&format!(" LIMIT {limit}) p"));
    let row = tx.fetch_one(statement, Some(&relation.name)).await?;
    Ok(get::<i64>(&row, "n")?.unsigned_abs())
}

/// A null in the leading key column sorts after everything and compares with nothing: no slice would hold
/// the row.
async fn refuse_null_keys(tx: &mut ReadTransaction, relation: &Relation) -> Result<(), SourceError> {
    let shape = Shape::new(&tx.schema, relation)?;
    let statement = Statement::new(format!(
        "SELECT EXISTS (SELECT FROM {} WHERE {}) AS found",
        shape.from(),
        shape.leading_key_is_null()
    ));
    let row = tx.fetch_one(statement, Some(&relation.name)).await?;
    if get(&row, "found")? {
        return Err(SourceError::contract(&relation.name, ContractProblem::NullKey));
    }
    Ok(())
}

async fn count(
    tx: &mut ReadTransaction,
    relation: &Relation,
    patients: &[String],
    counts: &mut Vec<(String, u64)>,
) -> Result<(), SourceError> {
    let shape = Shape::new(&tx.schema, relation)?;
    let mut statement = Statement::default();
    let members = statement.bind(patients);
    statement.push(&format!(
        "SELECT m.n, c.found, c.lost
         FROM pg_catalog.unnest({members}::text[]) WITH ORDINALITY AS m(patient, n)
         CROSS JOIN LATERAL (SELECT count(*) AS found, count(*) FILTER (WHERE {}) AS lost
                             FROM {} WHERE r.patient_id = m.patient) c
         WHERE c.found > 0 ORDER BY m.n",
        shape.key_is_null(),
        shape.from()
    ));
    for row in tx.fetch_all(statement, Some(&relation.name)).await? {
        if get::<i64>(&row, "lost")? > 0 {
            return Err(SourceError::contract(&relation.name, ContractProblem::NullKey));
        }
        let place =
            usize::try_from(get::<i64>(&row, "n")?).ok().and_then(|n| patients.get(n.wrapping_sub(1)));
        let patient = place.ok_or_else(|| SourceError::unexpected("patient", Some(&relation.name)))?;
        counts.push((patient.clone(), get::<i64>(&row, "found")?.unsigned_abs()));
    }
    Ok(())
}

/// The key in the first two columns.
fn key(row: &PgRow, relation: &str) -> Result<Key, SourceError> {
    let text = |column: usize| {
        row.try_get::<Option<String>, _>(column)
            .map_err(|e| SourceError::from_sqlx(e, Some(relation)))?
            .ok_or_else(|| SourceError::contract(relation, ContractProblem::NullKey))
    };
    Ok(Key { page_key: text(0)?, id: text(1)? })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
