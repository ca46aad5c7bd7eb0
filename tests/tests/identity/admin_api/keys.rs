//! The keys of an app, why its assertions were refused, and how one would be.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::AppHandle;
use headgate_testkit::auth::{Algorithm, PrivateKey};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::sqlx::types::chrono::Utc;

use crate::scene::{Scene, eventually, key_set, play, problem, text};

async fn passes(scene: &Scene, app: &AppHandle, key: &PrivateKey) -> Result<bool> {
    let url = &scene.clinic.token_url;
    let answer = scene.ask(app, url, &key.sign(&app.claims(url))?).await?;
    ensure!(answer.status == 200 || answer.json()?["error"] == "invalid_client", "{}", answer.text());
    Ok(answer.status == 200)
}

#[test]
fn keys_change_with_overlap_and_a_revoked_one_is_dead_at_once() -> Result<()> {
    play(async |scene| {
        let app = scene.consented(&scene.clinic).await?;
        let admin = scene.app.admin();
        let (second, third) =
            (PrivateKey::generate(Algorithm::Es384)?, PrivateKey::generate(Algorithm::Rs384)?);
        let path = format!("apps/{}/keys", app.client_id);
        ensure!(!passes(scene, &app, &second).await?);
        let added = admin.post(&path, &json!({ "jwks": key_set(&[&second]) })).await?.expect(201)?.json()?;
        ensure!(added["keys"].as_array().is_some_and(|keys| keys.len() == 2), "{added}");
        ensure!(added["key_ids"].as_array().is_some_and(|keys| keys.len() == 2), "{added}");
        ensure!(passes(scene, &app, &app.key).await? && passes(scene, &app, &second).await?);

        // The older ones end by themselves.
        let soon = Utc::now() + Duration::from_secs(5);
        let body = json!({ "jwks": key_set(&[&third]), "former_expire_at": soon.to_rfc3339() });
        admin.post(&path, &body).await?.expect(201)?;
        ensure!(passes(scene, &app, &app.key).await? && passes(scene, &app, &third).await?);
        eventually("the former keys have expired", Duration::from_secs(12), async || {
            Ok(!passes(scene, &app, &app.key).await? && !passes(scene, &app, &second).await?)
        })
        .await?;
        ensure!(passes(scene, &app, &third).await?);
        let shown = admin.get(&format!("apps/{}", app.client_id)).await?.expect(200)?.json()?;
        ensure!(shown["key_ids"] == json!([third.kid()]), "{shown}");

        let revoke = |kid: &str| format!("{path}/{kid}/revoke");
        let later = json!({ "at": (Utc::now() + Duration::from_secs(3600)).to_rfc3339() });
        admin.post(&revoke(third.kid()), &later).await?.expect(200)?;
        ensure!(passes(scene, &app, &third).await?, "it is revoked before its time");
        admin.post(&revoke(third.kid()), &json!({})).await?.expect(200)?;
        ensure!(!passes(scene, &app, &third).await?, "a revoked key passes");
        problem(&admin.post(&revoke("no-such-key"), &json!({})).await?, 404, "not_found")?;
        let past = json!({ "at": "2001-01-01T00:00:00Z" });
        problem(&admin.post(&revoke(third.kid()), &past).await?, 400, "invalid")?;
        // The id of a key is never used again for another one.
        let mut same = PrivateKey::generate(Algorithm::Es384)?.public_jwk().to_json();
        same["kid"] = app.key.kid().into();
        problem(&admin.post(&path, &json!({ "jwks": { "keys": [same] } })).await?, 409, "exists")?;
        Ok(())
    })
}

