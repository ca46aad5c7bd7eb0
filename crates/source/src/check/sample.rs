//! The first rows of a relation, read and assembled the way an export does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use headgate_domain::template::Program;
use serde::Serialize;

use crate::{Body, Columns, Content, PageEnd, PageItem, Read, Relation, Row, Scope, Source, SourceError};

use super::indent::indented;

/// How many rows are read.
const ROWS: u32 = 1000;

/// Reading stops when the resources have come to so many bytes.
const BYTES: usize = 32 * 1024 * 1024;

/// The rows that were read.
#[derive(Debug)]
pub(super) struct Sample {
    pub rows: Vec<SampleRow>,
    /// Whether the relation has no others.
    pub complete: bool,
    /// How long reading and assembling took.
    pub elapsed: Duration,
    /// By code table: rows with a value that it leaves out for want of an entry. All tables are here that
    /// can do so.
    pub misses: BTreeMap<String, u64>,
    /// By template: what its ids have behind the row's.
    pub suffixes: Vec<String>,
}

/// A row and what it gives.
pub(super) struct SampleRow {
    pub id: String,
    pub patient_id: Option<String>,
    pub given: Given,
}

/// What a row gives.
pub(super) enum Given {
    /// Resources, each with the place of its template.
    Resources(Vec<(usize, Vec<u8>)>),
    /// The column `resource` is null.
    Nothing,
    /// More than is fetched.
    TooLong,
}

/// One resource of a template, for the eyes of whoever writes it: a patient's data.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct SampleResource {
    /// The relation of its row.
    pub relation: String,
    /// The id in its template: `{{id}}-bp`; none where the row has the resource itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The resource, indented.
    pub resource: String,
}

impl std::fmt::Debug for SampleRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SampleRow(..)")
    }
}

impl std::fmt::Debug for SampleResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SampleResource").field("relation", &self.relation).finish_non_exhaustive()
    }
}

/// Reads the first rows.
pub(super) async fn read(source: &Source, relation: &Relation) -> Result<Sample, SourceError> {
    let programs = relation.programs()?;
    let tables = programs.iter().flat_map(Program::tables_that_miss);
    let mut sample = Sample {
        rows: Vec::new(),
        complete: false,
        elapsed: Duration::ZERO,
        misses: tables.map(|table| (table.to_owned(), 0)).collect(),
        suffixes: suffixes(relation),
    };
    let marker = source.marker().await?;
    let scope = Scope::All { lower: None, upper: None, only_patient_rows: false };
    let read =
        Read { relation: relation.clone(), marker, since: None, until: None, narrow: Vec::new(), scope };
    let mut tx = source.begin(&read.marker).await?;
    let mut page = tx.page(&read, None, ROWS)?;
    let mut bytes = 0;
    let began = Instant::now();
    let mut counting = Duration::ZERO;
    while bytes < BYTES {
        match page.next().await? {
            PageItem::Row(row) => {
                bytes += sample.take(&row, &programs);
                let began = Instant::now();
                if let Body::Columns(columns) = row.body {
                    sample.count_misses(&columns, &programs);
                }
                counting += began.elapsed();
            }
            PageItem::End(end) => {
                sample.complete = end == PageEnd::End;
                break;
            }
        }
    }
    sample.elapsed = began.elapsed().saturating_sub(counting);
    drop(page);
    if bytes < BYTES {
        tx.finish().await?;
    }
    Ok(sample)
}

fn suffixes(relation: &Relation) -> Vec<String> {
    match &relation.content {
        Content::Ready(_) => vec![String::new()],
        Content::Mapped { mapping, .. } => {
            let templates = mapping.templates().unwrap_or_default();
            templates.iter().map(|template| template.suffix().to_owned()).collect()
        }
    }
}

impl Sample {
    /// Adds a row; returns how many bytes it gave.
    fn take(&mut self, row: &Row<'_>, programs: &[Program]) -> usize {
        let given = match row.body {
            Body::Null => Given::Nothing,
            Body::TooLong(_) => Given::TooLong,
            Body::Json(json) => Given::Resources(vec![(0, json.to_vec())]),
            Body::Columns(columns) => Given::Resources(assemble(&columns, programs)),
        };
        let bytes = match &given {
            Given::Resources(resources) => resources.iter().map(|(_, json)| json.len()).sum(),
            Given::Nothing | Given::TooLong => 0,
        };
        let patient_id = row.patient_id.map(str::to_owned);
        self.rows.push(SampleRow { id: row.id.to_owned(), patient_id, given });
        bytes
    }

    fn count_misses(&mut self, columns: &Columns<'_>, programs: &[Program]) {
        let mut missed = BTreeSet::new();
        for program in programs {
            program.misses(
                |column| columns.cell(column),
                |table| {
                    missed.insert(table.to_owned());
                },
            );
        }
        for table in missed {
            *self.misses.entry(table).or_default() += 1;
        }
    }

    /// How many resources the rows gave.
    pub fn resources(&self) -> usize {
        self.rows.iter().map(|row| row.given.resources().len()).sum()
    }

    /// The first resource of each template.
    pub fn one_of_each(&self, relation: &Relation) -> Vec<SampleResource> {
        let is_mapped = matches!(relation.content, Content::Mapped { .. });
        let all = || self.rows.iter().flat_map(|row| row.given.resources());
        let first = |(template, suffix): (usize, &String)| {
            let (_, json) = all().find(|(its, _)| *its == template)?;
            Some(SampleResource {
                relation: relation.name.clone(),
                template: is_mapped.then(|| format!("{{{{id}}}}{suffix}")),
                resource: indented(&String::from_utf8_lossy(json)),
            })
        };
        self.suffixes.iter().enumerate().filter_map(first).collect()
    }
}

impl Given {
    pub fn resources(&self) -> &[(usize, Vec<u8>)] {
        match self {
            Self::Resources(resources) => resources,
            Self::Nothing | Self::TooLong => &[],
        }
    }
}

fn assemble(columns: &Columns<'_>, programs: &[Program]) -> Vec<(usize, Vec<u8>)> {
    let mut resources = Vec::new();
    for (i, program) in programs.iter().enumerate() {
        let mut json = Vec::new();
        if program.write(|column| columns.cell(column), &mut json) {
            resources.push((i, json));
        }
    }
    resources
}
