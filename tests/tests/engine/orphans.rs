//! `headgate orphans` on a bucket with folders that nobody knows, and with some that must stay.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::headgate::{self, Finished};
use headgate_testkit::serde_json::{self, Value, json};
use headgate_testkit::{Level, Settings, WORKER_ROLE};

use crate::attachments::{attach, url, world};
use crate::world::{Export, World, options};

/// Exports of the hour that a restored database has lost.
const LOST: &str = "0123456789abcdef0123456789abcdef";
const LOST_ELSEWHERE: &str = "fedcba9876543210fedcba9876543210";
const YOUNG: &str = "00000000000000000000000000000001";

/// More than S3 lists, or deletes, at once.
const MANY: usize = 1203;

const HOURS: Duration = Duration::from_secs(2 * 3600);
const MINUTES: Duration = Duration::from_secs(5 * 60);

async fn orphans(world: &World, arguments: &[&str]) -> Result<Finished> {
    let settings: Settings = world.app.settings().with("database.url", world.app.control_url_as(WORKER_ROLE));
    headgate::run(&[&["orphans"], arguments].concat(), &settings).await
}

/// Practice, name and state of what is found.
async fn found(world: &World, arguments: &[&str]) -> Result<Vec<(i64, String, String)>> {
    let said = orphans(world, &[&["--json"], arguments].concat()).await?.success()?;
    let report: Value = serde_json::from_str(&said.stdout)?;
    let found = report["orphans"].as_array().context("no orphans")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(found
        .iter()
        .map(|f| (f["practice"].as_i64().unwrap_or_default(), text(&f["name"]), text(&f["state"])))
        .collect())
}

fn of(practice: i64, name: &str, state: &str) -> (i64, String, String) {
    (practice, name.to_owned(), state.to_owned())
}

/// A world with a completed export that has an attachment.
async fn exported() -> Result<(World, String, Export)> {
    let world = world(options()).await?;
    world.source("INSERT INTO fhir_export.binary VALUES ('7', 'ann', now(), 'text/plain', 'note')").await?;
    let note = json!({ "contentType": "text/plain", "url": url(&world, "7") });
    attach(&world, "DocumentReference", "d-1", "ann", note).await?;
    let status_url = world.start(&Level::System, &[]).await?;
    let export = world.complete(&status_url).await?;
    Ok((world, status_url, export))
}

