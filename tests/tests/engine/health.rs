//! What processes say of themselves on the private port, from their start to their end.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::{Process, Settings, TestApp, headgate};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::relay::Relay;
use crate::world::eventually;

/// What is needed and absent, as `sysexits.h` numbers it.
const UNAVAILABLE: i32 = 69;

/// The status and the text of an answer of the private port.
async fn ask(app: &TestApp, process: &Process, path: &str) -> Result<(u16, String)> {
    let url = format!("http://127.0.0.1:{}{path}", process.private_port());
    let answer = app.http().get(url).send().await?;
    Ok((answer.status().as_u16(), answer.text().await?.trim().to_owned()))
}

/// Waits for an answer; until then the process must be alive.
async fn until(app: &TestApp, process: &Process, path: &str, status: u16, text: &str) -> Result<()> {
    eventually(&format!("{path} answers {status} {text}"), async || {
        // At the very first the port is not bound yet.
        let Ok(answer) = ask(app, process, path).await else { return Ok(false) };
        let (alive, why) = ask(app, process, "/livez").await?;
        ensure!(alive == 200, "/livez: {alive} {why}");
        Ok(answer.0 == status && answer.1.contains(text))
    })
    .await
    .with_context(|| process.log())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_tells_what_it_waits_for_and_is_never_killed_for_an_absent_database() -> Result<()> {
    let app = TestApp::builder().workers(0).start().await?;
    let database = app.new_empty_database().await?;
    let mut relay = Relay::new(&app.ehr_url(&database), app.folder())?;
    let changes = Settings::new().with("database.url", relay.url()).with("database.acquire_timeout_s", 1);
    let processes = [app.spawn("api", &changes)?, app.spawn("worker", &changes)?];

    for process in &processes {
        until(&app, process, "/startupz", 503, "waiting for the control database").await?;
        until(&app, process, "/readyz", 503, "not ready: waiting for the control database").await?;
    }
    relay.open()?;
    for process in &processes {
        until(&app, process, "/startupz", 503, "run `headgate migrate`").await?;
        until(&app, process, "/readyz", 503, "waiting for schema version").await?;
    }
    let owner = Settings::new().with("database.url", app.ehr_url(&database));
    headgate::run(&["migrate"], &owner).await?.success()?;
    for process in &processes {
        until(&app, process, "/startupz", 200, "started").await?;
        until(&app, process, "/readyz", 200, "ready").await?;
    }

    relay.close().await?;
    for process in &processes {
        until(&app, process, "/readyz", 503, "control database").await?;
        assert_eq!(ask(&app, process, "/startupz").await?.0, 200, "it has started, and goes on");
    }
    relay.open()?;
    for process in &processes {
        until(&app, process, "/readyz", 200, "ready").await?;
    }
    for mut process in processes {
        assert!(process.terminate().await?.success(), "{}", process.log());
    }
    app.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_drains_a_process_is_alive_and_not_ready_and_answers_what_is_under_way() -> Result<()> {
    let mut app = TestApp::builder().workers(0).start().await?;
    let public = app.public_url().trim_start_matches("http://").to_owned();
    let mut slow = TcpStream::connect(&public).await?;
    let head = format!(
        "POST /auth/realms/fhir/protocol/openid-connect/token HTTP/1.1\r\nHost: {public}\r\nContent-Length: 3\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\na"
    );
    slow.write_all(head.as_bytes()).await?;
    let private = app.api().private_port();
    // The request must have been begun before the signal comes.
    eventually("the request's head was read", async || {
        let metrics =
            app.http().get(format!("http://127.0.0.1:{private}/metrics")).send().await?.text().await?;
        let active = |line: &str| {
            line.starts_with("http_server_active_requests{") && line.contains("listener=\"public\"")
        };
        Ok(metrics.lines().any(|line| active(line) && line.ends_with(" 1")))
    })
    .await?;
    app.api().signal("TERM")?;
    let process_answers = async |path: &str| -> Result<(u16, String)> {
        let answer = app.http().get(format!("http://127.0.0.1:{private}{path}")).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    };
    eventually("it says that it drains", async || {
        Ok(process_answers("/readyz").await?.1.contains("draining"))
    })
    .await?;
    assert_eq!(process_answers("/readyz").await?.0, 503);
    for path in ["/livez", "/startupz"] {
        assert_eq!(process_answers(path).await?.0, 200, "{path}");
    }
    eventually("nothing new is taken", async || Ok(TcpStream::connect(&public).await.is_err())).await?;
    slow.write_all(b"=b").await?;
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await?;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(app.api().wait(Duration::from_secs(20)).await?.success());
    app.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_cannot_be_waited_for_ends_the_start() -> Result<()> {
    let app = TestApp::builder().workers(0).start().await?;
    let empty = app.new_empty_database().await?;
    let changes = Settings::new().with("database.url", app.ehr_url(&empty)).with("database.schema_wait_s", 0);
    let mut impatient = app.spawn("worker", &changes)?;
    assert_eq!(impatient.wait(Duration::from_secs(30)).await?.code(), Some(UNAVAILABLE));
    assert!(impatient.log().contains("has no schema yet: run `headgate migrate`"), "{}", impatient.log());

    app.stop().await;
    Ok(())
}

/// Has the control database migrated by another version: one more than there were.
async fn migrate_further(app: &TestApp) -> Result<()> {
    headgate_testkit::sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         SELECT max(version) + 1, 'of a later version', true, '', 0 FROM _sqlx_migrations",
    )
    .execute(app.control())
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_works_with_the_next_schema_and_refuses_the_one_after_it() -> Result<()> {
    let mut app = TestApp::builder().workers(1).start().await?;
    let owner = Settings::new().with("database.url", app.control_url());
    migrate_further(&app).await?;
    for role in ["api", "worker"] {
        let mut moved = app.spawn(role, &Settings::new())?;
        until(&app, &moved, "/readyz", 200, "ready").await?;
        assert!(moved.terminate().await?.success(), "{}", moved.log());
    }
    let private = app.api().private_port();
    let answer = app.http().get(format!("http://127.0.0.1:{private}/readyz")).send().await?;
    assert_eq!(answer.status(), 200, "who serves already goes on");
    let rolled_back = headgate::run(&["migrate"], &owner).await?.success()?;
    assert!(rolled_back.stderr.contains("nothing is to be done"), "{}", rolled_back.stderr);

    migrate_further(&app).await?;
    let mut old = app.spawn("worker", &Settings::new())?;
    assert_eq!(old.wait(Duration::from_secs(30)).await?.code(), Some(UNAVAILABLE));
    assert!(old.log().contains("run a newer headgate"), "{}", old.log());
    eventually("who serves already is ready no more", async || {
        let answer = app.http().get(format!("http://127.0.0.1:{private}/readyz")).send().await?;
        Ok(answer.status() == 503 && answer.text().await?.contains("run a newer headgate"))
    })
    .await?;
    assert!(headgate::run(&["migrate"], &owner).await?.success().is_err());
    app.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_takes_too_long_is_answered_measured_and_logged() -> Result<()> {
    let app = TestApp::builder().workers(0).start().await?;
    let mut hurried = app.start_second_api(&Settings::new().with("server.request_timeout_s", 1)).await?;
    let mut lock = app.control().begin().await?;
    headgate_testkit::sqlx::query("LOCK TABLE headgate.practice IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *lock)
        .await?;
    let url = hurried.url(&format!("{}/.well-known/fhir-endpoints", app.public_url()));
    // Whichever of these needs the table: none of them may be lost from the measures.
    let metadata = hurried.url(&format!("{}/nobody/fhir/r4/metadata", app.public_url()));
    let mut late = 0;
    for url in [url, metadata] {
        let answer = hurried.http().get(url).send().await?;
        if answer.status() == 503 {
            assert!(answer.headers().contains_key("retry-after"));
            assert!(answer.text().await?.contains("no answer was found in time"));
            late += 1;
        }
    }
    assert!(late > 0, "nothing waited for the lock");
    lock.rollback().await?;
    let private = hurried.process().private_port();
    let metrics = app.http().get(format!("http://127.0.0.1:{private}/metrics")).send().await?.text().await?;
    let counted: u32 = metrics
        .lines()
        .filter(|line| line.starts_with("http_server_request_duration_seconds_count"))
        .filter(|line| line.contains("error_type=\"took_too_long\""))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u32>().ok())
        .sum();
    assert_eq!(counted, late, "{metrics}");
    let log = hurried.process().log();
    let named = |line: &str| line.contains("took_too_long") && line.contains("\"operation\":\"metadata\"");
    assert!(log.lines().any(|line| named(line) && line.contains("\"span\"")), "{log}");
    eventually("it is measured that it is ready", async || {
        let metrics =
            app.http().get(format!("http://127.0.0.1:{private}/metrics")).send().await?.text().await?;
        Ok(metrics.lines().any(|line| line.starts_with("process_ready") && line.ends_with(" 1")))
    })
    .await?;
    app.stop().await;
    Ok(())
}
