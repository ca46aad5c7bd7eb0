//! What a flood costs: token requests are counted before any signature or key set, and the admin listener is bounded as
//! the public one is.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::auth::{AdminRole, Algorithm, PrivateKey};
use headgate_testkit::serde_json::json;
use headgate_testkit::{Answer, AppHandle, Behaviour, KeyServer, Settings, TestApp, reqwest, sqlx};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::forge;
use crate::scene::{ALL, Scene, Shared, alone, eventually, key_set, on, problem};

static SCENE: Shared = Shared::const_new();

/// Token requests in a minute, here.
const LIMIT: u32 = 30;

/// Seconds for the headers of a request, here.
const HEADERS_WITHIN: Duration = Duration::from_secs(2);

fn play(test: impl AsyncFnOnce(&'static Scene) -> Result<()>) -> Result<()> {
    let builder = || {
        TestApp::builder()
            .workers(0)
            .set("server.forwarded_hops", 1)
            .set("token.requests_per_minute", LIMIT)
            .set("server.header_timeout_s", HEADERS_WITHIN.as_secs())
            .set("jwks.max_age_s", 300)
    };
    on(&SCENE, builder, test)
}

/// A token request that comes from an address.
async fn ask(scene: &Scene, from: &str, app: &AppHandle, assertion: &str) -> Result<Answer> {
    let url = &scene.clinic.token_url;
    let request = scene.app.http().post(url).header("X-Forwarded-For", from).form(&app.form(ALL, assertion));
    Answer::to(request).await
}

fn too_many(answer: &Answer) -> Result<()> {
    let pause: u64 = answer.header("retry-after").context("no Retry-After")?.parse()?;
    ensure!((1..=60).contains(&pause), "Retry-After: {pause}");
    ensure!(answer.header("content-type") == Some("application/json"), "{:?}", answer.headers);
    ensure!(answer.header("cache-control") == Some("no-store"), "{:?}", answer.headers);
    let error = answer.json()?;
    ensure!(error["error"].is_string() && error["access_token"].is_null(), "{error}");
    Ok(())
}

/// An assertion that is well-formed and not signed by the app; with a key id of its own.
fn forged(scene: &Scene, app: &AppHandle, kid: &str) -> Result<String> {
    let stranger = PrivateKey::generate(Algorithm::Es384)?;
    let header = json!({ "alg": "ES384", "typ": "JWT", "kid": kid });
    forge::with_key(&stranger, &forge::message(&header, &app.claims(&scene.clinic.token_url)))
}

#[test]
fn a_flood_from_an_address_is_429_before_keys_are_fetched_and_others_go_on() -> Result<()> {
    play(async |scene| {
        let key = PrivateKey::generate(Algorithm::Es384)?;
        let server = KeyServer::start(Behaviour::Serve(key_set(&[&key]), Some("no-store")))?;
        let target = scene.app.vendor_app(&[ALL]).await?;
        let change = json!({ "jwks_url": server.url() });
        scene.app.admin().patch(&format!("apps/{}", target.client_id), &change).await?.expect(200)?;
        scene.app.consent(&scene.clinic, &target).await?;
        let bystander = scene.consented(&scene.clinic).await?;
        let url = &scene.clinic.token_url;

        let (mut refused, mut limited) = (0, 0);
        let begun = Instant::now();
        for n in 0..4 * LIMIT {
            let answer =
                ask(scene, "198.51.100.1", &target, &forged(scene, &target, &format!("k{n}"))?).await?;
            match answer.status {
                400 => refused += 1,
                429 => {
                    too_many(&answer)?;
                    limited += 1;
                }
                other => anyhow::bail!("status {other}: {}", answer.text()),
            }
        }
        // What is forgotten meanwhile may be asked anew.
        let forgotten = u32::try_from(begun.elapsed().as_secs() * u64::from(LIMIT) / 60)? + 2;
        ensure!(refused >= LIMIT && refused <= LIMIT + forgotten, "{refused} refused, {limited} limited");
        ensure!(server.hits() <= refused as usize, "{} fetches for {refused} requests", server.hits());

        // From there nothing gets through now, however good; from elsewhere everything does.
        // (But for one in two seconds, when one is forgotten: what follows begins right after such a one.)
        eventually("one is forgotten", Duration::from_secs(10), async || {
            let answer = ask(scene, "198.51.100.1", &bystander, &bystander.assertion(url)?).await?;
            Ok(answer.status != 429)
        })
        .await?;
        let answer = ask(scene, "198.51.100.1", &bystander, &bystander.assertion(url)?).await?.expect(429)?;
        too_many(&answer)?;
        ask(scene, "198.51.100.2", &bystander, &bystander.assertion(url)?).await?.expect(200)?;
        // Only what the proxy itself wrote counts: the rightmost entry.
        let answer =
            ask(scene, "198.51.100.77, 198.51.100.1", &bystander, &bystander.assertion(url)?).await?;
        too_many(&answer.expect(429)?)?;
        ask(scene, "198.51.100.1, 198.51.100.3", &bystander, &bystander.assertion(url)?)
            .await?
            .expect(200)?;
        Ok(())
    })
}

#[test]
fn a_flood_in_the_name_of_an_app_costs_that_app_and_no_other() -> Result<()> {
    play(async |scene| {
        let victim = scene.consented(&scene.clinic).await?;
        let bystander = scene.consented(&scene.clinic).await?;
        let url = &scene.clinic.token_url;
        // One host alone uses up what it has itself, and nothing of the app's.
        for _ in 0..2 * LIMIT {
            ask(scene, "203.0.113.77", &victim, &forged(scene, &victim, victim.key.kid())?).await?;
        }
        ask(scene, "203.0.113.203", &victim, &victim.assertion(url)?).await?.expect(200)?;
        let mut limited = 0;
        for n in 0..60 * LIMIT {
            if limited > 10 {
                break;
            }
            let from = format!("198.51.{}.{}", n / 200, n % 200 + 1);
            let answer = ask(scene, &from, &victim, &forged(scene, &victim, victim.key.kid())?).await?;
            match answer.status {
                400 => {}
                429 => {
                    too_many(&answer)?;
                    limited += 1;
                }
                other => anyhow::bail!("status {other}: {}", answer.text()),
            }
        }
        ensure!(limited > 10, "only {limited} were limited");
        ask(scene, "203.0.113.201", &bystander, &bystander.assertion(url)?).await?.expect(200)?;
        // It recovers by itself.
        eventually("the app may ask again", Duration::from_secs(10), async || {
            Ok(ask(scene, "203.0.113.202", &victim, &victim.assertion(url)?).await?.status == 200)
        })
        .await?;

        // Its vendor sees it.
        let path = format!("apps/{}/refusals", victim.client_id);
        eventually("the refusals are counted", Duration::from_secs(5), async || {
            let found = scene.app.admin().get(&path).await?.expect(200)?.json()?;
            let counted: u64 = found["refusals"]
                .as_array()
                .context("no refusals")?
                .iter()
                .filter_map(|refusal| refusal["occurrences"].as_u64())
                .sum();
            Ok(counted >= u64::from(2 * LIMIT))
        })
        .await?;
        let found = scene.app.admin().get(&path).await?.expect(200)?.json()?;
        ensure!(found["refusals"].as_array().is_some_and(|refusals| refusals.len() <= 4), "{found}");
        Ok(())
    })
}

#[test]
fn made_up_apps_cost_nobody_but_their_address() -> Result<()> {
    play(async |scene| {
        let bystander = scene.consented(&scene.clinic).await?;
        let url = &scene.clinic.token_url;
        let mut made_up = scene.app.vendor_app(&[ALL]).await?;
        // The same id from everywhere is never limited: there is no such app whose count it could be.
        made_up.client_id = headgate_testkit::domain::ClientId::from_random([7; 25]).to_string();
        for n in 0..12 * LIMIT {
            let from = format!("192.0.{}.{}", n / 200, n % 200 + 1);
            ask(scene, &from, &made_up, &made_up.assertion(url)?).await?.expect(400)?;
        }
        // The address is.
        let mut limited = 0;
        for n in 0..2 * LIMIT {
            made_up.client_id =
                headgate_testkit::domain::ClientId::from_random([u8::try_from(n)?; 25]).to_string();
            let answer = ask(scene, "203.0.113.150", &made_up, &made_up.assertion(url)?).await?;
            limited += u32::from(answer.status == 429);
        }
        ensure!(limited > LIMIT / 2, "{limited} were limited");
        ask(scene, "192.0.2.200", &bystander, &bystander.assertion(url)?).await?.expect(200)?;
        Ok(())
    })
}

/// The address of the admin listener.
fn listener(scene: &Scene) -> Result<String> {
    let url = reqwest::Url::parse(scene.app.admin().url())?;
    Ok(format!("127.0.0.1:{}", url.port().context("no port")?))
}

/// What a server says to bytes that are sent as they are; ends when it closes.
async fn raw(scene: &Scene, bytes: &[u8], within: Duration) -> Result<String> {
    let mut stream = TcpStream::connect(listener(scene)?).await?;
    // It may close before all is sent.
    let _sent = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _read =
        tokio::time::timeout(within, stream.read_to_end(&mut answer)).await.context("it was not closed")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn bodies_of_the_admin_api_are_bounded_in_size_depth_and_time() -> Result<()> {
    play(async |scene| {
        let admin = scene.app.admin();
        let post = |path: &str, body: Vec<u8>| {
            Answer::to(
                admin
                    .request(reqwest::Method::POST, path)
                    .header("Content-Type", "application/json")
                    .body(body),
            )
        };
        let huge = vec![b' '; 17 << 20];
        // Refused while it is still being sent, so the answer may not be seen.
        if let Ok(answer) = post("vendors", huge).await {
            problem(&answer, 413, "body_too_large")?;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        for deep in
            ["[".repeat(200_000), "{\"a\":".repeat(100_000), format!("{{\"name\":{}", "[".repeat(1_000))]
        {
            problem(&post("vendors", deep.into_bytes()).await?, 400, "invalid")?;
        }
        for broken in
            ["{", "null", "[]", "7", "\"a\"", "{\"name\":\"a\"}{}", "\u{0}", "{\"name\": \"\\ud800\"}"]
        {
            problem(&post("vendors", broken.as_bytes().to_vec()).await?, 400, "invalid")?;
        }
        // A body that does not come.
        let token = admin.token();
        let head = format!(
            "POST /admin/v1/vendors HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 100\r\n\r\n{{"
        );
        let begun = Instant::now();
        let answer = raw(scene, head.as_bytes(), HEADERS_WITHIN * 4).await?;
        ensure!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        ensure!(begun.elapsed() >= HEADERS_WITHIN, "{:?}", begun.elapsed());
        Ok(())
    })
}

#[test]
fn headers_of_the_admin_api_are_bounded_in_size_number_and_time() -> Result<()> {
    play(async |scene| {
        let quick = Duration::from_secs(5);
        let head = "GET /admin/v1/me HTTP/1.1\r\nHost: a\r\n";
        let long = format!("{head}X-Long: {}\r\n\r\n", "a".repeat(1 << 20));
        let many = format!("{head}{}\r\n", "X-Many: a\r\n".repeat(1_000));
        for flood in [long, many] {
            let answer = raw(scene, flood.as_bytes(), quick).await?;
            ensure!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer:.200}");
        }
        let url = format!("GET /admin/v1/{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(1 << 20));
        let answer = raw(scene, url.as_bytes(), quick).await?;
        ensure!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer:.200}");
        // Headers that never end.
        let begun = Instant::now();
        raw(scene, head.as_bytes(), HEADERS_WITHIN * 3).await?;
        ensure!(begun.elapsed() >= HEADERS_WITHIN / 2, "{:?}", begun.elapsed());
        // And it answers others all the while.
        let idle: Vec<TcpStream> = idle_connections(scene, 200).await?;
        scene.app.admin().get("me").await?.expect(200)?;
        drop(idle);
        Ok(())
    })
}

#[test]
fn a_request_of_the_admin_api_is_bounded_in_time_and_so_is_the_question_who_may_ask() -> Result<()> {
    alone(async || {
        let app = TestApp::builder().workers(0).start().await?;
        let of_vendor = app.vendor_app(&[ALL]).await?;
        let hurried = app.start_second_api(&Settings::new().with("server.request_timeout_s", 1)).await?;
        let role = AdminRole::Vendor(of_vendor.vendor_id.parse()?);
        let vendor = hurried.admin().acting_as("dev@vendor.example", &role)?;
        let mut lock = app.control().begin().await?;
        sqlx::query("LOCK TABLE headgate.app, headgate.practice IN ACCESS EXCLUSIVE MODE")
            .execute(&mut *lock)
            .await?;
        // Whose the app is, is asked before the handler runs; members are read in no longer time than anything else.
        let app_path = format!("apps/{}", of_vendor.client_id);
        for (who, path) in
            [(&vendor, app_path.as_str()), (hurried.admin(), "practices/100491/groups/g/members")]
        {
            let answer = tokio::time::timeout(Duration::from_secs(20), who.get(path)).await;
            let answer = answer.with_context(|| format!("{path}: no answer"))??;
            problem(&answer, 503, "took_too_long")?;
            ensure!(answer.header("retry-after").is_some(), "{path}: {:?}", answer.headers);
        }
        lock.rollback().await?;
        app.stop().await;
        Ok(())
    })
}

/// Connections that say nothing.
async fn idle_connections(scene: &Scene, count: usize) -> Result<Vec<TcpStream>> {
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(TcpStream::connect(listener(scene)?).await?);
    }
    Ok(streams)
}
