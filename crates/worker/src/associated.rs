//! Provenance as associated data (Bulk Data IG, includeAssociatedData): resources that are about what the export
//! holds, whenever they were recorded.
//!
//! A Provenance names its targets, and whether a target is in the export can depend on `_since`, `_until` and filters.
//! So before a page of Provenance is framed it is read once ahead: its targets are looked up by id, under the same
//! conditions as in their own streams. Without conditions on a type nothing is looked up: all of it is exported.
//!
//! *Latest* keeps, of the Provenance about a target, the one that was recorded last. To know it, all Provenance of
//! the page's patients is read, each patient once as long as that can be remembered. What belongs to no patient has no
//! such company, and is exported as far as it is relevant.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use headgate_domain::request::{AssociatedProvenance, Selection};
use headgate_domain::template::Program;
use headgate_domain::{ResourceType, instant};
use headgate_source::{Cursor, Member, PageEnd, PageItem, Read, Relation, Scope, Source, SourceError};
use headgate_store::{ShardLease, Store};
use serde::Deserialize;

use crate::line::each_line;
use crate::read::stored;
use crate::references;
use crate::select::Select;
use crate::{Error, ask};

/// Targets that are looked up by one read.
const TARGETS: usize = 500;

/// Targets of which the latest Provenance is remembered: some tens of megabytes.
const REMEMBERED: usize = 200_000;

/// Rows of a page where all Provenance of some patients is read.
const ROWS: u32 = 1000;

type Target = (ResourceType, String);

/// What decides whether a Provenance is about the export.
#[derive(Debug)]
pub struct Associated {
    latest: bool,
    types: BTreeSet<ResourceType>,
    since: Option<DateTime<Utc>>,
    selection: Selection,
    /// The streams of the export's types.
    streams: Vec<Stream>,
    /// The members of the shard, where it is read by members.
    members: Option<Vec<Member>>,
    programs: Vec<Program>,
    /// The targets that were looked up for the page, and which of them are in the export.
    looked_up: HashSet<Target>,
    found: HashSet<Target>,
    /// Types of which what is referred to is exported: their resources are taken for exported.
    by_reference: Vec<ResourceType>,
    /// URLs of the practice's own resources begin with this.
    base_url: String,
    /// When the last Provenance about a target was recorded, for the targets of these patients.
    last: HashMap<Target, Option<DateTime<Utc>>>,
    patients: BTreeSet<String>,
}

#[derive(Debug)]
struct Stream {
    relation: Relation,
    programs: Vec<Program>,
}

/// What is needed of a Provenance.
#[derive(Deserialize)]
struct Provenance {
    #[serde(default)]
    recorded: Option<String>,
    #[serde(default)]
    target: Vec<serde_json::Value>,
}

impl Associated {
    /// For a shard of Provenance of an export that asks for it as associated data; else none.
    pub async fn of(
        store: &Store,
        lease: &ShardLease,
        read: &Read,
        base_url: &str,
    ) -> Result<Option<Self>, Error> {
        let wanted =
            lease.selection.provenance.filter(|_| read.relation.resource_type == ResourceType::Provenance);
        let Some(wanted) = wanted else { return Ok(None) };
        let members = match &read.scope {
            Scope::Cohort { members } => Some(members.clone()),
            Scope::All { .. } | Scope::Ids { .. } => None,
        };
        let mut streams = Vec::new();
        let stored_streams = store.stream_relations(lease.practice, &lease.export);
        for (_, relation) in ask::control(stored_streams).await? {
            let relation: Relation = stored(&relation, "relation")?;
            streams.push(Stream { programs: relation.programs()?, relation });
        }
        Ok(Some(Self {
            latest: wanted == AssociatedProvenance::Latest,
            types: lease.types.iter().copied().collect(),
            since: lease.since,
            selection: lease.selection.clone(),
            streams,
            members,
            programs: read.relation.programs()?,
            looked_up: HashSet::new(),
            found: HashSet::new(),
            by_reference: lease.by_reference.iter().filter_map(|of| of.resource_type()).collect(),
            base_url: base_url.to_owned(),
            last: HashMap::new(),
            patients: BTreeSet::new(),
        }))
    }

