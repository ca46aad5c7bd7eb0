//! Access tokens of another server: a Keycloak realm in place of our own token endpoint.

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Answer, AppHandle, Behaviour, BulkClient, KeyServer, Level, TestApp, domain};

use crate::forge::Issuer;
use crate::scene::{ALL, Scene, alone, eventually, probe};

const ISSUER: &str = "https://sso.example/auth/realms/fhir";

/// Where its tokens are got; nobody connects there.
const TOKEN_URL: &str = "https://sso.example/auth/realms/fhir/protocol/openid-connect/token";

fn now() -> i64 {
    headgate_testkit::sqlx::types::chrono::Utc::now().timestamp()
}

/// The claims of a token, as the product of the model writes them.
fn claims(app: &AppHandle, base_url: &str) -> Value {
    json!({
        "exp": now() + 1800,
        "iat": now(),
        "jti": "5d0a7d4e-3b1e-4a52-9c1f-1d8b7a0c1234",
        "iss": ISSUER,
        "sub": "b1c9d7f2-8d32-4a8f-9b57-6b1f0a7e4321",
        "typ": "Bearer",
        "azp": app.client_id,
        "scope": "launch online_access launch/patient system/Patient.rs openid system/Observation.rs",
        "allowedFhirUrl": base_url,
        "clientHost": "203.0.113.7",
        "clientId": app.client_id,
        "clientAddress": "203.0.113.7",
    })
}

struct World {
    scene: Scene,
    issuer: Issuer,
    server: KeyServer,
}

async fn world() -> Result<World> {
    let issuer = Issuer::new()?;
    let server = KeyServer::start(Behaviour::Serve(issuer.jwks(), None))?;
    let builder = TestApp::builder()
        .set("token.external.issuer", ISSUER)
        .set("token.external.jwks_url", server.url())
        .set("token.external.token_endpoint", TOKEN_URL)
        .set("jwks.max_age_s", 2)
        .set("jwks.timeout_ms", 1000);
    Ok(World { scene: Scene::build(builder).await?, issuer, server })
}

fn changed(claims: &Value, member: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    match value {
        Value::Null => drop(claims.as_object_mut().and_then(|claims| claims.remove(member))),
        value => claims[member] = value,
    }
    claims
}

/// Tokens that differ from a good one, and the statuses that they may have.
fn variants(
    good: &Value,
    stranger: &str,
    unconsented: &AppHandle,
    base: &str,
) -> Vec<(&'static str, Value, Vec<u16>)> {
    vec![
        ("good", good.clone(), vec![404]),
        ("clientId alone", changed(good, "azp", Value::Null), vec![404]),
        ("azp alone", changed(good, "clientId", Value::Null), vec![404]),
        ("no typ", changed(good, "typ", Value::Null), vec![404]),
        ("an audience", changed(good, "aud", json!("account")), vec![404]),
        (
            "an unknown client",
            changed(&changed(good, "azp", json!(stranger)), "clientId", json!(stranger)),
            vec![401, 403],
        ),
        ("a client without consent", claims(unconsented, base), vec![401, 403]),
        ("two clients", changed(good, "azp", json!(unconsented.client_id)), vec![401]),
        ("no client", changed(&changed(good, "azp", Value::Null), "clientId", Value::Null), vec![401]),
        ("another issuer", changed(good, "iss", json!("https://sso.example/auth/realms/other")), vec![401]),
        ("no issuer", changed(good, "iss", Value::Null), vec![401]),
        ("expired", changed(good, "exp", json!(now() - 400)), vec![401]),
        ("no end", changed(good, "exp", Value::Null), vec![401]),
        ("not yet", changed(good, "nbf", json!(now() + 400)), vec![401]),
        ("an ID token", changed(good, "typ", json!("ID")), vec![401]),
        ("a refresh token", changed(good, "typ", json!("Refresh")), vec![401]),
        ("no practice", changed(good, "allowedFhirUrl", Value::Null), vec![401]),
    ]
}

