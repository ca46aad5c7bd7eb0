//! Whether indexes serve the statements that an export will run.
//!
//! The real statements are explained, with sequential scans and sorts made as unattractive as the planner
//! lets us: what still scans or sorts has no index to use. So the answer is the same for the ten rows of a
//! new practice and the ten million of an old one.

use serde_json::Value;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::plan::boundary_statement;
use crate::read::explain_statement;
use crate::statement::{Shape, Statement};
use crate::{Key, Member, PageKeyType, Relation, Scope, Source, SourceError};

use super::{CheckReport, Verdict};

/// Below this many rows a missing index costs little.
const FEW_ROWS: u64 = 10_000;

const SETTINGS: &[(&str, &str)] = &[("enable_seqscan", "off"), ("enable_sort", "off")];

pub(super) async fn check(
    source: &Source,
    relation: &Relation,
    rows: u64,
    report: &mut CheckReport,
) -> Result<(), SourceError> {
    let mut missing = Vec::new();
    if !is_served(source, relation, key_page(source, relation)?).await?
        || !is_served(source, relation, walk(source, relation)?).await?
    {
        missing.push(key_index(relation));
    }
    if relation.resource_type.is_patient_owned()
        && !is_served(source, relation, cohort_page(source, relation)?).await?
    {
        missing.push(patient_index(relation));
    }
    let mut optional = Vec::new();
    if !is_served(source, relation, window(source, relation)?).await? {
        optional.push("(last_updated)".to_owned());
    }
    let what = format!("{}: indexes", relation.name);
    match (missing.is_empty(), optional.is_empty()) {
        (true, true) => report.add(what, Verdict::Ok, "every statement is served by an index"),
        (true, false) => {
            let detail = "exports with _since read the whole relation; add an index on (last_updated)";
            report.add(what, Verdict::Warn, detail);
        }
        (false, _) => {
            missing.extend(optional);
            let verdict = if rows < FEW_ROWS { Verdict::Warn } else { Verdict::Fail };
            report.add(what, verdict, format!("add an index on {}", missing.join(", on ")));
        }
    }
    Ok(())
}

/// What the index of the all-patients path must look like.
fn key_index(relation: &Relation) -> String {
    match relation.page_key {
        None => "(id COLLATE \"C\")".to_owned(),
        Some(page_key) => format!("({}, id COLLATE \"C\")", page_key_column(page_key)),
    }
}

/// What the index of the cohort path must look like.
fn patient_index(relation: &Relation) -> String {
    match relation.page_key {
        None => "(patient_id, id COLLATE \"C\")".to_owned(),
        Some(page_key) => format!("(patient_id, {}, id COLLATE \"C\")", page_key_column(page_key)),
    }
}

fn page_key_column(page_key: PageKeyType) -> &'static str {
    if page_key.is_text() { "page_key COLLATE \"C\"" } else { "page_key" }
}

/// A page of the all-patients path that goes on from some key.
fn key_page(source: &Source, relation: &Relation) -> Result<Statement, SourceError> {
    let scope = Scope::All { lower: Some(some_key(relation)), upper: None, only_patient_rows: false };
    explain_statement(source, relation, scope)
}

/// A step of the planning walk.
fn walk(source: &Source, relation: &Relation) -> Result<Statement, SourceError> {
    boundary_statement(source.schema(), relation, Some(&some_key(relation)), 1000)
}

/// A page that looks up a patient and takes its rows in order.
fn cohort_page(source: &Source, relation: &Relation) -> Result<Statement, SourceError> {
    let member = Member { patient_id: "a".to_owned(), full_history: false };
    explain_statement(source, relation, Scope::Cohort { members: vec![member] })
}

fn window(source: &Source, relation: &Relation) -> Result<Statement, SourceError> {
    let shape = Shape::new(source.schema(), relation)?;
    Ok(Statement::new(format!(
        "SELECT r.id FROM {} WHERE r.last_updated > now() - interval '1 hour'",
        shape.from()
    )))
}

/// A key of the right type, whether or not a row has it.
fn some_key(relation: &Relation) -> Key {
    let page_key = match relation.page_key {
        None => "",
        Some(PageKeyType::Uuid) => "00000000-0000-0000-0000-000000000000",
        Some(PageKeyType::Date | PageKeyType::Timestamp | PageKeyType::Timestamptz) => "2000-01-01",
        Some(_) => "0",
    };
    Key { page_key: page_key.to_owned(), id: "0".to_owned() }
}

/// Whether the plan of the statement neither scans nor sorts a relation as a whole.
async fn is_served(source: &Source, relation: &Relation, statement: Statement) -> Result<bool, SourceError> {
    let mut tx = source.begin_unmarked(SETTINGS).await?;
    let row = tx.fetch_one(statement.prefix("EXPLAIN (FORMAT JSON) "), Some(&relation.name)).await?;
    tx.finish().await?;
    Ok(!scans_or_sorts(&plan_of(&row, &relation.name)?))
}

/// The plan in an answer of `EXPLAIN (FORMAT JSON)`.
pub(super) fn plan_of(row: &PgRow, relation: &str) -> Result<Value, SourceError> {
    let mut plan: Value = row.try_get(0).map_err(|e| SourceError::from_sqlx(e, Some(relation)))?;
    Ok(plan[0]["Plan"].take())
}

/// Whether the plan sorts, or reads a relation from end to end. An incremental sort is fine: it orders the few
/// rows that share a page key. So is what a view's joins build beside the main relation (a hash of a small
/// table), and what it computes in subqueries.
fn scans_or_sorts(plan: &Value) -> bool {
    let here = match plan["Node Type"].as_str() {
        Some("Hash" | "Materialize" | "Memoize") => return false,
        Some("Seq Scan" | "Sort") => true,
        // Walking an index without a condition is a scan of the relation in disguise.
        Some("Index Scan" | "Index Only Scan") => plan["Index Cond"].is_null(),
        _ => false,
    };
    let aside = |below: &Value| matches!(below["Parent Relationship"].as_str(), Some("InitPlan" | "SubPlan"));
    here || plan["Plans"]
        .as_array()
        .is_some_and(|plans| plans.iter().any(|below| !aside(below) && scans_or_sorts(below)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sort_anywhere_in_the_plan_is_seen() {
        let plan = serde_json::json!({"Node Type": "Limit", "Plans": [{"Node Type": "Sort"}]});
        assert!(scans_or_sorts(&plan));
    }

    #[test]
    fn an_index_serves_only_where_it_has_a_condition() {
        let walk = serde_json::json!({"Node Type": "Limit", "Plans": [{"Node Type": "Index Scan"}]});
        assert!(scans_or_sorts(&walk));
        let find = serde_json::json!({"Node Type": "Index Scan", "Index Cond": "(id > '0'::text)"});
        assert!(!scans_or_sorts(&find));
    }

    #[test]
    fn the_index_to_add_is_named_with_its_collation() {
        let mut relation = Relation {
            resource_type: headgate_domain::ResourceType::Patient,
            name: "patient".to_owned(),
            body: crate::BodyKind::Text,
            page_key: None,
            key_not_null: true,
            trusted: false,
        };
        assert_eq!(key_index(&relation), "(id COLLATE \"C\")");
        relation.page_key = Some(PageKeyType::Text);
        assert_eq!(patient_index(&relation), "(patient_id, page_key COLLATE \"C\", id COLLATE \"C\")");
    }
}
