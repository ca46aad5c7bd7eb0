//! Groups: named sets of patients of a practice, with join and leave times.
//!
//! Every writer of members first locks the group's row and only then, in a later statement, reads the
//! clock. An export that fixes its cohort takes the same lock in share mode before it reads the clock, so a
//! join is either in the cohort or stamped after the export's time: no join falls between two exports.

use chrono::{DateTime, Utc};
use headgate_domain::PracticeNumber;

use crate::audit::{self, Audit};
use crate::error::number;
use crate::{Result, Store};

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRecord {
    /// Its id, unique at the practice.
    pub group_id: String,
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When its name or members were last written.
    pub updated_at: DateTime<Utc>,
    /// Patients who are members now.
    pub member_count: u64,
}

/// A group that an app may ask for: of the control database, or of the practice's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportableGroup {
    /// Its id.
    pub group_id: String,
    /// Its name, where somebody gave it one.
    pub name: Option<String>,
    /// Patients who are members, as far as is known.
    pub member_count: u64,
    /// When it was last written, where that is known.
    pub updated_at: Option<DateTime<Utc>>,
}

/// A patient who is a member now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// The patient's resource id.
    pub patient_id: String,
    /// Since when.
    pub member_since: DateTime<Utc>,
}

/// How the members are to change.
#[derive(Debug, Clone)]
pub enum MemberChange {
    /// Some join, some leave. Joining twice, or leaving without being in, changes nothing.
    Some {
        /// Patients to join.
        add: Vec<String>,
        /// Patients to leave.
        remove: Vec<String>,
    },
    /// Exactly these are members from now on; those who stay keep their join time.
    Replace(Vec<String>),
}

/// What a change of members did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberCounts {
    /// Patients who joined.
    pub joined: u64,
    /// Patients who left.
    pub left: u64,
    /// Members afterwards.
    pub member_count: u64,
}

impl Store {
    /// Creates a group, or gives it another name. Returns whether it is new.
    ///
    /// # Errors
    /// [`crate::Error::Missing`] when there is no such practice.
    pub async fn put_group(
        &self,
        practice: PracticeNumber,
        group_id: &str,
        name: &str,
        audit: &Audit,
    ) -> Result<bool> {
        let mut tx = self.begin().await?;
        // xmax is 0 in a row that was inserted, not updated, by this statement.
        let created = sqlx::query_scalar!(
            r#"/* put_group */
             INSERT INTO headgate.patient_group (practice_number, group_id, name) VALUES ($1, $2, $3)
             ON CONFLICT (practice_number, group_id)
                 DO UPDATE SET name = excluded.name, updated_at = clock_timestamp()
             RETURNING (xmax = 0) AS "created!""#,
            practice.get(),
            group_id,
            name,
        )
        .fetch_one(&mut *tx)
        .await?;
        audit::record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(created)
    }

