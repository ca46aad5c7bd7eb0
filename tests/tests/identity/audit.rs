//! What was done is on record: written with the deed or the deed is not done, sealed, and good for the question which
//! data went to whom.

mod closed;
mod disclosures;
mod seals;

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::auth::admin_token::AdminRole;
use headgate_testkit::domain::PracticeNumber;
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::sqlx;
use headgate_testkit::{Admin, Level, Practice, TestApp};

use crate::stage::{ALL, alone, eventually, export_id, options, practice, state};

/// The administrator of a practice.
fn paula(app: &TestApp, practice: &Practice) -> Result<Admin> {
    app.admin().acting_as("paula", &AdminRole::PracticeAdmin(PracticeNumber::new(practice.number)?))
}

/// Waits until nothing of an export is left to be purged.
async fn until_purged(app: &TestApp, export: &str) -> Result<()> {
    eventually("the export is purged", async || {
        crate::stage::of_export(
            app,
            "SELECT purged_at IS NOT NULL FROM headgate.export WHERE export_id = $1",
            export,
        )
        .await
    })
    .await
}

/// Action and actor of all events, the oldest first.
async fn events(app: &TestApp) -> Result<Vec<(String, String)>> {
    let rows = sqlx::query_as("SELECT action, actor FROM headgate.audit_event ORDER BY audit_id");
    Ok(rows.fetch_all(app.control()).await?)
}

#[test]
fn the_whole_life_of_an_export_is_on_record_with_who_did_what() -> Result<()> {
    alone(options(), async |app| {
        let practice = practice(app).await?;
        practice.insert_many("Patient", "p", 3, None, 0).await?;
        let vendor = app.vendor_app(&[ALL]).await?;
        let paula = paula(app, &practice)?;
        let consents = format!("practices/{}/consents", practice.number);
        paula.post(&consents, &json!({ "client_id": vendor.client_id })).await?.expect(201)?;
        let client = app.client(&practice, &vendor).await?;
        let status_url = client.start(&Level::System, &[]).await?;
        let export = export_id(&status_url);
        let manifest = client.wait_complete(&status_url).await?;
        client.download_all(&manifest).await?;
        let revoke = format!("{consents}/{}/revoke", vendor.client_id);
        paula.post(&revoke, &json!({ "reason": "no longer wanted" })).await?.expect(200)?;
        until_purged(app, export).await?;
        ensure!(state(app, export).await? == "revoked");

        let app_itself = format!("client {}", vendor.client_id);
        let expected: Vec<(&str, &str)> = vec![
            ("practice.created", "operator test"),
            ("vendor.created", "operator test"),
            ("app.registered", "operator test"),
            ("consent.granted", "practice_admin paula"),
            ("token.issued", &app_itself),
            ("export.accepted", &app_itself),
            ("export.completed", "headgate"),
            ("link.minted", &app_itself),
            // The exports end before the deed that ends them is written down, in its transaction.
            ("export.revoked", "headgate"),
            ("consent.revoked", "practice_admin paula"),
            ("export.purged", "headgate"),
        ];
        let mut all = events(app).await?;
        all.retain(|(action, _)| !action.starts_with("signing_key."));
        let all: Vec<(&str, &str)> =
            all.iter().map(|(action, actor)| (action.as_str(), actor.as_str())).collect();
        ensure!(all == expected, "{all:#?}");
        whose(app, &paula, export, &vendor.vendor_id).await
    })
}

/// Who is shown which of these events.
async fn whose(app: &TestApp, paula: &Admin, export: &str, vendor_id: &str) -> Result<()> {
    let list = async |admin: &Admin, query: &str| -> Result<Vec<Value>> {
        let answer = admin.get(&format!("audit?limit=1000{query}")).await?.expect(200)?.json()?;
        answer["events"].as_array().cloned().context("no events")
    };
    let named = |events: &[Value], action: &str| events.iter().filter(|e| e["action"] == action).count();
    let hers = list(paula, "").await?;
    ensure!(named(&hers, "consent.granted") == 1 && named(&hers, "app.registered") == 0, "{hers:#?}");
    let of_export = list(app.admin(), &format!("&export_id={export}")).await?;
    ensure!(
        of_export.iter().all(|event| event["export_id"] == export) && of_export.len() >= 5,
        "{of_export:#?}"
    );
    let revoked = of_export.iter().find(|event| event["action"] == "export.revoked").context("no event")?;
    ensure!(revoked["detail"]["because"] == "the consent was revoked", "{revoked}");
    let vendor = app.admin().acting_as("victor", &AdminRole::Vendor(vendor_id.parse()?))?;
    let theirs = list(&vendor, "").await?;
    ensure!(named(&theirs, "token.issued") == 1 && named(&theirs, "practice.created") == 0, "{theirs:#?}");
    // Whoever looks is on record too.
    let reads = events(app).await?.into_iter().filter(|(action, _)| action == "audit.read").count();
    ensure!(reads == 3, "{reads}");
    Ok(())
}
