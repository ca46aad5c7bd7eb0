//! The first rows of a relation, looked at one by one, and the stamps of many.

use headgate_domain::ResourceType;
use serde::Deserialize;

use crate::catalog::get;
use crate::statement::{Shape, Statement};
use crate::{Body, PageItem, Read, Relation, Row, Scope, Source, SourceError};

use super::{CheckReport, Verdict};

/// How many resources are looked at.
const RESOURCES: u32 = 1000;

/// How many stamps are looked at; they cost no body.
const STAMPS: u32 = 100_000;

/// What was counted in a sample. The fields are findings, each a number of rows.
#[derive(Debug, Default)]
struct Counts {
    rows: u64,
    null_body: u64,
    too_long: u64,
    not_json: u64,
    other_type: u64,
    other_id: u64,
    illegal_id: u64,
    line_feed: u64,
    no_patient: u64,
    other_patient: u64,
}

/// The two members of a resource that must agree with the columns. The rest is parsed and dropped.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "resourceType", borrow)]
    resource_type: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<std::borrow::Cow<'a, str>>,
}

pub(super) async fn check(
    source: &Source,
    relation: &Relation,
    report: &mut CheckReport,
) -> Result<(), SourceError> {
    stamps(source, relation, report).await?;
    let counts = resources(source, relation).await?;
    let what = format!("{}: rows", relation.name);
    let findings = findings(&counts, relation.resource_type);
    if findings.is_empty() {
        report.add(what, Verdict::Ok, format!("{} looked at, all well", counts.rows));
        return Ok(());
    }
    let worst = findings.iter().map(|(verdict, _)| *verdict).max().unwrap_or(Verdict::Ok);
    let texts: Vec<String> = findings.into_iter().map(|(_, text)| text).collect();
    report.add(what, worst, format!("of {} looked at: {}", counts.rows, texts.join("; ")));
    Ok(())
}

/// Reads the first rows the way an export does.
async fn resources(source: &Source, relation: &Relation) -> Result<Counts, SourceError> {
    let marker = source.marker().await?;
    let scope = Scope::All { lower: None, upper: None, only_patient_rows: false };
    let read = Read { relation: relation.clone(), marker, since: None, scope };
    let mut tx = source.begin(&read.marker).await?;
    let mut page = tx.page(&read, None, RESOURCES)?;
    let mut counts = Counts::default();
    while let PageItem::Row(row) = page.next().await? {
        counts.add(&row, relation.resource_type);
    }
    drop(page);
    tx.finish().await?;
    Ok(counts)
}

impl Counts {
    fn add(&mut self, row: &Row<'_>, resource_type: ResourceType) {
        self.rows += 1;
        self.illegal_id += u64::from(!is_legal_id(row.id));
        self.no_patient += u64::from(resource_type.is_patient_owned() && row.patient_id.is_none());
        let is_patient = resource_type == ResourceType::Patient;
        self.other_patient += u64::from(is_patient && row.patient_id.is_some_and(|p| p != row.id));
        match row.body {
            Body::Null => self.null_body += 1,
            Body::TooLong(_) => self.too_long += 1,
            Body::Json(json) => self.add_body(json, row.id, resource_type),
        }
    }

    fn add_body(&mut self, json: &[u8], id: &str, resource_type: ResourceType) {
        self.line_feed += u64::from(memchr::memchr(b'\n', json).is_some());
        match serde_json::from_slice::<Head<'_>>(json) {
            Err(_) => self.not_json += 1,
            Ok(head) => {
                self.other_type += u64::from(head.resource_type.as_deref() != Some(resource_type.name()));
                self.other_id += u64::from(head.id.as_deref() != Some(id));
            }
        }
    }
}

/// An id as FHIR allows it: `[A-Za-z0-9\-\.]{1,64}`.
fn is_legal_id(id: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    (1..=64).contains(&id.len()) && id.bytes().all(legal)
}

/// The counts that are not zero, in words.
fn findings(counts: &Counts, resource_type: ResourceType) -> Vec<(Verdict, String)> {
    let name = resource_type.name();
    [
        (counts.no_patient, Verdict::Fail, "have no patient_id: no patient's export has them".to_owned()),
        (counts.other_patient, Verdict::Fail, "have a patient_id that is not their id".to_owned()),
        (counts.illegal_id, Verdict::Fail, "have an id that FHIR does not allow".to_owned()),
        (counts.not_json, Verdict::Fail, "are not well-formed JSON".to_owned()),
        (counts.other_type, Verdict::Fail, format!("have a resourceType that is not {name}")),
        (counts.other_id, Verdict::Fail, "have another id in the resource than in the column".to_owned()),
        (counts.null_body, Verdict::Fail, "have no resource".to_owned()),
        (counts.too_long, Verdict::Warn, "are longer than the limit and go to the error file".to_owned()),
        (counts.line_feed, Verdict::Warn, "hold line feeds, which each export has to take out".to_owned()),
    ]
    .into_iter()
    .filter(|(count, _, _)| *count > 0)
    .map(|(count, verdict, text)| (verdict, format!("{count} {text}")))
    .collect()
}

/// Null stamps would come out of every export; stamps ahead of the clock were not taken from it.
async fn stamps(source: &Source, relation: &Relation, report: &mut CheckReport) -> Result<(), SourceError> {
    let shape = Shape::new(source.schema(), relation)?;
    let statement = Statement::new(format!(
        "SELECT count(*) FILTER (WHERE s.last_updated IS NULL) AS missing,
                count(*) FILTER (WHERE s.last_updated > now() + interval '1 minute') AS future
         FROM (SELECT r.last_updated FROM {} LIMIT {STAMPS}) s",
        shape.from()
    ));
    let mut tx = source.begin_unmarked(&[]).await?;
    let row = tx.fetch_one(statement, Some(&relation.name)).await?;
    tx.finish().await?;
    let (missing, future): (i64, i64) = (get(&row, "missing")?, get(&row, "future")?);
    let what = format!("{}: last_updated", relation.name);
    if missing > 0 {
        let detail = format!("{missing} rows have none; they come out of every export");
        report.add(what.as_str(), Verdict::Fail, detail);
    }
    if future > 0 {
        let detail = format!("{future} rows are ahead of the clock; stamp with this database's clock");
        report.add(what.as_str(), Verdict::Fail, detail);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_judged_as_fhir_defines_them() {
        assert!(is_legal_id("a-1.B"));
        for id in ["", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert!(!is_legal_id(id), "{id}");
        }
    }

    #[test]
    fn a_resource_that_disagrees_with_its_columns_is_counted() {
        let mut counts = Counts::default();
        counts.add_body(br#"{"resourceType":"Patient","id":"a"}"#, "a", ResourceType::Patient);
        counts.add_body(br#"{"resourceType":"Device","id":"b"}"#, "a", ResourceType::Patient);
        counts.add_body(b"{\"resourceType\":\"Patient\",\n\"id\":\"a\"", "a", ResourceType::Patient);
        assert_eq!((counts.other_type, counts.other_id, counts.not_json, counts.line_feed), (1, 1, 1, 1));
        assert_eq!(findings(&counts, ResourceType::Patient).len(), 4);
    }
}
