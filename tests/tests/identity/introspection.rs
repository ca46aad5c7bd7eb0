//! Introspection (RFC 7662; SMART App Launch, Token Introspection) and revocation (RFC 7009).

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Answer, AppHandle, Practice, Settings, TestApp, sqlx};

use crate::forge;
use crate::scene::{ALL, Scene, Shared, alone, oauth_error, on, probe, text};

static SCENE: Shared = Shared::const_new();

fn play(test: impl AsyncFnOnce(&'static Scene) -> Result<()>) -> Result<()> {
    on(&SCENE, || TestApp::builder().workers(0), test)
}

/// The endpoints that a practice's smart-configuration names.
struct Endpoints {
    introspection: String,
    revocation: String,
}

async fn endpoints(scene: &Scene, practice: &Practice) -> Result<Endpoints> {
    let url = format!("{}/.well-known/smart-configuration", practice.base_url);
    let document = Answer::to(scene.app.http().get(url)).await?.expect(200)?.json()?;
    let endpoint = |name: &str| Ok::<_, anyhow::Error>(text(&document, name)?.to_owned());
    Ok(Endpoints {
        introspection: endpoint("introspection_endpoint")?,
        revocation: endpoint("revocation_endpoint")?,
    })
}

/// Asks about a token, authenticated by an assertion for `aud`.
async fn about(scene: &Scene, url: &str, app: &AppHandle, aud: &str, token: &str) -> Result<Answer> {
    let mut form = app.form("", &app.assertion(aud)?);
    form.retain(|(name, _)| name != "scope" && name != "grant_type");
    form.push(("token".to_owned(), token.to_owned()));
    Answer::to(scene.app.http().post(url).form(&form)).await
}

async fn introspected(scene: &Scene, url: &str, app: &AppHandle, token: &str) -> Result<Value> {
    let answer = about(scene, url, app, url, token).await?.expect(200)?;
    ensure!(answer.header("content-type") == Some("application/json"), "{:?}", answer.headers);
    ensure!(answer.header("cache-control") == Some("no-store"), "{:?}", answer.headers);
    answer.json()
}

fn inactive(answer: &Value) -> Result<()> {
    ensure!(*answer == json!({ "active": false }), "more is said of a token that is not active: {answer}");
    Ok(())
}

#[test]
fn an_app_learns_what_its_own_token_is_good_for() -> Result<()> {
    play(async |scene| {
        let app = scene.consented(&scene.clinic).await?;
        let token = scene.app.token(&scene.clinic, &app, "system/Patient.rs system/Goal.rs").await?;
        let (_, claims) = forge::parts(&token)?;
        let url = endpoints(scene, &scene.clinic).await?.introspection;
        let mut answers = vec![introspected(scene, &url, &app, &token).await?];
        // Made for the token endpoint, the assertion is good here too; and so is an access token in its place.
        answers.push(about(scene, &url, &app, &scene.clinic.token_url, &token).await?.expect(200)?.json()?);
        let by_bearer = scene.app.http().post(&url).bearer_auth(&token).form(&[("token", &token)]);
        answers.push(Answer::to(by_bearer).await?.expect(200)?.json()?);
        let shared = format!("{}/introspect", scene.shared_token_url());
        answers.push(introspected(scene, &shared, &app, &token).await?);
        for answer in answers {
            ensure!(answer["active"] == true, "{answer}");
            for (member, claim) in [
                ("scope", "scope"),
                ("exp", "exp"),
                ("iat", "iat"),
                ("sub", "sub"),
                ("iss", "iss"),
                ("aud", "aud"),
                ("jti", "jti"),
                ("client_id", "clientId"),
                ("allowedFhirUrl", "allowedFhirUrl"),
            ] {
                ensure!(
                    !answer[member].is_null() && answer[member] == claims[claim],
                    "{member}: {answer} {claims}"
                );
            }
            ensure!(answer["token_type"] == "Bearer", "{answer}");
        }
        Ok(())
    })
}

#[test]
fn tokens_of_others_and_texts_that_are_no_tokens_are_not_active_and_nothing_more_is_said() -> Result<()> {
    play(async |scene| {
        let app = scene.consented(&scene.clinic).await?;
        let other = scene.consented(&scene.clinic).await?;
        let elsewhere = scene.consented(&scene.other).await?;
        let url = endpoints(scene, &scene.clinic).await?.introspection;
        let own = scene.app.token(&scene.clinic, &app, ALL).await?;
        let (message, _) = own.rsplit_once('.').context("a JWT")?;
        for token in [
            scene.app.token(&scene.clinic, &other, ALL).await?,
            scene.app.token(&scene.other, &elsewhere, ALL).await?,
            format!("{message}.{}", "A".repeat(342)),
            message.to_owned(),
            app.assertion(&url)?,
            scene.app.admin().token().to_owned(),
            "x".to_owned(),
            "a.b.c".to_owned(),
            "\u{0}".to_owned(),
            "é".repeat(9_000),
        ] {
            inactive(&introspected(scene, &url, &app, &token).await?)?;
        }
        // At another practice's endpoint even an own token of this one.
        scene.app.consent(&scene.other, &app).await?;
        let there = endpoints(scene, &scene.other).await?.introspection;
        inactive(&introspected(scene, &there, &app, &own).await?)
    })
}

#[test]
fn who_does_not_authenticate_learns_nothing() -> Result<()> {
    play(async |scene| {
        let app = scene.consented(&scene.clinic).await?;
        let token = scene.app.token(&scene.clinic, &app, ALL).await?;
        let Endpoints { introspection, revocation } = endpoints(scene, &scene.clinic).await?;
        let http = scene.app.http();
        let form = [("token", token.as_str())];
        for request in [
            http.post(&introspection).form(&form),
            http.post(&introspection).bearer_auth("garbage").form(&form),
            http.post(&introspection).bearer_auth(scene.app.admin().token()).form(&form),
            http.post(&introspection).bearer_auth(app.assertion(&introspection)?).form(&form),
            http.post(&introspection).basic_auth(&app.client_id, Some("secret")).form(&form),
        ] {
            let answer = Answer::to(request).await?.expect(401)?;
            ensure!(
                answer.header("www-authenticate").is_some_and(|c| c.starts_with("Bearer")),
                "{:?}",
                answer.headers
            );
            ensure!(!answer.text().contains("active"), "{}", answer.text());
        }
        // An assertion for another endpoint, or one that was used before.
        for aud in [&scene.other.token_url, &revocation, &scene.clinic.base_url] {
            about(scene, &introspection, &app, aud, &token).await?.expect(401)?;
        }
        let assertion = app.assertion(&introspection)?;
        let mut again = app.form("", &assertion);
        again.push(("token".to_owned(), token.clone()));
        Answer::to(http.post(&introspection).form(&again)).await?.expect(200)?;
        Answer::to(http.post(&introspection).form(&again)).await?.expect(401)?;
        scene.app.request_token(&scene.clinic.token_url, &app.form(ALL, &assertion)).await?.expect(400)?;
        // Revoking takes an assertion and nothing else.
        for request in
            [http.post(&revocation).form(&form), http.post(&revocation).bearer_auth(&token).form(&form)]
        {
            let answer = Answer::to(request).await?;
            ensure!(answer.status == 400 || answer.status == 401, "{}", answer.status);
            ensure!(answer.json()?["error"] == "invalid_client", "{}", answer.text());
        }
        ensure!(probe(http, &scene.clinic.base_url, &token).await?.status == 404, "the token was revoked");
        // A request without a token is no request.
        for url in [&introspection, &revocation] {
            let mut form = app.form("", &app.assertion(url)?);
            form.retain(|(name, _)| name != "token");
            let error = oauth_error(&Answer::to(http.post(url).form(&form)).await?, "")?;
            ensure!(error["error"] == "invalid_request", "{error}");
        }
        Ok(())
    })
}

#[test]
fn a_revoked_token_is_refused_everywhere_at_once_and_the_others_go_on() -> Result<()> {
    play(async |scene| {
        let app = scene.consented(&scene.clinic).await?;
        let other = scene.consented(&scene.clinic).await?;
        let second = scene.app.start_second_api(&Settings::new()).await?;
        let http = scene.app.http();
        let base = &scene.clinic.base_url;
        let token = scene.app.token(&scene.clinic, &app, ALL).await?;
        let sibling = scene.app.token(&scene.clinic, &app, ALL).await?;
        let foreign = scene.app.token(&scene.clinic, &other, ALL).await?;
        let Endpoints { introspection, revocation } = endpoints(scene, &scene.clinic).await?;
        ensure!(probe(second.http(), &second.url(base), &token).await?.status == 404);

        // Somebody else's token, and no token at all: 200, and nothing happened (RFC 7009, section 2.2).
        for text in [foreign.as_str(), "garbage", "a.b.c"] {
            about(scene, &revocation, &app, &revocation, text).await?.expect(200)?;
        }
        ensure!(probe(http, base, &foreign).await?.status == 404, "a token of somebody else was revoked");

        let answer = about(scene, &revocation, &app, &revocation, &token).await?.expect(200)?;
        ensure!(answer.body.is_empty(), "{}", answer.text());
        for (http, base) in [(http, base.clone()), (second.http(), second.url(base))] {
            for path in
                ["Patient/$export", "$export", "Group", "metadata-of-none", "fhir-services/$export-status"]
            {
                let request = http.get(format!("{base}/{path}")).bearer_auth(&token);
                let answer = Answer::to(
                    request.header("Accept", "application/fhir+json").header("Prefer", "respond-async"),
                )
                .await?;
                ensure!(
                    answer.status == 401 || (path == "metadata-of-none" && answer.status == 404),
                    "{path}: {}",
                    answer.status
                );
            }
            let answer = probe(http, &base, &token).await?.expect(401)?;
            let challenge = answer.header("www-authenticate").context("no challenge")?;
            ensure!(challenge.contains("invalid_token"), "{challenge}");
            ensure!(probe(http, &base, &sibling).await?.status == 404, "another token was revoked too");
        }
        inactive(&introspected(scene, &introspection, &app, &token).await?)?;
        // It is no proof of identity either.
        let by_it = http.post(&introspection).bearer_auth(&token).form(&[("token", &sibling)]);
        Answer::to(by_it).await?.expect(401)?;
        // Again is harmless.
        about(scene, &revocation, &app, &revocation, &token).await?.expect(200)?;
        let app_again = scene.app.token(&scene.clinic, &app, ALL).await?;
        ensure!(probe(http, base, &app_again).await?.status == 404);
        Ok(())
    })
}

#[test]
fn while_keys_cannot_be_looked_for_a_token_is_neither_taken_for_revoked_nor_called_inactive() -> Result<()> {
    alone(async || {
        let scene = Scene::adopt(TestApp::builder().workers(0).start().await?).await?;
        let app = scene.consented(&scene.clinic).await?;
        let Endpoints { introspection, revocation } = endpoints(&scene, &scene.clinic).await?;
        // As if another process had just made the key.
        let (_, claims) = forge::parts(&scene.app.token(&scene.clinic, &app, ALL).await?)?;
        let token = forge::Issuer::new()?.sign(&claims)?;
        let mut lock = scene.app.control().begin().await?;
        sqlx::query("LOCK TABLE headgate.signing_key IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await?;
        let (revoked, introspected_meanwhile) = tokio::join!(
            about(&scene, &revocation, &app, &revocation, &token),
            about(&scene, &introspection, &app, &introspection, &token)
        );
        for answer in [revoked?, introspected_meanwhile?] {
            let answer = answer.expect(503)?;
            ensure!(answer.json()?["error"] == "temporarily_unavailable", "{}", answer.text());
            ensure!(answer.header("retry-after").is_some(), "{:?}", answer.headers);
        }
        lock.rollback().await?;
        about(&scene, &revocation, &app, &revocation, &token).await?.expect(200)?;
        inactive(&introspected(&scene, &introspection, &app, &token).await?)
    })
}

#[test]
fn a_token_is_not_active_where_its_authority_has_gone() -> Result<()> {
    play(async |scene| {
        let url = endpoints(scene, &scene.clinic).await?.introspection;
        let admin = scene.app.admin();
        let reason = json!({ "reason": "test" });
        // The consent is taken back, and given again.
        let app = scene.consented(&scene.clinic).await?;
        let token = scene.app.token(&scene.clinic, &app, "system/Patient.rs system/Goal.rs").await?;
        scene.app.revoke(&scene.clinic, &app).await?;
        inactive(&introspected(scene, &url, &app, &token).await?)?;
        scene.app.consent(&scene.clinic, &app).await?;

        // It is made narrower: what is left is told.
        let token = scene.app.token(&scene.clinic, &app, "system/Patient.rs system/Goal.rs").await?;
        let path = format!("practices/{}/consents/{}", scene.clinic.number, app.client_id);
        admin.put(&path, &json!({ "scopes": "system/Goal.rs" })).await?.expect(200)?;
        let left = introspected(scene, &url, &app, &token).await?;
        ensure!(left["active"] == true && left["scope"] == "system/Goal.rs", "{left}");
        admin.put(&path, &json!({ "scopes": "system/Device.rs" })).await?.expect(200)?;
        inactive(&introspected(scene, &url, &app, &token).await?)?;
        admin.put(&path, &json!({ "scopes": ALL })).await?.expect(200)?;

        // App, vendor and practice are suspended.
        let practice = scene.practice().await?;
        scene.app.consent(&practice, &app).await?;
        let token = scene.app.token(&practice, &app, ALL).await?;
        let shared = format!("{}/introspect", scene.shared_token_url());
        ensure!(introspected(scene, &shared, &app, &token).await?["active"] == true);
        for what in [
            format!("apps/{}", app.client_id),
            format!("vendors/{}", app.vendor_id),
            format!("practices/{}", practice.number),
        ] {
            admin.post(&format!("{what}/suspend"), &reason).await?.expect(200)?;
            let answer = about(scene, &shared, &app, &shared, &token).await?;
            // An app that is suspended may not even ask.
            match answer.status {
                200 => inactive(&answer.json()?)?,
                status => ensure!((400..=401).contains(&status), "{what}: {status}"),
            }
            ensure!(!answer.text().contains("true"), "{what}: {}", answer.text());
            admin.post(&format!("{what}/resume"), &json!({})).await?.expect(200)?;
        }
        ensure!(introspected(scene, &shared, &app, &token).await?["active"] == true);
        Ok(())
    })
}
