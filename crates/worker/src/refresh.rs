//! The refresh step: what a practice's source has, written down for the API, which never connects to it.

mod matching;

use std::sync::Arc;

use headgate_store::RefreshLease;

use crate::acquire_loop::Ended;
use crate::context::Context;
use crate::mappings;
use crate::{Error, ask};

/// Groups of a source that are taken at most.
const GROUPS: u32 = 10_000;

/// Reads a practice's catalogue.
pub async fn run(context: Arc<Context>, lease: RefreshLease) -> Result<Ended, Error> {
    let binding = ask::control(context.store.source_binding(lease.practice)).await?;
    let binding = binding.ok_or(Error::NoPractice)?;
    let source = context.sources.get(&binding)?;
    let mappings = mappings::of(&context.store, context.config.source.mappings.as_deref(), &binding).await?;
    let catalog = ask::source("catalog", source.catalog(mappings.as_ref())).await?;
    for unusable in &catalog.unusable {
        tracing::warn!(practice = %lease.practice, relation = %unusable.relation, problem = %unusable.problem, "a relation cannot be used");
    }
    let groups = ask::source("groups", source.groups(&catalog, GROUPS)).await?;
    if groups.len() == GROUPS as usize {
        tracing::warn!(practice = %lease.practice, groups = GROUPS, "the source has more groups than are taken");
    }
    let groups: Vec<(String, u64)> = groups.into_iter().map(|g| (g.group_id, g.members)).collect();
    let stored =
        serde_json::to_value(&catalog).map_err(|source| Error::Stored { what: "catalog", source })?;
    ask::control(context.store.refreshed(&lease, &stored, &groups)).await?;
    // Only afterwards: many members, or a relation that is slow to look into, must not keep a practice from its exports.
    if let Err(error) = matching::run(&context, lease.practice, &source, &catalog).await {
        tracing::warn!(practice = %lease.practice, %error, "the members of groups could not be looked up");
    }
    Ok(Ended::Done)
}
