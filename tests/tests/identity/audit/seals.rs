//! Whoever changes the record by hand is found out, by the program that operators run.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::TestApp;
use headgate_testkit::headgate::{self, Finished};
use headgate_testkit::serde_json::{self, Value};
use headgate_testkit::{Settings, sqlx};

use crate::stage::{ALL, alone, control, options, within};

#[test]
fn an_event_that_was_changed_or_removed_after_it_was_sealed_is_found_by_the_program() -> Result<()> {
    alone(options().workers(0), async |app| {
        for _ in 0..3 {
            app.vendor_app(&[ALL]).await?;
        }
        let last: i64 = app.control_scalar("SELECT max(audit_id) FROM headgate.audit_event").await?;
        // A seal waits for every transaction of the cluster, and other tests have long ones.
        within(Duration::from_secs(180), "the events are sealed", async || {
            let sealed: i64 =
                app.control_scalar("SELECT coalesce(max(last_id), 0) FROM headgate.audit_seal").await?;
            Ok(sealed >= last)
        })
        .await?;
        let whole = verify(app, 0).await?;
        ensure!(whole["whole"] == true && whole["checked_events"].as_i64() >= Some(6), "{whole}");

        // Told when it is sealed already; and what is sealed meanwhile is told a moment later.
        within(Duration::from_secs(20), "what is sealed is told", async || told(app).await).await?;
        let event: i64 = app
            .control_scalar("SELECT min(audit_id) FROM headgate.audit_event WHERE action = 'app.registered'")
            .await?;
        control(app, "CREATE TABLE public.kept AS SELECT * FROM headgate.audit_event").await?;
        for tampering in [
            format!("UPDATE headgate.audit_event SET actor = 'operator nobody' WHERE audit_id = {event}"),
            format!("UPDATE headgate.audit_event SET at = at + interval '1 us' WHERE audit_id = {event}"),
            format!(
                "UPDATE headgate.audit_event SET detail = detail || '{{\"x\": 1}}' WHERE audit_id = {event}"
            ),
            format!("DELETE FROM headgate.audit_event WHERE audit_id = {event}"),
        ] {
            control(app, &tampering).await?;
            let broken = verify(app, 1).await?;
            let seal = seal_of(app, event).await?;
            let problems = broken["problems"].as_array().context("no problems")?;
            ensure!(broken["whole"] == false && problems.len() == 1, "{tampering}: {broken}");
            ensure!(problems[0]["seal"] == seal, "{tampering}: {broken}");
            restore(app, event).await?;
            verify(app, 0).await?;
        }
        // Without --json, people read it.
        control(app, &format!("DELETE FROM headgate.audit_event WHERE audit_id = {event}")).await?;
        let said = run(app, &[]).await?;
        ensure!(said.status.code() == Some(1), "{said:?}");
        ensure!(said.stdout.contains("seal") && said.stdout.contains("problem"), "{}", said.stdout);
        ensure!(said.stderr.contains("is not as it was sealed"), "{}", said.stderr);
        restore(app, event).await?;
        // A seal cannot be left out either.
        control(app, "DELETE FROM headgate.audit_seal WHERE seal_number = 1").await?;
        ensure!(verify(app, 1).await?["whole"] == false);
        Ok(())
    })
}

/// Whether the log has each event that was sealed, so that a copy of it is kept elsewhere.
async fn told(app: &TestApp) -> Result<bool> {
    let logs = app.logs();
    let lines: Vec<Value> = logs
        .lines()
        .filter(|line| line.contains("headgate_audit"))
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let sealed: Vec<(i64, String, String, i64)> = sqlx::query_as(
        "SELECT audit_id, actor, action, seal_number FROM headgate.audit_event
           JOIN headgate.audit_seal ON audit_id BETWEEN first_id AND last_id ORDER BY audit_id",
    )
    .fetch_all(app.control())
    .await?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let told: Vec<_> = lines
        .iter()
        .map(|line| (line["id"].as_i64(), text(&line["actor"]), text(&line["action"]), line["seal"].as_i64()))
        .collect();
    let expected: Vec<_> =
        sealed.into_iter().map(|(id, actor, action, seal)| (Some(id), actor, action, Some(seal))).collect();
    if told != expected {
        eprintln!("told: {told:?}\nsealed: {expected:?}");
        return Ok(false);
    }
    let registered = lines.iter().find(|line| line["action"] == "app.registered").context("no app")?;
    ensure!(registered["client"].as_str().is_some_and(|id| id.starts_with("fhir")), "{registered}");
    ensure!(registered["level"] == "INFO" && registered["target"] == "headgate_audit", "{registered}");
    ensure!(registered.get("detail").is_none(), "{registered}");
    Ok(true)
}

async fn seal_of(app: &TestApp, event: i64) -> Result<i64> {
    let select = "SELECT seal_number FROM headgate.audit_seal WHERE $1 BETWEEN first_id AND last_id";
    Ok(sqlx::query_scalar(select).bind(event).fetch_one(app.control()).await?)
}

async fn restore(app: &TestApp, event: i64) -> Result<()> {
    let put_back = format!(
        "DELETE FROM headgate.audit_event WHERE audit_id = {event};
         INSERT INTO headgate.audit_event OVERRIDING SYSTEM VALUE SELECT * FROM public.kept WHERE audit_id = {event}"
    );
    control(app, &put_back).await
}

/// What `headgate admin audit verify --json` says, having ended with this code.
async fn verify(app: &TestApp, code: i32) -> Result<Value> {
    let finished = run(app, &["--json"]).await?;
    ensure!(finished.status.code() == Some(code), "{finished:?}");
    Ok(serde_json::from_str(&finished.stdout)?)
}

async fn run(app: &TestApp, options: &[&str]) -> Result<Finished> {
    let token = app.folder().join("operator.token");
    std::fs::write(&token, app.admin().token())?;
    let token = token.display().to_string();
    let url = app.admin().url().trim_end_matches("/admin/v1");
    let mut arguments = vec!["admin", "audit", "verify", "--admin-url", url, "--token-file", &token];
    arguments.extend(options);
    headgate::run(&arguments, &Settings::new()).await
}
