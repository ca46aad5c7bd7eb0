//! Whose resources an export reads by patient: the members of a group, of the control database or of the source, or
//! the patients that the request names, or both.

use std::collections::BTreeSet;

use headgate_domain::ResourceType;
use headgate_domain::request::Level;
use headgate_source::{Catalog, Marker, Source};
use headgate_store::{Member, Members, PlanState};

use crate::{Error, ask};

/// Members that are read from the source at a time.
const MEMBERS: u32 = 5000;

/// Finds the members, after the horizon was taken: who joins a group of the source later is stamped later.
pub(super) async fn members(
    source: &Source,
    catalog: &Catalog,
    marker: &Marker,
    state: &PlanState,
) -> Result<Members, Error> {
    match (&state.level, &state.patients) {
        (Level::Group(_), _) if state.own_group => Ok(Members::OfGroup),
        (Level::Group(group), patients) => {
            let named: Option<BTreeSet<&str>> =
                patients.as_ref().map(|patients| patients.iter().map(String::as_str).collect());
            let mut members = of_source(source, catalog, marker, group, state).await?;
            members.retain(|m| named.as_ref().is_none_or(|named| named.contains(m.patient_id.as_str())));
            Ok(Members::Listed(members))
        }
        (Level::Patient, Some(patients)) => {
            let mut known = BTreeSet::new();
            for relation in catalog.relations_of(ResourceType::Patient) {
                let found = source.existing_patients(relation, Some(marker), patients);
                known.extend(ask::source("plan", found).await?);
            }
            // Without Patients nothing says who is known: the rows of the other types will.
            let unknowable = catalog.relations_of(ResourceType::Patient).next().is_none();
            let member = |id: &String| {
                let former = !unknowable && !known.contains(id);
                // Of one who is there no more, what was deleted since is told.
                (!former || state.since.is_some()).then(|| Member {
                    patient_id: id.clone(),
                    full_history: false,
                    former,
                })
            };
            Ok(Members::Listed(patients.iter().filter_map(member).collect()))
        }
        (Level::Patient, None) | (Level::System, _) => Ok(Members::Everybody),
    }
}

/// The members of a group that the source defines.
async fn of_source(
    source: &Source,
    catalog: &Catalog,
    marker: &Marker,
    group: &str,
    state: &PlanState,
) -> Result<Vec<Member>, Error> {
    let mut members: Vec<Member> = Vec::new();
    loop {
        let after = members.last().map(|member| member.patient_id.as_str());
        let page = source.group_members(catalog, marker, group, state.since, after, MEMBERS);
        let page = ask::source("groups", page).await?;
        let last = page.len() < MEMBERS as usize;
        members.extend(page.into_iter().map(|member| Member {
            full_history: state.since.is_some() && member.since > state.since,
            former: member.until.is_some(),
            patient_id: member.patient_id,
        }));
        if last {
            return Ok(members);
        }
    }
}
