//! Lists come in pages.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::auth::{Algorithm, PrivateKey};
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Admin, Level, TestApp};

use crate::scene::{ALL, Scene, Shared, alone, on, problem, text};

static SCENE: Shared = Shared::const_new();

/// A Headgate where no worker changes anything while its lists are walked.
fn play(test: impl AsyncFnOnce(&'static Scene) -> Result<()>) -> Result<()> {
    on(&SCENE, || TestApp::builder().workers(0), test)
}

/// Walks a list page by page and returns its items.
async fn walk(admin: &Admin, path: &str, member: &str, limit: usize) -> Result<Vec<Value>> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    let joint = if path.contains('?') { '&' } else { '?' };
    for _ in 0..1_000 {
        let page = admin.get(&format!("{path}{joint}limit={limit}{cursor}")).await?.expect(200)?.json()?;
        let here = page[member].as_array().with_context(|| format!("no {member}: {page}"))?;
        ensure!(here.len() <= limit, "{path}: a page of {}", here.len());
        items.extend(here.iter().cloned());
        match &page["next"] {
            Value::Null => return Ok(items),
            next => {
                ensure!(!here.is_empty(), "{path}: an empty page that is not the last");
                cursor = format!("&cursor={}", next.as_str().context("next is no text")?);
            }
        }
    }
    anyhow::bail!("{path} has no end")
}

/// Makes something of everything.
async fn fill(scene: &Scene) -> Result<(String, String)> {
    let practice = scene.practice().await?;
    let mut last = None;
    for _ in 0..3 {
        let app = scene.app.vendor_app(&[ALL]).await?;
        scene.app.consent(&practice, &app).await?;
        scene.app.revoke(&practice, &app).await?;
        scene.app.consent(&practice, &app).await?;
        last = Some(app);
    }
    let app = last.context("an app")?;
    for n in 0..3 {
        scene.app.group(&practice, &format!("1.{n}"), &["a", "b", "c", "d", "e"]).await?;
    }
    let client = scene.app.client(&practice, &app).await?;
    // Nobody has looked at the practice's source, so a kick-off is too early; one that was accepted is made up.
    ensure!(client.kick_off(&Level::Patient, &[]).await?.status == 503);
    Ok((format!("practices/{}", practice.number), app.client_id))
}

#[test]
fn walking_a_list_one_by_one_gives_what_the_whole_gives() -> Result<()> {
    // By itself: what the other tests make would come into the lists while they are compared.
    alone(async || {
        let scene = Scene::build(TestApp::builder().workers(0)).await?;
        let (practice, client) = fill(&scene).await?;
        let admin = scene.app.admin();
        for (path, member, key, least) in [
            ("vendors".to_owned(), "vendors", "vendor_id", 3),
            ("apps".to_owned(), "apps", "client_id", 3),
            ("practices".to_owned(), "practices", "number", 3),
            (format!("{practice}/consents"), "consents", "consent_id", 6),
            (format!("{practice}/consents?client_id={client}"), "consents", "consent_id", 2),
            (format!("{practice}/groups"), "groups", "group_id", 3),
            (format!("{practice}/groups/1.0/members"), "members", "patient_id", 5),
            (format!("audit?client_id={client}"), "events", "id", 4),
        ] {
            let whole = walk(admin, &path, member, 1_000).await?;
            ensure!(whole.len() >= least, "{path}: {} items", whole.len());
            for limit in [1, 2] {
                ensure!(walk(admin, &path, member, limit).await? == whole, "{path} by {limit}");
            }
            let keys: BTreeSet<String> = whole.iter().map(|item| item[key].to_string()).collect();
            ensure!(keys.len() == whole.len() && !keys.contains("null"), "{path}: {keys:?}");
            let without = admin.get(&path).await?.expect(200)?.json()?;
            ensure!(
                without[member].as_array().is_some_and(|items| items[..] == whole[..whole.len().min(100)]),
                "{path}"
            );
        }
        scene.app.stop().await;
        Ok(())
    })
}

