//! The statement of a page.
//!
//! The inner query finds the rows in index order and stops at the limit; the outer one measures each body and
//! passes on only those that are short enough, so that an over-long one never leaves the server. Columns:
//! page key, id, patient, length, body, place of the patient in the batch.

use crate::statement::{Shape, Statement};
use crate::{Cursor, Key, SourceError};

use super::{Member, Read, Scope};

/// How many patients one statement looks up: enough that patients without rows cost little, few enough that
/// the statement stays small.
const PATIENTS_PER_PAGE: usize = 500;

/// Which rows the page asks for.
pub(super) enum Span<'r> {
    /// Rows of the relation after a key.
    Keys { after: Option<Key>, upper: Option<&'r Key>, only_patient_rows: bool },
    /// One patient's rows after a key; `last` when no other patient follows.
    Patient { member: &'r Member, after: Key, last: bool },
    /// All rows of these patients; `last` when no other patient follows.
    Patients { members: &'r [Member], last: bool },
}

/// Finds out where the page begins.
pub(super) fn span<'r>(scope: &'r Scope, cursor: Option<&Cursor>) -> Result<Span<'r>, SourceError> {
    match (scope, cursor) {
        (Scope::All { lower, upper, only_patient_rows }, None | Some(Cursor::After(_))) => {
            let after = match cursor {
                Some(Cursor::After(key)) => Some(key.clone()),
                _ => lower.clone(),
            };
            Ok(Span::Keys { after, upper: upper.as_ref(), only_patient_rows: *only_patient_rows })
        }
        (Scope::Cohort { members }, None) => Ok(batch(in_order(members)?)),
        (Scope::Cohort { members }, Some(Cursor::Beyond { patient_id })) => {
            let members = in_order(members)?;
            Ok(batch(&members[members.partition_point(|m| m.patient_id <= *patient_id)..]))
        }
        (Scope::Cohort { members }, Some(Cursor::Within { patient_id, key })) => {
            let members = in_order(members)?;
            let place = members.binary_search_by(|m| m.patient_id.as_str().cmp(patient_id));
            let place =
                place.map_err(|_| SourceError::Config("the cursor's patient is not in the cohort"))?;
            Ok(Span::Patient {
                member: &members[place],
                after: key.clone(),
                last: place + 1 == members.len(),
            })
        }
        _ => Err(SourceError::Config("the cursor belongs to another kind of scope")),
    }
}

fn batch(members: &[Member]) -> Span<'_> {
    let end = members.len().min(PATIENTS_PER_PAGE);
    Span::Patients { members: &members[..end], last: end == members.len() }
}

fn in_order(members: &[Member]) -> Result<&[Member], SourceError> {
    if members.windows(2).all(|pair| pair[0].patient_id < pair[1].patient_id) {
        Ok(members)
    } else {
        Err(SourceError::Config("the members of a cohort must be in byte order, each once"))
    }
}

/// Builds the statement.
pub(super) fn statement(
    schema: &str,
    read: &Read,
    span: &Span<'_>,
    limit: u32,
    resource_bytes: i32,
) -> Result<Statement, SourceError> {
    let shape = Shape::new(schema, &read.relation)?;
    let mut statement = Statement::default();
    let longest = statement.bind(resource_bytes);
    let limit = statement.bind(i64::from(limit));
    statement.push(&format!(
        "SELECT {}, p.i, p.patient, octet_length(p.body),
                CASE WHEN octet_length(p.body) <= {longest} THEN p.body END, ",
        shape.outer_page_key()
    ));
    match span {
        Span::Keys { after, upper, only_patient_rows } => {
            statement.push(&format!("0::bigint FROM ({} WHERE true", rows(&shape)));
            if *only_patient_rows {
                statement.push(" AND r.patient_id IS NOT NULL");
            }
            if let Some(after) = after {
                shape.after(&mut statement, after);
            }
            if let Some(upper) = upper {
                shape.up_to(&mut statement, upper);
            }
            changed_after(&mut statement, read, None);
            finish(&mut statement, &shape, &limit);
        }
        Span::Patient { member, after, .. } => {
            let patient = statement.bind(member.patient_id.as_str());
            statement.push(&format!("1::bigint FROM ({} WHERE r.patient_id = {patient}::text", rows(&shape)));
            shape.after(&mut statement, after);
            if !member.full_history {
                changed_after(&mut statement, read, None);
            }
            finish(&mut statement, &shape, &limit);
        }
        Span::Patients { members, .. } => {
            let patients: Vec<&str> = members.iter().map(|m| m.patient_id.as_str()).collect();
            let full: Vec<bool> = members.iter().map(|m| m.full_history).collect();
            let patients = statement.bind(patients);
            let full = statement.bind(full);
            // No sort around the whole: it would read every row of the batch before the first came out. A
            // lateral subquery can only be joined by a nested loop, which keeps the order of its outer side;
            // the reader checks that it did.
            statement.push(&format!(
                "m.n FROM ROWS FROM (pg_catalog.unnest({patients}::text[]), pg_catalog.unnest({full}::bool[]))
                      WITH ORDINALITY AS m(patient, full_history, n)
                 CROSS JOIN LATERAL ({} WHERE r.patient_id = m.patient",
                rows(&shape)
            ));
            changed_after(&mut statement, read, Some("m.full_history"));
            statement.push(&format!(" ORDER BY {} LIMIT {limit}) p LIMIT {limit}", shape.order()));
        }
    }
    Ok(statement)
}

/// The inner query up to its `WHERE`.
fn rows(shape: &Shape) -> String {
    format!(
        "SELECT {}, r.patient_id::text AS patient, r.resource::text AS body FROM {}",
        shape.columns(),
        shape.from()
    )
}

fn changed_after(statement: &mut Statement, read: &Read, unless: Option<&str>) {
    let Some(since) = read.since else { return };
    let since = statement.bind(since);
    let unless = unless.map(|condition| format!("{condition} OR ")).unwrap_or_default();
    statement.push(&format!(" AND ({unless}r.last_updated > {since} OR r.last_updated IS NULL)"));
}

fn finish(statement: &mut Statement, shape: &Shape, limit: &str) {
    statement.push(&format!(" ORDER BY {} LIMIT {limit}) p ORDER BY {}", shape.order(), shape.outer_order()));
}
