//! Taking the rows of a page, one by one.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;
use sqlx::postgres::PgRow;
use sqlx::{Row as _, ValueRef as _};

use crate::transaction::answer;
use crate::{Content, ContractProblem, Cursor, Key, ReadTransaction, SourceError};

use super::columns::{Columns, Layout};
use super::sql::{self, BODY, ID, LENGTH, PAGE_KEY, PATIENT, PLACE, Span};
use super::{Body, Member, PageEnd, Read, Row};

/// A page being read. Dropped before its end, it costs the connection but loses nothing.
pub struct Page<'t> {
    rows: BoxStream<'t, Result<PgRow, sqlx::Error>>,
    relation: &'t str,
    trusted: bool,
    /// For a relation whose resources are made by templates.
    layout: Option<Layout>,
    patience: Duration,
    limit: u32,
    taken: u32,
    drained: bool,
    after: After<'t>,
    current: Option<PgRow>,
    /// Key of the row before, and its patient's place in the batch.
    previous: Option<(Key, usize)>,
}

/// What the page knows of its span, to tell what comes after it.
enum After<'t> {
    Keys,
    Patients { members: &'t [Member], last: bool },
}

/// What a page gives.
#[derive(Debug)]
pub enum PageItem<'a> {
    /// A row.
    Row(Row<'a>),
    /// The end of the page; asking again gives it again.
    End(PageEnd),
}

impl<'t> Page<'t> {
    pub(super) fn start(
        tx: &'t mut ReadTransaction,
        read: &'t Read,
        cursor: Option<&Cursor>,
        limit: u32,
    ) -> Result<Self, SourceError> {
        if limit == 0 {
            return Err(SourceError::Config("a page must have at least one row"));
        }
        let span = sql::span(read, cursor)?;
        let statement = sql::statement(&tx.schema, read, &span, limit, tx.resource_bytes)?;
        let after = match span {
            Span::Keys { .. } | Span::Ids { .. } => After::Keys,
            Span::Patient { member, last, .. } => {
                After::Patients { members: std::slice::from_ref(member), last }
            }
            Span::Patients { members, last } => After::Patients { members, last },
        };
        let (sql, arguments) = statement.into_parts();
        let rows = sqlx::query_with(sql, arguments).fetch(&mut *tx.connection);
        Ok(Self {
            rows,
            relation: &read.relation.name,
            trusted: read.relation.trusted,
            layout: match &read.relation.content {
                Content::Ready(_) => None,
                Content::Mapped { columns, .. } => Some(Layout::new(columns)),
            },
            patience: tx.patience,
            limit,
            taken: 0,
            drained: false,
            after,
            current: None,
            previous: None,
        })
    }

    /// The next row, or the end of the page. The row is borrowed until the next call.
    ///
    /// # Errors
    /// Those of the database, and [`SourceError::Contract`]. After an error the page is of no more use;
    /// rows already taken are good.
    pub async fn next(&mut self) -> Result<PageItem<'_>, SourceError> {
        if !self.drained {
            self.current = answer(self.patience, Some(self.relation), self.rows.try_next()).await?;
        }
        let Some(current) = &self.current else {
            self.drained = true;
            return Ok(PageItem::End(self.end()));
        };
        let cohort = matches!(self.after, After::Patients { .. });
        let row = decode(current, self.relation, self.layout.as_ref(), self.trusted, cohort)?;
        let place = self.after.place_of(&row, current, self.relation)?;
        remember(&mut self.previous, &row, place, self.relation)?;
        self.taken += 1;
        Ok(PageItem::Row(row))
    }

    fn end(&self) -> PageEnd {
        let full = self.taken >= self.limit;
        match (&self.after, &self.previous) {
            (After::Keys, Some((key, _))) if full => PageEnd::More(Cursor::After(key.clone())),
            (After::Keys, _) => PageEnd::End,
            (After::Patients { members, .. }, Some((key, place))) if full => PageEnd::More(Cursor::Within {
                patient_id: members[*place].patient_id.clone(),
                key: key.clone(),
            }),
            (After::Patients { members, last: false }, _) => match members.last() {
                Some(member) => PageEnd::More(Cursor::Beyond { patient_id: member.patient_id.clone() }),
                None => PageEnd::End,
            },
            (After::Patients { last: true, .. }, _) => PageEnd::End,
        }
    }
}

