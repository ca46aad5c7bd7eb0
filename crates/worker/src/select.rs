//! Which finished resources are exported, and what of them: the last word on every line of a shard, whatever the
//! source's statement has narrowed before.

use std::collections::HashSet;

use headgate_domain::ResourceType;
use headgate_domain::elements::Projection;
use headgate_domain::request::Selection;
use headgate_domain::search::Matcher;
use headgate_store::StreamType;

use crate::associated::Associated;
use crate::line::Reason;
use crate::references;

/// Ids that are remembered as written down already; more cost a repeated write, nothing else.
const REMEMBERED: usize = 100_000;

/// What a shard exports of its lines.
#[derive(Debug)]
pub struct Select {
    matcher: Option<Matcher>,
    projection: Option<Projection>,
    /// Only resources with these ids.
    wanted: Option<HashSet<String>>,
    /// Only Provenance about what the export holds.
    associated: Option<Associated>,
    /// Types whose resources are exported where others refer to them; URLs of such begin with the base URL.
    by_reference: Vec<ResourceType>,
    base_url: String,
    /// What becomes of URLs of attachments, where the type may have such.
    links: Option<Links>,
    found: Vec<(StreamType, String)>,
    remembered: HashSet<(StreamType, String)>,
    projected: Vec<u8>,
}

/// URLs by which resources lead to attachments of this server.
#[derive(Debug)]
pub struct Links {
    base: String,
    /// Why nothing stands at them; none: their contents are exported.
    unserved: Option<Reason>,
    /// Resources with such URLs, where nothing stands at them.
    resources: u64,
}

impl Links {
    /// For a practice's base URL. `unserved` is why the contents are not exported, if they are not.
    pub fn new(base_url: &str, unserved: Option<Reason>) -> Self {
        Self { base: format!("{base_url}/Binary/"), unserved, resources: 0 }
    }
}

/// The members of a line that a decision needs cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

impl Select {
    /// For the resources of a type; `wanted` are the ids that a shard by reference reads.
    pub fn new(resource_type: ResourceType, selection: &Selection, wanted: Option<&[String]>) -> Self {
        Self {
            matcher: selection.type_filters.matcher(resource_type),
            projection: selection.elements.projection(resource_type),
            wanted: wanted.map(|ids| ids.iter().cloned().collect()),
            associated: None,
            by_reference: Vec::new(),
            base_url: String::new(),
            links: None,
            found: Vec::new(),
            remembered: HashSet::new(),
            projected: Vec::new(),
        }
    }

    /// The same where resources of these types are exported as far as others refer to them.
    pub fn with_references(mut self, types: Vec<ResourceType>, base_url: &str) -> Self {
        self.by_reference = types;
        base_url.clone_into(&mut self.base_url);
        self
    }

    /// The same for Provenance that is wanted as associated data.
    pub fn with_associated(mut self, associated: Option<Associated>) -> Self {
        self.associated = associated;
        self
    }

    /// The same for a type that may lead to attachments by URL.
    pub fn with_links(mut self, links: Option<Links>) -> Self {
        self.links = links;
        self
    }

    /// What decides about associated Provenance, where that is wanted.
    pub fn associated(&mut self) -> Option<&mut Associated> {
        self.associated.as_mut()
    }

    /// Whether every line is exported as it is and nothing has to be found in it.
    pub fn is_everything(&self) -> bool {
        self.matcher.is_none()
            && self.projection.is_none()
            && self.wanted.is_none()
            && self.associated.is_none()
            && self.by_reference.is_empty()
            && self.links.is_none()
    }

    /// Whether parts of a line are left out; else what is exported of a line is the line.
    pub fn reduces(&self) -> bool {
        self.projection.is_some()
    }

