//! Consents: what a practice sees before it consents, changes while it lasts, and what is left of it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::auth::AdminRole;
use headgate_testkit::domain::PracticeNumber;
use headgate_testkit::serde_json::json;
use headgate_testkit::sqlx::types::chrono::Utc;

use crate::scene::{ALL, play, problem, text};

#[test]
fn a_practice_sees_an_app_before_it_consents_and_its_consent_afterwards() -> Result<()> {
    play(async |scene| {
        let practice = scene.practice().await?;
        let app = scene.app.vendor_app(&["system/Patient.rs"]).await?;
        let role = AdminRole::PracticeAdmin(PracticeNumber::new(practice.number)?);
        let admin = scene.app.admin().acting_as("frank@practice.example", &role)?;
        let path = format!("practices/{}/apps/{}", practice.number, app.client_id);
        let preview = admin.get(&path).await?.expect(200)?.json()?;
        ensure!(preview["scopes"] == "system/Patient.rs" && preview["status"] == "disabled", "{preview}");
        ensure!(preview["consent"].is_null() && preview["vendor_name"].is_string(), "{preview}");
        ensure!(preview["security_contact"] == "security@vendor.example", "{preview}");
        ensure!(preview.get("keys").is_none() && preview.get("consenting_practices").is_none(), "{preview}");
        let unknown = format!("practices/{}/apps/fhir{}", practice.number, "0".repeat(50));
        problem(&admin.get(&unknown).await?, 404, "not_found")?;

        let consents = format!("practices/{}/consents", practice.number);
        let granted =
            admin.post(&consents, &json!({ "client_id": app.client_id })).await?.expect(201)?.json()?;
        ensure!(
            granted["granted_by"] == "frank@practice.example" && granted["in_force"] == true,
            "{granted}"
        );
        let preview = admin.get(&path).await?.expect(200)?.json()?;
        ensure!(preview["status"] == "enabled", "{preview}");
        ensure!(preview["consent"]["consent_id"] == granted["consent_id"], "{preview}");
        problem(&admin.post(&consents, &json!({ "client_id": app.client_id })).await?, 409, "exists")?;
        // Only an operator speaks for somebody else.
        let named = json!({ "client_id": app.client_id, "granted_by": "somebody else" });
        problem(&admin.post(&consents, &named).await?, 403, "forbidden")?;
        Ok(())
    })
}

#[test]
fn what_a_consent_may_hold_is_within_the_app_and_in_the_future() -> Result<()> {
    play(async |scene| {
        let app = scene.app.vendor_app(&["system/Patient.rs system/Goal.rs"]).await?;
        let admin = scene.app.admin();
        let path = format!("practices/{}/consents", scene.clinic.number);
        for more in [
            json!({ "scopes": ALL }),
            json!({ "scopes": "system/Device.rs" }),
            json!({ "scopes": "system/Patient.write" }),
            json!({ "scopes": "" }),
            json!({ "group_ids": ["a/b"] }),
            json!({ "group_ids": ["a b"] }),
            json!({ "expires_at": "2001-01-01T00:00:00Z" }),
            json!({ "expires_at": "tomorrow" }),
            json!({ "until": "2099-01-01T00:00:00Z" }),
        ] {
            let mut body = more.clone();
            body["client_id"] = app.client_id.as_str().into();
            problem(&admin.post(&path, &body).await?, 400, "invalid").with_context(|| more.to_string())?;
        }
        problem(
            &admin.post(&path, &json!({ "client_id": format!("fhir{}", "0".repeat(50)) })).await?,
            404,
            "not_found",
        )?;
        Ok(())
    })
}

