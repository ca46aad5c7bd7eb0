//! The cohort of an export: the patients whose resources are read by patient. It is fixed in the transaction that
//! fixes transactionTime and never changes.

use chrono::{DateTime, Utc};
use headgate_domain::{ExportId, PracticeNumber};
use sqlx::PgConnection;

use crate::acquire::{PlanLease, StepLease};
use crate::{Result, Store};

/// Members inserted by one statement.
const PER_STATEMENT: usize = 5000;

/// Whose resources an export reads by patient.
#[derive(Clone, PartialEq, Eq)]
pub enum Members {
    /// Nobody's: everything is read whole.
    Everybody,
    /// Those of the control database's group.
    OfGroup,
    /// These.
    Listed(Vec<Member>),
}

/// A patient of a cohort.
#[derive(Clone, PartialEq, Eq)]
pub struct Member {
    /// The Patient's id.
    pub patient_id: String,
    /// Gets everything, not only what changed: joined after `_since`.
    pub full_history: bool,
    /// Left after `_since`: nothing is exported, but what was deleted is told.
    pub former: bool,
}

/// Names no patient.
impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Members::Everybody => f.write_str("Everybody"),
            Members::OfGroup => f.write_str("OfGroup"),
            Members::Listed(members) => write!(f, "Listed({} members)", members.len()),
        }
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").finish_non_exhaustive()
    }
}

impl Store {
    /// The next members of an export's cohort after a patient id, in byte order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn members_after(
        &self,
        practice: PracticeNumber,
        export: &ExportId,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar!(
            "/* members_after */
             SELECT patient_id FROM headgate.export_member
              WHERE practice_number = $1 AND export_id = $2 AND patient_id > $3 AND NOT former
              ORDER BY patient_id LIMIT $4",
            practice.get(),
            export.as_str(),
            after.unwrap_or_default(),
            limit,
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// The members of an export's cohort from one patient id to another, both included, with their mark
    /// of full history.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn members_between(
        &self,
        practice: PracticeNumber,
        export: &ExportId,
        first: &str,
        last: &str,
    ) -> Result<Vec<(String, bool)>> {
        let rows = sqlx::query!(
            "/* members_between */
             SELECT patient_id, full_history FROM headgate.export_member
              WHERE practice_number = $1 AND export_id = $2 AND patient_id BETWEEN $3 AND $4 AND NOT former
              ORDER BY patient_id",
            practice.get(),
            export.as_str(),
            first,
            last,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (row.patient_id, row.full_history)).collect())
    }

    /// The next of all who are or were members since the export's `_since`, in byte order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn all_members_after(
        &self,
        lease: &StepLease,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Member>> {
        Ok(sqlx::query_as!(
            Member,
            "/* all_members_after */
             SELECT patient_id, full_history, former FROM headgate.export_member
              WHERE practice_number = $1 AND export_id = $2 AND patient_id > $3
              ORDER BY patient_id LIMIT $4",
            lease.practice.get(),
            lease.export.as_str(),
            after.unwrap_or_default(),
            limit,
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// Which of these patients are members now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn members_among(
        &self,
        practice: PracticeNumber,
        export: &ExportId,
        patients: &[String],
    ) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar!(
            "/* members_among */
             SELECT patient_id FROM headgate.export_member
              WHERE practice_number = $1 AND export_id = $2 AND patient_id = ANY($3) AND NOT former",
            practice.get(),
            export.as_str(),
            patients,
        )
        .fetch_all(&self.pool)
        .await?)
    }
}

/// Locks the group against member writers, then, in a statement of its own, reads the clock.
pub(crate) async fn lock_group(
    connection: &mut PgConnection,
    practice: PracticeNumber,
    group: &str,
) -> Result<DateTime<Utc>> {
    sqlx::query!(
        "/* lock_group */ SELECT group_id FROM headgate.patient_group
          WHERE practice_number = $1 AND group_id = $2 FOR SHARE",
        practice.get(),
        group,
    )
    .fetch_one(&mut *connection)
    .await?;
    Ok(sqlx::query_scalar!(r#"/* lock_group: clock */ SELECT clock_timestamp() AS "clock!""#)
        .fetch_one(connection)
        .await?)
}

/// The members of a group of the control database, after its lock and the clock: those who are members now (who
/// joined after `_since` gets full history), and those who left since. Where the request names patients, those alone.
pub(crate) async fn insert_group(
    connection: &mut PgConnection,
    lease: &PlanLease,
    group: &str,
) -> Result<()> {
    sqlx::query!(
        r#"/* insert_group */
         INSERT INTO headgate.export_member (practice_number, export_id, patient_id, full_history, former)
         SELECT e.practice_number, e.export_id, m.patient_id,
                coalesce(bool_and(m.member_since > e.since) FILTER (WHERE m.member_until IS NULL), false),
                bool_and(m.member_until IS NOT NULL)
           FROM headgate.export e
           JOIN headgate.patient_group_member m USING (practice_number)
          WHERE e.practice_number = $1 AND e.export_id = $2 AND m.group_id = $3
            AND (m.member_until IS NULL OR m.member_until > e.since)
            AND (NOT e.of_patients OR EXISTS (SELECT FROM headgate.export_patient p
                                               WHERE p.practice_number = e.practice_number
                                                 AND p.export_id = e.export_id AND p.patient_id = m.patient_id))
          GROUP BY e.practice_number, e.export_id, m.patient_id"#,
        lease.practice.get(),
        lease.export.as_str(),
        group,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Members that somebody else found.
pub(crate) async fn insert_listed(
    connection: &mut PgConnection,
    lease: &PlanLease,
    members: &[Member],
) -> Result<()> {
    for members in members.chunks(PER_STATEMENT) {
        let patients: Vec<String> = members.iter().map(|member| member.patient_id.clone()).collect();
        let full: Vec<bool> = members.iter().map(|member| member.full_history).collect();
        let former: Vec<bool> = members.iter().map(|member| member.former).collect();
        sqlx::query!(
            "/* insert_listed */
             INSERT INTO headgate.export_member (practice_number, export_id, patient_id, full_history, former)
             SELECT $1, $2, m.patient_id, m.full_history, m.former
               FROM unnest($3::text[], $4::boolean[], $5::boolean[]) AS m(patient_id, full_history, former)
             ON CONFLICT (practice_number, export_id, patient_id) DO NOTHING",
            lease.practice.get(),
            lease.export.as_str(),
            &patients,
            &full,
            &former,
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