#[test]
fn keys_behind_a_url_and_registered_ones_take_each_others_place_only_when_asked_to() -> Result<()> {
    play(async |scene| {
        let app = scene.consented(&scene.clinic).await?;
        let admin = scene.app.admin();
        let path = format!("apps/{}", app.client_id);
        let url = "https://keys.vendor.example/jwks.json";
        let changed = admin.patch(&path, &json!({ "jwks_url": url })).await?.expect(200)?.json()?;
        ensure!(changed["jwks_url"] == url && changed["key_ids"] == json!([]), "{changed}");
        ensure!(
            changed["keys"]
                .as_array()
                .is_some_and(|keys| keys.iter().all(|key| !key["revoked_at"].is_null())),
            "{changed}"
        );
        let new = PrivateKey::generate(Algorithm::Es384)?;
        let body = json!({ "jwks": key_set(&[&new]) });
        problem(&admin.post(&format!("{path}/keys"), &body).await?, 409, "keys_by_url")?;
        let body = json!({ "jwks": key_set(&[&new]), "replace_url": true });
        let changed = admin.post(&format!("{path}/keys"), &body).await?.expect(201)?.json()?;
        ensure!(changed["jwks_url"].is_null() && changed["key_ids"] == json!([new.kid()]), "{changed}");
        ensure!(passes(scene, &app, &new).await? && !passes(scene, &app, &app.key).await?);
        let both = json!({
            "vendor_id": app.vendor_id, "name": "A", "security_contact": "s@v.example", "jwks_url": url,
            "jwks": key_set(&[&new]),
        });
        problem(&admin.post("apps", &both).await?, 400, "invalid")?;
        let neither = json!({ "vendor_id": app.vendor_id, "name": "A", "security_contact": "s@v.example" });
        problem(&admin.post("apps", &neither).await?, 400, "invalid")?;
        Ok(())
    })
}

#[test]
fn refusals_are_shown_by_reason_with_their_number_and_without_what_was_sent() -> Result<()> {
    play(async |scene| {
        let app = scene.consented(&scene.clinic).await?;
        let url = &scene.clinic.token_url;
        let path = format!("apps/{}/refusals", app.client_id);
        ensure!(scene.app.admin().get(&path).await?.expect(200)?.json()?["refusals"] == json!([]));
        let mut sent = Vec::new();
        for _ in 0..3 {
            let mut claims = app.claims(url);
            claims["aud"] = "https://elsewhere.example/secret-of-the-vendor".into();
            sent.push(app.key.sign(&claims)?);
        }
        let mut claims = app.claims(url);
        claims["exp"] = json!(1);
        sent.push(app.key.sign(&claims)?);
        for assertion in &sent {
            scene.ask(&app, url, assertion).await?.expect(400)?;
        }
        let counted = async || {
            let found = scene.app.admin().get(&path).await?.expect(200)?.json()?;
            let refusals = found["refusals"].as_array().context("no refusals")?.clone();
            Ok::<_, anyhow::Error>(refusals)
        };
        eventually("four are counted", Duration::from_secs(5), async || {
            let sum: u64 =
                counted().await?.iter().filter_map(|refusal| refusal["occurrences"].as_u64()).sum();
            Ok(sum == 4)
        })
        .await?;
        let refusals = counted().await?;
        ensure!(refusals.len() == 2, "{refusals:?}");
        for refusal in &refusals {
            ensure!(refusal["kid"] == app.key.kid() && refusal["address"] == "127.0.0.1", "{refusal}");
            ensure!(refusal["first_at"].is_string() && refusal["last_at"].is_string(), "{refusal}");
            text(refusal, "reason")?;
            ensure!(text(refusal, "description")?.contains(' '), "{refusal}");
            ensure!(!refusal.to_string().contains("secret-of-the-vendor"), "{refusal}");
        }
        // What nobody registered is counted nowhere, and no app sees another's.
        let other = scene.consented(&scene.clinic).await?;
        let path = format!("apps/{}/refusals", other.client_id);
        ensure!(scene.app.admin().get(&path).await?.expect(200)?.json()?["refusals"] == json!([]));
        Ok(())
    })
}

