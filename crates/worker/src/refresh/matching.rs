//! How many members of each group the source knows, counted after the members changed: an id that nobody has exports
//! nothing, and whoever defined the group should hear of it.

use headgate_domain::{PracticeNumber, ResourceType};
use headgate_source::{Catalog, Source};
use headgate_store::{GroupToMatch, Matched};

use crate::context::Context;
use crate::{Error, ask};

/// Members that are looked up at a time.
const MEMBERS: u32 = 1000;

/// Counts for the groups whose members changed. A source without Patients knows nobody, and nothing is counted.
pub(super) async fn run(
    context: &Context,
    practice: PracticeNumber,
    source: &Source,
    catalog: &Catalog,
) -> Result<(), Error> {
    if catalog.relations_of(ResourceType::Patient).next().is_none() {
        return Ok(());
    }
    for group in ask::control(context.store.groups_to_match(practice)).await? {
        let matched = count(context, practice, source, catalog, &group).await?;
        ask::control(context.store.group_matched(practice, &group, matched)).await?;
    }
    Ok(())
}

async fn count(
    context: &Context,
    practice: PracticeNumber,
    source: &Source,
    catalog: &Catalog,
    group: &GroupToMatch,
) -> Result<Matched, Error> {
    let mut matched = Matched { known: 0, of: 0, at: group.now };
    let mut after: Option<String> = None;
    loop {
        let members = context.store.group_members_after(practice, &group.group_id, after.as_deref(), MEMBERS);
        let members = ask::control(members).await?;
        let mut known = std::collections::BTreeSet::new();
        for relation in catalog.relations_of(ResourceType::Patient) {
            let found = source.existing_patients(relation, None, &members);
            known.extend(ask::source("groups", found).await?);
        }
        matched.known += known.len() as u64;
        matched.of += members.len() as u64;
        if members.len() < MEMBERS as usize {
            return Ok(matched);
        }
        after = members.into_iter().next_back();
    }
}