#[test]
fn a_wrong_limit_a_cursor_of_another_list_and_an_unknown_parameter_are_refused() -> Result<()> {
    play(async |scene| {
        let (practice, _) = fill(scene).await?;
        let admin = scene.app.admin();
        let next = admin.get("vendors?limit=1").await?.expect(200)?.json()?;
        let next = text(&next, "next")?.to_owned();
        for path in [
            "vendors",
            "apps",
            "practices",
            "audit",
            "audit/seals",
            &format!("{practice}/consents"),
            &format!("{practice}/groups"),
            &format!("{practice}/groups/1.0/members"),
            &format!("{practice}/exports"),
            &format!("{practice}/disclosures"),
        ] {
            for query in [
                "limit=0",
                "limit=1001",
                "limit=-1",
                "limit=x",
                "limit=",
                "limit=1&limit=2",
                "limit=99999999999999999999",
                "cursor=x",
                "cursor=",
                "cursor=00",
                "offset=1",
                "Limit=1",
                "page=2",
                "limit=1&x",
                "%00=1",
            ] {
                let answer = admin.get(&format!("{path}?{query}")).await?;
                problem(&answer, 400, "invalid").with_context(|| format!("{path}?{query}"))?;
            }
            if path != "vendors" {
                problem(&admin.get(&format!("{path}?cursor={next}")).await?, 400, "invalid")
                    .with_context(|| path.to_owned())?;
            }
            let mut changed = next.clone();
            changed.pop();
            let end = if next.ends_with('0') { '1' } else { '0' };
            problem(&admin.get(&format!("{path}?cursor={changed}{end}")).await?, 400, "invalid")?;
        }
        Ok(())
    })
}

#[test]
fn a_list_shows_each_role_its_own_and_nothing_else() -> Result<()> {
    play(async |scene| {
        fill(scene).await?;
        let admin = scene.app.admin();
        let app = scene.consented(&scene.clinic).await?;
        let vendor = headgate_testkit::auth::AdminRole::Vendor(app.vendor_id.parse()?);
        let vendor = admin.acting_as("dev@vendor.example", &vendor)?;
        let of_practice = headgate_testkit::auth::AdminRole::PracticeAdmin(
            headgate_testkit::domain::PracticeNumber::new(scene.clinic.number)?,
        );
        let of_practice = admin.acting_as("frank@practice.example", &of_practice)?;
        ensure!(walk(&vendor, "vendors", "vendors", 1).await?.len() == 1);
        let apps = walk(&vendor, "apps", "apps", 1).await?;
        ensure!(apps.len() == 1 && apps[0]["client_id"] == app.client_id.as_str(), "{apps:?}");
        let practices = walk(&of_practice, "practices", "practices", 1).await?;
        ensure!(practices.len() == 1 && practices[0]["number"] == scene.clinic.number, "{practices:?}");

        let events = walk(&vendor, "audit", "events", 7).await?;
        ensure!(
            !events.is_empty() && events.iter().all(|e| e["client_id"] == app.client_id.as_str()),
            "{events:?}"
        );
        let events = walk(&of_practice, "audit", "events", 7).await?;
        ensure!(
            !events.is_empty() && events.iter().all(|e| e["practice"] == scene.clinic.number),
            "{events:?}"
        );
        // Asking for somebody else's gives nothing of theirs.
        let other = scene.app.vendor_app_with(&[ALL], PrivateKey::generate(Algorithm::Es384)?).await?;
        for (who, path, member) in [
            (&vendor, format!("apps?vendor_id={}", other.vendor_id), "apps"),
            (&vendor, format!("audit?client_id={}", other.client_id), "events"),
            (&of_practice, format!("audit?practice={}", scene.other.number), "events"),
        ] {
            let answer = who.get(&path).await?;
            let nothing =
                answer.status == 404 || (answer.status == 200 && answer.json()?[member] == json!([]));
            ensure!(nothing, "{path}: {} {}", answer.status, answer.text());
        }
        Ok(())
    })
}
