//! Vendors: the third parties that register apps.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::audit::{self, Audit};
use crate::{Result, Store};

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

/// A vendor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vendor {
    /// Its id.
    pub vendor_id: Uuid,
    /// Its name.
    pub name: String,
    /// Where its people are reached.
    pub contact_email: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
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

    /// All vendors by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn vendors(&self) -> Result<Vec<Vendor>> {
        let vendors = sqlx::query_as!(
            Vendor,
            "/* vendors */ SELECT vendor_id, name, contact_email, created_at FROM headgate.vendor ORDER BY name",
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(vendors)
    }

    /// One vendor.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn vendor(&self, vendor_id: Uuid) -> Result<Option<Vendor>> {
        let vendor = sqlx::query_as!(
            Vendor,
            "/* vendor */ SELECT vendor_id, name, contact_email, created_at FROM headgate.vendor WHERE vendor_id = $1",
            vendor_id,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(vendor)
    }
}
