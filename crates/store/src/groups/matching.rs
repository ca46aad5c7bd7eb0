//! How many members of a group the practice's source knows. Groups are defined by ids that somebody typed or pasted;
//! an id that the source does not have exports nothing, and that should be noticed before.

use chrono::{DateTime, Utc};
use headgate_domain::PracticeNumber;

use crate::error::number;
use crate::{Result, Store};

/// How many members the source had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched {
    /// So many it had …
    pub known: u64,
    /// … of so many.
    pub of: u64,
    /// When it was looked.
    pub at: DateTime<Utc>,
}

/// A group whose members are to be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupToMatch {
    /// Its id.
    pub group_id: String,
    /// The database's clock, from before its members are read.
    pub now: DateTime<Utc>,
    /// When its members changed last, as seen then.
    pub members_changed_at: DateTime<Utc>,
}

impl Store {
    /// The groups whose members changed since the source was last looked at for them, or of which that is a day ago.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn groups_to_match(&self, practice: PracticeNumber) -> Result<Vec<GroupToMatch>> {
        Ok(sqlx::query_as!(
            GroupToMatch,
            r#"/* groups_to_match */
             SELECT group_id, clock_timestamp() AS "now!", members_changed_at FROM headgate.patient_group
             WHERE practice_number = $1
               AND (matched_at IS NULL OR matched_at < members_changed_at
                    OR matched_at < clock_timestamp() - interval '1 day')
             ORDER BY group_id"#,
            practice.get(),
        )
        .fetch_all(&mut *self.at(practice).await?)
        .await?)
    }

    /// Members of a group now, in byte order after a patient id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn group_members_after(
        &self,
        practice: PracticeNumber,
        group_id: &str,
        after: Option<&str>,
        most: u32,
    ) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar!(
            "/* group_members_after */
             SELECT patient_id FROM headgate.patient_group_member
             WHERE practice_number = $1 AND group_id = $2 AND member_until IS NULL
               AND ($3::text IS NULL OR patient_id > $3)
             ORDER BY patient_id LIMIT $4",
            practice.get(),
            group_id,
            after,
            i64::from(most),
        )
        .fetch_all(&mut *self.at(practice).await?)
        .await?)
    }

    /// Notes how many members of a group the source has. A change of members since then makes it void, also one that was not
    /// committed yet when they were read, although it is of an earlier time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn group_matched(
        &self,
        practice: PracticeNumber,
        group: &GroupToMatch,
        matched: Matched,
    ) -> Result<()> {
        let known: i64 = number(matched.known, "patient_group", "matched_known")?;
        let of: i64 = number(matched.of, "patient_group", "matched_of")?;
        let mut tx = self.at(practice).await?;
        sqlx::query!(
            "/* group_matched */
             UPDATE headgate.patient_group SET matched_at = $3, matched_known = $4, matched_of = $5
             WHERE practice_number = $1 AND group_id = $2 AND members_changed_at = $6",
            practice.get(),
            group.group_id,
            matched.at,
            known,
            of,
            group.members_changed_at,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
