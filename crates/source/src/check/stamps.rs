//! The stamps of many rows, which cost no body, and those of the rows that are looked at.

use std::collections::HashMap;

use crate::catalog::get;
use crate::statement::{Shape, Statement};
use crate::{Relation, Source, SourceError};

use super::{CheckReport, Verdict};

/// How many stamps are looked at.
const STAMPS: u32 = 100_000;

/// `last_updated` of the first rows, to be compared with what their resources say.
pub(super) struct Stamps {
    by_id: HashMap<String, i64>,
}

impl Stamps {
    /// Milliseconds since 1970; none of a row that was not there, has no stamp, or may have changed meanwhile.
    pub fn of(&self, id: &str) -> Option<i64> {
        self.by_id.get(id).copied()
    }
}

/// Reads the stamps of the first rows again, after the rows: those that have changed since are left out.
pub(super) async fn of_first_rows(source: &Source, relation: &Relation) -> Result<Stamps, SourceError> {
    let shape = Shape::new(source.schema(), relation)?;
    let statement = Statement::new(format!(
        "SELECT p.i AS id, floor(extract(epoch FROM p.stamp) * 1000)::bigint AS milliseconds
         FROM (SELECT {}, r.last_updated AS stamp FROM {} ORDER BY {} LIMIT 1000) p
         WHERE isfinite(p.stamp) AND p.stamp < now() - interval '1 minute'",
        shape.columns(),
        shape.from(),
        shape.order()
    ));
    let mut tx = source.begin_unmarked(&[]).await?;
    let rows = tx.fetch_all(statement, Some(&relation.name)).await?;
    tx.finish().await?;
    let mut by_id = HashMap::new();
    for row in rows {
        by_id.insert(get(&row, "id")?, get(&row, "milliseconds")?);
    }
    Ok(Stamps { by_id })
}

/// Null stamps would come out of every export; stamps ahead of the clock were not taken from it.
pub(super) async fn check(
    source: &Source,
    relation: &Relation,
    report: &mut CheckReport,
) -> Result<(), SourceError> {
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
