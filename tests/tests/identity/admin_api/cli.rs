//! The same through `headgate admin`, as a person or a script calls it.

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::serde_json::{self, Value};
use headgate_testkit::{Settings, headgate};

use crate::scene::{Scene, play, text};

/// Runs `headgate admin … --json` with a token and returns status and answer.
async fn admin(scene: &Scene, token: &str, arguments: &[&str]) -> Result<(i32, Value)> {
    let file = scene.app.folder().join(format!("token-{}", scene.number()));
    std::fs::write(&file, token)?;
    let url = scene.app.admin().url().trim_end_matches("/admin/v1").to_owned();
    let file = file.display().to_string();
    let mut all = vec!["admin", "--admin-url", &url, "--token-file", &file, "--json"];
    all.extend(arguments);
    let ended = headgate::run(&all, &Settings::new()).await?;
    ensure!(!ended.stderr.contains(token) && !ended.stdout.contains(token), "the token is printed");
    let answer =
        if ended.stdout.trim().is_empty() { Value::Null } else { serde_json::from_str(&ended.stdout)? };
    Ok((ended.status.code().context("no exit status")?, answer))
}

#[test]
fn a_vendor_registers_a_practice_consents_and_neither_does_the_others_part() -> Result<()> {
    play(async |scene| {
        // The private key of the built-in issuer stays with whoever mints tokens.
        let key = scene.app.folder().join("issuer.jwk");
        std::fs::write(&key, scene.app.admin().key().to_private_jwk()?)?;
        let key = key.display().to_string();
        let mint = async |more: &[&str]| {
            let mut all = vec!["admin", "token", "--key", &key, "--subject", "cli@ehr.example", "--role"];
            all.extend(more);
            Ok::<_, anyhow::Error>(
                headgate::run(&all, &Settings::new()).await?.success()?.stdout.trim().to_owned(),
            )
        };
        let operator = mint(&["operator"]).await?;
        let (status, me) = admin(scene, &operator, &["me"]).await?;
        ensure!(
            status == 0 && me["role"] == "operator" && me["subject"] == "cli@ehr.example",
            "{status} {me}"
        );

        let name = format!("Vendor of the command line {}", scene.number());
        let (status, vendor) =
            admin(scene, &operator, &["vendor", "create", "--name", &name, "--contact-email", "a@v.example"])
                .await?;
        ensure!(status == 0, "{vendor}");
        let vendor_id = text(&vendor, "vendor_id")?;
        let vendor_token = mint(&["vendor", "--vendor", vendor_id]).await?;
        let jwks = scene.app.folder().join("app.jwks");
        let app_key = headgate_testkit::auth::PrivateKey::generate(headgate_testkit::auth::Algorithm::Es384)?;
        std::fs::write(&jwks, crate::scene::key_set(&[&app_key]).to_string())?;
        let jwks = jwks.display().to_string();
        let create = [
            "app",
            "create",
            "--vendor",
            vendor_id,
            "--name",
            "A",
            "--jwks",
            &jwks,
            "--security-contact",
            "s@v.example",
        ];
        let (status, app) = admin(scene, &vendor_token, &create).await?;
        ensure!(status == 0 && app["status"] == "disabled", "{app}");
        let client_id = text(&app, "client_id")?;

        let practice = scene.practice().await?;
        let number = practice.number.to_string();
        let consent = ["consent", "grant", "--practice", &number, "--app", client_id];
        let (status, _) = admin(scene, &vendor_token, &consent).await?;
        ensure!(status != 0, "a vendor consented for a practice");
        let practice_token = mint(&["practice-admin", "--practice", &number]).await?;
        let (status, granted) = admin(scene, &practice_token, &consent).await?;
        ensure!(status == 0 && granted["granted_by"] == "cli@ehr.example", "{granted}");
        let (status, _) = admin(scene, &practice_token, &create).await?;
        ensure!(status != 0, "a practice registered an app");
        let (status, practices) = admin(scene, &practice_token, &["practice", "list"]).await?;
        ensure!(
            status == 0 && practices["practices"].as_array().is_some_and(|p| p.len() == 1),
            "{practices}"
        );
        let (status, events) = admin(scene, &operator, &["audit", "list", "--app", client_id]).await?;
        ensure!(status == 0, "{events}");
        let actors = events["events"].as_array().context("no events")?;
        let has =
            |actor: &str, action: &str| actors.iter().any(|e| e["actor"] == actor && e["action"] == action);
        ensure!(has("vendor cli@ehr.example", "app.registered"), "{events}");
        ensure!(has("practice_admin cli@ehr.example", "consent.granted"), "{events}");
        let (status, _) = admin(scene, "garbage", &["me"]).await?;
        ensure!(status != 0);
        Ok(())
    })
}