#[test]
fn an_app_exports_with_the_tokens_of_another_issuer_and_only_within_them() -> Result<()> {
    alone(async || {
        let World { scene, issuer, server } = world().await?;
        let app = scene.consented(&scene.clinic).await?;
        let base = scene.clinic.base_url.clone();
        let good = claims(&app, &base);
        let http = scene.app.http();
        let status = async |claims: &Value| {
            Ok::<_, anyhow::Error>(probe(http, &base, &issuer.sign(claims)?).await?.status)
        };

        let kick_off = async |claims: &Value| {
            let client = BulkClient::new(http.clone(), &base, issuer.sign(claims)?);
            Ok::<_, anyhow::Error>(client.kick_off(&Level::Patient, &[]).await?.status)
        };

        // From kick-off to the files, with the scopes of the system alone.
        scene.clinic.insert("Observation", "o1", Some("p1")).await?;
        scene.clinic.insert("Goal", "g1", Some("p1")).await?;
        refreshed(&scene).await?;
        let client = BulkClient::new(http.clone(), &base, issuer.sign(&good)?);
        let url = client.start(&Level::Patient, &[]).await?;
        let files = client.download_all(&client.wait_complete(&url).await?).await?;
        let types: Vec<String> = files.by_type().into_keys().collect();
        ensure!(types == ["Observation", "Patient"], "{types:?}");
        client.kick_off(&Level::Patient, &[("_type", "Goal")]).await?.expect(403)?;
        client.delete(&url).await?.expect(202)?;

        // Bound to the practice that it names; a slash at the end is no other practice.
        let other = probe(http, &scene.other.base_url, &issuer.sign(&good)?).await?.expect(403)?;
        let unknown = changed(&good, "allowedFhirUrl", json!("https://elsewhere.example/fhir/r4"));
        ensure!(status(&unknown).await? == 403 && !other.text().contains(&base), "{}", other.text());

        let stranger = domain::ClientId::from_random([7; 25]).to_string();
        let unconsented = scene.app.vendor_app(&[ALL]).await?;
        for (what, claims, wanted) in variants(&good, &stranger, &unconsented, &base) {
            // Without a consent exports are as if they were not there: a kick-off says more.
            let status = match wanted.contains(&403) {
                true => kick_off(&claims).await?,
                false => status(&claims).await?,
            };
            ensure!(wanted.contains(&status), "{what}: {status}");
        }
        let wrong_key = Issuer::new()?.sign(&good)?;
        ensure!(probe(http, &base, &wrong_key).await?.status == 401);
        // Without any scope of a system a token is good for nothing.
        let user = BulkClient::new(
            http.clone(),
            &base,
            issuer.sign(&changed(&good, "scope", json!("openid launch user/*.rs")))?,
        );
        let answer = user.kick_off(&Level::Patient, &[]).await?;
        ensure!(answer.status == 403 || answer.status == 401, "{}", answer.status);

        // The consent is live as with our own tokens.
        scene.app.revoke(&scene.clinic, &app).await?;
        ensure!(kick_off(&good).await? == 403);
        drop(server);
        scene.app.stop().await;
        Ok(())
    })
}

async fn refreshed(scene: &Scene) -> Result<()> {
    let path = format!("practices/{}/source", scene.clinic.number);
    eventually("a worker looked at the source", std::time::Duration::from_secs(20), async || {
        Ok(!scene.app.admin().get(&path).await?.expect(200)?.json()?["refreshed_at"].is_null())
    })
    .await
}

#[test]
fn nothing_is_issued_here_and_the_configuration_names_the_other_issuer() -> Result<()> {
    alone(async || {
        let World { scene, issuer, server } = world().await?;
        let app = scene.consented(&scene.clinic).await?;
        refreshed(&scene).await?;
        let url = format!("{}/.well-known/smart-configuration", scene.clinic.base_url);
        let document = Answer::to(scene.app.http().get(url)).await?.expect(200)?.json()?;
        ensure!(document["token_endpoint"] == TOKEN_URL, "{document}");
        for absent in ["introspection_endpoint", "revocation_endpoint", "issuer", "jwks_uri"] {
            ensure!(document.get(absent).is_none(), "{document}");
        }
        let url = format!("{}/metadata", scene.clinic.base_url);
        let metadata = Answer::to(scene.app.http().get(url)).await?.expect(200)?;
        ensure!(metadata.text().contains(TOKEN_URL), "{}", metadata.text());
        let own = &scene.clinic.base_url;
        let path = "/auth/realms/fhir/protocol/openid-connect";
        for base in [scene.app.public_url(), own.as_str()] {
            for name in ["token", "token/introspect", "revoke"] {
                let url = format!("{base}{path}/{name}");
                let mut form = app.form(ALL, &app.assertion(&url)?);
                form.push(("token".to_owned(), "x".to_owned()));
                let answer = Answer::to(scene.app.http().post(&url).form(&form)).await?.expect(404)?;
                ensure!(!answer.text().contains("access_token"), "{}", answer.text());
            }
        }
        let certs = format!("{}{path}/certs", scene.app.public_url());
        Answer::to(scene.app.http().get(certs)).await?.expect(404)?;

        // Its keys cannot be had: that is our trouble and not the token's.
        let token = issuer.sign(&claims(&app, own))?;
        ensure!(probe(scene.app.http(), own, &token).await?.status == 404);
        server.now(Behaviour::HangUp);
        ensure!(probe(scene.app.http(), own, &token).await?.status == 404, "a kept set serves on");
        eventually("the kept set has ended", std::time::Duration::from_secs(6), async || {
            let answer = probe(scene.app.http(), own, &token).await?;
            ensure!(answer.status == 404 || answer.status == 503, "{}: {}", answer.status, answer.text());
            if answer.status == 503 {
                answer.header("retry-after").context("503 without Retry-After")?.parse::<u32>()?;
                ensure!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
            }
            Ok(answer.status == 503)
        })
        .await?;
        server.now(Behaviour::Serve(issuer.jwks(), None));
        eventually("its keys are there again", std::time::Duration::from_secs(12), async || {
            Ok(probe(scene.app.http(), own, &token).await?.status == 404)
        })
        .await?;
        // Garbage is refused without asking the issuer each time.
        let before = server.hits();
        let header = |n: u32| json!({ "alg": "RS256", "typ": "JWT", "kid": format!("unknown-{n}") });
        for n in 0..40 {
            let forged =
                format!("{}.{}", crate::forge::message(&header(n), &claims(&app, own)), "A".repeat(342));
            ensure!(probe(scene.app.http(), own, &forged).await?.status == 401);
        }
        ensure!(server.hits() <= before + 5, "{} fetches for 40 tokens", server.hits() - before);
        scene.app.stop().await;
        Ok(())
    })
}