    /// Looks at the next page before it is framed.
    pub async fn look_ahead(
        &mut self,
        source: &Source,
        read: &Read,
        cursor: Option<&Cursor>,
        limit: u32,
    ) -> Result<(), SourceError> {
        self.looked_up.clear();
        self.found.clear();
        if self.last.len() > REMEMBERED {
            self.last.clear();
            self.patients.clear();
        }
        let (mut targets, mut patients) = (HashSet::new(), BTreeSet::new());
        let (programs, base) = (&self.programs, self.base_url.as_str());
        page(source, read, cursor, limit, |row| {
            patients.extend(row.patient_id.map(str::to_owned));
            each_line(row, read.relation.resource_type, programs, |_, line| {
                targets.extend(provenance(line, base).into_iter().flat_map(|(_, targets)| targets));
            });
        })
        .await?;
        for t in targets.iter().map(|(t, _)| *t).collect::<BTreeSet<_>>() {
            if self.types.contains(&t) && self.is_conditional(t) {
                let ids: Vec<String> =
                    targets.iter().filter(|target| target.0 == t).map(|target| target.1.clone()).collect();
                for ids in ids.chunks(TARGETS) {
                    self.look_up(source, read, t, ids).await?;
                }
            }
        }
        self.looked_up = targets;
        let new: BTreeSet<String> = patients.difference(&self.patients).cloned().collect();
        if !self.latest || new.is_empty() {
            return Ok(());
        }
        self.find_last(source, read, &new).await?;
        self.patients.extend(new);
        Ok(())
    }

    /// Whether not all resources of the type are exported.
    fn is_conditional(&self, t: ResourceType) -> bool {
        !self.by_reference.contains(&t)
            && (self.since.is_some()
                || self.selection.until.is_some()
                || self.selection.type_filters.of(t).next().is_some())
    }

    /// Finds out which of these resources are exported.
    async fn look_up(
        &mut self,
        source: &Source,
        read: &Read,
        t: ResourceType,
        ids: &[String],
    ) -> Result<(), SourceError> {
        let members = self.members.as_ref().filter(|_| t.is_patient_owned());
        let names = |members: Vec<&Member>| members.into_iter().map(|m| m.patient_id.clone()).collect();
        let everybody: Option<Vec<String>> = members.map(|members| names(members.iter().collect()));
        let mut reads = vec![(self.since, everybody)];
        // Of these patients everything is exported, whenever it changed.
        let new: Vec<&Member> = members.into_iter().flatten().filter(|m| m.full_history).collect();
        if self.since.is_some() && !new.is_empty() {
            reads.push((None, Some(names(new))));
        }
        for stream in self.streams.iter().filter(|stream| stream.relation.resource_type == t) {
            for (since, patients) in &reads {
                let ask = Read {
                    relation: stream.relation.clone(),
                    marker: read.marker.clone(),
                    since: *since,
                    until: self.selection.until,
                    narrow: self.selection.type_filters.of(t).cloned().collect(),
                    scope: Scope::Ids { ids: ids.to_vec(), patients: patients.clone() },
                };
                let only_filters =
                    Selection { type_filters: self.selection.type_filters.clone(), ..Selection::default() };
                let mut select = Select::new(t, &only_filters, Some(ids));
                let found = &mut self.found;
                all(source, &ask, |row| {
                    each_line(row, t, &stream.programs, |suffix, line| {
                        if matches!(select.take(row.id, suffix, line), Ok(Some(_))) {
                            found.insert((t, format!("{}{suffix}", row.id)));
                        }
                    });
                })
                .await?;
            }
        }
        Ok(())
    }

    /// Finds out when the last Provenance about each target of these patients was recorded.
    async fn find_last(
        &mut self,
        source: &Source,
        read: &Read,
        patients: &BTreeSet<String>,
    ) -> Result<(), SourceError> {
        let member = |id: &String| Member { patient_id: id.clone(), full_history: true };
        let scope = Scope::Cohort { members: patients.iter().map(member).collect() };
        let (last, base) = (&mut self.last, self.base_url.as_str());
        let t = ResourceType::Provenance;
        for stream in self.streams.iter().filter(|stream| stream.relation.resource_type == t) {
            let ask = Read {
                relation: stream.relation.clone(),
                marker: read.marker.clone(),
                since: None,
                until: None,
                narrow: Vec::new(),
                scope: scope.clone(),
            };
            all(source, &ask, |row| {
                each_line(row, t, &stream.programs, |_, line| {
                    let Some((recorded, targets)) = provenance(line, base) else { return };
                    for target in targets {
                        let known = last.entry(target).or_insert(recorded);
                        *known = (*known).max(recorded);
                    }
                });
            })
            .await?;
        }
        Ok(())
    }

