//! Problems of an export: what its error file will tell.

use sqlx::PgConnection;

use crate::acquire::{ShardLease, StepLease};
use crate::error::number;
use crate::{Result, Store, StreamType};

/// Rows of one shard that could not be exported, for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProblem {
    /// A stable code: `invalid_json`, `too_long`, ….
    pub reason: &'static str,
    /// What a client reads. Never any content of the rows.
    pub diagnostics: String,
    /// How many rows.
    pub rows: u64,
}

/// A problem as the error file tells it.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What the rows give; `None` for a part of the request that was ignored.
    pub stream_type: Option<StreamType>,
    /// The code.
    pub reason: String,
    /// What a client reads.
    pub diagnostics: String,
    /// How many rows.
    pub occurrences: u64,
}

/// Adds a shard's problems within a publication.
pub(crate) async fn add(
    connection: &mut PgConnection,
    lease: &ShardLease,
    problems: &[NewProblem],
) -> Result<()> {
    for problem in problems {
        let occurrences: i64 = number(problem.rows, "problem", "occurrences")?;
        sqlx::query!(
            "/* problems::add */
             INSERT INTO headgate.problem (practice_number, export_id, stream, shard, reason, diagnostics, occurrences)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (practice_number, export_id, stream, shard, reason)
             DO UPDATE SET occurrences = headgate.problem.occurrences + excluded.occurrences",
            lease.practice.get(),
            lease.export.as_str(),
            lease.stream,
            lease.shard,
            problem.reason,
            problem.diagnostics,
            occurrences,
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

impl Store {
    /// Every problem of an export: ignored parts of the request first, then rows, summed by type and
    /// reason.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn problems(&self, lease: &StepLease) -> Result<Vec<Problem>> {
        let rows = sqlx::query!(
            r#"/* problems */
            SELECT s.resource_type AS "resource_type?", p.reason, p.diagnostics, sum(p.occurrences)::bigint AS "occurrences!"
              FROM headgate.problem p
              LEFT JOIN headgate.export_stream s USING (practice_number, export_id, stream)
             WHERE p.practice_number = $1 AND p.export_id = $2
             GROUP BY s.resource_type, p.reason, p.diagnostics
             ORDER BY s.resource_type NULLS FIRST, p.reason"#,
            lease.practice.get(),
            lease.export.as_str(),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(Problem {
                    stream_type: row
                        .resource_type
                        .map(|t| crate::error::parsed(&t, "export_stream", "resource_type"))
                        .transpose()?,
                    reason: row.reason,
                    diagnostics: row.diagnostics,
                    occurrences: number(row.occurrences, "problem", "occurrences")?,
                })
            })
            .collect()
    }
}
