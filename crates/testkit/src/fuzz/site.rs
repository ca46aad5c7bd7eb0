//! What the requests are about: a practice that consents to less than an app is registered for, and a second side on
//! which anything may be changed.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{Answer, AppHandle, Practice, TestApp};

/// What the app is registered for.
const REGISTERED: [&str; 4] =
    ["system/Patient.rs", "system/Goal.rs", "system/Device.rs", "system/Observation.rs"];

/// What the practice consents to.
const CONSENTED: &str = "system/Patient.rs system/Goal.rs";

/// Types that may be granted: in both.
const GRANTABLE: [&str; 2] = ["Patient", "Goal"];

/// The group of the side on which anything may be changed.
pub(super) const GROUP: &str = "1.1";

/// Where the requests go.
pub(super) struct Site<'a> {
    pub(super) app: &'a TestApp,
    pub(super) practice: Practice,
    pub(super) client: AppHandle,
    /// An access token of that client.
    pub(super) token: String,
    /// An export of that client that is complete.
    pub(super) status_url: String,
    /// Its practice and its app may be changed by anybody.
    pub(super) victim_practice: i64,
    pub(super) victim: AppHandle,
}

impl<'a> Site<'a> {
    pub(super) async fn build(app: &'a TestApp) -> Result<Self> {
        let practice = app.practice(820_001, "fuzz").create().await?;
        practice.insert("Patient", "p1", Some("p1")).await?;
        let client = app.vendor_app(&REGISTERED).await?;
        app.consent_with(&practice, &client, json!({ "scopes": CONSENTED })).await?;
        let token = app.token(&practice, &client, "system/*.rs").await?;
        let bulk = crate::BulkClient::new(app.http().clone(), &practice.base_url, token.clone());
        let status_url = bulk.start(&crate::Level::Patient, &[]).await?;
        bulk.wait_complete(&status_url).await?;
        let other = app.practice(820_002, "victim").without_refresh().create().await?;
        let victim = app.vendor_app(&REGISTERED).await?;
        app.consent(&other, &victim).await?;
        app.group(&other, GROUP, &["p1"]).await?;
        Ok(Self { app, practice, client, token, status_url, victim_practice: other.number, victim })
    }

    /// The token endpoints that the client may use.
    pub(super) fn token_urls(&self) -> [String; 2] {
        let shared = format!("{}/auth/realms/fhir/protocol/openid-connect/token", self.app.public_url());
        [shared, self.practice.token_url.clone()]
    }

    /// A request of the admin API as an operator.
    pub(super) fn admin(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.app.admin().request(method, path)
    }

    /// What is wrong with a token that was granted.
    pub(super) fn grant_is_wrong(&self, answer: &Answer) -> Result<Option<String>> {
        let answer = answer.json()?;
        let token = answer["access_token"].as_str().context("no access_token")?;
        let claims = token.split('.').nth(1).context("no claims")?;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
        if claims["clientId"] != self.client.client_id.as_str() {
            return Ok(Some("a token of another client".to_owned()));
        }
        if claims["allowedFhirUrl"] != self.practice.base_url.as_str() {
            return Ok(Some("a token for another practice".to_owned()));
        }
        let scope = claims["scope"].as_str().context("no scope")?;
        let may: BTreeSet<String> = GRANTABLE
            .iter()
            .flat_map(|t| ["rs", "r", "s", "read"].map(|access| format!("system/{t}.{access}")))
            .collect();
        let beyond = scope.split(' ').find(|scope| !may.contains(*scope));
        Ok(beyond.map(|scope| format!("{scope} is beyond what is registered and consented")))
    }

    /// Whether a process has died or does not answer properly.
    pub(super) async fn is_unwell(&self) -> Result<Option<String>> {
        let me = self.app.admin().get("me").await?;
        let form = self.client.form("system/Patient.rs", &self.client.assertion(&self.practice.token_url)?);
        let token = self.app.request_token(&self.practice.token_url, &form).await?;
        Ok((me.status != 200 || token.status != 200)
            .then(|| format!("good requests are not answered any more: {} and {}", me.status, token.status)))
    }

    /// Ends an export that was begun, so that the next may begin.
    pub(super) async fn clean(&self, kind: &str, answer: &Answer) -> Result<()> {
        if let ("parameters" | "headers", 202, Some(url)) =
            (kind, answer.status, answer.header("content-location"))
        {
            let ended = self.app.http().delete(url).bearer_auth(&self.token).timeout(Duration::from_secs(20));
            Answer::to(ended).await?;
        }
        Ok(())
    }
}
