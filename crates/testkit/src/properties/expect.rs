//! What an export must hold: the rules of the guide and of this server, over a list of all resources.

use std::collections::{BTreeSet, HashMap, HashSet};

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::ask::{Ask, Associated, Case, Verdict};
use super::data::{Data, Resource};
use super::sites::{Client, Site};
use crate::Level;
use crate::oracle::search::Range;

/// Types whose rows belong to the practice.
pub const DIRECTORY: [&str; 5] =
    ["Location", "Medication", "Organization", "Practitioner", "PractitionerRole"];

type Key<'a> = (&'a str, &'a str);

/// What must come of a request.
#[derive(Debug)]
pub enum Expected<'a> {
    /// A refusal.
    Refused(String),
    /// An export with at least and at most these resources, which are the same but where said otherwise.
    Export {
        /// What must be there.
        least: HashSet<Key<'a>>,
        /// What may be there.
        most: HashSet<Key<'a>>,
    },
    /// A refusal, or an export of some of these.
    Either(HashSet<Key<'a>>),
}

/// Decides about a case.
///
/// # Errors
/// When the oracle cannot read a filter.
pub fn expected<'a>(site: &'a Site, case: &Case) -> Result<Expected<'a>> {
    let client = &site.clients[case.client];
    if let Verdict::Refused(why) = case.verdict {
        return Ok(Expected::Refused(why.to_owned()));
    }
    let authority = types(&case.ask, client, &site.data).and_then(|types| {
        let window = case.ask.since.zip(case.ask.until);
        if case.verdict == Verdict::AsMeant && window.is_some_and(|(since, until)| until <= since) {
            return Err("_until is not after _since".to_owned());
        }
        covered(&case.ask.level, client, site).map(|()| types)
    });
    let types = match authority {
        Ok(types) => types,
        Err(why) => return Ok(Expected::Refused(why)),
    };
    if case.verdict == Verdict::Open {
        // A garbled request may restrict in ways that nobody can tell, but never widen.
        let ask = Ask { filters: Vec::new(), since: None, until: None, provenance: None, ..case.ask.clone() };
        let all = Selection::new(&ask, site, &types).selected()?;
        return Ok(Expected::Either(keys(&all)));
    }
    let selection = Selection::new(&case.ask, site, &types);
    let mut all = selection.selected()?;
    let Some(wanted) = case.ask.provenance.filter(|_| types.contains("Provenance")) else {
        selection.by_reference(&mut all);
        let all = keys(&all);
        return Ok(Expected::Export { least: all.clone(), most: all });
    };
    all.retain(|resource| resource.resource_type != "Provenance");
    selection.by_reference(&mut all);
    let (latest, relevant) = selection.associated(&all)?;
    let rest = keys(&all);
    let with = |more: HashSet<Key<'a>>| rest.iter().copied().chain(more).collect();
    let (least, most) = match wanted {
        Associated::Latest => (with(latest), with(relevant)),
        Associated::Relevant => (with(relevant.clone()), with(relevant)),
    };
    Ok(Expected::Export { least, most })
}

fn keys<'a>(resources: &[&'a Resource]) -> HashSet<Key<'a>> {
    resources.iter().map(|r| (r.resource_type.as_str(), r.id.as_str())).collect()
}

/// The types of the export: those that were asked for, out of what the client may read and the source has.
fn types(ask: &Ask, client: &Client, data: &Data) -> Result<BTreeSet<String>, String> {
    let of_source = data.in_source().iter();
    let readable: BTreeSet<String> = of_source.filter(|t| client.may_read(t)).cloned().collect();
    let mut types = match &ask.types {
        None if readable.is_empty() => return Err("nothing is shared".to_owned()),
        None => readable,
        Some(asked) => {
            let beyond = asked.iter().find(|t| !readable.contains(*t)).filter(|_| !ask.lenient);
            if let Some(t) = beyond {
                return Err(format!("{t} is beyond the client's scopes or not in the source"));
            }
            asked.intersection(&readable).cloned().collect()
        }
    };
    types.retain(|t| !ask.unreadable.contains(t) || ask.filters.iter().any(|f| f.resource_type == *t));
    Ok(types)
}

/// Whether the client may export at this level.
fn covered(level: &Level, client: &Client, site: &Site) -> Result<(), String> {
    match (level, &client.groups) {
        (Level::Group(id), _) if !site.groups.contains_key(id) => Err("there is no such group".to_owned()),
        (Level::Group(id), Some(groups)) if !groups.contains(id) => {
            Err("the consent does not cover the group".to_owned())
        }
        (Level::System | Level::Patient, Some(_)) => Err("the consent covers groups only".to_owned()),
        _ => Ok(()),
    }
}

struct Selection<'a, 'b> {
    ask: &'b Ask,
    data: &'a Data,
    types: &'b BTreeSet<String>,
    /// The patients, and since when each is a member; none: everybody.
    members: Option<HashMap<&'a str, Option<DateTime<Utc>>>>,
}

