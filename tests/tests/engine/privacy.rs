//! What patients are called and what they have stays in the files.

use anyhow::Result;
use headgate_testkit::sqlx::{self, AssertSqlSafe};
use headgate_testkit::{Collector, Level};

use crate::world::{World, options};

/// Stands in every id, name and body of this test's patients, and nowhere else.
const CANARY: &str = "kanarienvogel";

/// Columns that must know patients: cohorts, and places within relations.
const MAY_KNOW: [(&str, &str); 5] = [
    ("patient_group_member", "patient_id"),
    ("export_member", "patient_id"),
    ("export_stream", "plan_cursor"),
    ("shard", "slice"),
    ("shard", "cursor"),
];

#[tokio::test]
async fn no_patient_appears_in_logs_tables_queue_or_object_keys() -> Result<()> {
    // Everything is logged, and what fails fails at once.
    let settings = options().set("log.filter", "trace").set("lease.max_attempts", 1);
    // Whatever is told of processes is told to this collector.
    let collector = Collector::grpc().await?;
    let settings = settings
        .set("telemetry.otlp_endpoint", collector.endpoint())
        .set("telemetry.metrics_interval_s", 1)
        .set("telemetry.trace_ratio", 1.0);
    let mut world =
        World::of(settings.set("export.shard_rows", 5).set("limits.resource_bytes", 2048)).await?;
    for n in 1..=12 {
        let id = format!("{CANARY}-{n}");
        let body = format!(r#"{{"resourceType":"Patient","id":"{id}","name":[{{"family":"{CANARY}"}}]}}"#);
        world.practice.insert_body("Patient", &id, Some(&id), &body).await?;
        world.practice.insert("Observation", &id, Some(&id)).await?;
    }
    broken_rows(&world).await?;
    let members: Vec<String> = (1..=9).map(|n| format!("{CANARY}-{n}")).collect();
    world.app.group(&world.practice, "g", &members.iter().map(String::as_str).collect::<Vec<_>>()).await?;

    let export = world.export(&Level::Group("g".to_owned()), &[]).await?;
    assert_eq!(export.ids("Patient").len(), 9);
    assert!(export.download.lines("Patient")[0].contains(CANARY), "the files do have it");
    assert_eq!(export.download.outcomes()?.len(), 2);
    for file in export.download.section("error") {
        assert!(file.lines.iter().all(|line| !line.contains(CANARY)), "{:?}", file.lines);
    }

    // A source whose own error texts quote the row, while planning and while reading.
    let raise = format!(
        "CREATE FUNCTION public.boom(id text) RETURNS text LANGUAGE plpgsql AS
         $$ BEGIN RAISE EXCEPTION 'bad row % {CANARY}', id USING DETAIL = 'see {CANARY}', HINT = '{CANARY}'; END $$;
         ALTER TABLE fhir_export.observation RENAME TO observation_rows;
         CREATE VIEW fhir_export.observation AS
            SELECT id, patient_id, last_updated, public.boom(id) AS resource FROM fhir_export.observation_rows;
         GRANT SELECT ON fhir_export.observation TO PUBLIC"
    );
    world.source(&raise).await?;
    let status_url = world.start(&Level::System, &[]).await?;
    world.until("the export has failed", "SELECT bool_or(state = 'failed') FROM headgate.export").await?;
    let answer = world.client.poll(&status_url).await?.expect(500)?;
    assert!(!answer.text().contains(CANARY), "{}", answer.text());
    assert!(answer.text().contains("P0001"), "the SQLSTATE is told: {}", answer.text());

    assert_silent(&world).await?;
    assert_tells_nothing(&mut world, &collector).await
}

/// Rows that end in the error file: their bodies are looked at most closely.
async fn broken_rows(world: &World) -> Result<()> {
    let id = format!("{CANARY}-1");
    world.practice.insert_body("Condition", &id, Some(&id), &format!("{{{CANARY}")).await?;
    world.practice.insert_body("Procedure", &id, Some(&id), &format!(r#"{{"id":"{CANARY}"}}"#)).await
}

/// Neither traces nor metrics nor logs, as they leave the processes, know patients or secrets.
async fn assert_tells_nothing(world: &mut World, collector: &Collector) -> Result<()> {
    // Ending sends what is queued.
    world.app.worker(0).terminate().await?;
    world.app.api().terminate().await?;
    for told in ["export failed", "S3/PutObject", "publish", "GET kick_off", "export.resources"] {
        assert!(collector.has(told), "the collector has heard nothing of {told}");
    }
    for secret in
        [CANARY, world.client.token(), "X-Amz-Signature", world.app.admin().token(), "client_assertion="]
    {
        assert!(
            !collector.has(secret),
            "the collector has heard {}",
            if secret == CANARY { CANARY } else { "a secret" }
        );
    }
    Ok(())
}

async fn assert_silent(world: &World) -> Result<()> {
    let logs = world.app.logs();
    assert!(
        logs.contains("export completed") && logs.contains("export failed"),
        "the logs say nothing at all"
    );
    let telling: Vec<&str> = logs.lines().filter(|line| line.contains(CANARY)).collect();
    assert!(telling.is_empty(), "{} lines of the logs, such as {}", telling.len(), telling[0]);
    for secret in [world.client.token(), "X-Amz-Signature", world.app.admin().token(), "client_assertion="] {
        assert!(!logs.contains(secret), "a secret is in the logs");
    }
    for key in world.app.s3_keys("")? {
        assert!(!key.contains(CANARY), "{key}");
    }
    let columns: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT table_schema::text, table_name::text, column_name::text FROM information_schema.columns
          WHERE table_schema IN ('headgate', 'apalis') AND data_type IN ('text', 'json', 'jsonb', 'ARRAY', 'bytea')",
    )
    .fetch_all(world.app.control())
    .await?;
    assert!(columns.iter().any(|(schema, table, _)| schema == "apalis" && table == "jobs"));
    for (schema, table, column) in &columns {
        // Of bytes, the text form is hexadecimal.
        let found: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT count(*) FROM {schema}.\"{table}\" WHERE \"{column}\"::text ILIKE '%{CANARY}%'
                OR \"{column}\"::text LIKE '%' || encode('{CANARY}', 'hex') || '%'"
        )))
        .fetch_one(world.app.control())
        .await?;
        let allowed = MAY_KNOW.contains(&(table.as_str(), column.as_str()));
        assert!(found == 0 || allowed, "{schema}.{table}.{column} knows patients");
    }
    let known = "SELECT count(*) FROM headgate.export_member WHERE patient_id LIKE 'kanarienvogel%'";
    assert_eq!(world.number(known).await?, 9, "the search finds what is there");
    Ok(())
}
