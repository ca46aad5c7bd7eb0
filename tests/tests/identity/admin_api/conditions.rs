//! Changes that depend on a revision, and deeds that are done once.

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::reqwest::Method;
use headgate_testkit::serde_json::{Value, json};
use headgate_testkit::{Admin, Answer, Settings, sqlx};

use crate::scene::{ALL, Scene, play, problem, text};

async fn send(
    admin: &Admin,
    method: Method,
    path: &str,
    body: &Value,
    headers: &[(&str, &str)],
) -> Result<Answer> {
    let mut request = admin.request(method, path).json(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::to(request).await
}

/// What stands at a path: its tag and its body.
async fn shown(admin: &Admin, path: &str) -> Result<(String, Value)> {
    let answer = admin.get(path).await?.expect(200)?;
    let tag = answer.header("etag").with_context(|| format!("{path} has no ETag"))?.to_owned();
    let body = answer.json()?;
    ensure!(tag == format!("\"{}\"", body["revision"]), "{path}: {tag} {body}");
    Ok((tag, body))
}

/// Values of `If-Match` at which nothing is ever changed.
const NEVER: [(&str, u16, &str); 7] = [
    ("\"0\"", 412, "precondition_failed"),
    ("\"999999\"", 412, "precondition_failed"),
    ("W/\"1\"", 412, "precondition_failed"),
    ("\"x\"", 412, "precondition_failed"),
    ("1", 400, "invalid"),
    ("", 400, "invalid"),
    ("\"1\", \"2\"", 400, "invalid"),
];

#[test]
fn a_change_is_made_at_the_revision_that_if_match_names_and_at_no_other() -> Result<()> {
    play(async |scene| {
        let admin = scene.app.admin();
        let practice = scene.practice().await?;
        let app = scene.consented(&practice).await?;
        scene.app.group(&practice, "1.1", &["a"]).await?;
        let group = format!("practices/{}/groups/1.1", practice.number);
        let put = Method::PUT;
        let post = Method::POST;
        for (show, method, path, bodies) in [
            (
                format!("vendors/{}", app.vendor_id),
                Method::PATCH,
                String::new(),
                [json!({ "contact_email": "a@v.example" }), json!({ "contact_email": "b@v.example" })],
            ),
            (
                format!("apps/{}", app.client_id),
                Method::PATCH,
                String::new(),
                [json!({ "name": "A" }), json!({ "name": "B" })],
            ),
            (
                format!("practices/{}", practice.number),
                Method::PATCH,
                String::new(),
                [json!({ "name": "A" }), json!({ "options": { "gzip": true } })],
            ),
            (group.clone(), put.clone(), String::new(), [json!({ "name": "A" }), json!({ "name": "B" })]),
            (
                group.clone(),
                put,
                "/members".to_owned(),
                [json!({ "patient_ids": ["b"] }), json!({ "patient_ids": ["c"] })],
            ),
            (
                group,
                post.clone(),
                "/members".to_owned(),
                [json!({ "add": ["d"] }), json!({ "remove": ["d"] })],
            ),
            (
                format!("apps/{}", app.client_id),
                post.clone(),
                "/suspend".to_owned(),
                [json!({ "reason": "a" }), json!({ "reason": "b" })],
            ),
            (format!("apps/{}", app.client_id), post, "/resume".to_owned(), [json!({}), json!({})]),
        ] {
            let path = format!("{show}{path}");
            let (tag, _) = shown(admin, &show).await?;
            for (stale, status, reason) in NEVER {
                let answer = send(admin, method.clone(), &path, &bodies[0], &[("If-Match", stale)]).await?;
                problem(&answer, status, reason)
                    .with_context(|| format!("{method} {path} If-Match: {stale}"))?;
            }
            ensure!(shown(admin, &show).await?.0 == tag, "{path}: a refused change was made");
            send(admin, method.clone(), &path, &bodies[0], &[("If-Match", &tag)])
                .await?
                .expect(200)
                .context(path.clone())?;
            let (after, _) = shown(admin, &show).await?;
            ensure!(after != tag, "{path}: the revision stayed");
            problem(
                &send(admin, method.clone(), &path, &bodies[1], &[("If-Match", &tag)]).await?,
                412,
                "precondition_failed",
            )
            .with_context(|| path.clone())?;
            send(admin, method, &path, &bodies[1], &[("If-Match", "*")]).await?.expect(200).context(path)?;
        }
        Ok(())
    })
}

#[test]
fn of_changes_that_all_saw_the_same_revision_one_is_made() -> Result<()> {
    play(async |scene| {
        let admin = scene.app.admin();
        let app = scene.app.vendor_app(&[ALL]).await?;
        let path = format!("vendors/{}", app.vendor_id);
        let (tag, _) = shown(admin, &path).await?;
        let mut tasks = Vec::new();
        for n in 0..10 {
            let (admin, path, tag) = (admin.clone(), path.clone(), tag.clone());
            tasks.push(tokio::spawn(async move {
                let body = json!({ "contact_email": format!("a{n}@v.example") });
                send(&admin, Method::PATCH, &path, &body, &[("If-Match", &tag)]).await
            }));
        }
        let mut done = Vec::new();
        for task in tasks {
            let answer = task.await??;
            match answer.status {
                200 => done.push(answer.json()?),
                _ => drop(problem(&answer, 412, "precondition_failed")?),
            }
        }
        ensure!(done.len() == 1, "{} changes were made", done.len());
        let (_, now) = shown(admin, &path).await?;
        ensure!(now == done[0], "{now}");
        Ok(())
    })
}

async fn vendors_named(scene: &Scene, name: &str) -> Result<i64> {
    let count = sqlx::query_scalar("SELECT count(*) FROM headgate.vendor WHERE name = $1");
    Ok(count.bind(name).fetch_one(scene.app.control()).await?)
}

#[test]
fn a_deed_with_a_key_is_done_once_and_its_repetition_gets_the_first_answer() -> Result<()> {
    play(async |scene| {
        let admin = scene.app.admin();
        let key = format!("vendor-{}", scene.number());
        let headers = [("Idempotency-Key", key.as_str())];
        let body = json!({ "name": key, "contact_email": "a@v.example" });
        let first = send(admin, Method::POST, "vendors", &body, &headers).await?.expect(201)?;
        ensure!(first.header("idempotency-replayed").is_none(), "{:?}", first.headers);
        let second_api = scene.app.start_second_api(&Settings::new()).await?;
        for who in [admin, second_api.admin()] {
            let again = send(who, Method::POST, "vendors", &body, &headers).await?.expect(201)?;
            ensure!(again.body == first.body, "{} and {}", again.text(), first.text());
            ensure!(again.header("etag") == first.header("etag"), "{:?}", again.headers);
            ensure!(again.header("content-type") == first.header("content-type"), "{:?}", again.headers);
            ensure!(again.header("idempotency-replayed") == Some("true"), "{:?}", again.headers);
        }
        ensure!(vendors_named(scene, &key).await? == 1);

        // The same key for anything else.
        let other = json!({ "name": format!("{key}-other"), "contact_email": "a@v.example" });
        let vendor = text(&first.json()?, "vendor_id")?.to_owned();
        for (method, path, body) in [
            (Method::POST, "vendors".to_owned(), &other),
            (Method::PATCH, format!("vendors/{vendor}"), &json!({ "contact_email": "b@v.example" })),
            (Method::POST, format!("vendors/{vendor}/suspend"), &json!({ "reason": "x" })),
        ] {
            let answer = send(admin, method, &path, body, &headers).await?;
            problem(&answer, 422, "idempotency_key_reused").with_context(|| path.clone())?;
        }
        ensure!(vendors_named(scene, &format!("{key}-other")).await? == 0);
        // Another person's keys are their own.
        let other_operator =
            admin.acting_as("olga@ehr.example", &headgate_testkit::auth::AdminRole::Operator)?;
        send(&other_operator, Method::POST, "vendors", &other, &headers).await?.expect(201)?;

        // A refused deed uses no key up.
        let key = format!("{key}-again");
        let headers = [("Idempotency-Key", key.as_str())];
        problem(
            &send(admin, Method::POST, "vendors", &json!({ "name": "" }), &headers).await?,
            400,
            "invalid",
        )?;
        let good = json!({ "name": key, "contact_email": "a@v.example" });
        send(admin, Method::POST, "vendors", &good, &headers).await?.expect(201)?;

        for wrong in ["", "with space", "é", &"k".repeat(256)] {
            let answer = send(admin, Method::POST, "vendors", &good, &[("Idempotency-Key", wrong)]).await?;
            problem(&answer, 400, "invalid").with_context(|| wrong.to_owned())?;
        }
        let twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")];
        problem(&send(admin, Method::POST, "vendors", &good, &twice).await?, 400, "invalid")?;
        Ok(())
    })
}

#[test]
fn of_twenty_deeds_at_once_with_one_key_one_is_done() -> Result<()> {
    play(async |scene| {
        let second = scene.app.start_second_api(&Settings::new()).await?;
        let key = format!("storm-{}", scene.number());
        let body = json!({ "name": key, "contact_email": "a@v.example" });
        let mut tasks = Vec::new();
        for n in 0..20 {
            let admin = if n % 2 == 0 { scene.app.admin().clone() } else { second.admin().clone() };
            let (key, body) = (key.clone(), body.clone());
            tasks.push(tokio::spawn(async move {
                send(&admin, Method::POST, "vendors", &body, &[("Idempotency-Key", &key)]).await
            }));
        }
        let mut made = Vec::new();
        for task in tasks {
            let answer = task.await??;
            match answer.status {
                201 => made.push(answer.body),
                // The first is under way; or the name is taken, which is as far as a second could get.
                409 => {}
                other => anyhow::bail!("status {other}: {}", answer.text()),
            }
        }
        ensure!(
            !made.is_empty() && made.iter().all(|body| *body == made[0]),
            "{} answers differ",
            made.len()
        );
        ensure!(vendors_named(scene, &key).await? == 1);
        let count = sqlx::query_scalar(
            "SELECT count(*) FROM headgate.audit_event WHERE action = 'vendor.created' AND detail->>'vendor' = $1",
        );
        let made: Value = headgate_testkit::serde_json::from_slice(&made[0])?;
        let events: i64 = count.bind(text(&made, "vendor_id")?).fetch_one(scene.app.control()).await?;
        ensure!(events == 1, "{events} events");
        // Who comes later gets the answer.
        let again =
            send(scene.app.admin(), Method::POST, "vendors", &body, &[("Idempotency-Key", &key)]).await?;
        ensure!(again.expect(201)?.json()? == made);
        Ok(())
    })
}
