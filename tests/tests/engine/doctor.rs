//! `headgate doctor` on installations that are well, and that are not.

use anyhow::{Context as _, Result};
use headgate_testkit::serde_json::Value;
use headgate_testkit::{API_ROLE, Settings, TestApp, WORKER_ROLE, headgate};

use crate::world::eventually;

/// What it found: whether it succeeded, and the findings.
struct Findings {
    success: bool,
    text: String,
    checks: Vec<Value>,
}

impl Findings {
    /// The verdicts of a check and what was found.
    fn of(&self, check: &str) -> Vec<(&str, &str)> {
        let mine = self.checks.iter().filter(|finding| finding["check"] == check);
        mine.map(|finding| {
            (finding["verdict"].as_str().unwrap_or_default(), finding["found"].as_str().unwrap_or_default())
        })
        .collect()
    }

    /// The checks with a verdict.
    fn with(&self, verdict: &str) -> Vec<&str> {
        let those = self.checks.iter().filter(|finding| finding["verdict"] == verdict);
        those.filter_map(|finding| finding["check"].as_str()).collect()
    }
}

async fn examine(settings: &Settings, arguments: &[&str]) -> Result<Findings> {
    let arguments = [&["doctor", "--json"], arguments].concat();
    let finished = headgate::run(&arguments, settings).await?;
    let report: Value = headgate_testkit::serde_json::from_str(&finished.stdout)
        .with_context(|| format!("{}{}", finished.stdout, finished.stderr))?;
    let checks = report["checks"].as_array().context("no checks")?.clone();
    assert_eq!(report["verdict"] == "failed", !finished.status.success(), "{report}");
    Ok(Findings { success: finished.status.success(), text: finished.stdout, checks })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_that_is_well_has_no_failures_and_keeps_nothing_of_the_examination() -> Result<()> {
    let app = TestApp::start().await?;
    let practice = app.practice(100_491, "pod21test").create().await?;
    eventually("housekeeping was done", async || {
        app.control_scalar("SELECT bool_and(last_run_at IS NOT NULL) FROM headgate.maintenance").await
    })
    .await?;
    let events = "SELECT count(*) FROM headgate.audit_event WHERE action <> 'audit.sealed'";
    let before: i64 = app.control_scalar(events).await?;
    let found = examine(&app.settings(), &[]).await?;
    assert!(found.success, "{}", found.text);
    assert_eq!(found.with("failed"), Vec::<&str>::new(), "{}", found.text);
    for check in [
        "configuration",
        "control database",
        "connected as",
        "clock of the control database",
        "schema",
        "database role headgate_api",
        "database role headgate_worker",
        "queue",
        "housekeeping",
        "practices",
        "keys of access tokens",
        "bucket",
        "clock of the S3 server",
        "objects of practice 100491",
        "source of practice 100491",
        "public URL",
        "issuer of access tokens",
    ] {
        assert_eq!(
            found.of(check).iter().map(|(verdict, _)| *verdict).collect::<Vec<_>>(),
            ["ok"],
            "{check}: {}",
            found.text
        );
    }
    assert_eq!(app.s3_keys("")?, Vec::<String>::new(), "the probe is deleted");
    assert_eq!(app.control_scalar::<i64>(events).await?, before, "nothing is audited");
    for secret in ["postgres://", "X-Amz-Signature", &practice.ehr_url] {
        assert!(!found.text.contains(secret), "{}", found.text);
    }

    let worker = app.settings().with("database.url", app.control_url_as(WORKER_ROLE));
    let found = examine(&worker, &["--role", "worker", "--practice", "100491"]).await?;
    assert!(found.success, "{}", found.text);
    assert_eq!(found.of("connected as"), [("ok", WORKER_ROLE)]);
    assert!(found.of("public URL").is_empty(), "that is the API's matter");
    let found = examine(&worker, &["--role", "api", "--practice", "4"]).await?;
    assert_eq!(
        found.with("failed"),
        ["connected as", "keys of access tokens", "practices"],
        "{}",
        found.text
    );

    let table = headgate::run(&["doctor"], &app.settings()).await?.success()?;
    assert!(table.stdout.contains("0 failed"), "{}", table.stdout);
    app.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_told_with_what_to_mend() -> Result<()> {
    let app = TestApp::start().await?;
    let practice = app.practice(100_491, "pod21test").create().await?;
    let set = |key: &str, value: &str| app.settings().with(key, value);

    let found = examine(&set("s3.bucket", "no-such-bucket"), &[]).await?;
    assert_eq!(found.with("failed"), ["bucket"], "{}", found.text);
    let found = examine(&set("keys.encryption_key", &"ab".repeat(32)), &[]).await?;
    assert_eq!(found.with("failed"), ["keys of access tokens"], "{}", found.text);
    let found = examine(&set("database.url", "postgres://nobody:hushhush@127.0.0.1:1/none"), &[]).await?;
    assert_eq!(found.with("failed"), ["control database"], "{}", found.text);
    assert!(!found.text.contains("hushhush"), "{}", found.text);
    let found = examine(&set("export.page_rows", "0"), &[]).await?;
    assert_eq!(found.with("failed"), ["configuration"], "{}", found.text);
    let found = examine(&set("keys.encryption_key", ""), &[]).await?;
    assert_eq!(found.of("configuration"), [("warning", "enough for the role worker, not for the role api")]);

    // The practice's DSN: not here, and wrong.
    let point = async |reference: &str| {
        headgate_testkit::sqlx::query("UPDATE headgate.practice SET source_dsn_ref = $1")
            .bind(reference)
            .execute(app.control())
            .await
    };
    point("env:HEADGATE_TEST_NOT_SET").await?;
    let found = examine(&app.settings(), &[]).await?;
    assert!(found.success && found.with("warning").contains(&"source of practice 100491"), "{}", found.text);
    let dsn = app.folder().join("dsn");
    let (address, host) = practice.ehr_url.split_once('?').context("the EHR is reached by a socket")?;
    let absent = address.rsplit_once('/').context("a URL has a path")?.0;
    std::fs::write(&dsn, format!("{absent}/no_such_database?{host}"))?;
    point(&format!("file:{}", dsn.display())).await?;
    let found = examine(&app.settings(), &[]).await?;
    assert_eq!(found.with("failed"), ["source of practice 100491"], "{}", found.text);
    assert!(found.text.contains("3D000") && !found.text.contains("no_such_database"), "{}", found.text);

    let older = "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    headgate_testkit::sqlx::query(older).execute(app.control()).await?;
    let found = examine(&app.settings(), &[]).await?;
    assert_eq!(found.with("failed"), ["schema"], "{}", found.text);
    assert!(found.text.contains("headgate migrate"), "{}", found.text);
    assert_eq!(found.of("connected as"), [("ok", API_ROLE)]);
    app.stop().await;
    Ok(())
}