#[test]
fn an_assertion_is_checked_as_the_token_endpoint_would_and_not_used_up() -> Result<()> {
    play(async |scene| {
        let app = scene.consented(&scene.clinic).await?;
        let admin = scene.app.admin();
        let url = &scene.clinic.token_url;
        let path = format!("apps/{}/assertion-check", app.client_id);
        let check = async |body: Value| admin.post(&path, &body).await?.expect(200)?.json();
        let good = app.assertion(url)?;
        for body in [
            json!({ "client_assertion": good, "token_url": url }),
            json!({ "client_assertion": good }),
            json!({ "client_assertion": good, "token_url": url }),
        ] {
            let found = check(body).await?;
            ensure!(found["accepted"] == true, "{found}");
            ensure!(
                found["claims"]["iss"] == app.client_id.as_str() && found["header"]["alg"] == "ES384",
                "{found}"
            );
            ensure!(found["checks"].as_array().is_some_and(|checks| checks.len() > 5), "{found}");
        }
        scene.ask(&app, url, &good).await?.expect(200)?;

        // Every fault at once, and the same verdict as the endpoint's.
        let mut claims = app.claims(url);
        claims["aud"] = "https://elsewhere.example/token".into();
        claims["exp"] = json!(1);
        claims["jti"] = json!("");
        let found = check(json!({ "client_assertion": app.key.sign(&claims)?, "token_url": url })).await?;
        ensure!(found["accepted"] == false, "{found}");
        let failed: Vec<&Value> = found["checks"]
            .as_array()
            .context("no checks")?
            .iter()
            .filter(|c| c["outcome"] == "failed")
            .collect();
        ensure!(failed.len() >= 3, "{found}");
        ensure!(failed.iter().all(|check| text(check, "text").is_ok_and(|t| t.contains(' '))), "{found}");
        let other = scene.consented(&scene.clinic).await?;
        let stranger = PrivateKey::generate(Algorithm::Es384)?;
        for assertion in [
            other.assertion(url)?,
            stranger.sign(&app.claims(url))?,
            "garbage".to_owned(),
            String::new(),
            "a.b.c".to_owned(),
        ] {
            ensure!(
                check(json!({ "client_assertion": assertion, "token_url": url })).await?["accepted"] == false
            );
        }
        let elsewhere = app.assertion(&scene.other.token_url)?;
        let found =
            check(json!({ "client_assertion": elsewhere, "token_url": scene.other.token_url })).await?;
        ensure!(found["accepted"] == false, "the app has no consent there: {found}");
        // A registered name is not enough.
        problem(&admin.post(&path, &json!({})).await?, 400, "invalid")?;
        problem(
            &admin.post("apps/fhir00/assertion-check", &json!({ "client_assertion": good })).await?,
            404,
            "not_found",
        )?;
        Ok(())
    })
}

#[test]
fn an_app_has_no_more_keys_than_a_key_set_may_have() -> Result<()> {
    play(async |scene| {
        let app = scene.consented(&scene.clinic).await?;
        let path = format!("apps/{}/keys", app.client_id);
        let more: Vec<PrivateKey> =
            (0..32).map(|_| PrivateKey::generate(Algorithm::Es384)).collect::<Result<_, _>>()?;
        let set = |keys: &[PrivateKey]| json!({ "jwks": key_set(&keys.iter().collect::<Vec<_>>()) });
        let admin = scene.app.admin();
        admin.post(&path, &set(&more[..31])).await?.expect(201)?;
        problem(&admin.post(&path, &set(&more[31..])).await?, 409, "too_many")?;
        ensure!(passes(scene, &app, &app.key).await? && passes(scene, &app, &more[30]).await?);
        // One that ends makes room.
        admin.post(&format!("{path}/{}/revoke", more[0].kid()), &json!({})).await?.expect(200)?;
        admin.post(&path, &set(&more[31..])).await?.expect(201)?;
        ensure!(passes(scene, &app, &more[31]).await?);
        Ok(())
    })
}
