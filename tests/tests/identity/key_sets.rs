//! Keys behind a URL (SMART App Launch, Registering a Client: Asymmetric): rotation, and servers that misbehave.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::auth::{Algorithm, PrivateKey};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{AppHandle, Behaviour, KeyServer, TestApp};

use crate::forge;
use crate::scene::{Scene, Shared, alone, eventually, key_set, oauth_error, on, problem, text};

static SCENE: Shared = Shared::const_new();

/// Seconds that a key set lives at most, here.
const MAX_AGE: Duration = Duration::from_secs(3);

/// How long the host of a key set is waited for, here.
const TIMEOUT: Duration = Duration::from_secs(3);

fn play(test: impl AsyncFnOnce(&'static Scene) -> Result<()>) -> Result<()> {
    let builder = || {
        TestApp::builder()
            .workers(0)
            .set("jwks.max_age_s", MAX_AGE.as_secs())
            .set("jwks.timeout_ms", TIMEOUT.as_millis())
    };
    on(&SCENE, builder, test)
}

/// An app whose keys are behind a URL.
async fn app_at(scene: &Scene, url: &str) -> Result<AppHandle> {
    let app = scene.app.vendor_app(&["system/*.rs"]).await?;
    let changed =
        scene.app.admin().patch(&format!("apps/{}", app.client_id), &json!({ "jwks_url": url })).await?;
    let changed = changed.expect(200)?.json()?;
    ensure!(changed["jwks_url"] == url && changed["key_ids"] == json!([]), "{changed}");
    scene.app.consent(&scene.clinic, &app).await?;
    Ok(app)
}

/// Tries to get a token with a key; `None` when it was given, else why not.
async fn refusal(scene: &Scene, app: &AppHandle, key: &PrivateKey) -> Result<Option<String>> {
    let url = &scene.clinic.token_url;
    let assertion = key.sign(&app.claims(url))?;
    let answer = scene.ask(app, url, &assertion).await?;
    if answer.status == 200 {
        return Ok(None);
    }
    let error = oauth_error(&answer, &assertion)?;
    ensure!(error["error"] == "invalid_client", "{error}");
    Ok(Some(text(&error, "error_description")?.to_owned()))
}

async fn passes(scene: &Scene, app: &AppHandle, key: &PrivateKey) -> Result<()> {
    let refusal = refusal(scene, app, key).await?;
    ensure!(refusal.is_none(), "refused: {}", refusal.unwrap_or_default());
    Ok(())
}

async fn is_refused(scene: &Scene, app: &AppHandle, key: &PrivateKey) -> Result<String> {
    refusal(scene, app, key).await?.context("a token was given")
}

#[test]
fn a_new_key_works_after_one_fetch_and_a_withdrawn_one_is_dead_when_the_set_has_expired() -> Result<()> {
    play(async |scene| {
        let (old, new) = (PrivateKey::generate(Algorithm::Es384)?, PrivateKey::generate(Algorithm::Rs384)?);
        let server = KeyServer::start(Behaviour::Serve(key_set(&[&old]), Some("max-age=3600")))?;
        let app = app_at(scene, &server.url()).await?;
        ensure!(server.hits() == 0, "it was fetched before it was needed");
        passes(scene, &app, &old).await?;
        passes(scene, &app, &old).await?;
        ensure!(server.hits() == 1, "the set is not kept: {} fetches", server.hits());
        ensure!(
            server.heads()[0].to_lowercase().contains("accept: application/json"),
            "{:?}",
            server.heads()
        );
        ensure!(!server.heads()[0].to_lowercase().contains("authorization"), "{:?}", server.heads());

        server.now(Behaviour::Serve(key_set(&[&old, &new]), Some("max-age=3600")));
        passes(scene, &app, &new).await?;
        ensure!(server.hits() == 2, "{} fetches", server.hits());
        passes(scene, &app, &old).await?;

        // However long its server wants it kept.
        server.now(Behaviour::Serve(key_set(&[&new]), Some("max-age=86400")));
        let withdrawn = Instant::now();
        eventually("the withdrawn key is refused", MAX_AGE + Duration::from_secs(2), async || {
            Ok(refusal(scene, &app, &old).await?.is_some())
        })
        .await?;
        ensure!(withdrawn.elapsed() > Duration::from_millis(500), "the set is not kept at all");
        passes(scene, &app, &new).await
    })
}

#[test]
fn a_set_that_may_not_be_kept_is_fetched_for_each_request() -> Result<()> {
    play(async |scene| {
        let key = PrivateKey::generate(Algorithm::Es384)?;
        for directive in ["no-store", "no-cache", "max-age=0", "private, no-store"] {
            let server = KeyServer::start(Behaviour::Serve(key_set(&[&key]), Some(directive)))?;
            let app = app_at(scene, &server.url()).await?;
            passes(scene, &app, &key).await?;
            passes(scene, &app, &key).await?;
            ensure!(server.hits() == 2, "{directive}: {} fetches", server.hits());
        }
        Ok(())
    })
}

#[test]
fn while_its_server_is_down_a_kept_set_serves_to_its_end_and_nobody_else_is_affected() -> Result<()> {
    play(async |scene| {
        let key = PrivateKey::generate(Algorithm::Es384)?;
        let server = KeyServer::start(Behaviour::Serve(key_set(&[&key]), None))?;
        let app = app_at(scene, &server.url()).await?;
        passes(scene, &app, &key).await?;
        server.now(Behaviour::HangUp);
        passes(scene, &app, &key).await?;
        let told = std::sync::Mutex::new(String::new());
        eventually("no keys are left", MAX_AGE + Duration::from_secs(2), async || {
            let refusal = refusal(scene, &app, &key).await?;
            *told.lock().map_err(|_| anyhow::anyhow!("poisoned"))? = refusal.clone().unwrap_or_default();
            Ok(refusal.is_some())
        })
        .await?;
        let told = told.into_inner()?;
        ensure!(told.contains("JWKS URL") && !told.contains("127.0.0.1"), "{told}");
        // Another app, with keys of its own kind, goes on.
        let other = scene.consented(&scene.clinic).await?;
        passes(scene, &other, &other.key).await?;
        server.now(Behaviour::Serve(key_set(&[&key]), None));
        eventually("the host answers again", Duration::from_secs(12), async || {
            Ok(refusal(scene, &app, &key).await?.is_none())
        })
        .await
    })
}

#[test]
fn a_slow_server_costs_its_own_app_a_bounded_time_and_others_none() -> Result<()> {
    play(async |scene| {
        let key = PrivateKey::generate(Algorithm::Es384)?;
        let quick = scene.consented(&scene.clinic).await?;
        for behaviour in [Behaviour::Silent(Duration::from_secs(20)), Behaviour::Drip] {
            let server = KeyServer::start(behaviour)?;
            let app = app_at(scene, &server.url()).await?;
            let begun = Instant::now();
            let slow = async {
                let (one, two) = tokio::join!(refusal(scene, &app, &key), refusal(scene, &app, &key));
                ensure!(one?.is_some() && two?.is_some(), "a token without a key");
                Ok(begun.elapsed())
            };
            let others = async {
                let mut longest = Duration::ZERO;
                for _ in 0..5 {
                    let asked = Instant::now();
                    passes(scene, &quick, &quick.key).await?;
                    longest = longest.max(asked.elapsed());
                }
                Ok::<_, anyhow::Error>(longest)
            };
            let (slow, others) = tokio::join!(slow, others);
            let (slow, others) = (slow?, others?);
            ensure!(slow < TIMEOUT * 3, "{slow:?}");
            // Each by itself: on a busy machine all five together may take as long as the slow one.
            ensure!(others < TIMEOUT / 2, "another waited: {others:?} of {slow:?}");
            ensure!(server.hits() == 1, "two waited for {} fetches", server.hits());
        }
        Ok(())
    })
}

#[test]
fn documents_that_are_too_large_or_hold_no_usable_key_give_no_keys_and_cost_little_memory() -> Result<()> {
    play(async |scene| {
        let key = PrivateKey::generate(Algorithm::Es384)?;
        let good = key.public_jwk().to_json();
        let many: Vec<Value> = (0..10_000)
            .map(|n| {
                let mut key = good.clone();
                key["kid"] = n.to_string().into();
                key
            })
            .collect();
        let mut secret = json!({ "kty": "oct", "kid": key.kid(), "alg": "HS256" });
        secret["k"] = good["x"].clone();
        let padded = format!("{}{}", " ".repeat(70_000), key_set(&[&key]));
        let plain = |body: Vec<u8>| Behaviour::Answer("200 OK", String::new(), body);
        let redirect = KeyServer::start(Behaviour::Serve(key_set(&[&key]), None))?;
        for (what, behaviour, told) in [
            ("huge", plain(vec![b' '; 20 << 20]), "bytes"),
            ("a bomb", Behaviour::gzip_bomb(256 << 20)?, "bytes"),
            ("just too long", plain(padded.into_bytes()), "bytes"),
            ("10,000 keys", Behaviour::Serve(json!({ "keys": many }), None), "bytes"),
            ("33 keys", Behaviour::Serve(json!({ "keys": &many[..33] }), None), "key"),
            ("symmetric", Behaviour::Serve(json!({ "keys": [secret] }), None), "key"),
            ("no keys", Behaviour::Serve(json!({ "keys": [] }), None), "key"),
            ("no set", Behaviour::Serve(json!([]), None), "key"),
            ("HTML", plain(b"<html>secret-of-the-inside</html>".to_vec()), "JSON"),
            (
                "an error",
                Behaviour::Answer("500 Oops", String::new(), b"secret-of-the-inside".to_vec()),
                "500",
            ),
            (
                "a redirect",
                Behaviour::Answer("302 Found", format!("Location: {}\r\n", redirect.url()), Vec::new()),
                "redirect",
            ),
            ("nothing", Behaviour::HangUp, "JWKS URL"),
        ] {
            let server = KeyServer::start(behaviour)?;
            let app = app_at(scene, &server.url()).await?;
            let refusal = is_refused(scene, &app, &key).await.with_context(|| what.to_owned())?;
            ensure!(refusal.contains(told), "{what}: {refusal}");
            ensure!(!refusal.contains("secret-of-the-inside"), "{what}: {refusal}");
            // With the public key as an HMAC secret neither.
            let claims = app.claims(&scene.clinic.token_url);
            let header = json!({ "alg": "HS256", "typ": "JWT", "kid": key.kid() });
            let secret = text(&good, "x")?.as_bytes().to_vec();
            let forged = forge::with_hmac(&secret, &header, &claims);
            oauth_error(&scene.ask(&app, &scene.clinic.token_url, &forged).await?, &forged)?;
        }
        ensure!(redirect.hits() == 0, "a redirect was followed");
        Ok(())
    })
}

#[test]
fn keys_that_cannot_be_used_do_not_spoil_those_that_can() -> Result<()> {
    play(async |scene| {
        let (key, twice) = (PrivateKey::generate(Algorithm::Es384)?, PrivateKey::generate(Algorithm::Es384)?);
        let oct = json!({ "kty": "oct", "kid": "o", "k": "AAAA" });
        let p256 = json!({ "kty": "EC", "crv": "P-256", "kid": "p", "x": "AA", "y": "AA" });
        let mut same = PrivateKey::generate(Algorithm::Es384)?.public_jwk().to_json();
        same["kid"] = twice.kid().into();
        let set =
            json!({ "keys": [oct, p256, 7, key.public_jwk().to_json(), twice.public_jwk().to_json(), same] });
        let server = KeyServer::start(Behaviour::Serve(set, None))?;
        let app = app_at(scene, &server.url()).await?;
        passes(scene, &app, &key).await?;
        // Two keys of one id are no key.
        let told = is_refused(scene, &app, &twice).await?;
        ensure!(told.contains("kid"), "{told}");
        Ok(())
    })
}

#[test]
fn a_flood_of_unknown_key_ids_is_a_few_fetches() -> Result<()> {
    play(async |scene| {
        let key = PrivateKey::generate(Algorithm::Es384)?;
        let server = KeyServer::start(Behaviour::Serve(key_set(&[&key]), Some("max-age=3600")))?;
        let app = app_at(scene, &server.url()).await?;
        passes(scene, &app, &key).await?;
        let begun = Instant::now();
        let url = &scene.clinic.token_url;
        for n in 0..60 {
            let header = json!({ "alg": "ES384", "typ": "JWT", "kid": format!("unknown-{n}") });
            let assertion = forge::with_key(&key, &forge::message(&header, &app.claims(url)))?;
            oauth_error(&scene.ask(&app, url, &assertion).await?, &assertion)?;
        }
        // One for the first unknown id, one whenever the set has expired.
        let expired = begun.elapsed().as_secs() / MAX_AGE.as_secs() + 1;
        ensure!(server.hits() as u64 <= 2 + expired, "{} fetches in {:?}", server.hits(), begun.elapsed());
        passes(scene, &app, &key).await
    })
}

#[test]
fn a_jku_is_the_registered_url_or_the_assertion_is_refused() -> Result<()> {
    play(async |scene| {
        let key = PrivateKey::generate(Algorithm::Es384)?;
        let stranger = PrivateKey::generate(Algorithm::Es384)?;
        let server = KeyServer::start(Behaviour::Serve(key_set(&[&key]), None))?;
        let elsewhere = KeyServer::start(Behaviour::Serve(key_set(&[&stranger]), None))?;
        let app = app_at(scene, &server.url()).await?;
        let url = &scene.clinic.token_url;
        let with_jku = |key: &PrivateKey, jku: &str| {
            let mut header = key.header();
            header.jku = Some(jku.to_owned());
            key.sign_with_header(&header, &app.claims(url))
        };
        scene.ask(&app, url, &with_jku(&key, &server.url())?).await?.expect(200)?;
        for assertion in [
            with_jku(&stranger, &elsewhere.url())?,
            with_jku(&key, &elsewhere.url())?,
            with_jku(&key, &format!("{}?", server.url()))?,
            with_jku(&key, &server.url_by_name())?,
            with_jku(&key, &server.url().to_uppercase())?,
        ] {
            let error = oauth_error(&scene.ask(&app, url, &assertion).await?, &assertion)?;
            ensure!(text(&error, "error_description")?.contains("jku"), "{error}");
        }
        ensure!(elsewhere.hits() == 0, "a place that the assertion names was fetched");
        Ok(())
    })
}

#[test]
fn urls_that_lead_inside_are_not_registered_and_names_that_do_are_not_connected_to() -> Result<()> {
    alone(async || {
        let app = TestApp::builder().workers(0).set("jwks.allow_insecure", false).start().await?;
        let scene = Scene::adopt(app).await?;
        let key = PrivateKey::generate(Algorithm::Es384)?;
        let server = KeyServer::start(Behaviour::Serve(key_set(&[&key]), None))?;
        let vendor = scene.app.vendor_app(&["system/*.rs"]).await?;
        for (url, told) in [
            (server.url(), "https"),
            ("http://keys.vendor.example/jwks.json".to_owned(), "https"),
            ("ftp://keys.vendor.example/jwks.json".to_owned(), "https"),
            ("file:///etc/passwd".to_owned(), "https"),
            ("https://127.0.0.1/jwks.json".to_owned(), "public host name"),
            ("https://169.254.169.254/latest/meta-data".to_owned(), "public host name"),
            ("https://8.8.8.8/jwks.json".to_owned(), "public host name"),
            ("https://[::1]/jwks.json".to_owned(), "public host name"),
            ("https://[::ffff:127.0.0.1]/jwks.json".to_owned(), "public host name"),
            ("https://2130706433/jwks.json".to_owned(), "public host name"),
            ("https://0x7f.1/jwks.json".to_owned(), "public host name"),
            ("https://localhost/jwks.json".to_owned(), "public host name"),
            ("https://kubernetes.default.svc/jwks.json".to_owned(), "public host name"),
            ("https://a.svc.cluster.local/jwks.json".to_owned(), "public host name"),
            ("https://metadata.google.internal/".to_owned(), "public host name"),
            ("https://printer.local./jwks.json".to_owned(), "public host name"),
            ("https://user:secret@keys.vendor.example/".to_owned(), "user or password"),
            ("https://keys.vendor.example/#a".to_owned(), "fragment"),
            (format!("https://keys.vendor.example/{}", "a".repeat(500)), "500 bytes"),
            ("keys".to_owned(), "URL"),
            ("https://keys.vendor.example/\na".to_owned(), "URL"),
        ] {
            let body = json!({
                "vendor_id": vendor.vendor_id, "name": "A", "security_contact": "s@vendor.example", "jwks_url": url,
            });
            let path = format!("apps/{}", vendor.client_id);
            for answer in [
                scene.app.admin().post("apps", &body).await?,
                scene.app.admin().patch(&path, &json!({ "jwks_url": url })).await?,
            ] {
                let problem = problem(&answer, 400, "invalid").with_context(|| url.clone())?;
                let detail = text(&problem, "detail")?;
                ensure!(detail.starts_with("jwks_url: ") && detail.contains(told), "{url}: {detail}");
                ensure!(!detail.contains("secret"), "{detail}");
            }
        }
        // A rule that was weaker when the URL was registered does not help: the connection itself is refused.
        for url in [server.url(), server.url_by_name(), format!("https://localhost:{}/", port(&server)?)] {
            let app = scene.consented(&scene.clinic).await?;
            headgate_testkit::sqlx::query("UPDATE headgate.app SET jwks_url = $2 WHERE client_id = $1")
                .bind(&app.client_id)
                .bind(&url)
                .execute(scene.app.control())
                .await?;
            is_refused(&scene, &app, &key).await.with_context(|| url)?;
        }
        ensure!(server.hits() == 0, "the server was connected to");
        scene.app.stop().await;
        Ok(())
    })
}

fn port(server: &KeyServer) -> Result<String> {
    let url = server.url();
    let (_, rest) = url.rsplit_once(':').context("a port")?;
    Ok(rest.chars().take_while(char::is_ascii_digit).collect())
}
