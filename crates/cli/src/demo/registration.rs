//! What people do over the admin API before an app can export: a vendor registers it, practices consent, an operator
//! makes a group.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use headgate_auth::{Algorithm, PrivateKey, jwks_document};
use headgate_domain::mapping::Json;
use headgate_reference_ehr::{MAPPING, MAPPING_FILES};
use serde_json::{Value, json};

use super::databases::{Databases, Ehr};
use super::engine::Engine;
use super::screen::Screen;
use super::secrets::Secrets;
use crate::admin::client::AdminClient;

/// The group of the first practice.
pub(super) const GROUP: &str = "1.105681.22.0.1";

/// Members of the group.
const MEMBERS: i64 = 5;

/// How long a worker may take to look at the practices' databases.
const REFRESH_WITHIN: Duration = Duration::from_secs(60);

/// A registered app to which the practices consent.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) client_id: String,
    /// The app's private key, as a JWK.
    pub(super) private_jwk: String,
    /// In the order of the practices.
    pub(super) practices: Vec<Address>,
    /// Patients in [`GROUP`] of the first practice.
    pub(super) members: Vec<String>,
}

/// Where a practice is reached.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) base_url: String,
    pub(super) token_url: String,
}

/// Registers everything, and waits until the practices' databases have been looked at.
pub(super) async fn register(
    engine: &Engine,
    secrets: &Secrets,
    databases: &Databases,
    screen: &Screen,
) -> Result<Registered> {
    let token = secrets.operator_token.clone().into();
    let admin = AdminClient::new(engine.admin_url.parse()?, token, secrets.ca_pem())?;
    let key = PrivateKey::generate(Algorithm::Es384)?;
    let client_id = register_app(&admin, &key).await?;
    put_mapping(&admin).await?;
    let mut practices = Vec::new();
    for ehr in &databases.ehrs {
        practices.push(register_practice(&admin, engine, ehr).await?);
        let granted_by = format!("the practice manager of {}", ehr.practice.name);
        let consent = json!({ "client_id": client_id, "granted_by": granted_by });
        admin.post(&["practices", &ehr.practice.number.to_string(), "consents"], &consent).await?;
    }
    screen.line("a vendor has registered an app, and both practices consent to it");

    let ehr = databases.ehrs.first().context("the demo has practices")?;
    let number = ehr.practice.number.to_string();
    let members = ehr.some_patients(MEMBERS).await?;
    admin.put(&["practices", &number, "groups", GROUP], &json!({ "name": "Annual review" })).await?;
    let patients = json!({ "patient_ids": members });
    admin.put(&["practices", &number, "groups", GROUP, "members"], &patients).await?;

    let looked_at = async {
        for ehr in &databases.ehrs {
            wait_for_refresh(&admin, ehr).await?;
        }
        Ok::<(), anyhow::Error>(())
    };
    let looked_at = tokio::time::timeout(REFRESH_WITHIN, looked_at).await;
    looked_at.context("no worker has looked at the practices' databases")??;
    screen.line("the worker has looked at both practices' databases");
    Ok(Registered { client_id, private_jwk: key.to_private_jwk()?, practices, members })
}

/// Registers a vendor and its app, and returns the client id.
async fn register_app(admin: &AdminClient, key: &PrivateKey) -> Result<String> {
    let vendor = json!({ "name": "Example Analytics", "contact_email": "ops@analytics.example" });
    let vendor = admin.post(&["vendors"], &vendor).await?;
    let app = json!({
        "vendor_id": vendor["vendor_id"],
        "name": "Population Insights",
        "jwks": jwks_document([key.public_jwk()]),
        "security_contact": "security@analytics.example",
    });
    text(&admin.post(&["apps"], &app).await?, "client_id")
}

/// Stores the mapping set of the reference EHR.
async fn put_mapping(admin: &AdminClient) -> Result<()> {
    let documents: Result<Vec<(String, Json)>> = MAPPING_FILES
        .iter()
        .map(|(name, text)| Ok(((*name).to_owned(), serde_json::from_str(text)?)))
        .collect();
    let body = Json::Object(vec![("files".to_owned(), Json::Object(documents?))]);
    admin.put(&["mappings", MAPPING], &body).await?;
    Ok(())
}

async fn register_practice(admin: &AdminClient, engine: &Engine, ehr: &Ehr) -> Result<Address> {
    let practice = ehr.practice;
    let dsn_file = ehr.dsn_file.to_str().context("the path of --dir must be UTF-8")?;
    let body = json!({
        "number": practice.number,
        "slug": practice.slug,
        "name": practice.name,
        "base_url": format!("{}/{}/fhir/r4", engine.public_url, practice.slug),
        "source": { "dsn_ref": format!("file:{dsn_file}"), "mapping": practice.mapping },
    });
    let made = admin.post(&["practices"], &body).await?;
    Ok(Address { base_url: text(&made, "base_url")?, token_url: text(&made, "token_url")? })
}

/// A worker looks at a new practice's database by itself; only then it can be exported.
async fn wait_for_refresh(admin: &AdminClient, ehr: &Ehr) -> Result<()> {
    let number = ehr.practice.number.to_string();
    loop {
        let source = admin.get(&["practices", &number, "source"]).await?;
        if !source["refreshed_at"].is_null() {
            return Ok(());
        }
        if let Some(failure) = source["failure"].as_str() {
            bail!("the database of {} cannot be used: {failure}", ehr.practice.name);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn text(answer: &Value, name: &str) -> Result<String> {
    let text = answer[name].as_str().map(str::to_owned);
    text.with_context(|| format!("the admin API answered without {name}"))
}
