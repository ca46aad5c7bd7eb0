//! Registration and consent, which here are requests of the admin API.

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::serde_json::{self, Value, json};
use headgate_testkit::{Level, auth};

use crate::stage::{ALL, Stage, assert_exported, export, play};

async fn registered(stage: &Stage, client_id: &str) -> Result<Value> {
    stage.app.admin().get(&format!("apps/{client_id}")).await?.expect(200)?.json()
}

#[test]
fn m03_a_vendor_registers_and_creates_a_bulk_application() -> Result<()> {
    play(async |stage| {
        let admin = stage.app.admin();
        let contact = json!({ "name": "Orchard Analytics", "contact_email": "bulk@orchard.example" });
        let vendor = admin.post("vendors", &contact).await?.expect(201)?.json()?;
        let key = auth::PrivateKey::generate(auth::Algorithm::Es384)?;
        let form = json!({
            "vendor_id": vendor["vendor_id"],
            "name": "Orchard Population Health",
            "jwks": { "keys": [key.public_jwk().to_json()] },
            "security_contact": "security@orchard.example",
            "scopes": "system/Patient.rs system/Observation.rs",
        });
        let app = admin.post("apps", &form).await?.expect(201)?.json()?;
        ensure!(app["vendor_name"] == "Orchard Analytics" && app["name"] == "Orchard Population Health");
        ensure!(app["scopes"] == "system/Patient.rs system/Observation.rs", "{app}");
        ensure!(app["key_ids"] == json!([key.kid()]), "{app}");
        let client_id = app["client_id"].as_str().context("no client_id")?;
        ensure!(registered(stage, client_id).await? == app);
        // The form is checked: a private key is never stored.
        let mut disclosed = form.clone();
        disclosed["jwks"] = json!({ "keys": [serde_json::from_str::<Value>(&key.to_private_jwk()?)?] });
        admin.post("apps", &disclosed).await?.expect(400)?;
        // And it is for operators.
        let stranger = stage.app.http().post(format!("{}/apps", admin.url())).json(&form);
        headgate_testkit::Answer::to(stranger).await?.expect(401)?;
        Ok(())
    })
}

#[test]
fn m04_a_new_app_is_disabled() -> Result<()> {
    play(async |stage| {
        let app = stage.app.vendor_app(&[ALL]).await?;
        let shown = registered(stage, &app.client_id).await?;
        ensure!(shown["status"] == "disabled", "{shown}");
        ensure!(shown["consenting_practices"] == json!([]), "{shown}");
        Ok(())
    })
}

#[test]
fn m05_a_practice_consents_by_adding_the_apps_client_id() -> Result<()> {
    play(async |stage| {
        let app = stage.app.vendor_app(&[ALL]).await?;
        let url = &stage.clinic.token_url;
        let form = app.form(ALL, &app.assertion(url)?);
        let refused = stage.app.request_token(url, &form).await?.expect(400)?.json()?;
        ensure!(refused["error"] == "unauthorized_client", "{refused}");

        let path = format!("practices/{}/consents", stage.clinic.number);
        let body = json!({ "client_id": app.client_id, "granted_by": "practice administrator" });
        let consent = stage.app.admin().post(&path, &body).await?.expect(201)?.json()?;
        ensure!(
            consent["in_force"] == true && consent["granted_by"] == "practice administrator",
            "{consent}"
        );
        let listed = stage.app.admin().get(&path).await?.expect(200)?.json()?;
        let listed = listed["consents"].as_array().context("no consents")?;
        ensure!(listed.contains(&consent));

        let form = app.form(ALL, &app.assertion(url)?);
        stage.app.request_token(url, &form).await?.expect(200)?;
        Ok(())
    })
}

#[test]
fn m06_an_app_that_a_practice_added_becomes_enabled() -> Result<()> {
    play(async |stage| {
        let app = stage.app.vendor_app(&[ALL]).await?;
        stage.app.consent(&stage.clinic, &app).await?;
        let shown = registered(stage, &app.client_id).await?;
        ensure!(shown["status"] == "enabled", "{shown}");
        ensure!(shown["consenting_practices"][0]["base_url"] == stage.clinic.base_url.as_str(), "{shown}");
        let list = stage.app.admin().get("apps").await?.expect(200)?.json()?;
        ensure!(list["apps"].as_array().context("no apps")?.contains(&shown), "the list shows another state");
        // The state follows the consent.
        stage.app.revoke(&stage.clinic, &app).await?;
        ensure!(registered(stage, &app.client_id).await?["status"] == "disabled");
        Ok(())
    })
}

#[test]
fn m07_an_app_works_with_each_consenting_practice_at_its_own_base_url() -> Result<()> {
    play(async |stage| {
        let (one, two) = (stage.empty_practice().await?, stage.empty_practice().await?);
        one.insert("Patient", "only-in-one", Some("only-in-one")).await?;
        two.insert("Patient", "only-in-two", Some("only-in-two")).await?;
        let app = stage.app.vendor_app(&[ALL]).await?;
        for practice in [&one, &two] {
            stage.app.consent(practice, &app).await?;
        }
        for (practice, id) in [(&one, "only-in-one"), (&two, "only-in-two")] {
            let client = stage.app.client(practice, &app).await?;
            let (manifest, download) = export(&client, &Level::Patient, &[]).await?;
            ensure!(download.ids("Patient")? == [id]);
            assert_exported(&download, practice, "true").await?;
            let request = manifest["request"].as_str().context("no request")?;
            ensure!(request.starts_with(&format!("{}/", practice.base_url)), "{request}");
        }
        Ok(())
    })
}