    /// Whether a Provenance is about a resource of the export, and is the latest where that is asked for.
    pub fn wants(&self, line: &[u8]) -> bool {
        let Some((recorded, targets)) = provenance(line, &self.base_url) else { return false };
        targets.iter().any(|target| {
            // A row that the look ahead did not see is kept: of what it is about nothing is known.
            let exported = self.types.contains(&target.0)
                && (!self.is_conditional(target.0)
                    || self.found.contains(target)
                    || !self.looked_up.contains(target));
            // A row that appeared since the look ahead is the latest.
            exported && (!self.latest || self.last.get(target).is_none_or(|last| recorded >= *last))
        })
    }
}

/// When it was recorded, and about what.
fn provenance(line: &[u8], base_url: &str) -> Option<(Option<DateTime<Utc>>, Vec<Target>)> {
    let provenance: Provenance = serde_json::from_slice(line).ok()?;
    let recorded = provenance.recorded.and_then(|text| instant::parse(&text).ok()).map(|i| i.time);
    let targets = provenance.target.iter().filter_map(|target| target.get("reference")?.as_str());
    let targets = targets.filter_map(|target| references::target(target, base_url));
    Some((recorded, targets.map(|(t, id)| (t, id.to_owned())).collect()))
}

/// Reads one page.
async fn page(
    source: &Source,
    read: &Read,
    cursor: Option<&Cursor>,
    limit: u32,
    mut f: impl FnMut(&headgate_source::Row<'_>),
) -> Result<PageEnd, SourceError> {
    let mut tx = source.begin(&read.marker).await?;
    let mut page = tx.page(read, cursor, limit)?;
    let end = loop {
        match page.next().await? {
            PageItem::Row(row) => f(&row),
            PageItem::End(end) => break end,
        }
    };
    drop(page);
    tx.finish().await?;
    Ok(end)
}

/// Reads all pages.
async fn all(
    source: &Source,
    read: &Read,
    mut f: impl FnMut(&headgate_source::Row<'_>),
) -> Result<(), SourceError> {
    let mut cursor = None;
    while let PageEnd::More(next) = page(source, read, cursor.as_ref(), ROWS, &mut f).await? {
        cursor = Some(next);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn associated(latest: bool, since: Option<&str>) -> Associated {
        Associated {
            latest,
            types: BTreeSet::from([ResourceType::Goal, ResourceType::Provenance]),
            since: since.map(|text| instant::parse(text).unwrap().time),
            selection: Selection::default(),
            streams: Vec::new(),
            members: None,
            programs: Vec::new(),
            looked_up: HashSet::new(),
            found: HashSet::new(),
            by_reference: vec![ResourceType::Medication],
            base_url: "https://a.example/fhir".to_owned(),
            last: HashMap::new(),
            patients: BTreeSet::new(),
        }
    }

    fn line(recorded: &str, target: &str) -> Vec<u8> {
        format!(
            r#"{{"resourceType":"Provenance","recorded":"{recorded}","target":[{{"reference":"{target}"}}]}}"#
        )
        .into_bytes()
    }

    #[test]
    fn a_provenance_is_wanted_for_a_resource_of_the_export() {
        let all = associated(false, None);
        assert!(all.wants(&line("2026-01-01T00:00:00Z", "Goal/1")));
        assert!(!all.wants(&line("2026-01-01T00:00:00Z", "Patient/1")), "its type is not exported");
        assert!(!all.wants(b"{}"));
        let mut some = associated(false, Some("2026-01-01T00:00:00Z"));
        assert!(some.wants(&line("2026-02-01T00:00:00Z", "Goal/1")), "nothing is known of its target");
        some.looked_up.insert((ResourceType::Goal, "1".to_owned()));
        assert!(!some.wants(&line("2026-02-01T00:00:00Z", "Goal/1")), "its target did not change");
        some.found.insert((ResourceType::Goal, "1".to_owned()));
        assert!(some.wants(&line("2025-01-01T00:00:00Z", "Goal/1")));
    }

    #[test]
    fn of_the_provenance_about_a_resource_the_last_recorded_is_the_latest() {
        let mut latest = associated(true, None);
        let last = instant::parse("2026-01-01T00:00:00Z").unwrap().time;
        latest.last.insert((ResourceType::Goal, "1".to_owned()), Some(last));
        assert!(latest.wants(&line("2026-01-01T01:00:00+01:00", "Goal/1")));
        assert!(!latest.wants(&line("2025-12-31T23:59:59Z", "Goal/1")));
    }
}
