//! Practices: the tenants, and where workers find the source of each.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use headgate_domain::PracticeNumber;
use headgate_domain::practice::{Practice, PracticeOptions};
use serde_json::Value;
use url::Url;

use crate::audit::{self, Audit};
use crate::error::{json, number, parsed};
use crate::operations::Pause;
use crate::suspension::Suspension;
use crate::{Error, Page, Paged, Result, Store, acquire, doorbell};

pub use update::PracticeChange;

mod update;

/// A practice to be created.
#[derive(Debug, Clone)]
pub struct NewPractice {
    /// The practice as the API serves it.
    pub practice: Practice,
    /// Where workers find the DSN: `env:NAME` or `file:/path`.
    pub source_dsn_ref: String,
    /// The schema that keeps the source contract.
    pub source_schema: String,
    /// The mapping set of the source; none where it has finished resources.
    pub source_mapping: Option<String>,
    /// Session settings for every read transaction.
    pub source_settings: Vec<(String, String)>,
    /// Seconds that a stamp may lie before its commit.
    pub late_commit_allowance_s: Option<u32>,
}

/// A practice with everything an operator set for it.
#[derive(Debug, Clone)]
pub struct PracticeRecord {
    /// The practice as the API serves it.
    pub practice: Practice,
    /// Where workers find the DSN.
    pub source_dsn_ref: String,
    /// The schema that keeps the source contract.
    pub source_schema: String,
    /// The mapping set of the source; none where it has finished resources.
    pub source_mapping: Option<String>,
    /// Session settings for every read transaction.
    pub source_settings: Vec<(String, String)>,
    /// Seconds that a stamp may lie before its commit.
    pub late_commit_allowance_s: Option<u32>,
    /// That an operator suspended it.
    pub suspended: Option<Suspension>,
    /// That an operator paused it. (It is also paused while the fleet is.)
    pub paused: Option<Pause>,
    /// Grows with every change.
    pub revision: i64,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

/// What a worker needs to open a practice's source and to place its objects.
#[derive(Debug, Clone)]
pub struct SourceBinding {
    /// Whose source it is.
    pub practice: PracticeNumber,
    /// Where the DSN is found: `env:NAME` or `file:/path`.
    pub source_dsn_ref: String,
    /// The schema that keeps the source contract.
    pub source_schema: String,
    /// The mapping set of the source; none where it has finished resources.
    pub source_mapping: Option<String>,
    /// Session settings for every read transaction.
    pub source_settings: Vec<(String, String)>,
    /// Seconds that a stamp may lie before its commit.
    pub late_commit_allowance_s: Option<u32>,
    /// Its base URL, without a slash at its end.
    pub base_url: String,
    /// Where its objects lie in the bucket.
    pub s3_prefix: String,
    /// What an operator set for it.
    pub options: PracticeOptions,
    /// Whether it was suspended by an operator.
    pub suspended: bool,
}

/// A row as every statement here selects it.
struct Row {
    practice_number: i64,
    slug: String,
    name: String,
    base_url: String,
    source_dsn_ref: String,
    source_schema: String,
    source_mapping: Option<String>,
    source_settings: Value,
    source_history_since: Option<DateTime<Utc>>,
    late_commit_allowance_s: Option<i32>,
    s3_prefix: String,
    options: Value,
    suspended_at: Option<DateTime<Utc>>,
    suspended_by: Option<String>,
    suspend_reason: Option<String>,
    paused_at: Option<DateTime<Utc>>,
    paused_by: Option<String>,
    pause_reason: Option<String>,
    pause_drains: bool,
    revision: i64,
    created_at: DateTime<Utc>,
}

impl TryFrom<Row> for PracticeRecord {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let settings: BTreeMap<String, String> = json(row.source_settings, "practice", "source_settings")?;
        Ok(Self {
            practice: Practice {
                number: acquire::practice(row.practice_number, "practice")?,
                slug: row.slug,
                name: row.name,
                base_url: parsed::<Url>(&row.base_url, "practice", "base_url")?,
                s3_prefix: row.s3_prefix,
                history_since: row.source_history_since,
                suspended: row.suspended_at.is_some(),
                options: json(row.options, "practice", "options")?,
            },
            source_dsn_ref: row.source_dsn_ref,
            source_schema: row.source_schema,
            source_mapping: row.source_mapping,
            source_settings: settings.into_iter().collect(),
            late_commit_allowance_s: row
                .late_commit_allowance_s
                .map(|s| number(s, "practice", "late_commit_allowance_s"))
                .transpose()?,
            suspended: Suspension::of(row.suspended_at, row.suspended_by, row.suspend_reason),
            paused: Pause::of(row.paused_at, row.paused_by, row.pause_reason, row.pause_drains),
            revision: row.revision,
            created_at: row.created_at,
        })
    }
}