#[test]
fn an_amended_consent_takes_the_place_of_the_former_and_both_stay_in_the_history() -> Result<()> {
    play(async |scene| {
        let practice = scene.practice().await?;
        let app = scene.app.vendor_app(&[ALL]).await?;
        let admin = scene.app.admin();
        let path = format!("practices/{}/consents", practice.number);
        let of_app = format!("{path}/{}", app.client_id);
        problem(&admin.put(&of_app, &json!({ "scopes": ALL })).await?, 404, "not_found")?;
        let first = scene.app.consent(&practice, &app).await?;
        let until = (Utc::now() + Duration::from_secs(3600)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let body = json!({ "scopes": "system/Patient.rs", "group_ids": ["1.1"], "expires_at": until });
        let second = admin.put(&of_app, &body).await?.expect(200)?.json()?["consent"].clone();
        ensure!(
            second["amends"] == first["consent_id"] && second["consent_id"] != first["consent_id"],
            "{second}"
        );
        ensure!(second["scopes"] == "system/Patient.rs" && second["group_ids"] == json!(["1.1"]), "{second}");
        // What is not given stays; null takes a bound away.
        let third =
            admin.put(&of_app, &json!({ "group_ids": null })).await?.expect(200)?.json()?["consent"].clone();
        ensure!(third["group_ids"].is_null() && third["scopes"] == "system/Patient.rs", "{third}");
        ensure!(third["expires_at"] == second["expires_at"], "{third}");
        let fourth =
            admin.put(&of_app, &json!({ "expires_at": null })).await?.expect(200)?.json()?["consent"].clone();
        ensure!(fourth["expires_at"].is_null(), "{fourth}");
        for wrong in [
            json!({ "scopes": "system/Nothing.rs" }),
            json!({ "expires_at": "2001-01-01T00:00:00Z" }),
            json!({ "x": 1 }),
        ] {
            problem(&admin.put(&of_app, &wrong).await?, 400, "invalid")?;
        }

        let done = admin
            .post(&format!("{of_app}/revoke"), &json!({ "reason": "over" }))
            .await?
            .expect(200)?
            .json()?;
        ensure!(
            done["consent"]["revoke_reason"] == "over" && done["consent"]["revoked_by"] == "test",
            "{done}"
        );
        ensure!(done["consent"]["in_force"] == false && done["ended_exports"] == 0, "{done}");
        problem(&admin.post(&format!("{of_app}/revoke"), &json!({})).await?, 404, "not_found")?;

        let history = admin.get(&path).await?.expect(200)?.json()?;
        let history = history["consents"].as_array().context("no consents")?;
        let ids: Vec<&str> = history.iter().map(|c| text(c, "consent_id")).collect::<Result<_>>()?;
        let wanted = [&fourth, &third, &second, &first];
        let wanted: Vec<&str> = wanted.iter().map(|c| text(c, "consent_id")).collect::<Result<_>>()?;
        ensure!(ids == wanted, "{history:?}");
        ensure!(history[1..].iter().all(|c| c["revoke_reason"] == "amended"), "{history:?}");
        ensure!(history.iter().all(|c| c["in_force"] == false), "{history:?}");
        Ok(())
    })
}

#[test]
fn a_revocation_that_races_with_an_amendment_revokes_what_is_there() -> Result<()> {
    play(async |scene| {
        let practice = scene.practice().await?;
        let app = scene.app.vendor_app(&[ALL]).await?;
        let admin = scene.app.admin();
        let path = format!("practices/{}/consents/{}", practice.number, app.client_id);
        for round in 0..20 {
            scene.app.consent(&practice, &app).await?;
            let amended = json!({ "scopes": if round % 2 == 0 { "system/Patient.rs" } else { ALL } });
            let revoke = format!("{path}/revoke");
            let nothing = json!({});
            let (first, second, revoked) = tokio::join!(
                admin.put(&path, &amended),
                admin.put(&path, &amended),
                admin.post(&revoke, &nothing)
            );
            let revoked = revoked?.expect(200)?.json()?;
            for amended in [first?, second?] {
                ensure!(matches!(amended.status, 200 | 404), "round {round}: {}", amended.status);
            }
            // What the answer names is what was revoked, and nothing is left.
            ensure!(revoked["consent"]["revoke_reason"] != "amended", "round {round}: {revoked}");
            let all =
                admin.get(&format!("practices/{}/consents", practice.number)).await?.expect(200)?.json()?;
            let in_force = all["consents"].as_array().into_iter().flatten().filter(|c| c["in_force"] == true);
            ensure!(in_force.count() == 0, "round {round}: {all}");
        }
        Ok(())
    })
}
