//! The files of deletions (Bulk Data IG, `deleted` of the manifest): what was in the scope of the request after
//! `_since` and is there no more.
//!
//! The source's tombstones tell what left; whether a resource with that id is there again, within the request's
//! patients, is asked in the same statement. What is there is in the output and never called deleted. Nor is what was
//! deleted once more after `transactionTime` as a resource of the request's patients: it was there meanwhile, so it may be in
//! the output, and the next export tells the later deletion. (What was a former member's then is in no output.)

use std::collections::{BTreeMap, BTreeSet};

use headgate_domain::ResourceType;
use headgate_domain::file_name::deleted_key;
use headgate_domain::request::Level;
use headgate_source::{Deleted, DeletedAsk, DeletedMember, Marker, Relation, Source, TombstonesOf};
use headgate_store::{Deletions, FileKind, PublishedFile, SourceBinding, StepLease};
use serde::Serialize;

use super::Writer;
use crate::read::stored;
use crate::{Error, ask};

/// Deletions that one transaction of a file asks for.
const PER_BUNDLE: usize = 100;

/// Tombstones that are asked for at a time.
const PAGE: u32 = 1000;

/// Members whose tombstones are asked for at a time.
const MEMBERS: i64 = 500;

/// Writes the files of an export's deletions; none where they are not told.
pub(super) async fn files(
    writer: &Writer<'_>,
    lease: &StepLease,
    binding: &SourceBinding,
) -> Result<Vec<(FileKind, PublishedFile)>, Error> {
    let store = &writer.context.store;
    let Some(deletions) = ask::control(store.deletions(lease)).await? else { return Ok(Vec::new()) };
    let source = writer.context.sources.get(binding)?;
    let catalog = ask::source("catalog", source.catalog(None)).await?;
    // Nor may they be gone that were there: the practice may just be making its views anew.
    if catalog.has_unusable_tombstones() || (deletions.tombstones && !catalog.tombstone) {
        // Without a word of deletions the client would keep what is gone.
        return Err(Error::Tombstones);
    }
    // Sources need not keep tombstones.
    if !catalog.tombstone {
        return Ok(Vec::new());
    }
    let mut relations: BTreeMap<ResourceType, Vec<Relation>> = BTreeMap::new();
    for (t, relation) in ask::control(store.stream_relations(lease.practice, &lease.export)).await? {
        relations.entry(t).or_default().push(stored(&relation, "relation")?);
    }
    let finder = Finder { writer, lease, source, deletions: &deletions };
    let mut file = OpenFile { writer, lease, bundles: Vec::new(), entries: Vec::new(), files: Vec::new() };
    for (t, relations) in relations {
        for id in finder.deleted(t, &relations).await? {
            file.push(t, &id).await?;
        }
    }
    file.finish().await
}

struct Finder<'a> {
    writer: &'a Writer<'a>,
    lease: &'a StepLease,
    source: Source,
    deletions: &'a Deletions,
}