    /// What is exported of a line: nothing, the line, or a part of it. Its resource's id is the row's and a suffix.
    pub fn take<'l>(
        &'l mut self,
        id: &str,
        suffix: &str,
        line: &'l [u8],
    ) -> Result<Option<&'l [u8]>, Unreadable> {
        if self.wanted.as_ref().is_some_and(|wanted| !wanted.contains(&format!("{id}{suffix}"))) {
            return Ok(None);
        }
        if let Some(matcher) = &self.matcher
            && !matcher.decide(line).map_err(|_| Unreadable)?
        {
            return Ok(None);
        }
        if self.associated.as_ref().is_some_and(|associated| !associated.wants(line)) {
            return Ok(None);
        }
        if !self.by_reference.is_empty() {
            self.remember(line);
        }
        let Some(projection) = &self.projection else {
            self.follow(line);
            return Ok(Some(line));
        };
        let mut projected = std::mem::take(&mut self.projected);
        projected.clear();
        let written = projection.write(line, &mut projected).map_err(|_| Unreadable);
        if written.is_ok() {
            // What is cut off leads nowhere.
            self.follow(&projected);
        }
        self.projected = projected;
        written.map(|_| Some(self.projected.as_slice()))
    }

    /// Finds the attachments to which an exported line leads.
    fn follow(&mut self, line: &[u8]) {
        let Some(mut links) = self.links.take() else { return };
        let mut any = false;
        for id in references::attachments(line, &links.base) {
            any = true;
            if links.unserved.is_none() {
                self.note((StreamType::Attachments, id));
            }
        }
        links.resources += u64::from(any && links.unserved.is_some());
        self.links = Some(links);
    }

    fn remember(&mut self, line: &[u8]) {
        // Without an allocation where nothing is found.
        let found: Vec<_> = references::of(line, &self.base_url, &self.by_reference).collect();
        for (t, id) in found {
            self.note((StreamType::Resources(t), id));
        }
    }

    fn note(&mut self, reference: (StreamType, String)) {
        if !self.remembered.contains(&reference) {
            if self.remembered.len() < REMEMBERED {
                self.remembered.insert(reference.clone());
            }
            self.found.push(reference);
        }
    }

    /// What the lines taken since the last time refer to.
    pub fn take_references(&mut self) -> Vec<(StreamType, String)> {
        std::mem::take(&mut self.found)
    }

    /// How many resources since the last time lead to attachments that are not exported, and why these are not.
    pub fn take_unserved(&mut self) -> Option<(Reason, u64)> {
        let links = self.links.as_mut().filter(|links| links.resources > 0)?;
        Some((links.unserved?, std::mem::take(&mut links.resources)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ResourceType::{Medication, MedicationRequest, Observation};

    fn select(selection: &Selection) -> Select {
        Select::new(Observation, selection, None)
    }

    #[test]
    fn without_a_selection_nothing_is_looked_at() {
        assert!(select(&Selection::default()).is_everything());
        let mut all = select(&Selection::default());
        assert_eq!(all.take("1", "", b"not even JSON"), Ok(Some(b"not even JSON".as_slice())));
    }

    #[test]
    fn a_filter_decides_on_the_finished_line() {
        let mut selection = Selection::default();
        selection.type_filters.push("Observation?status=final".parse().unwrap());
        let mut filtered = select(&selection);
        assert!(!filtered.is_everything());
        let line: &[u8] = br#"{"resourceType":"Observation","id":"1","status":"final"}"#;
        assert_eq!(filtered.take("1", "", line), Ok(Some(line)));
        assert_eq!(
            filtered.take("1", "", br#"{"resourceType":"Observation","id":"1","status":"amended"}"#),
            Ok(None)
        );
        assert_eq!(filtered.take("1", "", b"{"), Err(Unreadable));
        // A filter of another type is none.
        assert!(Select::new(Medication, &selection, None).is_everything());
    }

    #[test]
    fn what_is_exported_says_what_it_refers_to_once() {
        let mut collecting = Select::new(MedicationRequest, &Selection::default(), None)
            .with_references(vec![Medication], "https://a.example");
        let line = br#"{"resourceType":"MedicationRequest","id":"1","medicationReference":{"reference":"Medication/7"},"subject":{"reference":"Patient/2"}}"#;
        for _ in 0..2 {
            assert!(collecting.take("1", "", line).unwrap().is_some());
        }
        assert_eq!(collecting.take_references(), [(StreamType::Resources(Medication), "7".to_owned())]);
        assert!(collecting.take("1", "", line).unwrap().is_some());
        assert_eq!(collecting.take_references(), []);
    }

    /// A report with an attachment at this server, and what a request wants of it.
    fn report(links: Links, elements: &[&str]) -> (Select, &'static [u8]) {
        let elements: Vec<String> = elements.iter().map(|name| (*name).to_owned()).collect();
        let selection = Selection { elements: elements.try_into().unwrap(), ..Selection::default() };
        let select = Select::new(ResourceType::DiagnosticReport, &selection, None);
        let line = br#"{"resourceType":"DiagnosticReport","id":"1","status":"final","presentedForm":[{"url":"https://a.example/r4/Binary/7"}]}"#;
        (select.with_links(Some(links)), line)
    }

    #[test]
    fn attachments_to_which_exported_lines_lead_are_found_once_and_those_that_were_cut_off_are_not() {
        let (mut all, line) = report(Links::new("https://a.example/r4", None), &[]);
        assert!(!all.is_everything());
        for _ in 0..2 {
            assert_eq!(all.take("1", "", line), Ok(Some(line)));
        }
        assert_eq!(all.take_references(), [(StreamType::Attachments, "7".to_owned())]);
        assert_eq!(all.take_unserved(), None);
        let (mut cut, line) = report(Links::new("https://a.example/r4", None), &["status"]);
        assert!(cut.take("1", "", line).unwrap().is_some());
        assert_eq!(cut.take_references(), []);
    }

    #[test]
    fn resources_that_lead_to_attachments_which_are_not_exported_are_counted() {
        let (mut all, line) = report(Links::new("https://a.example/r4", Some(Reason::NeedsToken)), &[]);
        for _ in 0..2 {
            assert_eq!(all.take("1", "", line), Ok(Some(line)));
        }
        assert_eq!(all.take_references(), []);
        assert_eq!(all.take_unserved(), Some((Reason::NeedsToken, 2)));
        assert_eq!(all.take_unserved(), None);
        let (mut elsewhere, line) = report(Links::new("https://b.example/r4", Some(Reason::NeedsToken)), &[]);
        assert_eq!(elsewhere.take("1", "", line), Ok(Some(line)));
        assert_eq!(elsewhere.take_unserved(), None);
    }

    #[test]
    fn a_shard_by_reference_exports_what_was_referred_to_alone() {
        let wanted = ["a".to_owned()];
        let mut some = Select::new(Medication, &Selection::default(), Some(&wanted));
        assert!(some.take("a", "", b"{}").unwrap().is_some());
        assert!(some.take("a", "-2", b"{}").unwrap().is_none());
    }
}
