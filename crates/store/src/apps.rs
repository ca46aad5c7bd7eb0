//! Apps: the registered clients, their keys, and the status that follows from consents.

use chrono::{DateTime, Utc};
use headgate_domain::consent::GroupAccess;
use headgate_domain::scope::ScopeSet;
use headgate_domain::{ClientId, PracticeNumber};
use serde_json::Value;
use sqlx::PgConnection;
use url::Url;
use uuid::Uuid;

use crate::audit::{self, Audit};
use crate::endings::end_exports_beyond;
use crate::error::{parsed, stale_if};
use crate::page::time_and_text;
use crate::suspension::Suspension;
use crate::{Page, Paged, Result, Store, acquire};

mod keys;
mod refusals;

pub use keys::AppKey;
pub use refusals::{NewRefusal, Refusal};

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
    /// Where its keys are published; none: they are in `keys`.
    pub jwks_url: Option<Url>,
    /// Its public keys, checked: id and JWK.
    pub keys: Vec<(String, Value)>,
}

/// What is to change of an app; what is absent stays.
#[derive(Debug, Clone, Default)]
pub struct AppChange {
    /// Its name.
    pub name: Option<String>,
    /// Whom to tell of a security matter.
    pub security_contact: Option<String>,
    /// The most it may ever be granted. Exports beyond it are revoked.
    pub scopes: Option<ScopeSet>,
    /// Where its keys are published from now on; inline keys are revoked.
    pub jwks_url: Option<Url>,
}

/// Whether an app can get tokens. Derived, never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppStatus {
    /// No practice consents to it (yet).
    Disabled,
    /// At least one practice consents to it.
    Enabled,
    /// An operator suspended it, or its vendor.
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
    /// That an operator suspended it.
    pub suspended: Option<Suspension>,
    /// Whether its vendor is suspended.
    pub vendor_suspended: bool,
    /// Grows with every change.
    pub revision: i64,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
    /// Where its keys are published; none: they are in `keys`.
    pub jwks_url: Option<Url>,
    /// Its public keys in the order of their ids, those that no longer work too.
    pub keys: Vec<AppKey>,
    /// The practices at which it has a consent in force, by number. Suspended practices are left out.
    pub consenting: Vec<ConsentingPractice>,
}

impl App {
    /// Born disabled, enabled while a practice consents, or suspended.
    #[must_use]
    pub fn status(&self) -> AppStatus {
        match (self.suspended.is_some() || self.vendor_suspended, self.consenting.is_empty()) {
            (true, _) => AppStatus::Suspended,
            (false, true) => AppStatus::Disabled,
            (false, false) => AppStatus::Enabled,
        }
    }

    /// The keys that work at a time, as JWKs.
    pub fn live_keys(&self, now: DateTime<Utc>) -> impl Iterator<Item = &Value> {
        self.keys.iter().filter(move |key| key.is_live(now)).map(|key| &key.jwk)
    }
}

/// A row as every statement here selects it.
struct Row {
    client_id: String,
    vendor_id: Uuid,
    vendor_name: String,
    vendor_suspended: bool,
    name: String,
    scopes: String,
    security_contact: String,
    jwks_url: Option<String>,
    suspended_at: Option<DateTime<Utc>>,
    suspended_by: Option<String>,
    suspend_reason: Option<String>,
    revision: i64,
    created_at: DateTime<Utc>,
}

