//! Leaving out rows of which no resource can be what a client's queries (`_typeFilter`) want.
//!
//! The condition is necessary, not sufficient: the queries are decided on finished resources, and what SQL
//! cannot say of a row narrows nothing. It must not fail either, whatever stands in the rows: bodies that are
//! text, or `json`, which may hold what `jsonb` refuses, are never cast.
//!
//! - Finished resources in `jsonb`: paths, which an index on the column can serve.
//! - Finished resources in `text` and `json`: the codes and ids that are asked for must appear in the body.
//! - Plain columns: what the templates make of them, turned around
//!   ([`Template::narrow`](headgate_domain::template::Template::narrow)).
//!
//! Values beyond ASCII narrow nothing, because a database may be in an encoding that does not have them.

mod columns;
mod jsonb;
mod text;
mod wanted;

use headgate_domain::search::{Criterion, Kind, TypeFilter, Value};

use crate::statement::Statement;
use crate::{BodyKind, Content, Relation, SourceError, row_ids};

use wanted::Wanted;

/// ` AND …`, or nothing. Queries of other types do not count; of several one has to be met.
pub(crate) fn push(
    statement: &mut Statement,
    relation: &Relation,
    filters: &[TypeFilter],
) -> Result<(), SourceError> {
    let filters: Vec<&TypeFilter> =
        filters.iter().filter(|filter| filter.resource_type() == relation.resource_type).collect();
    if filters.is_empty() {
        return Ok(());
    }
    let wanted = match &relation.content {
        Content::Mapped { mapping, columns } => {
            let templates = mapping.templates().map_err(|problems| relation.mapping_error(&problems))?;
            columns::wanted(&templates, columns, &filters)?
        }
        Content::Ready(body) => {
            let body = *body;
            Wanted::any(filters.into_iter().map(|filter| {
                Wanted::all(filter.criteria().iter().map(|criterion| finished(body, criterion)))
            }))
        }
    };
    wanted.push_to(statement);
    Ok(())
}

/// What a criterion wants of a finished resource.
fn finished(body: BodyKind, criterion: &Criterion) -> Wanted {
    match (criterion.parameter.kind, body) {
        (Kind::Id, _) => {
            let ids = criterion.values.iter().filter_map(|value| match value {
                Value::Id(id) => Some(id.clone()),
                _ => None,
            });
            has_id(ids.collect())
        }
        (_, BodyKind::Jsonb) => jsonb::wanted(criterion),
        (_, BodyKind::Text | BodyKind::Json) => text::wanted(criterion),
    }
}

/// The row has one of these ids.
fn has_id(mut ids: Vec<String>) -> Wanted {
    ids.retain(|id| row_ids::can_be_text(id));
    Wanted::test("r.id COLLATE \"C\" = ANY (", wanted::Value::Texts(ids), ")")
}

#[cfg(test)]
#[path = "narrow_tests.rs"]
mod tests;
