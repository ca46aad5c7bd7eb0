//! Reading a shard page by page.
//!
//! A page is one statement in one short transaction. Its rows are streamed: the caller pulls them one by one,
//! borrows each body from the driver's buffer, and so holds the database back as long as it is busy. Bodies
//! are bytes as the database holds them and are never parsed here.
//!
//! Three access paths:
//!
//! - **All patients**: keyset on `(page_key, id)` between the bounds of the shard.
//! - **Cohort**: keyset on `(patient_id, page_key, id)`. A page either goes on with one patient after its
//!   cursor, or begins with the patients after it, each looked up by a lateral subquery. A cursor in the
//!   middle of a patient thus never reads that patient's earlier rows again.
//! - **Ids**: the rows that can give these resources, in the order of the first path.
//!
//! Rows with `last_updated <= since` are left out. There is **no upper bound** of our own: a row that changed
//! after the horizon comes out in its newer version; a bound would drop it. `until` is the client's own bound.
//! A row without a stamp breaks the contract, and comes out rather than vanishes.
//!
//! Every row is checked to have a key and another key than the one before; in a cohort also to belong to the
//! patient that was asked for, and patients to come in order. A page that fails half-way is no loss: each row
//! carries its own cursor, so reading can go on after the last row that was taken.

mod columns;
mod page;
mod sql;

use std::fmt;

use chrono::{DateTime, Utc};
use headgate_domain::search::TypeFilter;

pub use columns::Columns;
pub use page::{Page, PageItem};

use crate::statement::Statement;
use crate::{Cursor, Key, Marker, ReadTransaction, Relation, Source, SourceError};

/// What a shard reads.
#[derive(Debug, Clone)]
pub struct Read {
    /// From which relation.
    pub relation: Relation,
    /// What the server must have seen; [`Source::begin`](crate::Source::begin) checks it.
    pub marker: Marker,
    /// Leave out rows that have not changed after this.
    pub since: Option<DateTime<Utc>>,
    /// Leave out rows that changed at this time or later: the bound of a client that asked for one.
    pub until: Option<DateTime<Utc>>,
    /// Leave out rows of which no resource can meet one of these queries; none: no resource is left out. They
    /// are not decided here: rows come out of which no resource does.
    pub narrow: Vec<TypeFilter>,
    /// Whose rows.
    pub scope: Scope,
}

/// Whose rows a shard reads.
#[derive(Clone)]
pub enum Scope {
    /// Everybody's, in a range of keys.
    All {
        /// Rows after this key; none: from the first.
        lower: Option<Key>,
        /// Rows up to and including this key; none: to the last.
        upper: Option<Key>,
        /// Only rows with a `patient_id`.
        only_patient_rows: bool,
    },
    /// Those of these patients, in the byte order of their ids, each once.
    Cohort {
        /// The patients.
        members: Vec<Member>,
    },
    /// Those of which resources with these ids may come, whatever their patients: what other resources refer
    /// to. A row that gives several resources comes out for any of them.
    Ids {
        /// Ids of resources, in any order.
        ids: Vec<String>,
        /// Only rows without a `patient_id` and those of these patients; none: everybody's.
        patients: Option<Vec<String>>,
    },
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All { lower, upper, only_patient_rows } => f
                .debug_struct("All")
                .field("lower", lower)
                .field("upper", upper)
                .field("only_patient_rows", only_patient_rows)
                .finish(),
            Self::Cohort { members } => write!(f, "Cohort({} members)", members.len()),
            Self::Ids { ids, .. } => write!(f, "Ids({} ids)", ids.len()),
        }
    }
}

/// A patient of a cohort.
#[derive(Clone, PartialEq, Eq)]
pub struct Member {
    /// The Patient's id.
    pub patient_id: String,
    /// Whether to ignore `since`: the patient joined the group after it.
    pub full_history: bool,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("full_history", &self.full_history).finish_non_exhaustive()
    }
}

/// A row, borrowed from the driver's buffer until the next is asked for.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    /// The resource's id, as the column says.
    pub id: &'a str,
    /// The page key as text; empty where the relation has none.
    pub page_key: &'a str,
    /// The owner; none for the practice's directory.
    pub patient_id: Option<&'a str>,
    /// The resource.
    pub body: Body<'a>,
    /// Whether the body is certain to be well-formed JSON.
    pub trusted: bool,
    /// Whether the row was read for one patient of a cohort, as [`Row::cursor`] must know.
    cohort: bool,
}

/// What a row has of its resource.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    /// JSON, or text that should be.
    Json(&'a [u8]),
    /// The values of the columns that templates make resources of.
    Columns(Columns<'a>),
    /// Longer than the configured limit: its length in bytes. It was not fetched.
    TooLong(u64),
    /// The column is null.
    Null,
}

impl Row<'_> {
    /// The place after this row.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let key = Key { page_key: self.page_key.to_owned(), id: self.id.to_owned() };
        match self.patient_id {
            Some(patient_id) if self.cohort => Cursor::Within { patient_id: patient_id.to_owned(), key },
            _ => Cursor::After(key),
        }
    }
}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Row(..)")
    }
}

impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(bytes) => write!(f, "Json({} bytes)", bytes.len()),
            Self::Columns(_) => f.write_str("Columns(..)"),
            Self::TooLong(bytes) => write!(f, "TooLong({bytes} bytes)"),
            Self::Null => f.write_str("Null"),
        }
    }
}

/// What comes after a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageEnd {
    /// There may be more: read on from here. The page may have had fewer rows than its limit, or none.
    More(Cursor),
    /// The shard has been read to its end.
    End,
}

impl ReadTransaction {
    /// Reads one page of at most `limit` rows, after the cursor or from the start of the shard.
    ///
    /// The transaction must have begun with the read's own marker. Take every item up to
    /// [`PageItem::End`], drop the page, then [`finish`](ReadTransaction::finish) the transaction.
    ///
    /// # Errors
    /// [`SourceError::Config`] for a limit of zero, a cursor of the other kind of scope, or a cohort that is
    /// not in order. What the database refuses appears when the first row is asked for.
    pub fn page<'t>(
        &'t mut self,
        read: &'t Read,
        cursor: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page<'t>, SourceError> {
        Page::start(self, read, cursor, limit)
    }
}

/// The statement of the first page of a scope, to be explained instead of run.
pub(crate) fn explain_statement(
    source: &Source,
    relation: &Relation,
    scope: Scope,
) -> Result<Statement, SourceError> {
    let marker = Marker { replica: false, lsn: String::new() };
    let read =
        Read { relation: relation.clone(), marker, since: None, until: None, narrow: Vec::new(), scope };
    let span = sql::span(&read, None)?;
    sql::statement(source.schema(), &read, &span, 1000, source.resource_bytes())
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
