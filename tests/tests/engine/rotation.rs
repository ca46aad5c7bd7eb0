//! The control database's URL is changed while processes run.

use anyhow::Result;
use headgate_testkit::sqlx::{self, AssertSqlSafe};
use headgate_testkit::{API_ROLE, Process, Settings, TestApp, WORKER_ROLE};

use crate::world::eventually;

async fn control(app: &TestApp, statement: String) -> Result<()> {
    sqlx::query(AssertSqlSafe(statement)).execute(app.control()).await?;
    Ok(())
}

/// How many connections a role has.
async fn connections(app: &TestApp, role: &str) -> Result<i64> {
    Ok(sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE usename = $1")
        .bind(role)
        .fetch_one(app.control())
        .await?)
}

async fn is_ready(app: &TestApp, process: &Process) -> Result<bool> {
    let url = format!("http://127.0.0.1:{}/readyz", process.private_port());
    Ok(app.http().get(url).send().await.is_ok_and(|answer| answer.status() == 200))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_that_changes_in_its_file_is_taken_up_by_every_connection_without_a_restart() -> Result<()> {
    let app = TestApp::builder().workers(0).start().await?;
    for (process, of) in [("api", API_ROLE), ("worker", WORKER_ROLE)] {
        // Roles are the whole cluster's, so they are named after the database, which is this test's alone.
        let database: String = app.control_scalar("SELECT current_database()::text").await?;
        let [former, next] = ["former", "next"].map(|name| format!("{database}_{process}_{name}"));
        for role in [&former, &next] {
            control(&app, format!("CREATE ROLE {role} LOGIN IN ROLE {of}")).await?;
        }
        let file = app.folder().join(format!("{process}.url"));
        std::fs::write(&file, app.control_url_as(&former))?;
        let settings = Settings::new().with("database.url", "").with("database.url_file", file.display());
        let mut running = app.spawn(process, &settings)?;
        eventually("it is ready", async || is_ready(&app, &running).await).await?;
        assert!(connections(&app, &former).await? > 0);

        std::fs::write(&file, "not a URL\n")?;
        eventually("it says that this cannot be used", async || {
            Ok(running.log().contains("the former URL stays"))
        })
        .await?;
        assert!(is_ready(&app, &running).await?);

        std::fs::write(&file, format!("{}\n", app.control_url_as(&next)))?;
        eventually("it says that it has read it", async || {
            Ok(running.log().contains("database.url_file was read again"))
        })
        .await?;
        control(&app, format!("ALTER ROLE {former} NOLOGIN")).await?;
        let statement =
            format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{former}'");
        control(&app, statement).await?;
        eventually("it is ready by the new URL", async || {
            Ok(is_ready(&app, &running).await? && connections(&app, &next).await? > 0)
        })
        .await?;
        if process == "worker" {
            eventually("its leases are kept by the new URL", async || {
                let kept: i64 = sqlx::query_scalar(
                    "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND query LIKE '/* ping */%'
                        AND backend_start < clock_timestamp() - interval '2 s' AND state = 'idle'",
                )
                .bind(&next)
                .fetch_one(app.control())
                .await?;
                Ok(kept > 0)
            })
            .await?;
        }
        // The server ends connections a little after it was told to.
        eventually("nothing is connected by the former URL", async || {
            Ok(connections(&app, &former).await? == 0)
        })
        .await?;
        assert!(running.terminate().await?.success(), "{}", running.log());
        for role in [&former, &next] {
            control(&app, format!("DROP ROLE {role}")).await?;
        }
    }
    app.stop().await;
    Ok(())
}
