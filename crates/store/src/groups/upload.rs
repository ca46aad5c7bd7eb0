//! Changing the members of a group: a list as long as one likes is uploaded into a temporary table, a batch at a time,
//! and takes effect as a whole, in one short moment, or not at all.

use headgate_domain::PracticeNumber;
use sqlx::{PgConnection, Postgres, Transaction};

use crate::audit::{self, Audit};
use crate::error::{Error, number};
use crate::{Result, Store, doorbell};

/// What a change of members did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberCounts {
    /// Patients who joined.
    pub joined: u64,
    /// Patients who left.
    pub left: u64,
    /// Members afterwards.
    pub member_count: u64,
    /// Ids that the upload named more than once.
    pub duplicates: u64,
}

/// An upload of members under way. Dropped, it changes nothing.
#[derive(Debug)]
pub struct MemberUpload {
    tx: Transaction<'static, Postgres>,
    practice: PracticeNumber,
    group_id: String,
    if_match: Option<i64>,
    uploaded: u64,
}

impl Store {
    /// Begins an upload; `None` when there is no such group.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn upload_members(
        &self,
        practice: PracticeNumber,
        group_id: &str,
        if_match: Option<i64>,
    ) -> Result<Option<MemberUpload>> {
        let mut tx = self.at(practice).await?;
        let found = sqlx::query!(
            "/* upload_members */
             SELECT revision FROM headgate.patient_group WHERE practice_number = $1 AND group_id = $2",
            practice.get(),
            group_id,
        )
        .fetch_optional(&mut *tx)
        .await?;
        if found.is_none() {
            return Ok(None);
        }
        // The transaction waits while the client sends, which may take minutes; whoever reads it bounds that.
        sqlx::query("/* upload_members: idle */ SET LOCAL idle_in_transaction_session_timeout = '11min'")
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "/* upload_members: table */
             CREATE TEMPORARY TABLE member_upload (patient_id text COLLATE \"C\" NOT NULL, joins boolean NOT NULL)
             ON COMMIT DROP",
        )
        .execute(&mut *tx)
        .await?;
        Ok(Some(MemberUpload { tx, practice, group_id: group_id.to_owned(), if_match, uploaded: 0 }))
    }
}

impl MemberUpload {
    /// Adds patients who are to join, or who are to be the members.
    ///
    /// # Errors
    /// When the database fails: then the upload is to be dropped.
    pub async fn add(&mut self, patients: Vec<String>) -> Result<()> {
        self.upload(patients, true).await
    }

    /// Adds patients who are to leave.
    ///
    /// # Errors
    /// As [`MemberUpload::add`].
    pub async fn remove(&mut self, patients: Vec<String>) -> Result<()> {
        self.upload(patients, false).await
    }

