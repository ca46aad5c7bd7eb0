//! The keys of access tokens: rotation without a gap, ending a key, and how they lie in the control database.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Answer, AppHandle, SecondApi, Settings, TestApp, headgate, reqwest, sqlx};

use crate::forge;
use crate::scene::{ALL, Scene, alone, eventually, probe, problem, text};

/// A process looks at the keys that often.
const EVERYWHERE: Duration = Duration::from_secs(31);

/// For a key that a token names it looks at most once in five seconds.
const LOOKED_AGAIN: Duration = Duration::from_secs(6);

/// A process that serves the public URL.
struct Process<'a> {
    http: &'a reqwest::Client,
    place: Box<dyn Fn(&str) -> String + Sync + 'a>,
}

fn both<'a>(scene: &'a Scene, second: &'a SecondApi) -> [Process<'a>; 2] {
    [
        Process { http: scene.app.http(), place: Box::new(str::to_owned) },
        Process { http: second.http(), place: Box::new(|url| second.url(url)) },
    ]
}

impl Process<'_> {
    async fn token(&self, scene: &Scene, app: &AppHandle) -> Result<String> {
        let url = &scene.clinic.token_url;
        let form = app.form(ALL, &app.assertion(url)?);
        let answer = Answer::to(self.http.post((self.place)(url)).form(&form)).await?.expect(200)?.json()?;
        Ok(text(&answer, "access_token")?.to_owned())
    }

    async fn takes(&self, scene: &Scene, token: &str) -> Result<bool> {
        let answer = probe(self.http, &(self.place)(&scene.clinic.base_url), token).await?;
        match answer.status {
            404 => Ok(true),
            401 => {
                let challenge = answer.header("www-authenticate").context("no challenge")?;
                ensure!(challenge.contains("invalid_token"), "{challenge}");
                Ok(false)
            }
            other => anyhow::bail!("status {other}: {}", answer.text()),
        }
    }

    async fn published(&self, scene: &Scene) -> Result<BTreeSet<String>> {
        let url = format!("{}/auth/realms/fhir/protocol/openid-connect/certs", scene.app.public_url());
        let set = Answer::to(self.http.get((self.place)(&url))).await?.expect(200)?.json()?;
        set["keys"]
            .as_array()
            .context("no keys")?
            .iter()
            .map(|key| Ok(text(key, "kid")?.to_owned()))
            .collect()
    }
}

fn kid_of(token: &str) -> Result<String> {
    Ok(text(&forge::parts(token)?.0, "kid")?.to_owned())
}

/// The state of a key in a list of the admin API.
fn state_of<'a>(keys: &'a Value, kid: &str) -> Option<&'a str> {
    keys["signing_keys"].as_array()?.iter().find(|key| key["kid"] == kid)?["state"].as_str()
}

fn newest(keys: &Value) -> Result<String> {
    Ok(text(&keys["signing_keys"][0], "kid")?.to_owned())
}

#[test]
fn keys_rotate_with_overlap_over_two_processes_and_a_retired_one_is_dead_everywhere() -> Result<()> {
    alone(async || {
        let overlap = Duration::from_secs(4);
        let app = TestApp::builder().workers(0).set("token.key_overlap_s", overlap.as_secs()).start().await?;
        let scene = Scene::adopt(app).await?;
        let second = scene.app.start_second_api(&Settings::new()).await?;
        let app = scene.consented(&scene.clinic).await?;
        let [one, two] = both(&scene, &second);

        // Both found the same key, though each may have been the first.
        let old = one.token(&scene, &app).await?;
        let a = kid_of(&old)?;
        ensure!(kid_of(&two.token(&scene, &app).await?)? == a);
        ensure!(two.takes(&scene, &old).await?);

        // A new key is published before it signs.
        let keys = second.admin().post("signing-keys", &json!({})).await?.expect(201)?.json()?;
        let b = newest(&keys)?;
        ensure!(b != a && state_of(&keys, &b) == Some("published"), "{keys}");
        ensure!(state_of(&keys, &a) == Some("signing"), "{keys}");
        ensure!(
            kid_of(&one.token(&scene, &app).await?)? == a && kid_of(&two.token(&scene, &app).await?)? == a
        );
        ensure!(two.published(&scene).await? == BTreeSet::from([a.clone(), b.clone()]));

        eventually("the new key signs", overlap + Duration::from_secs(3), async || {
            Ok(kid_of(&two.token(&scene, &app).await?)? == b)
        })
        .await?;
        // The first process looks for the key of such a token, if it has not looked a moment ago.
        let new = two.token(&scene, &app).await?;
        ensure!(two.takes(&scene, &new).await?);
        eventually("the first process takes it", LOOKED_AGAIN, async || one.takes(&scene, &new).await)
            .await?;
        ensure!(one.takes(&scene, &old).await? && two.takes(&scene, &old).await?);
        let keys = scene.app.admin().get("signing-keys").await?.expect(200)?.json()?;
        ensure!(state_of(&keys, &a) == Some("verifying") && state_of(&keys, &b) == Some("signing"), "{keys}");

        // In an emergency at once.
        let keys =
            scene.app.admin().post("signing-keys", &json!({ "at_once": true })).await?.expect(201)?.json()?;
        let c = newest(&keys)?;
        ensure!(state_of(&keys, &c) == Some("signing"), "{keys}");
        let newest = one.token(&scene, &app).await?;
        ensure!(kid_of(&newest)? == c, "the process that made the key does not sign with it");
        eventually("the second process takes it", LOOKED_AGAIN, async || two.takes(&scene, &newest).await)
            .await?;

        let path = format!("signing-keys/{a}/retire");
        let keys = scene.app.admin().post(&path, &json!({})).await?.expect(200)?.json()?;
        ensure!(state_of(&keys, &a) == Some("retired"), "{keys}");
        eventually("tokens under the retired key are refused", EVERYWHERE, async || {
            Ok(!one.takes(&scene, &old).await? && !two.takes(&scene, &old).await?)
        })
        .await?;
        for process in [&one, &two] {
            ensure!(process.takes(&scene, &new).await? && process.takes(&scene, &newest).await?);
            ensure!(!process.published(&scene).await?.contains(&a), "it is published still");
        }
        Ok(())
    })
}