impl Finder<'_> {
    /// The ids of the resources of a type that are there no more.
    async fn deleted(&self, t: ResourceType, relations: &[Relation]) -> Result<BTreeSet<String>, Error> {
        let mut ids = BTreeSet::new();
        if self.deletions.by_members && t.is_patient_owned() {
            let mut after: Option<String> = None;
            loop {
                let store = &self.writer.context.store;
                let members =
                    ask::control(store.all_members_after(self.lease, after.as_deref(), MEMBERS)).await?;
                let Some(last) = members.last() else { break };
                after = Some(last.patient_id.clone());
                let members: Vec<DeletedMember> = members
                    .into_iter()
                    .map(|m| DeletedMember { patient_id: m.patient_id, full_history: m.full_history })
                    .collect();
                self.of(t, relations, TombstonesOf::Members(&members), &mut ids).await?;
            }
        } else if self.deletions.level == Level::Patient && t.is_patient_owned() {
            self.of(t, relations, TombstonesOf::PatientRows, &mut ids).await?;
        } else {
            self.of(t, relations, TombstonesOf::Everybody, &mut ids).await?;
        }
        Ok(ids)
    }

    /// Adds what is there no more of some tombstones.
    async fn of(
        &self,
        t: ResourceType,
        relations: &[Relation],
        of: TombstonesOf<'_>,
        ids: &mut BTreeSet<String>,
    ) -> Result<(), Error> {
        let deletions = self.deletions;
        let marker = Marker { replica: deletions.source_replica, lsn: deletions.source_lsn.clone() };
        let question = DeletedAsk {
            resource_type: t,
            relations,
            since: deletions.since,
            up_to: deletions.transaction_time,
            until: deletions.selection.until,
            of,
        };
        let mut after: Option<String> = None;
        loop {
            let page =
                ask::source("deleted", self.source.deleted(&marker, &question, after.as_deref(), PAGE))
                    .await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id.clone());
            let full = page.len() == PAGE as usize;
            let members = self.members_among(&page).await?;
            let gone = page.into_iter().filter(|d| {
                !self.is_any_within(t, &d.owners, &members) && !self.is_any_within(t, &d.again_of, &members)
            });
            ids.extend(gone.map(|d| d.id));
            if !full {
                return Ok(());
            }
        }
    }

    /// Which owners, now or later, are members now.
    async fn members_among(&self, page: &[Deleted]) -> Result<BTreeSet<String>, Error> {
        let owners = page.iter().flat_map(|d| d.owners.iter().chain(&d.again_of)).flatten();
        let owners: BTreeSet<String> = owners.cloned().collect();
        if !self.deletions.by_members || owners.is_empty() {
            return Ok(BTreeSet::new());
        }
        let owners: Vec<String> = owners.into_iter().collect();
        let (store, lease) = (&self.writer.context.store, self.lease);
        let asked = store.members_among(lease.practice, &lease.export, &owners);
        Ok(ask::control(asked).await?.into_iter().collect())
    }

    /// Whether any of the owners of a resource is within the request's patients.
    fn is_any_within(&self, t: ResourceType, owners: &[Option<String>], members: &BTreeSet<String>) -> bool {
        owners.iter().any(|owner| match owner {
            _ if !t.is_patient_owned() || self.deletions.level == Level::System => true,
            None => false,
            Some(owner) => !self.deletions.by_members || members.contains(owner),
        })
    }
}

/// A line of a file of deletions: a transaction that a client can apply.
#[derive(Serialize)]
struct Bundle {
    #[serde(rename = "resourceType")]
    resource_type: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    entry: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    request: Request,
}

#[derive(Serialize)]
struct Request {
    method: &'static str,
    url: String,
}

/// The file being filled.
struct OpenFile<'a> {
    writer: &'a Writer<'a>,
    lease: &'a StepLease,
    bundles: Vec<Bundle>,
    entries: Vec<Entry>,
    files: Vec<(FileKind, PublishedFile)>,
}

impl OpenFile<'_> {
    async fn push(&mut self, t: ResourceType, id: &str) -> Result<(), Error> {
        self.entries.push(Entry { request: Request { method: "DELETE", url: format!("{t}/{id}") } });
        if self.entries.len() == PER_BUNDLE {
            self.close_bundle();
        }
        if self.bundles.len() == self.writer.most_lines() { self.close_file().await } else { Ok(()) }
    }

    fn close_bundle(&mut self) {
        let entry = std::mem::take(&mut self.entries);
        if !entry.is_empty() {
            self.bundles.push(Bundle { resource_type: "Bundle", kind: "transaction", entry });
        }
    }

    async fn close_file(&mut self) -> Result<(), Error> {
        let bundles = std::mem::take(&mut self.bundles);
        if bundles.is_empty() {
            return Ok(());
        }
        let mut body = Vec::new();
        for bundle in &bundles {
            serde_json::to_writer(&mut body, bundle)
                .map_err(|source| Error::Stored { what: "deletion", source })?;
            body.push(b'\n');
        }
        let number = u32::try_from(self.files.len() + 1).unwrap_or(u32::MAX);
        let key = deleted_key(self.writer.prefix, &self.lease.export, self.writer.fence, number);
        let lines = bundles.len() as u64;
        self.files.push(self.writer.put(FileKind::Deleted, number, key, lines, body).await?);
        Ok(())
    }

    async fn finish(mut self) -> Result<Vec<(FileKind, PublishedFile)>, Error> {
        self.close_bundle();
        self.close_file().await?;
        Ok(self.files)
    }
}
