//! Apps: the registered clients, their keys, and the status that follows from consents.

use chrono::{DateTime, Utc};
use headgate_domain::scope::ScopeSet;
use headgate_domain::{ClientId, PracticeNumber};
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use crate::audit::{self, Audit};
use crate::error::parsed;
use crate::{Result, Store, acquire};

/// An app to be registered.
#[derive(Debug, Clone)]
pub struct NewApp {
    /// Its client id, random.
    pub client_id: ClientId,
    /// Whose app it is.
    pub vendor_id: Uuid,
    /// Its name.
    pub name: String,
    /// The most it may ever be granted.
    pub scopes: ScopeSet,
    /// Whom to tell of a security matter.
    pub security_contact: String,
    /// Its public keys, checked: id and JWK.
    pub keys: Vec<(String, Value)>,
}

/// Whether an app can get tokens. Derived, never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppStatus {
    /// No practice consents to it (yet).
    Disabled,
    /// At least one practice consents to it.
    Enabled,
    /// An operator suspended it.
    Suspended,
}

impl AppStatus {
    /// The status as the API has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AppStatus::Disabled => "disabled",
            AppStatus::Enabled => "enabled",
            AppStatus::Suspended => "suspended",
        }
    }
}

/// A practice at which an app has a consent in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentingPractice {
    /// Its number.
    pub number: PracticeNumber,
    /// Its name.
    pub name: String,
    /// Its FHIR base URL.
    pub base_url: Url,
}

impl ConsentingPractice {
    /// The base URL as text without a trailing slash.
    #[must_use]
    pub fn base(&self) -> &str {
        self.base_url.as_str().trim_end_matches('/')
    }
}

/// A registered app.
#[derive(Debug, Clone)]
pub struct App {
    /// Its client id.
    pub client_id: ClientId,
    /// Whose app it is.
    pub vendor_id: Uuid,
    /// The name of the vendor.
    pub vendor_name: String,
    /// Its name.
    pub name: String,
    /// The most it may ever be granted.
    pub scopes: ScopeSet,
    /// Whom to tell of a security matter.
    pub security_contact: String,
    /// Whether an operator suspended it.
    pub suspended: bool,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
    /// Its public keys that are not revoked, as JWKs in the order of their ids.
    pub keys: Vec<Value>,
    /// The practices at which it has a consent in force, by number. Suspended practices are left out.
    pub consenting: Vec<ConsentingPractice>,
}

impl App {
    /// Born disabled, enabled while a practice consents, or suspended.
    #[must_use]
    pub fn status(&self) -> AppStatus {
        match (self.suspended, self.consenting.is_empty()) {
            (true, _) => AppStatus::Suspended,
            (false, true) => AppStatus::Disabled,
            (false, false) => AppStatus::Enabled,
        }
    }
}

impl Store {
    /// Registers an app with its keys.
    ///
    /// # Errors
    /// [`crate::Error::Missing`] when there is no such vendor.
    pub async fn create_app(&self, app: &NewApp, audit: &Audit) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query!(
            "/* create_app */
             INSERT INTO headgate.app (client_id, vendor_id, name, scopes, security_contact)
             VALUES ($1, $2, $3, $4, $5)",
            app.client_id.as_str(),
            app.vendor_id,
            app.name,
            app.scopes.to_string(),
            app.security_contact,
        )
        .execute(&mut *tx)
        .await?;
        let (kids, jwks): (Vec<String>, Vec<Value>) = app.keys.iter().cloned().unzip();
        sqlx::query!(
            "/* create_app */
             INSERT INTO headgate.app_key (client_id, kid, jwk)
             SELECT $1, key.kid, key.jwk FROM unnest($2::text[], $3::jsonb[]) AS key (kid, jwk)",
            app.client_id.as_str(),
            &kids,
            &jwks,
        )
        .execute(&mut *tx)
        .await?;
        audit::record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(())
    }

    /// One app with its keys and consenting practices.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn app(&self, client: &ClientId) -> Result<Option<App>> {
        Ok(self.read_apps(Some(client)).await?.pop())
    }

    /// All apps, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn apps(&self) -> Result<Vec<App>> {
        self.read_apps(None).await
    }

    async fn read_apps(&self, only: Option<&ClientId>) -> Result<Vec<App>> {
        let only = only.map(ClientId::as_str);
        let rows = sqlx::query!(
            r#"/* read_apps */
             SELECT a.client_id, a.vendor_id, v.name AS vendor_name, a.name, a.scopes, a.security_contact,
                    a.suspended_at, a.created_at,
                    ARRAY(SELECT k.jwk FROM headgate.app_key k
                          WHERE k.client_id = a.client_id AND k.revoked_at IS NULL ORDER BY k.kid) AS "keys!"
             FROM headgate.app a JOIN headgate.vendor v USING (vendor_id)
             WHERE $1::text IS NULL OR a.client_id = $1
             ORDER BY a.created_at, a.client_id"#,
            only,
        )
        .fetch_all(&self.pool)
        .await?;
        let mut apps = Vec::with_capacity(rows.len());
        for row in rows {
            apps.push(App {
                client_id: parsed(&row.client_id, "app", "client_id")?,
                vendor_id: row.vendor_id,
                vendor_name: row.vendor_name,
                name: row.name,
                scopes: parsed(&row.scopes, "app", "scopes")?,
                security_contact: row.security_contact,
                suspended: row.suspended_at.is_some(),
                created_at: row.created_at,
                keys: row.keys,
                consenting: Vec::new(),
            });
        }
        self.add_consenting(&mut apps, only).await?;
        Ok(apps)
    }

    async fn add_consenting(&self, apps: &mut [App], only: Option<&str>) -> Result<()> {
        let rows = sqlx::query!(
            "/* add_consenting */
             SELECT c.client_id, p.practice_number, p.name, p.base_url
             FROM headgate.consent c JOIN headgate.practice p USING (practice_number)
             WHERE ($1::text IS NULL OR c.client_id = $1)
               AND c.revoked_at IS NULL AND (c.expires_at IS NULL OR c.expires_at > clock_timestamp())
               AND p.suspended_at IS NULL
             ORDER BY p.practice_number",
            only,
        )
        .fetch_all(&self.pool)
        .await?;
        for row in rows {
            if let Some(app) = apps.iter_mut().find(|app| app.client_id.as_str() == row.client_id) {
                app.consenting.push(ConsentingPractice {
                    number: acquire::practice(row.practice_number, "practice")?,
                    name: row.name,
                    base_url: parsed(&row.base_url, "practice", "base_url")?,
                });
            }
        }
        Ok(())
    }
}
