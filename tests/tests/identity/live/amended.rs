//! A consent that is changed, and the exports that it covers still.

use anyhow::{Result, ensure};
use headgate_testkit::Level;
use headgate_testkit::serde_json::json;

use super::deed::{Deed, amend};
use super::{Case, FILES};
use crate::stage::{eventually, export_id, of_export, play};

/// So many that four shards at a time read them for six seconds: the export runs still when the consent was changed
/// twice.
const OBSERVATIONS: u32 = 1200;

#[test]
fn an_export_that_an_amended_consent_covers_goes_on_under_it() -> Result<()> {
    play(async |app| {
        let case = Case::new(app, Deed::NarrowScopes, 12, OBSERVATIONS).await?;
        let members: Vec<String> = (1..=12).map(|n| format!("p-{n}")).collect();
        app.group(&case.practice, "g", &members.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        case.slow_down().await?;
        let level = Level::Group("g".to_owned());
        let status_url = case.client.start(&level, &[("_type", "Patient,Observation")]).await?;
        let export = export_id(&status_url);
        eventually("files are published", async || Ok(of_export::<i64>(app, FILES, export).await? >= 2))
            .await?;
        for change in
            [json!({ "scopes": "system/Patient.rs system/Observation.rs" }), json!({ "group_ids": ["g"] })]
        {
            let changed = amend(app, &case, &change).await?;
            ensure!(changed["ended_exports"] == 0, "{changed}");
            let consent: String =
                of_export(app, "SELECT consent_id::text FROM headgate.export WHERE export_id = $1", export)
                    .await?;
            ensure!(changed["consent"]["consent_id"] == consent, "{changed}");
            let poll = case.client.poll(&status_url).await?;
            ensure!(poll.status == 202, "it runs no more: {}", poll.text());
        }
        let manifest = case.client.wait_complete(&status_url).await?;
        let out = case.client.download_all(&manifest).await?;
        ensure!(out.ids("Patient")?.len() == 12);
        ensure!(out.ids("Observation")?.len() == OBSERVATIONS as usize);

        // Completed it is bound by the consent no less.
        let changed = amend(app, &case, &json!({ "group_ids": ["other"] })).await?;
        ensure!(changed["ended_exports"] == 1, "{changed}");
        case.client.poll(&status_url).await?.expect(404)?;
        Ok(())
    })
}