#[tokio::test]
async fn folders_of_no_known_export_are_listed_and_deleted_and_nothing_else_is() -> Result<()> {
    let (world, status_url, export) = exported().await?;
    let kept = world.keys()?;
    ensure!(kept.iter().any(|key| key.contains("/binary/")), "{kept:?}");
    // The other practice's part of the bucket has ours in it.
    world.app.practice(100_492, "other").create().await?;
    world.control("UPDATE headgate.practice SET s3_prefix = 'ema' WHERE practice_number = 100492").await?;
    let ours = &world.practice.s3_prefix;
    ensure!(ours == "ema/100491", "{ours}");
    let put = |key: &str, age: Duration| world.app.copy_object(&kept[0], key, age);
    for n in 1..MANY {
        put(&format!("{ours}/{LOST}/patient_{n}.ndjson"), HOURS)?;
    }
    put(&format!("{ours}/{LOST}/r2/binary/1"), HOURS * 2)?;
    put(&format!("ema/{LOST_ELSEWHERE}/patient_1.ndjson"), HOURS)?;
    // Those stay: something was put there just now, it is no export's, or no practice's.
    let strangers = [
        format!("{ours}/notes/x"),
        format!("{ours}/{}", LOST.replace('0', "1")),
        format!("{ours}/doctor/x"),
        format!("ema/100492/{LOST}/patient_1.ndjson"),
        format!("elsewhere/{LOST}/patient_1.ndjson"),
    ];
    for key in &strangers {
        put(key, HOURS)?;
    }
    put(&format!("{ours}/{YOUNG}/patient_1.ndjson"), HOURS)?;
    put(&format!("{ours}/{YOUNG}/patient_2.ndjson"), MINUTES)?;

    let loose = LOST.replace('0', "1");
    let all = [
        of(100_491, YOUNG, "young"),
        of(100_491, LOST, "orphan"),
        of(100_491, &loose, "foreign"),
        of(100_491, "notes", "foreign"),
        of(100_492, "100492", "foreign"),
        of(100_492, LOST_ELSEWHERE, "orphan"),
    ];
    assert_eq!(found(&world, &[]).await?, all);
    assert_eq!(found(&world, &["--practice", "100492"]).await?, all[4..]);
    let text = orphans(&world, &[]).await?.success()?.stdout;
    ensure!(text.contains(LOST) && text.contains(&MANY.to_string()) && !text.contains(&export.id), "{text}");
    let before = world.app.s3_keys("")?;
    assert_eq!(before.len(), kept.len() + MANY + 1 + strangers.len() + 2, "looking deletes nothing");

    let listed = orphans(&world, &["--practice", "100491", "--keys-out", "-"]).await?.success()?;
    assert_eq!(listed.stdout.lines().count(), MANY, "keys alone: {}", listed.stdout);
    ensure!(
        listed.stdout.lines().all(|key| key.contains(LOST)) && listed.stderr.contains("orphan"),
        "{}",
        listed.stderr
    );

    let keys_out = world.app.folder().join("orphans.keys").display().to_string();
    let deleting = ["--practice", "100491", "--delete", "--keys-out", &keys_out];
    let deleted = found(&world, &deleting).await?;
    assert_eq!(deleted[..2], [of(100_491, YOUNG, "young"), of(100_491, LOST, "deleted")]);
    let gone: Vec<String> = std::fs::read_to_string(&keys_out)?.lines().map(str::to_owned).collect();
    assert_eq!((gone.len(), std::fs::metadata(&keys_out)?.permissions().mode() & 0o777), (MANY, 0o600));
    let left: Vec<String> = before.into_iter().filter(|key| !gone.contains(key)).collect();
    assert_eq!(world.app.s3_keys("")?, left, "exactly what was written down");
    assert_eq!(left.len(), kept.len() + 1 + strangers.len() + 2);
    let audited =
        "SELECT string_agg(concat_ws(' ', actor, practice_number, export_id, detail->>'objects'), ', ')
                     FROM headgate.audit_event WHERE action = 'orphan.deleted'";
    assert_eq!(world.app.control_scalar::<String>(audited).await?, format!("headgate 100491 {LOST} {MANY}"));
    let again = orphans(&world, &deleting).await?;
    assert_eq!(again.status.code(), Some(64), "the evidence is not overwritten: {}", again.stderr);

    found(&world, &["--delete", "--older-than", "0s"]).await?;
    let mut stay = [kept, strangers.to_vec()].concat();
    stay.sort();
    assert_eq!(world.app.s3_keys("")?, stay);
    assert_eq!(world.complete(&status_url).await?.id, export.id, "the export is whole");
    Ok(())
}

#[tokio::test]
async fn a_database_that_knows_no_export_at_all_is_not_believed() -> Result<()> {
    let (world, _, export) = exported().await?;
    let kept = world.keys()?;
    world.control("TRUNCATE headgate.export CASCADE").await?;
    let refused = orphans(&world, &["--delete", "--older-than", "0s"]).await?;
    ensure!(refused.status.code() == Some(1) && refused.stderr.contains("no export at all"), "{refused:?}");
    ensure!(refused.stdout.contains(&export.id), "it is shown all the same: {}", refused.stdout);
    assert_eq!(world.keys()?, kept);
    let told = ["--delete", "--older-than", "0s", "--database-without-exports"];
    assert_eq!(found(&world, &told).await?, [of(100_491, &export.id, "deleted")]);
    assert_eq!(world.keys()?, [""; 0]);
    let unknown = orphans(&world, &["--practice", "7"]).await?;
    assert_eq!(unknown.status.code(), Some(64), "{}", unknown.stderr);
    Ok(())
}
