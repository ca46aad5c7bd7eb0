//! Two practices that are told apart by path, one by host, and apps with consents at some of them.

use anyhow::{Context as _, Result, anyhow};
use headgate_testkit::auth::admin_token::AdminRole;
use headgate_testkit::domain::PracticeNumber;
use headgate_testkit::reqwest::Url;
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{AppHandle, BulkClient, Level, Practice, TestApp};
use tokio::sync::OnceCell;

use crate::stage::{self, ALL, export_id, patient, practice_with, source};

static TENANTS: OnceCell<Result<Tenants, String>> = OnceCell::const_new();

/// An export whose files are had with the token.
pub struct Exported {
    pub id: String,
    /// The name of a file, as it stands in its URL.
    pub file: String,
}

/// What is there before the first request of the matrix.
pub struct Tenants {
    pub here: Practice,
    /// Told apart by its host.
    pub by_host: Practice,
    pub mine: AppHandle,
    /// Of `mine` here.
    pub client: BulkClient,
    /// Of `mine` elsewhere.
    pub client_elsewhere: BulkClient,
    /// Of an app that has a consent here too.
    pub theirs: BulkClient,
    /// Of an app that may export one group here.
    pub of_group: BulkClient,
    pub my_export: Exported,
    pub my_export_elsewhere: Exported,
    pub their_export: Exported,
}

impl Tenants {
    /// Those of this process.
    pub async fn of(app: &'static TestApp) -> Result<&'static Self> {
        let build = async || Self::build(app).await.map_err(|error| format!("{error:#}"));
        TENANTS.get_or_init(build).await.as_ref().map_err(|error| anyhow!("{error}"))
    }

    async fn build(app: &TestApp) -> Result<Self> {
        let token = || json!({ "file_access": "token" });
        let here = practice_with(app, |practice| practice.options(token())).await?;
        let elsewhere = practice_with(app, |practice| practice.options(token())).await?;
        let port = Url::parse(app.public_url())?.port().context("no port")?;
        let host = format!("http://clinic.example:{port}/fhir/r4");
        let by_host = practice_with(app, |practice| practice.base_url(&host)).await?;
        for (practice, name) in [(&here, "here"), (&elsewhere, "elsewhere"), (&by_host, "host")] {
            fill(app, practice, name).await?;
        }
        app.group(&here, "closed", &["ann-here"]).await?;
        let mine = app.vendor_app(&[ALL]).await?;
        for practice in [&here, &elsewhere, &by_host] {
            app.consent(practice, &mine).await?;
        }
        let client = app.client(&here, &mine).await?;
        let client_elsewhere = app.client(&elsewhere, &mine).await?;
        let (_, theirs) = stage::client(app, &here).await?;
        let limited = app.vendor_app(&[ALL]).await?;
        app.consent_with(&here, &limited, json!({ "group_ids": ["group-here"] })).await?;
        let of_group = app.client(&here, &limited).await?;
        let (my_export, my_export_elsewhere, their_export) =
            (export(&client).await?, export(&client_elsewhere).await?, export(&theirs).await?);
        Ok(Self {
            here,
            by_host,
            mine,
            client,
            client_elsewhere,
            theirs,
            of_group,
            my_export,
            my_export_elsewhere,
            their_export,
        })
    }

    /// A token of `mine` for the practice that is told apart by host, from the endpoint that all share.
    pub async fn token_by_host(&self, app: &TestApp) -> Result<String> {
        let url = format!("{}/auth/realms/fhir/protocol/openid-connect/token", app.public_url());
        let mut form = self.mine.form(ALL, &self.mine.assertion(&url)?);
        form.push(("resource".to_owned(), self.by_host.base_url.clone()));
        let answer = app.request_token(&url, &form).await?.expect(200)?.json()?;
        answer["access_token"].as_str().map(str::to_owned).context("no access_token")
    }

    /// Good for the admin API.
    pub fn admin_token(&self, app: &TestApp) -> Result<String> {
        let role = AdminRole::PracticeAdmin(PracticeNumber::new(self.here.number)?);
        Ok(app.admin().acting_as("ann", &role)?.token().to_owned())
    }
}

async fn fill(app: &TestApp, practice: &Practice, name: &str) -> Result<()> {
    source(
        practice,
        "CREATE TABLE fhir_export.binary (
             id text PRIMARY KEY, patient_id text, last_updated timestamptz NOT NULL DEFAULT clock_timestamp(),
             content_type text, content bytea);
         GRANT SELECT ON fhir_export.binary TO PUBLIC",
    )
    .await?;
    let (ann, note) = (format!("ann-{name}"), format!("note-{name}"));
    let insert = format!(
        "INSERT INTO fhir_export.binary (id, patient_id, content_type, content)
         VALUES ('{note}', '{ann}', 'text/plain', 'x')"
    );
    source(practice, &insert).await?;
    practice.insert_body("Patient", &ann, Some(&ann), &patient(&ann)).await?;
    let url = format!("{}/Binary/{note}", practice.base_url);
    let document = json!({
        "resourceType": "DocumentReference", "id": format!("doc-{name}"), "status": "current",
        "subject": { "reference": format!("Patient/{ann}") },
        "content": [{ "attachment": { "contentType": "text/plain", "url": url } }],
    });
    practice
        .insert_body("DocumentReference", &format!("doc-{name}"), Some(&ann), &document.to_string())
        .await?;
    app.group(practice, &format!("group-{name}"), &[&ann]).await?;
    Ok(())
}

async fn export(client: &BulkClient) -> Result<Exported> {
    let status_url = client.start(&Level::System, &[]).await?;
    let manifest: Value = client.wait_complete(&status_url).await?;
    let url = manifest["output"][0]["url"].as_str().context("no file")?;
    let file = url.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(Exported { id: export_id(&status_url).to_owned(), file })
}
