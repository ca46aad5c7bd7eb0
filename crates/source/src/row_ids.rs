//! Which rows can give a resource of a certain id.
//!
//! A finished resource has its row's id. A template's resource has the row's id and the template's suffix, so
//! there are as many candidates as the relation has suffixes that the id ends with. Whether a candidate does
//! give the resource, its template's condition says.

use std::collections::BTreeSet;

use crate::{Content, Relation, SourceError};

/// The ids of rows that may give resources with these ids, in byte order, each once.
pub(crate) fn of(relation: &Relation, ids: &[String]) -> Result<Vec<String>, SourceError> {
    let suffixes = match &relation.content {
        Content::Ready(_) => vec![String::new()],
        Content::Mapped { mapping, .. } => {
            let templates = mapping.templates().map_err(|problems| relation.mapping_error(&problems))?;
            let some = templates.iter().filter(|template| !template.is_never());
            some.map(|template| template.suffix().to_owned()).collect()
        }
    };
    let candidates = suffixes.iter().flat_map(|suffix| with_suffix(ids, suffix)).collect::<BTreeSet<_>>();
    Ok(candidates.into_iter().map(str::to_owned).collect())
}

/// The ids of rows of which a template with this suffix may make resources with these ids.
pub(crate) fn with_suffix<'i>(ids: &'i [String], suffix: &str) -> impl Iterator<Item = &'i str> {
    ids.iter().filter_map(move |id| id.strip_suffix(suffix)).filter(|id| can_be_text(id) && !id.is_empty())
}

/// Whether PostgreSQL has such a text. No row has an id that it has not; binding it would be an error.
pub(crate) fn can_be_text(id: &str) -> bool {
    !id.contains('\0')
}