impl<'a, 'b> Selection<'a, 'b> {
    fn new(ask: &'b Ask, site: &'a Site, types: &'b BTreeSet<String>) -> Self {
        let mut members: Option<HashMap<&'a str, Option<DateTime<Utc>>>> = match &ask.level {
            Level::System => None,
            Level::Patient => {
                ask.patients.as_ref().map(|_| site.data.patients().into_iter().map(|id| (id, None)).collect())
            }
            Level::Group(id) => {
                let members = site.groups.get(id).map(Vec::as_slice).unwrap_or_default();
                Some(members.iter().map(|(patient, since)| (patient.as_str(), Some(*since))).collect())
            }
        };
        if let (Some(members), Some(named)) = (&mut members, &ask.patients) {
            members.retain(|patient, _| named.contains(*patient));
        }
        Self { ask, data: &site.data, types, members }
    }

    /// What the request selects, Provenance as a type like any other.
    fn selected(&self) -> Result<Vec<&'a Resource>> {
        let mut selected = Vec::new();
        for resource in self.types.iter().flat_map(|t| self.data.of(t)) {
            if self.is_in_reach(resource) && self.is_in_time(resource) && self.passes(resource)? {
                selected.push(resource);
            }
        }
        Ok(selected)
    }

    /// Whether Medication is exported where something exported refers to it, whenever it changed: where an export is
    /// about chosen patients, and of types that prescribe.
    fn refers(&self) -> bool {
        self.members.is_some()
            && ["MedicationRequest", "MedicationDispense"].iter().any(|t| self.types.contains(*t))
    }

    /// Replaces the Medication of a selection by what the rest of it refers to.
    fn by_reference(&self, selected: &mut Vec<&'a Resource>) {
        if self.refers() {
            let mut referred_to = HashSet::new();
            selected.iter().for_each(|resource| references(&resource.body, &mut referred_to));
            // With `_since`, what changed comes although nothing that refers to it did.
            let changed = |resource: &Resource| {
                self.ask.since.is_some_and(|since| resource.stamp > since)
                    && self.ask.until.is_none_or(|until| resource.stamp < until)
            };
            selected.retain(|resource| {
                resource.resource_type != "Medication"
                    || referred_to.contains(&format!("Medication/{}", resource.id))
                    || changed(resource)
            });
        }
    }

    /// Whether level, group and patients let it through.
    fn is_in_reach(&self, resource: &Resource) -> bool {
        if DIRECTORY.contains(&resource.resource_type.as_str()) {
            return true;
        }
        match (&self.members, &resource.owner) {
            (Some(members), Some(owner)) => members.contains_key(owner.as_str()),
            (Some(_), None) => false,
            (None, owner) => self.ask.level == Level::System || owner.is_some(),
        }
    }

    /// Whether it changed between `_since` and `_until`. Of who joined after `_since`, everything is new.
    fn is_in_time(&self, resource: &Resource) -> bool {
        if resource.resource_type == "Medication" && self.refers() {
            return true;
        }
        let owner = resource.owner.as_deref();
        let joined = self.members.as_ref().zip(owner).and_then(|(members, owner)| *members.get(owner)?);
        let directory = DIRECTORY.contains(&resource.resource_type.as_str());
        let after = self.ask.since.is_none_or(|since| {
            resource.stamp > since || (!directory && joined.is_some_and(|joined| joined > since))
        });
        after && self.ask.until.is_none_or(|until| resource.stamp < until)
    }

    /// Whether a filter of its type, if there is one, lets it through.
    fn passes(&self, resource: &Resource) -> Result<bool> {
        let mut of_type = self
            .ask
            .filters
            .iter()
            .filter(|filter| filter.resource_type == resource.resource_type)
            .peekable();
        if of_type.peek().is_none() {
            return Ok(true);
        }
        for filter in of_type {
            if filter.matches(&resource.body)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Provenance about what is exported: the latest about each, and all of it.
    fn associated(&self, exported: &[&'a Resource]) -> Result<(HashSet<Key<'a>>, HashSet<Key<'a>>)> {
        let exported: HashSet<Key<'a>> =
            exported.iter().map(|r| (r.resource_type.as_str(), r.id.as_str())).collect();
        let (mut relevant, mut last) = (HashSet::new(), HashMap::<Key<'a>, (DateTime<Utc>, Key<'a>)>::new());
        for resource in self.data.of("Provenance") {
            if !self.is_in_reach(resource) {
                continue;
            }
            let passes = self.passes(resource)?;
            let key = (resource.resource_type.as_str(), resource.id.as_str());
            let recorded =
                resource.body["recorded"].as_str().and_then(Range::of_text).and_then(|r| r.begin());
            let references = resource.body["target"].as_array().into_iter().flatten();
            for target in references.filter_map(|target| target["reference"].as_str()?.split_once('/')) {
                let Some(target) = exported.get(&target) else { continue };
                if passes {
                    relevant.insert(key);
                }
                let recorded = recorded.unwrap_or(DateTime::<Utc>::MIN_UTC);
                let newest = last.entry(*target).or_insert((recorded, key));
                if recorded > newest.0 {
                    *newest = (recorded, key);
                }
            }
        }
        let latest = last.into_values().map(|(_, key)| key).filter(|key| relevant.contains(key)).collect();
        Ok((latest, relevant))
    }
}

/// The literal references anywhere in a resource.
fn references(value: &Value, into: &mut HashSet<String>) {
    match value {
        Value::Object(members) => {
            into.extend(members.get("reference").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| references(member, into));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, into)),
        _ => {}
    }
}