#[test]
fn the_only_key_that_signs_cannot_be_retired() -> Result<()> {
    crate::scene::play(async |scene| {
        let admin = scene.app.admin();
        let keys = admin.get("signing-keys").await?.expect(200)?.json()?;
        let kid = newest(&keys)?;
        ensure!(keys["signing_keys"].as_array().is_some_and(|keys| keys.len() == 1), "{keys}");
        problem(&admin.post(&format!("signing-keys/{kid}/retire"), &json!({})).await?, 409, "only_key")?;
        problem(&admin.post("signing-keys/unknown/retire", &json!({})).await?, 404, "not_found")?;
        problem(&admin.post("signing-keys", &json!({ "at_wonce": true })).await?, 400, "invalid")?;
        let after = admin.get("signing-keys").await?.expect(200)?.json()?;
        ensure!(after == keys, "{after}");
        Ok(())
    })
}

async fn sealed(scene: &Scene) -> Result<Vec<(String, Vec<u8>)>> {
    let rows = sqlx::query_as("SELECT kid, sealed FROM headgate.signing_key ORDER BY kid");
    Ok(rows.fetch_all(scene.app.control()).await?)
}

#[test]
fn keys_lie_sealed_and_another_encryption_key_does_not_open_them() -> Result<()> {
    alone(async || {
        let scene = Scene::build(TestApp::builder().workers(0)).await?;
        let app = scene.consented(&scene.clinic).await?;
        let before = scene.app.token(&scene.clinic, &app, ALL).await?;
        let rows = sealed(&scene).await?;
        ensure!(rows.len() == 1, "{} keys", rows.len());
        for (kid, sealed) in &rows {
            // PKCS#8 begins so, as does the key in it: a sequence with a length of two bytes, then the version. (Fewer
            // bytes are there by chance, once in a while.) It names the algorithm so, and holds the public part too.
            let is_start = |bytes: &[u8]| matches!(bytes, [0x30, 0x82, _, _, 0x02, 0x01, 0x00]);
            ensure!(!sealed.windows(7).any(is_start), "{kid} looks like DER");
            let rsa = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
            ensure!(!sealed.windows(rsa.len()).any(|bytes| bytes == rsa), "{kid} names RSA");
            ensure!(sealed.len() > 1000, "{} bytes are no sealed RSA key", sealed.len());
        }

        let settings = scene.app.settings();
        let (_, former) = settings
            .variables()
            .find(|(name, _)| *name == "HEADGATE__KEYS__ENCRYPTION_KEY")
            .context("no encryption key is set")?;
        let former = former.to_owned();
        let other = "5a".repeat(32);
        let nowhere = settings
            .clone()
            .with("keys.encryption_key", &other)
            .with("server.public_listen", "127.0.0.1:0")
            .with("server.admin_listen", "127.0.0.1:0")
            .with("server.private_listen", "127.0.0.1:0");
        let ended = headgate::run(&["api"], &nowhere).await?;
        ensure!(!ended.status.success(), "it runs with a key that opens nothing");
        ensure!(ended.stderr.contains("keys.encryption_key"), "{}", ended.stderr);
        ensure!(ended.stderr.contains("previous_encryption_key"), "{}", ended.stderr);
        ensure!(!ended.stderr.contains(&other) && !ended.stderr.contains(&former), "a key is in the log");
        ensure!(sealed(&scene).await? == rows, "a process that cannot open the keys changed them");

        // With the former one beside it, it does, and seals anew.
        let change =
            Settings::new().with("keys.encryption_key", &other).with("keys.previous_encryption_key", &former);
        let second = scene.app.start_second_api(&change).await?;
        ensure!(probe(second.http(), &second.url(&scene.clinic.base_url), &before).await?.status == 404);
        eventually("the keys are sealed anew", Duration::from_secs(5), async || {
            Ok(sealed(&scene).await? != rows)
        })
        .await?;
        drop(second);
        let third = scene.app.start_second_api(&Settings::new().with("keys.encryption_key", &other)).await?;
        ensure!(probe(third.http(), &third.url(&scene.clinic.base_url), &before).await?.status == 404);
        drop(third);
        let ended = headgate::run(&["api"], &nowhere.with("keys.encryption_key", &former)).await?;
        ensure!(!ended.status.success(), "the former key opens what is sealed anew");
        scene.app.stop().await;
        Ok(())
    })
}