impl After<'_> {
    /// The place of the row's patient in the batch; 0 where there is none.
    fn place_of(&self, row: &Row<'_>, raw: &PgRow, relation: &str) -> Result<usize, SourceError> {
        let Self::Patients { members, .. } = self else { return Ok(0) };
        let ordinal: i64 = raw.try_get(PLACE).map_err(|e| SourceError::from_sqlx(e, Some(relation)))?;
        let place = usize::try_from(ordinal - 1).ok().filter(|place| *place < members.len());
        let place = place.ok_or_else(|| SourceError::unexpected("patient", Some(relation)))?;
        if row.patient_id != Some(members[place].patient_id.as_str()) {
            return Err(SourceError::contract(relation, ContractProblem::ForeignRow));
        }
        Ok(place)
    }
}

/// The row's columns, borrowed.
fn decode<'a>(
    row: &'a PgRow,
    relation: &str,
    layout: Option<&'a Layout>,
    trusted: bool,
    cohort: bool,
) -> Result<Row<'a>, SourceError> {
    let bytes = |column: usize| -> Result<Option<&'a [u8]>, SourceError> {
        let value = row.try_get_raw(column).map_err(|e| SourceError::from_sqlx(e, Some(relation)))?;
        if value.is_null() {
            return Ok(None);
        }
        value.as_bytes().map(Some).map_err(|_| SourceError::unexpected("value", Some(relation)))
    };
    let text = |column: usize| -> Result<Option<&'a str>, SourceError> {
        let utf8 = |bytes| std::str::from_utf8(bytes);
        bytes(column)?.map(utf8).transpose().map_err(|_| SourceError::unexpected("encoding", Some(relation)))
    };
    let (Some(page_key), Some(id)) = (text(PAGE_KEY)?, text(ID)?) else {
        return Err(SourceError::contract(relation, ContractProblem::NullKey));
    };
    let length: Option<i64> = row.try_get(LENGTH).map_err(|e| SourceError::from_sqlx(e, Some(relation)))?;
    let body = match (layout, length) {
        (Some(layout), None) => Body::Columns(Columns { row, layout }),
        (Some(_), Some(length)) => Body::TooLong(length.unsigned_abs()),
        (None, length) => match (bytes(BODY)?, length) {
            (Some(json), _) => Body::Json(json),
            (None, Some(length)) => Body::TooLong(length.unsigned_abs()),
            (None, None) => Body::Null,
        },
    };
    Ok(Row { id, page_key, patient_id: text(PATIENT)?, body, trusted, cohort })
}

/// Compares the row with the one before and takes its place. Equal keys stand next to each other, whatever
/// the order; that the order itself is right is the database's work.
fn remember(
    previous: &mut Option<(Key, usize)>,
    row: &Row<'_>,
    place: usize,
    relation: &str,
) -> Result<(), SourceError> {
    let Some((key, last_place)) = previous else {
        *previous = Some((Key { page_key: row.page_key.to_owned(), id: row.id.to_owned() }, place));
        return Ok(());
    };
    if place < *last_place {
        return Err(SourceError::contract(relation, ContractProblem::Disorder));
    }
    if place == *last_place && key.id == row.id && key.page_key == row.page_key {
        return Err(SourceError::contract(relation, ContractProblem::DuplicateKey));
    }
    key.page_key.replace_range(.., row.page_key);
    key.id.replace_range(.., row.id);
    *last_place = place;
    Ok(())
}
