//! Vendors: the third parties that register apps.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::audit::{self, Audit};
use crate::error::stale_if;
use crate::suspension::Suspension;
use crate::{Page, Paged, Result, Store};

/// A vendor to be created.
#[derive(Debug, Clone)]
pub struct NewVendor {
    /// Its id, random.
    pub vendor_id: Uuid,
    /// Its name; unique.
    pub name: String,
    /// Where its people are reached.
    pub contact_email: String,
}

/// What is to change of a vendor; what is absent stays.
#[derive(Debug, Clone, Default)]
pub struct VendorChange {
    /// Its name; unique.
    pub name: Option<String>,
    /// Where its people are reached.
    pub contact_email: Option<String>,
}

/// A vendor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vendor {
    /// Its id.
    pub vendor_id: Uuid,
    /// Its name.
    pub name: String,
    /// Where its people are reached.
    pub contact_email: String,
    /// That an operator suspended it, with all its apps.
    pub suspended: Option<Suspension>,
    /// Grows with every change.
    pub revision: i64,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

/// A row as every statement here selects it.
struct Row {
    vendor_id: Uuid,
    name: String,
    contact_email: String,
    suspended_at: Option<DateTime<Utc>>,
    suspended_by: Option<String>,
    suspend_reason: Option<String>,
    revision: i64,
    created_at: DateTime<Utc>,
}

impl From<Row> for Vendor {
    fn from(row: Row) -> Self {
        Self {
            vendor_id: row.vendor_id,
            name: row.name,
            contact_email: row.contact_email,
            suspended: Suspension::of(row.suspended_at, row.suspended_by, row.suspend_reason),
            revision: row.revision,
            created_at: row.created_at,
        }
    }
}

impl Store {
    /// Creates a vendor.
    ///
    /// # Errors
    /// [`crate::Error::Exists`] when another one has the name.
    pub async fn create_vendor(&self, vendor: &NewVendor, audit: &Audit) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query!(
            "/* create_vendor */
             INSERT INTO headgate.vendor (vendor_id, name, contact_email) VALUES ($1, $2, $3)",
            vendor.vendor_id,
            vendor.name,
            vendor.contact_email,
        )
        .execute(&mut *tx)
        .await?;
        audit::record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Vendors by name, or only one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn vendors(&self, only: Option<Uuid>, page: &Page) -> Result<Paged<Vendor>> {
        let rows = sqlx::query_as!(
            Row,
            "/* vendors */
             SELECT vendor_id, name, contact_email, suspended_at, suspended_by, suspend_reason, revision, created_at
             FROM headgate.vendor
             WHERE ($1::uuid IS NULL OR vendor_id = $1) AND ($2::text IS NULL OR name > $2)
             ORDER BY name LIMIT $3",
            only,
            page.text(),
            page.rows(),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(Paged::of(rows.into_iter().map(Vendor::from).collect(), page, |vendor| vendor.name.clone()))
    }

    /// One vendor.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn vendor(&self, vendor_id: Uuid) -> Result<Option<Vendor>> {
        Ok(self.vendors(Some(vendor_id), &Page::first(1)).await?.items.pop())
    }

    /// Changes a vendor; `None` when there is none.
    ///
    /// # Errors
    /// [`crate::Error::Exists`] when another one has the name, [`crate::Error::Stale`] when it is not of the revision
    /// `if_match`.
    pub async fn update_vendor(
        &self,
        vendor_id: Uuid,
        change: &VendorChange,
        if_match: Option<i64>,
        audit: &Audit,
    ) -> Result<Option<Vendor>> {
        let mut tx = self.begin().await?;
        let row = sqlx::query_as!(
            Row,
            "/* update_vendor */
             UPDATE headgate.vendor
             SET name = coalesce($2, name), contact_email = coalesce($3, contact_email), revision = revision + 1
             WHERE vendor_id = $1 AND ($4::bigint IS NULL OR revision = $4)
             RETURNING vendor_id, name, contact_email, suspended_at, suspended_by, suspend_reason, revision, created_at",
            vendor_id,
            change.name,
            change.contact_email,
            if_match,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else {
            drop(tx);
            stale_if(if_match, self.vendor(vendor_id).await?.is_some())?;
            return Ok(None);
        };
        audit::record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(Some(row.into()))
    }
}
