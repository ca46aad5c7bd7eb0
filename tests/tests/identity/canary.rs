//! Where patients and secrets must not appear: logs, tables, queue, object keys and error texts.
//!
//! Everything that a test plants is a word of its own, so that what is found tells where it came from. Rows that fail
//! in a source are the matter of the suite `engine`; here it is what comes in through the front doors.

mod plant;
mod search;

use anyhow::{Result, ensure};
use headgate_testkit::Collector;

use crate::stage::{alone, eventually, options};
use plant::Planted;
use search::{Found, everywhere};

/// Columns that know patients for good: a group is made of them, and whose data went out must be answerable.
const KNOW_PATIENTS: [(&str, &str); 2] =
    [("patient_group_member", "patient_id"), ("export_member", "patient_id")];

/// Columns that know what a request named until its export is purged.
const UNTIL_PURGE: [(&str, &str); 7] = [
    ("export", "selection"),
    ("export", "request_url"),
    ("export_patient", "patient_id"),
    ("export_stream", "plan_cursor"),
    ("file", "object_key"),
    ("shard", "slice"),
    ("shard", "cursor"),
];

/// The column that tells a vendor why a token request of its app was refused, with the scope that is none.
const TELLS_TERMS: &str = "headgate.assertion_refusal.description";

#[test]
fn neither_patients_nor_secrets_appear_where_they_do_not_belong() -> Result<()> {
    let collector = Collector::http()?;
    let settings = options()
        .set("telemetry.otlp_endpoint", collector.endpoint())
        .set("telemetry.otlp_protocol", "http/protobuf")
        .set("telemetry.trace_ratio", 1.0)
        .set("telemetry.metrics_interval_s", 1)
        .set("log.filter", "debug")
        .set("lease.max_attempts", 1)
        .set("limits.resource_bytes", 2048)
        .set("export.shard_rows", 5);
    alone(settings, async |app| {
        let mut planted = Planted::new(app).await?;
        let exports = planted.exports(app).await?;
        planted.bad_kick_offs().await?;
        planted.bad_tokens(app).await?;
        planted.admin_calls(app).await?;
        planted.failing_source(app).await?;

        told_nothing(&planted)?;
        let found = everywhere(app, &planted).await?;
        for place in ["headgate.patient_group_member.patient_id", "headgate.export.request_url"] {
            ensure!(
                found.iter().any(|found| found.place == place),
                "the search does not find what is in {place}"
            );
        }
        only_in(&found, &[&KNOW_PATIENTS[..], &UNTIL_PURGE[..]].concat())?;

        for status_url in &exports {
            planted.client.delete(status_url).await?.expect(202)?;
        }
        // The one that failed, too.
        eventually("all are purged", async || {
            app.control_scalar("SELECT bool_and(purged_at IS NOT NULL) FROM headgate.export").await
        })
        .await?;
        only_in(&everywhere(app, &planted).await?, &KNOW_PATIENTS)?;

        eventually("telemetry has come", async || {
            let said = |what: &str| collector.logs().iter().any(|line| line == what);
            let spans = collector.spans();
            let seen =
                ["GET status", "plan", "purge"].iter().all(|name| spans.iter().any(|s| s.name == *name));
            Ok(seen && said("export failed") && said("export purged") && !collector.metrics().is_empty())
        })
        .await?;
        let sent = planted.words.iter().filter(|word| collector.has(&word.text)).map(|word| word.what);
        let sent: Vec<&str> = sent.collect();
        ensure!(sent.is_empty(), "in what the collector was sent: {sent:?}");
        Ok(())
    })
}

/// Only these columns know what was planted, and no secret.
fn only_in(found: &[Found], columns: &[(&str, &str)]) -> Result<()> {
    let allowed = |found: &&Found| {
        (found.echoed && found.place == TELLS_TERMS)
            || !found.secret
                && columns.iter().any(|(table, column)| found.place == format!("headgate.{table}.{column}"))
    };
    let leaks: Vec<String> = found.iter().filter(|f| !allowed(f)).map(ToString::to_string).collect();
    ensure!(leaks.is_empty(), "{}", leaks.join("\n"));
    Ok(())
}

/// No error said to a client or an administrator tells what was planted, but for names that are none.
fn told_nothing(planted: &Planted) -> Result<()> {
    ensure!(planted.errors.len() > 30, "{} errors", planted.errors.len());
    let telling: Vec<(&str, &str)> = planted
        .errors
        .iter()
        .flat_map(|text| {
            let words = planted.words.iter().filter(|word| !word.echoed && text.contains(&word.text));
            words.map(move |word| (word.what, text.as_str()))
        })
        .collect();
    ensure!(telling.is_empty(), "{telling:#?}");
    Ok(())
}