    // The temporary table is not there when statements are checked.
    async fn upload(&mut self, patients: Vec<String>, joins: bool) -> Result<()> {
        self.uploaded += patients.len() as u64;
        sqlx::query(
            "/* upload_members: batch */
             INSERT INTO member_upload (patient_id, joins) SELECT patient_id, $2 FROM unnest($1::text[]) AS p(patient_id)",
        )
        .bind(patients)
        .bind(joins)
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Those who were added join, those who were removed leave. Joining twice, or leaving without being in, changes
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Stale`] when the group is not of the wanted revision; or when the database fails: then nothing was
    /// changed.
    pub async fn finish_change(self, audit: &Audit) -> Result<MemberCounts> {
        self.finish(false, audit).await
    }

    /// Those who were added are the members from now on; those who stay keep their join time.
    ///
    /// # Errors
    /// As [`MemberUpload::finish_change`].
    pub async fn finish_replace(self, audit: &Audit) -> Result<MemberCounts> {
        self.finish(true, audit).await
    }

    async fn finish(mut self, replace: bool, audit: &Audit) -> Result<MemberCounts> {
        // Half a million joins take their time, and only here.
        sqlx::query("/* change_members: time */ SET LOCAL statement_timeout = '10min'")
            .execute(&mut *self.tx)
            .await?;
        let distinct = self.prepare().await?;
        let tx = &mut *self.tx;
        lock(tx, self.practice, &self.group_id, self.if_match).await?;
        // A statement of its own, after the lock: see the module's text.
        let now = sqlx::query_scalar!(r#"/* change_members: now */ SELECT clock_timestamp() AS "now!""#)
            .fetch_one(&mut *tx)
            .await?;
        let left = sqlx::query(
            "/* change_members: leave */
             UPDATE headgate.patient_group_member m SET member_until = $3
             WHERE practice_number = $1 AND group_id = $2 AND member_until IS NULL
               AND CASE WHEN $4 THEN NOT EXISTS (SELECT FROM member_upload u WHERE u.patient_id = m.patient_id AND u.joins)
                        ELSE EXISTS (SELECT FROM member_upload u WHERE u.patient_id = m.patient_id AND NOT u.joins) END",
        )
        .bind(self.practice.get())
        .bind(&self.group_id)
        .bind(now)
        .bind(replace)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        let joined = sqlx::query(
            "/* change_members: join */
             INSERT INTO headgate.patient_group_member (practice_number, group_id, patient_id, member_since)
             SELECT DISTINCT $1::bigint, $2::text, u.patient_id, $3::timestamptz FROM member_upload u WHERE u.joins
             ON CONFLICT (practice_number, group_id, patient_id) WHERE member_until IS NULL DO NOTHING",
        )
        .bind(self.practice.get())
        .bind(&self.group_id)
        .bind(now)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        let member_count = touch(tx, self.practice, &self.group_id, now).await?;
        let facts = serde_json::json!({ "group": self.group_id, "joined": joined, "left": left });
        audit::record(tx, &audit.clone().and(facts)).await?;
        doorbell::ring(tx, self.practice).await?;
        self.tx.commit().await?;
        let duplicates = self.uploaded.saturating_sub(distinct);
        Ok(MemberCounts { joined, left, member_count, duplicates })
    }

    /// Makes the table quick to look into; returns how many different patients it names.
    async fn prepare(&mut self) -> Result<u64> {
        sqlx::query("/* change_members: index */ CREATE INDEX ON member_upload (patient_id)")
            .execute(&mut *self.tx)
            .await?;
        sqlx::query("/* change_members: analyze */ ANALYZE member_upload").execute(&mut *self.tx).await?;
        let distinct: i64 = sqlx::query_scalar("SELECT count(DISTINCT patient_id) FROM member_upload")
            .fetch_one(&mut *self.tx)
            .await?;
        number(distinct, "member_upload", "count")
    }
}

async fn lock(
    connection: &mut PgConnection,
    practice: PracticeNumber,
    group_id: &str,
    if_match: Option<i64>,
) -> Result<()> {
    let revision = sqlx::query_scalar!(
        "/* change_members: lock */
         SELECT revision FROM headgate.patient_group WHERE practice_number = $1 AND group_id = $2 FOR UPDATE",
        practice.get(),
        group_id,
    )
    .fetch_one(connection)
    .await?;
    if if_match.is_some_and(|wanted| wanted != revision) { Err(Error::Stale) } else { Ok(()) }
}

/// Notes the change, asks for a look at who of the members is known to the source, and counts the members.
async fn touch(
    connection: &mut PgConnection,
    practice: PracticeNumber,
    group_id: &str,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<u64> {
    sqlx::query!(
        "/* change_members: look */
         UPDATE headgate.source_catalog SET requested_at = clock_timestamp() WHERE practice_number = $1",
        practice.get(),
    )
    .execute(&mut *connection)
    .await?;
    let count = sqlx::query_scalar!(
        r#"/* change_members: touch */
         WITH touched AS (UPDATE headgate.patient_group
                             SET updated_at = $3, members_changed_at = $3, revision = revision + 1
                           WHERE practice_number = $1 AND group_id = $2)
         SELECT count(*) AS "count!" FROM headgate.patient_group_member
         WHERE practice_number = $1 AND group_id = $2 AND member_until IS NULL"#,
        practice.get(),
        group_id,
        now,
    )
    .fetch_one(connection)
    .await?;
    number(count, "patient_group_member", "count")
}
