//! What is wrong with the rows of a sample, counted.

use std::collections::BTreeMap;

use headgate_domain::{ResourceType, ids};

use crate::{Content, Relation};

use super::resource::{self, Expected, Fault};
use super::sample::{Given, Sample, SampleRow};
use super::stamps::Stamps;
use super::{CheckReport, Verdict};

pub(super) fn check(relation: &Relation, sample: &Sample, stamps: &Stamps, report: &mut CheckReport) {
    let what = format!("{}: rows", relation.name);
    let is_mapped = matches!(relation.content, Content::Mapped { .. });
    let faults = count(relation, sample, stamps);
    let mut worst = Verdict::Ok;
    let mut texts = Vec::new();
    for (fault, count) in faults {
        // A resource that was finished elsewhere need not know when it came here.
        let verdict = match fault {
            Fault::NoStamp if !is_mapped => continue,
            fault => fault.verdict(is_mapped),
        };
        worst = worst.max(verdict);
        texts.push(format!("{count} {}", fault.in_words(relation.resource_type)));
    }
    let looked_at = looked_at(sample, is_mapped);
    if texts.is_empty() {
        report.add(what, worst, format!("{looked_at}, all well"));
    } else {
        report.add(what, worst, format!("{looked_at}: {}", texts.join("; ")));
    }
}

/// `1000 looked at`, and what they give.
fn looked_at(sample: &Sample, is_mapped: bool) -> String {
    let rows = sample.rows.len();
    if !is_mapped {
        return format!("{rows} looked at");
    }
    let without = match sample.rows.iter().filter(|row| row.given.gives_nothing()).count() {
        0 => String::new(),
        1 => " (1 row gives none)".to_owned(),
        rows => format!(" ({rows} rows give none)"),
    };
    format!("{rows} looked at, which give {} resources{without}", sample.resources())
}

fn count(relation: &Relation, sample: &Sample, stamps: &Stamps) -> BTreeMap<Fault, u64> {
    let mut faults: BTreeMap<Fault, u64> = BTreeMap::new();
    for row in &sample.rows {
        for fault in row_faults(row, relation.resource_type) {
            *faults.entry(fault).or_default() += 1;
        }
        for (template, json) in row.given.resources() {
            let expected = Expected {
                resource_type: relation.resource_type,
                id: &row.id,
                suffix: sample.suffixes.get(*template).map_or("", String::as_str),
                stamp: stamps.of(&row.id),
            };
            for fault in resource::faults(json, &expected) {
                *faults.entry(fault).or_default() += 1;
            }
        }
    }
    faults
}

fn row_faults(row: &SampleRow, resource_type: ResourceType) -> impl Iterator<Item = Fault> {
    let patient = row.patient_id.as_deref();
    let is_patient = resource_type == ResourceType::Patient;
    [
        (resource_type.is_patient_owned() && patient.is_none(), Fault::NoPatient),
        (is_patient && patient.is_some_and(|p| p != row.id), Fault::OtherPatient),
        (!ids::is_fhir_id(&row.id), Fault::IllegalId),
        (matches!(row.given, Given::Nothing), Fault::NoResource),
        (matches!(row.given, Given::TooLong), Fault::TooLong),
    ]
    .into_iter()
    .filter_map(|(is, fault)| is.then_some(fault))
}

impl Given {
    /// No template's condition is true for the row: as meant, or not.
    fn gives_nothing(&self) -> bool {
        matches!(self, Self::Resources(resources) if resources.is_empty())
    }
}

impl Fault {
    fn verdict(self, is_mapped: bool) -> Verdict {
        match self {
            Self::TooLong | Self::NoStamp | Self::Reference => Verdict::Warn,
            // Ready resources are made to fit: line feeds are taken out, and a stamp of another system may stay.
            Self::LineBreak | Self::OtherStamp if !is_mapped => Verdict::Warn,
            _ => Verdict::Fail,
        }
    }

    fn in_words(self, resource_type: ResourceType) -> String {
        let text = match self {
            Self::NoPatient => "have no patient_id: no patient's export has them",
            Self::OtherPatient => "have a patient_id that is not their id",
            Self::IllegalId => "have an id that FHIR does not allow",
            Self::NoResource => "have no resource",
            Self::TooLong => "are longer than the limit and go to the error file",
            Self::NotJson => "are not well-formed JSON",
            Self::OtherType => return format!("have a resourceType that is not {resource_type}"),
            Self::OtherId => "have another id in the resource than in the column",
            Self::Empty => "hold null, {}, [] or \"\", which FHIR does not allow",
            Self::LineBreak => "hold line feeds, which each export has to take out",
            Self::OtherStamp => "have a meta.lastUpdated that is not last_updated to the millisecond",
            Self::NoStamp => "have no meta.lastUpdated",
            Self::Reference => {
                "hold references that are not Type/id, which no receiver can resolve in the export"
            }
        };
        text.to_owned()
    }
}
