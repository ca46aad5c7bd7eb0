//! The statement of a page.
//!
//! The inner query finds the rows in index order and stops at the limit; the outer one measures each body, or
//! the columns of a mapped row together, and passes on only those that are short enough, so that an over-long
//! one never leaves the server. Answers begin with page key, id, patient, length, body, place of the patient in
//! the batch; the columns of a mapping follow. Its rows have a length only where it is too much.

use headgate_domain::template::{Column, ColumnType};

use crate::statement::{Shape, Statement};
use crate::{Content, Cursor, Key, SourceError, identifier, narrow, row_ids};

use super::{Member, Read, Scope};

pub(super) const PAGE_KEY: usize = 0;
pub(super) const ID: usize = 1;
pub(super) const PATIENT: usize = 2;
pub(super) const LENGTH: usize = 3;
pub(super) const BODY: usize = 4;
pub(super) const PLACE: usize = 5;
/// The first column of a mapping, see [`selected`].
pub(super) const FIRST_COLUMN: usize = 6;

/// How many patients one statement looks up: enough that patients without rows cost little, few enough that
/// the statement stays small.
const PATIENTS_PER_PAGE: usize = 500;

/// Which rows the page asks for.
pub(super) enum Span<'r> {
    /// Rows of the relation after a key.
    Keys { after: Option<Key>, upper: Option<&'r Key>, only_patient_rows: bool },
    /// Rows with these ids after a key.
    Ids { row_ids: Vec<String>, patients: Option<&'r [String]>, after: Option<Key> },
    /// One patient's rows after a key; `last` when no other patient follows.
    Patient { member: &'r Member, after: Key, last: bool },
    /// All rows of these patients; `last` when no other patient follows.
    Patients { members: &'r [Member], last: bool },
}

impl Span<'_> {
    /// The place of the row's patient in the batch.
    fn place(&self) -> &'static str {
        match self {
            Span::Keys { .. } | Span::Ids { .. } => "0::bigint",
            Span::Patient { .. } => "1::bigint",
            Span::Patients { .. } => "m.n",
        }
    }
}

/// Finds out where the page begins.
pub(super) fn span<'r>(read: &'r Read, cursor: Option<&Cursor>) -> Result<Span<'r>, SourceError> {
    match (&read.scope, cursor) {
        (Scope::All { lower, upper, only_patient_rows }, None | Some(Cursor::After(_))) => {
            let after = match cursor {
                Some(Cursor::After(key)) => Some(key.clone()),
                _ => lower.clone(),
            };
            Ok(Span::Keys { after, upper: upper.as_ref(), only_patient_rows: *only_patient_rows })
        }
        (Scope::Ids { ids, patients }, None | Some(Cursor::After(_))) => {
            let mut row_ids = row_ids::of(&read.relation, ids)?;
            let after = match cursor {
                Some(Cursor::After(key)) => Some(key.clone()),
                _ => None,
            };
            // Where the id is the whole key, what has been read need not be looked up again.
            if let (Some(after), None) = (&after, read.relation.page_key) {
                row_ids.retain(|id| *id > after.id);
            }
            Ok(Span::Ids { row_ids, patients: patients.as_deref(), after })
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
    let fields = Fields::new(&read.relation.content, &longest)?;
    let rows = fields.rows(&shape);
    statement.push(&format!(
        "SELECT {}, p.i, p.patient, {}, {}{} FROM ",
        shape.outer_page_key(),
        fields.measured,
        span.place(),
        fields.columns
    ));
    match span {
        Span::Keys { after, upper, only_patient_rows } => {
            statement.push(&format!("{rows} WHERE true"));
            if *only_patient_rows {
                statement.push(" AND r.patient_id IS NOT NULL");
            }
            if let Some(after) = after {
                shape.after(&mut statement, after);
            }
            if let Some(upper) = upper {
                shape.up_to(&mut statement, upper);
            }
            filter(&mut statement, read, Since::Applies)?;
            finish(&mut statement, &shape, &fields, &limit);
        }
        Span::Ids { row_ids, patients, after } => {
            let row_ids = statement.bind(row_ids);
            statement.push(&format!("{rows} WHERE r.id COLLATE \"C\" = ANY ({row_ids}::text[])"));
            if let Some(patients) = patients {
                let patients: Vec<&String> = patients.iter().filter(|id| row_ids::can_be_text(id)).collect();
                let patients = statement.bind(patients);
                statement
                    .push(&format!(" AND (r.patient_id IS NULL OR r.patient_id = ANY ({patients}::text[]))"));
            }
            if let Some(after) = after {
                shape.after(&mut statement, after);
            }
            filter(&mut statement, read, Since::Applies)?;
            finish(&mut statement, &shape, &fields, &limit);
        }
        Span::Patient { member, after, .. } => {
            let patient = statement.bind(member.patient_id.as_str());
            statement.push(&format!("{rows} WHERE r.patient_id = {patient}::text"));
            shape.after(&mut statement, after);
            filter(&mut statement, read, if member.full_history { Since::Ignored } else { Since::Applies })?;
            finish(&mut statement, &shape, &fields, &limit);
        }
        Span::Patients { members, .. } => {
            of_patients(&mut statement, read, members, &rows)?;
            statement.push(&format!(
                " ORDER BY {} LIMIT {limit}{} LIMIT {limit}",
                shape.order(),
                fields.close
            ));
        }
    }
    Ok(statement)
}

/// The rows of patients, looked up one after the other.
fn of_patients(
    statement: &mut Statement,
    read: &Read,
    members: &[Member],
    rows: &str,
) -> Result<(), SourceError> {
    let patients: Vec<&str> = members.iter().map(|m| m.patient_id.as_str()).collect();
    let full: Vec<bool> = members.iter().map(|m| m.full_history).collect();
    let patients = statement.bind(patients);
    let full = statement.bind(full);
    // No sort around the whole: it would read every row of the batch before the first came out. A
    // lateral subquery can only be joined by a nested loop, which keeps the order of its outer side;
    // the reader checks that it did.
    statement.push(&format!(
        "ROWS FROM (pg_catalog.unnest({patients}::text[]), pg_catalog.unnest({full}::bool[]))
              WITH ORDINALITY AS m(patient, full_history, n)
         CROSS JOIN LATERAL {rows} WHERE r.patient_id = m.patient"
    ));
    filter(statement, read, Since::Unless("m.full_history"))?;
    Ok(())
}

/// What is selected of a relation.
struct Fields {
    /// In the inner query, behind page key, id and patient.
    inner: String,
    /// Length and body, in the outer query.
    measured: String,
    /// The columns of a mapping, in the outer query.
    columns: String,
    /// Around the inner query.
    open: String,
    close: &'static str,
}

impl Fields {
    fn new(content: &Content, longest: &str) -> Result<Self, SourceError> {
        let columns = match content {
            Content::Mapped { columns, .. } => columns,
            Content::Ready(_) => {
                return Ok(Self {
                    inner: ", r.resource::text AS body".to_owned(),
                    measured: format!(
                        "octet_length(p.body)::bigint, CASE WHEN octet_length(p.body) <= {longest} THEN p.body END"
                    ),
                    columns: String::new(),
                    open: "(".to_owned(),
                    close: ") p",
                });
            }
        };
        let (mut inner, mut outer, mut lengths) = (String::new(), String::new(), Vec::new());
        for (i, column) in selected(columns).enumerate() {
            let name = identifier::quote(&column.name, "column")?;
            inner.push_str(&format!(", r.{name} AS c{i}"));
            match length(column.column_type, i) {
                None => outer.push_str(&format!(", p.c{i}")),
                Some(length) => {
                    outer.push_str(&format!(", CASE WHEN p.length <= {longest} THEN p.c{i} END"));
                    lengths.push(length);
                }
            }
        }
        let length = if lengths.is_empty() { "0::bigint".to_owned() } else { lengths.join(" + ") };
        Ok(Self {
            inner,
            measured: format!("CASE WHEN p.length > {longest} THEN p.length END, NULL::text"),
            columns: outer,
            // OFFSET 0: else the length would be computed once more for each column.
            open: format!("(SELECT q.*, {length} AS length FROM ("),
            close: ") q OFFSET 0) p",
        })
    }

    /// The inner query up to its `WHERE`.
    fn rows(&self, shape: &Shape) -> String {
        format!(
            "{}SELECT {}, r.patient_id::text AS patient{} FROM {}",
            self.open,
            shape.columns(),
            self.inner,
            shape.from()
        )
    }
}

/// The columns of a mapping that are selected for it alone: the others every answer has.
fn selected(columns: &[Column]) -> impl Iterator<Item = &Column> {
    columns.iter().filter(|column| !matches!(column.name.as_str(), "id" | "patient_id"))
}

/// How many bytes the column `c{i}` has, where that can be very many.
fn length(column_type: ColumnType, i: usize) -> Option<String> {
    match column_type {
        ColumnType::Text | ColumnType::Bytea => Some(format!("coalesce(octet_length(q.c{i}), 0)::bigint")),
        // Neither type tells its length but by being written out; this is the length as it is stored.
        ColumnType::Json | ColumnType::Jsonb => Some(format!("coalesce(pg_column_size(q.c{i}), 0)::bigint")),
        _ => None,
    }
}

/// Whether rows that have not changed are left out.
enum Since {
    Applies,
    /// Not where this condition is true.
    Unless(&'static str),
    Ignored,
}

/// What leaves out rows of the span: the bounds of time and the queries.
fn filter(statement: &mut Statement, read: &Read, apply: Since) -> Result<(), SourceError> {
    let unless = match apply {
        Since::Applies => Some(String::new()),
        Since::Unless(condition) => Some(format!("{condition} OR ")),
        Since::Ignored => None,
    };
    if let (Some(since), Some(unless)) = (read.since, unless) {
        let since = statement.bind(since);
        statement.push(&format!(" AND ({unless}r.last_updated > {since} OR r.last_updated IS NULL)"));
    }
    if let Some(until) = read.until {
        let until = statement.bind(until);
        statement.push(&format!(" AND (r.last_updated < {until} OR r.last_updated IS NULL)"));
    }
    narrow::push(statement, &read.relation, &read.narrow)
}

fn finish(statement: &mut Statement, shape: &Shape, fields: &Fields, limit: &str) {
    let (order, outer_order) = (shape.order(), shape.outer_order());
    statement.push(&format!(" ORDER BY {order} LIMIT {limit}{} ORDER BY {outer_order}", fields.close));
}