impl TryFrom<Row> for App {
    type Error = crate::Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            client_id: parsed(&row.client_id, "app", "client_id")?,
            vendor_id: row.vendor_id,
            vendor_name: row.vendor_name,
            vendor_suspended: row.vendor_suspended,
            name: row.name,
            scopes: parsed(&row.scopes, "app", "scopes")?,
            security_contact: row.security_contact,
            jwks_url: row.jwks_url.map(|url| parsed(&url, "app", "jwks_url")).transpose()?,
            suspended: Suspension::of(row.suspended_at, row.suspended_by, row.suspend_reason),
            revision: row.revision,
            created_at: row.created_at,
            keys: Vec::new(),
            consenting: Vec::new(),
        })
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
             INSERT INTO headgate.app (client_id, vendor_id, name, scopes, security_contact, jwks_url)
             VALUES ($1, $2, $3, $4, $5, $6)",
            app.client_id.as_str(),
            app.vendor_id,
            app.name,
            app.scopes.to_string(),
            app.security_contact,
            app.jwks_url.as_ref().map(Url::as_str),
        )
        .execute(&mut *tx)
        .await?;
        keys::insert(&mut tx, &app.client_id, &app.keys).await?;
        audit::record(&mut tx, audit).await?;
        tx.commit().await?;
        Ok(())
    }

    /// One app with its keys and consenting practices.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn app(&self, client: &ClientId) -> Result<Option<App>> {
        let mut tx = self.of_client(client).await?;
        let row = sqlx::query_as!(
            Row,
            r#"/* app */
             SELECT a.client_id, a.vendor_id, v.name AS vendor_name, v.suspended_at IS NOT NULL AS "vendor_suspended!",
                    a.name, a.scopes, a.security_contact, a.jwks_url, a.suspended_at, a.suspended_by,
                    a.suspend_reason, a.revision, a.created_at
             FROM headgate.app a JOIN headgate.vendor v USING (vendor_id) WHERE a.client_id = $1"#,
            client.as_str(),
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let mut apps = [App::try_from(row)?];
        complete(&mut tx, &mut apps).await?;
        tx.commit().await?;
        let [app] = apps;
        Ok(Some(app))
    }

    /// Apps, of one vendor or all, oldest first.
    ///
    /// # Errors
    /// [`crate::Error::Cursor`]; or when the database fails.
    pub async fn apps(&self, vendor: Option<Uuid>, page: &Page) -> Result<Paged<App>> {
        let (after, after_id) = page.time_and_text()?.unzip();
        let mut tx = self.everywhere().await?;
        let rows = sqlx::query_as!(
            Row,
            r#"/* apps */
             SELECT a.client_id, a.vendor_id, v.name AS vendor_name, v.suspended_at IS NOT NULL AS "vendor_suspended!",
                    a.name, a.scopes, a.security_contact, a.jwks_url, a.suspended_at, a.suspended_by,
                    a.suspend_reason, a.revision, a.created_at
             FROM headgate.app a JOIN headgate.vendor v USING (vendor_id)
             WHERE ($1::uuid IS NULL OR a.vendor_id = $1)
               AND ($2::timestamptz IS NULL OR (a.created_at, a.client_id) > ($2, $3))
             ORDER BY a.created_at, a.client_id LIMIT $4"#,
            vendor,
            after,
            after_id,
            page.rows(),
        )
        .fetch_all(&mut *tx)
        .await?;
        let mut apps = rows.into_iter().map(App::try_from).collect::<Result<Vec<App>>>()?;
        complete(&mut tx, &mut apps).await?;
        tx.commit().await?;
        Ok(Paged::of(apps, page, |app| time_and_text(app.created_at, &app.client_id)))
    }

    /// Changes an app; returns how many of its exports were revoked because they are beyond its new scopes, `None`
    /// when there is no such app.
    ///
    /// # Errors
    /// [`crate::Error::Stale`] when it is not of the revision `if_match`.
    pub async fn update_app(
        &self,
        client: &ClientId,
        change: &AppChange,
        if_match: Option<i64>,
        audit: &Audit,
    ) -> Result<Option<u64>> {
        let mut tx = self.everywhere().await?;
        let moved = sqlx::query!(
            "/* update_app */
             UPDATE headgate.app
             SET name = coalesce($2, name), security_contact = coalesce($3, security_contact),
                 scopes = coalesce($4, scopes), jwks_url = coalesce($5, jwks_url), revision = revision + 1
             WHERE client_id = $1 AND ($6::bigint IS NULL OR revision = $6)",
            client.as_str(),
            change.name,
            change.security_contact,
            change.scopes.as_ref().map(ScopeSet::to_string),
            change.jwks_url.as_ref().map(Url::as_str),
            if_match,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if moved == 0 {
            drop(tx);
            stale_if(if_match, self.app(client).await?.is_some())?;
            return Ok(None);
        }
        if change.jwks_url.is_some() {
            keys::revoke_all(&mut tx, client).await?;
        }
        let ended = match &change.scopes {
            // Which groups is the consents' matter.
            Some(scopes) => end_beyond_scopes(&mut tx, client, scopes).await?,
            None => 0,
        };
        audit::record(&mut tx, &audit.clone().and(serde_json::json!({ "ended_exports": ended }))).await?;
        tx.commit().await?;
        Ok(Some(ended))
    }
}

async fn end_beyond_scopes(
    connection: &mut PgConnection,
    client: &ClientId,
    scopes: &ScopeSet,
) -> Result<u64> {
    let because = "the scopes of the app were narrowed";
    end_exports_beyond(connection, None, client, scopes, &GroupAccess::All, because).await
}

/// Adds keys and consenting practices to apps.
async fn complete(connection: &mut PgConnection, apps: &mut [App]) -> Result<()> {
    let clients: Vec<String> = apps.iter().map(|app| app.client_id.as_str().to_owned()).collect();
    for (client, key) in keys::read(connection, &clients).await? {
        if let Some(app) = apps.iter_mut().find(|app| app.client_id.as_str() == client) {
            app.keys.push(key);
        }
    }
    let rows = sqlx::query!(
        "/* apps: consenting */
         SELECT c.client_id, p.practice_number, p.name, p.base_url
         FROM headgate.consent c JOIN headgate.practice p USING (practice_number)
         WHERE c.client_id = ANY ($1)
           AND c.revoked_at IS NULL AND (c.expires_at IS NULL OR c.expires_at > clock_timestamp())
           AND p.suspended_at IS NULL
         ORDER BY p.practice_number",
        &clients,
    )
    .fetch_all(connection)
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
