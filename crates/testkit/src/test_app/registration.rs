//! What people do before an app can export: register it, consent to it, define a group; and the tokens it gets.

use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result};
use headgate_auth::{Algorithm, Jwks, PrivateKey};
use serde_json::{Value, json};

use super::TestApp;
use crate::{Answer, AppHandle, BulkClient, Practice};

impl TestApp {
    /// Registers a vendor and an app with a fresh ES384 key.
    ///
    /// # Errors
    /// When the admin API refuses.
    pub async fn vendor_app(&self, scopes: &[&str]) -> Result<AppHandle> {
        self.vendor_app_with(scopes, PrivateKey::generate(Algorithm::Es384)?).await
    }

    /// Registers a vendor and an app with a given key.
    ///
    /// # Errors
    /// When the admin API refuses.
    pub async fn vendor_app_with(&self, scopes: &[&str], key: PrivateKey) -> Result<AppHandle> {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        let vendor = json!({ "name": format!("Vendor {number}"), "contact_email": "vendor@vendor.example" });
        let vendor = self.admin.post("vendors", &vendor).await?.expect(201)?.json()?;
        let vendor_id = vendor["vendor_id"].as_str().context("a vendor without vendor_id")?.to_owned();
        let body = json!({
            "vendor_id": vendor_id,
            "name": format!("App {number}"),
            "jwks": Jwks::new(vec![key.public_jwk().clone()])?.to_json(),
            "security_contact": "security@vendor.example",
            "scopes": scopes.join(" "),
        });
        let app = self.admin.post("apps", &body).await?.expect(201)?.json()?;
        let client_id = app["client_id"].as_str().context("an app without client_id")?.to_owned();
        Ok(AppHandle { client_id, vendor_id, key })
    }

    /// The practice consents to the app: all its scopes, all groups.
    ///
    /// # Errors
    /// When the admin API refuses.
    pub async fn consent(&self, practice: &Practice, app: &AppHandle) -> Result<Value> {
        self.consent_with(practice, app, json!({})).await
    }

    /// The practice consents with more to say, such as `{"scopes": "system/Patient.rs"}`.
    ///
    /// # Errors
    /// When the admin API refuses.
    pub async fn consent_with(&self, practice: &Practice, app: &AppHandle, mut body: Value) -> Result<Value> {
        body["client_id"] = app.client_id.as_str().into();
        self.admin.post(&format!("practices/{}/consents", practice.number), &body).await?.expect(201)?.json()
    }

    /// The practice takes its consent back.
    ///
    /// # Errors
    /// When the admin API refuses.
    pub async fn revoke(&self, practice: &Practice, app: &AppHandle) -> Result<Value> {
        let path = format!("practices/{}/consents/{}/revoke", practice.number, app.client_id);
        self.admin.post(&path, &json!({ "reason": "test" })).await?.expect(200)?.json()
    }

    /// Makes a group if it is new, and gives it exactly these members.
    ///
    /// # Errors
    /// When the admin API refuses.
    pub async fn group(&self, practice: &Practice, group_id: &str, patients: &[&str]) -> Result<Value> {
        let path = format!("practices/{}/groups/{group_id}", practice.number);
        let made = self.admin.put(&path, &json!({ "name": format!("Group {group_id}") })).await?;
        if made.status != 200 {
            made.expect(201)?;
        }
        self.admin
            .put(&format!("{path}/members"), &json!({ "patient_ids": patients }))
            .await?
            .expect(200)?
            .json()
    }

    /// Posts a form to a token endpoint.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn request_token(&self, token_url: &str, form: &[(String, String)]) -> Result<Answer> {
        Answer::to(self.http.post(token_url).header("Accept", "application/json").form(form)).await
    }

    /// An access token of the app at the practice's token endpoint, for these scopes.
    ///
    /// # Errors
    /// When the endpoint refuses.
    pub async fn token(&self, practice: &Practice, app: &AppHandle, scope: &str) -> Result<String> {
        let form = app.form(scope, &app.assertion(&practice.token_url)?);
        let answer = self.request_token(&practice.token_url, &form).await?.expect(200)?.json()?;
        answer["access_token"].as_str().map(str::to_owned).context("no access_token")
    }

    /// A bulk client of the app at the practice, with a token for `system/*.rs`.
    ///
    /// # Errors
    /// When the token endpoint refuses.
    pub async fn client(&self, practice: &Practice, app: &AppHandle) -> Result<BulkClient> {
        let token = self.token(practice, app, "system/*.rs").await?;
        Ok(BulkClient::new(self.http.clone(), &practice.base_url, token))
    }
}