impl Store {
    /// Creates a practice, asks for its source to be looked at, and rings.
    ///
    /// # Errors
    /// [`Error::Exists`] when another one has the number, slug, base URL or prefix.
    pub async fn create_practice(&self, new: &NewPractice, audit: &Audit) -> Result<()> {
        let practice = &new.practice;
        let settings: BTreeMap<_, _> = new.source_settings.iter().cloned().collect();
        let late_commit_s = new.late_commit_allowance_s.map(|s| i32::try_from(s).unwrap_or(i32::MAX));
        let mut tx = self.at(practice.number).await?;
        sqlx::query!(
            "/* create_practice */
             INSERT INTO headgate.practice (practice_number, slug, name, base_url, source_dsn_ref, source_schema,
                                            source_mapping, source_settings, late_commit_allowance_s, s3_prefix, options,
                                            source_history_since)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            practice.number.get(),
            practice.slug,
            practice.name,
            practice.base(),
            new.source_dsn_ref,
            new.source_schema,
            new.source_mapping,
            serde_json::json!(settings),
            late_commit_s,
            practice.s3_prefix,
            serde_json::json!(practice.options),
            practice.history_since,
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "/* create_practice */ INSERT INTO headgate.source_catalog (practice_number) VALUES ($1)",
            practice.number.get(),
        )
        .execute(&mut *tx)
        .await?;
        audit::record(&mut tx, audit).await?;
        doorbell::ring(&mut tx, practice.number).await?;
        tx.commit().await?;
        Ok(())
    }

    /// All practices by number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn practices(&self) -> Result<Vec<PracticeRecord>> {
        let rows = sqlx::query_as!(
            Row,
            "/* practices */
             SELECT practice_number, slug, name, base_url, source_dsn_ref, source_schema, source_mapping, source_settings,
                    source_history_since, late_commit_allowance_s, s3_prefix, options, suspended_at,
                    suspended_by, suspend_reason, paused_at, paused_by, pause_reason, pause_drains,
                    revision, created_at
             FROM headgate.practice ORDER BY practice_number",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(PracticeRecord::try_from).collect()
    }

    /// Practices by number in pages, or only one.
    ///
    /// # Errors
    /// [`Error::Cursor`]; or when the database fails.
    pub async fn practices_page(
        &self,
        only: Option<PracticeNumber>,
        page: &Page,
    ) -> Result<Paged<PracticeRecord>> {
        let rows = sqlx::query_as!(
            Row,
            "/* practices_page */
             SELECT practice_number, slug, name, base_url, source_dsn_ref, source_schema, source_mapping, source_settings,
                    source_history_since, late_commit_allowance_s, s3_prefix, options, suspended_at,
                    suspended_by, suspend_reason, paused_at, paused_by, pause_reason, pause_drains,
                    revision, created_at
             FROM headgate.practice
             WHERE ($1::bigint IS NULL OR practice_number = $1) AND ($2::bigint IS NULL OR practice_number > $2)
             ORDER BY practice_number LIMIT $3",
            only.map(PracticeNumber::get),
            page.number()?,
            page.rows(),
        )
        .fetch_all(&self.pool)
        .await?;
        let practices = rows.into_iter().map(PracticeRecord::try_from).collect::<Result<_>>()?;
        Ok(Paged::of(practices, page, |record| record.practice.number.to_string()))
    }

    /// One practice.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn practice(&self, practice: PracticeNumber) -> Result<Option<PracticeRecord>> {
        let row = sqlx::query_as!(
            Row,
            "/* practice */
             SELECT practice_number, slug, name, base_url, source_dsn_ref, source_schema, source_mapping, source_settings,
                    source_history_since, late_commit_allowance_s, s3_prefix, options, suspended_at,
                    suspended_by, suspend_reason, paused_at, paused_by, pause_reason, pause_drains,
                    revision, created_at
             FROM headgate.practice WHERE practice_number = $1",
            practice.get(),
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(PracticeRecord::try_from).transpose()
    }

    /// The practice whose base URL is one of the candidates; of several, the one with the longest URL.
    /// Candidates are written as base URLs are kept: without a trailing slash or a default port.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn practice_by_base_url(&self, candidates: &[String]) -> Result<Option<Practice>> {
        let row = sqlx::query_as!(
            Row,
            "/* practice_by_base_url */
             SELECT practice_number, slug, name, base_url, source_dsn_ref, source_schema, source_mapping, source_settings,
                    source_history_since, late_commit_allowance_s, s3_prefix, options, suspended_at,
                    suspended_by, suspend_reason, paused_at, paused_by, pause_reason, pause_drains,
                    revision, created_at
             FROM headgate.practice WHERE base_url = ANY($1) ORDER BY length(base_url) DESC LIMIT 1",
            candidates,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(PracticeRecord::try_from).transpose()?.map(|record| record.practice))
    }

    /// What a worker needs to open the practice's source; `None` when there is no such practice.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn source_binding(&self, practice: PracticeNumber) -> Result<Option<SourceBinding>> {
        Ok(self.practice(practice).await?.map(|record| SourceBinding {
            practice,
            source_dsn_ref: record.source_dsn_ref,
            source_schema: record.source_schema,
            source_mapping: record.source_mapping,
            source_settings: record.source_settings,
            late_commit_allowance_s: record.late_commit_allowance_s,
            base_url: record.practice.base().to_owned(),
            s3_prefix: record.practice.s3_prefix,
            options: record.practice.options,
            suspended: record.practice.suspended,
        }))
    }
}
