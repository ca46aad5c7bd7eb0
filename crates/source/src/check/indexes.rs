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

use super::statement_of_index::{Access, Statements};
use super::{CheckReport, Verdict};

/// Below this many rows a missing index costs little.
const FEW_ROWS: u64 = 10_000;

/// An hour as the planner writes it, to know the condition again.
const HOUR: &str = "01:00:00";

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
        missing.push(Access::Key);
    }
    if relation.resource_type.is_patient_owned()
        && !is_served(source, relation, cohort_page(source, relation)?).await?
    {
        missing.push(Access::Patient);
    }
    if !window_is_served(source, relation).await? {
        missing.push(Access::Window);
    }
    let statements = missing_statements(source, relation, &mut missing).await?;
    let what = format!("{}: indexes", relation.name);
    if missing.is_empty() {
        report.add(what, Verdict::Ok, "every statement is served by an index");
        return Ok(());
    }
    let verdict = match missing.as_slice() {
        [Access::Window] => Verdict::Warn,
        _ if rows < FEW_ROWS => Verdict::Warn,
        _ => Verdict::Fail,
    };
    report.add_with(what, verdict, reason(&missing), statements);
    Ok(())
}

/// What to create. Takes out of `missing` what is there after all.
async fn missing_statements(
    source: &Source,
    relation: &Relation,
    missing: &mut Vec<Access>,
) -> Result<Vec<String>, SourceError> {
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let statements = Statements::of(source, relation).await?;
    let mut lines = Vec::new();
    for access in std::mem::take(missing) {
        let more = statements.missing(source, access).await?;
        if !more.is_empty() {
            missing.push(access);
            lines.extend(more);
        }
    }
    Ok(lines)
}

/// What reads too much for want of an index.
fn reason(missing: &[Access]) -> String {
    let reads = missing.iter().map(|access| match access {
        Access::Key => "each page of an export",
        Access::Patient => "each patient of a group",
        Access::Window => "an export with _since",
    });
    format!("would read or sort the whole relation: {}", reads.collect::<Vec<_>>().join(", "))
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

/// Whether rows that have changed are found by their stamp.
async fn window_is_served(source: &Source, relation: &Relation) -> Result<bool, SourceError> {
    let shape = Shape::new(source.schema(), relation)?;
    let sql = format!("SELECT r.id FROM {} WHERE r.last_updated > now() - interval '{HOUR}'", shape.from());
    let plan = plan(source, relation, Statement::new(sql)).await?;
    // An index on another column that the view filters by is of no help.
    Ok(!scans_or_sorts(&plan) && (!has_condition(&plan, "") || has_condition(&plan, HOUR)))
}

/// Whether an index is looked into with a condition that holds the text.
fn has_condition(plan: &Value, text: &str) -> bool {
    plan["Index Cond"].as_str().is_some_and(|condition| condition.contains(text))
        || plan["Plans"].as_array().is_some_and(|plans| plans.iter().any(|below| has_condition(below, text)))
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
    Ok(!scans_or_sorts(&plan(source, relation, statement).await?))
}

async fn plan(source: &Source, relation: &Relation, statement: Statement) -> Result<Value, SourceError> {
    let mut tx = source.begin_unmarked(SETTINGS).await?;
    let row = tx.fetch_one(statement.prefix("EXPLAIN (FORMAT JSON) "), Some(&relation.name)).await?;
    tx.finish().await?;
    plan_of(&row, &relation.name)
}

/// The plan in an answer of `EXPLAIN (FORMAT JSON)`.
pub(super) fn plan_of(row: &PgRow, relation: &str) -> Result<Value, SourceError> {
    let mut plan: Value = row.try_get(0).map_err(|e| SourceError::from_sqlx(e, Some(relation)))?;
    Ok(plan[0]["Plan"].take())
}

/// Whether the plan sorts, or reads a relation from end to end. An incremental sort is fine: it orders the few
/// rows that share a page key; so is the sort of a page that has been found. So is what a view's joins build
/// beside the main relation (a hash of a small table), and what it computes in subqueries.
fn scans_or_sorts(plan: &Value) -> bool {
    let here = match plan["Node Type"].as_str() {
        Some("Hash" | "Materialize" | "Memoize") => return false,
        Some("Seq Scan") => true,
        Some("Sort") => !is_page(&plan["Plans"][0]),
        // Walking an index without a condition is a scan of the relation in disguise.
        Some("Index Scan" | "Index Only Scan") => plan["Index Cond"].is_null(),
        _ => false,
    };
    let aside = |below: &Value| matches!(below["Parent Relationship"].as_str(), Some("InitPlan" | "SubPlan"));
    here || plan["Plans"]
        .as_array()
        .is_some_and(|plans| plans.iter().any(|below| !aside(below) && scans_or_sorts(below)))
}

/// Whether the plan gives no more than a limit.
fn is_page(plan: &Value) -> bool {
    match plan["Node Type"].as_str() {
        Some("Limit") => true,
        Some("Subquery Scan" | "Result") => is_page(&plan["Plans"][0]),
        _ => false,
    }
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
    fn the_sort_of_a_page_is_no_sort_of_the_relation() {
        let index = serde_json::json!({"Node Type": "Index Scan", "Index Cond": "(id > '0'::text)"});
        let page = serde_json::json!({"Node Type": "Limit", "Plans": [index]});
        let aside = serde_json::json!({"Node Type": "Subquery Scan", "Plans": [page]});
        assert!(!scans_or_sorts(&serde_json::json!({"Node Type": "Sort", "Plans": [aside]})));
        let all =
            serde_json::json!({"Node Type": "Limit", "Plans": [{"Node Type": "Sort", "Plans": [index]}]});
        assert!(scans_or_sorts(&serde_json::json!({"Node Type": "Sort", "Plans": [all]})));
    }

    #[test]
    fn an_index_serves_only_where_it_has_a_condition() {
        let walk = serde_json::json!({"Node Type": "Limit", "Plans": [{"Node Type": "Index Scan"}]});
        assert!(scans_or_sorts(&walk));
        let find = serde_json::json!({"Node Type": "Index Scan", "Index Cond": "(id > '0'::text)"});
        assert!(!scans_or_sorts(&find));
    }
}
