//! Groups: named sets of patients of a practice, with join and leave times.
//!
//! Every writer of members first locks the group's row and only then, in a later statement, reads the
//! clock. An export that fixes its cohort takes the same lock in share mode before it reads the clock, so a
//! join is either in the cohort or stamped after the export's time: no join falls between two exports.

mod matching;
mod upload;

use chrono::{DateTime, Utc};
use headgate_domain::PracticeNumber;

use crate::audit::{self, Audit};
use crate::error::{Error, number};
use crate::{Page, Paged, Result, Store};

pub use matching::{GroupToMatch, Matched};
pub use upload::{MemberCounts, MemberUpload};

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
    /// Grows with every change.
    pub revision: i64,
    /// How many members the source had when it was last looked, since the members last changed.
    pub matched: Option<Matched>,
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

/// A row as every statement here selects it.
struct Row {
    group_id: String,
    name: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    member_count: i64,
    revision: i64,
    matched_at: Option<DateTime<Utc>>,
    matched_known: Option<i64>,
    matched_of: Option<i64>,
}

impl TryFrom<Row> for GroupRecord {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let count = |n: i64| number(n, "patient_group", "matched");
        let matched = match (row.matched_at, row.matched_known, row.matched_of) {
            (Some(at), Some(known), Some(of)) => Some(Matched { known: count(known)?, of: count(of)?, at }),
            _ => None,
        };
        Ok(Self {
            group_id: row.group_id,
            name: row.name,
            created_at: row.created_at,
            updated_at: row.updated_at,
            member_count: number(row.member_count, "patient_group_member", "count")?,
            revision: row.revision,
            matched,
        })
    }
}

impl Store {
    /// Creates a group, or gives it another name. Returns whether it is new.
    ///
    /// # Errors
    /// [`crate::Error::Missing`] when there is no such practice, [`crate::Error::Stale`] when the group is not of the
    /// revision `if_match`.
    pub async fn put_group(
        &self,
        practice: PracticeNumber,
        group_id: &str,
        name: &str,
        if_match: Option<i64>,
        audit: &Audit,
    ) -> Result<bool> {
        let mut tx = self.at(practice).await?;
        let revision = sqlx::query_scalar!(
            "/* put_group: lock */
             SELECT revision FROM headgate.patient_group WHERE practice_number = $1 AND group_id = $2 FOR UPDATE",
            practice.get(),
            group_id,
        )
        .fetch_optional(&mut *tx)
        .await?;
        if if_match.is_some() && revision != if_match {
            return Err(Error::Stale);
        }
        // xmax is 0 in a row that was inserted, not updated, by this statement.
        let created = sqlx::query_scalar!(
            r#"/* put_group */
             INSERT INTO headgate.patient_group AS g (practice_number, group_id, name) VALUES ($1, $2, $3)
             ON CONFLICT (practice_number, group_id)
                 DO UPDATE SET name = excluded.name, updated_at = clock_timestamp(), revision = g.revision + 1
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

    /// The groups of a practice by id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn groups_page(&self, practice: PracticeNumber, page: &Page) -> Result<Paged<GroupRecord>> {
        let groups = self.read_groups(practice, None, page).await?;
        Ok(Paged::of(groups, page, |group| group.group_id.clone()))
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
        .fetch_all(&mut *self.at(practice).await?)
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
        Ok(self.read_groups(practice, Some(group_id), &Page::first(1)).await?.pop())
    }

    async fn read_groups(
        &self,
        practice: PracticeNumber,
        only: Option<&str>,
        page: &Page,
    ) -> Result<Vec<GroupRecord>> {
        let rows = sqlx::query_as!(
            Row,
            r#"/* read_groups */
             SELECT g.group_id, g.name, g.created_at, g.updated_at, g.revision,
                    CASE WHEN g.matched_at >= g.members_changed_at THEN g.matched_at END AS matched_at,
                    g.matched_known, g.matched_of,
                    (SELECT count(*) FROM headgate.patient_group_member m
                     WHERE m.practice_number = g.practice_number AND m.group_id = g.group_id
                       AND m.member_until IS NULL) AS "member_count!"
             FROM headgate.patient_group g
             WHERE g.practice_number = $1 AND ($2::text IS NULL OR g.group_id = $2)
               AND ($3::text IS NULL OR g.group_id > $3)
             ORDER BY g.group_id LIMIT $4"#,
            practice.get(),
            only,
            page.text(),
            page.rows(),
        )
        .fetch_all(&mut *self.at(practice).await?)
        .await?;
        rows.into_iter().map(GroupRecord::try_from).collect()
    }

    /// The members of a group now. Their order is none that means anything: a page is asked for by the hash of an id,
    /// so that no patient's id stands in a URL.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn members_page(
        &self,
        practice: PracticeNumber,
        group_id: &str,
        page: &Page,
    ) -> Result<Paged<GroupMember>> {
        let rows = sqlx::query!(
            r#"/* members_page */
             SELECT patient_id, member_since, md5(patient_id) AS "place!" FROM headgate.patient_group_member
             WHERE practice_number = $1 AND group_id = $2 AND member_until IS NULL
               AND ($3::text IS NULL OR md5(patient_id) > $3)
             ORDER BY md5(patient_id) LIMIT $4"#,
            practice.get(),
            group_id,
            page.text(),
            page.rows(),
        )
        .fetch_all(&mut *self.at(practice).await?)
        .await?;
        let paged = Paged::of(rows, page, |row| row.place.clone());
        let member = |patient_id, member_since| GroupMember { patient_id, member_since };
        Ok(Paged {
            items: paged.items.into_iter().map(|row| member(row.patient_id, row.member_since)).collect(),
            next: paged.next,
        })
    }
}