    /// All groups of a practice by id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn groups(&self, practice: PracticeNumber) -> Result<Vec<GroupRecord>> {
        self.read_groups(practice, None).await
    }

    /// The groups of a practice that an app may ask for, by id: those of the control database and, unless one of
    /// them has the same id, those of the source.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn exportable_groups(&self, practice: PracticeNumber) -> Result<Vec<ExportableGroup>> {
        let rows = sqlx::query!(
            r#"/* exportable_groups */
             SELECT g.group_id AS "group_id!", g.name, g.updated_at AS "updated_at?",
                    (SELECT count(*) FROM headgate.patient_group_member m
                     WHERE m.practice_number = g.practice_number AND m.group_id = g.group_id
                       AND m.member_until IS NULL) AS "member_count!"
             FROM headgate.patient_group g WHERE g.practice_number = $1
             UNION ALL
             SELECT s.group_id, NULL, NULL, s.member_count
             FROM headgate.source_group s
             WHERE s.practice_number = $1
               AND NOT EXISTS (SELECT FROM headgate.patient_group g
                               WHERE g.practice_number = s.practice_number AND g.group_id = s.group_id)
             ORDER BY 1"#,
            practice.get(),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(ExportableGroup {
                    group_id: row.group_id,
                    name: row.name,
                    member_count: number(row.member_count, "patient_group_member", "count")?,
                    updated_at: row.updated_at,
                })
            })
            .collect()
    }

    /// One group.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn group(&self, practice: PracticeNumber, group_id: &str) -> Result<Option<GroupRecord>> {
        Ok(self.read_groups(practice, Some(group_id)).await?.pop())
    }

    async fn read_groups(&self, practice: PracticeNumber, only: Option<&str>) -> Result<Vec<GroupRecord>> {
        let rows = sqlx::query!(
            r#"/* read_groups */
             SELECT g.group_id, g.name, g.created_at, g.updated_at,
                    (SELECT count(*) FROM headgate.patient_group_member m
                     WHERE m.practice_number = g.practice_number AND m.group_id = g.group_id
                       AND m.member_until IS NULL) AS "member_count!"
             FROM headgate.patient_group g
             WHERE g.practice_number = $1 AND ($2::text IS NULL OR g.group_id = $2)
             ORDER BY g.group_id"#,
            practice.get(),
            only,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(GroupRecord {
                    group_id: row.group_id,
                    name: row.name,
                    created_at: row.created_at,
                    updated_at: row.updated_at,
                    member_count: number(row.member_count, "patient_group_member", "count")?,
                })
            })
            .collect()
    }

    /// The members of a group now, by patient id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn group_members(&self, practice: PracticeNumber, group_id: &str) -> Result<Vec<GroupMember>> {
        let members = sqlx::query_as!(
            GroupMember,
            "/* group_members */
             SELECT patient_id, member_since FROM headgate.patient_group_member
             WHERE practice_number = $1 AND group_id = $2 AND member_until IS NULL
             ORDER BY patient_id",
            practice.get(),
            group_id,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(members)
    }

    /// Changes the members of a group; `None` when there is no such group.
    ///
    /// # Errors
    /// When the database fails: then nothing was changed.
    pub async fn change_members(
        &self,
        practice: PracticeNumber,
        group_id: &str,
        change: &MemberChange,
        audit: &Audit,
    ) -> Result<Option<MemberCounts>> {
        let (add, remove, keep) = match change {
            MemberChange::Some { add, remove } => (add, Some(remove), None),
            MemberChange::Replace(all) => (all, None, Some(all)),
        };
        let mut tx = self.begin().await?;
        let locked = sqlx::query!(
            "/* change_members */
             SELECT group_id FROM headgate.patient_group WHERE practice_number = $1 AND group_id = $2 FOR UPDATE",
            practice.get(),
            group_id,
        )
        .fetch_optional(&mut *tx)
        .await?;
        if locked.is_none() {
            return Ok(None);
        }
        // A statement of its own, after the lock: see the module's text.
        let now = sqlx::query_scalar!(r#"/* change_members */ SELECT clock_timestamp() AS "now!""#)
            .fetch_one(&mut *tx)
            .await?;
        let left = sqlx::query!(
            "/* change_members */
             UPDATE headgate.patient_group_member SET member_until = $3
             WHERE practice_number = $1 AND group_id = $2 AND member_until IS NULL
               AND (patient_id = ANY($4) OR NOT patient_id = ANY($5))",
            practice.get(),
            group_id,
            now,
            remove.map(Vec::as_slice),
            keep.map(Vec::as_slice),
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        let joined = sqlx::query!(
            "/* change_members */
             INSERT INTO headgate.patient_group_member (practice_number, group_id, patient_id, member_since)
             SELECT DISTINCT $1::bigint, $2::text, joining.patient_id, $3::timestamptz
             FROM unnest($4::text[]) AS joining (patient_id)
             ON CONFLICT (practice_number, group_id, patient_id) WHERE member_until IS NULL DO NOTHING",
            practice.get(),
            group_id,
            now,
            add,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        let member_count = sqlx::query_scalar!(
            r#"/* change_members */
             WITH touched AS (UPDATE headgate.patient_group SET updated_at = $3
                              WHERE practice_number = $1 AND group_id = $2)
             SELECT count(*) AS "count!" FROM headgate.patient_group_member
             WHERE practice_number = $1 AND group_id = $2 AND member_until IS NULL"#,
            practice.get(),
            group_id,
            now,
        )
        .fetch_one(&mut *tx)
        .await?;
        let counts = serde_json::json!({ "group": group_id, "joined": joined, "left": left });
        audit::record(&mut tx, &audit.clone().with(counts)).await?;
        tx.commit().await?;
        let member_count = number(member_count, "patient_group_member", "count")?;
        Ok(Some(MemberCounts { joined, left, member_count }))
    }
}
