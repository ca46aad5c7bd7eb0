//! Why an export is waiting: what an operator wants to know of one that does not get on.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, Utc};
use headgate_domain::{ExportId, PracticeNumber};
use sqlx::PgConnection;

use crate::{Result, Store};

/// A fleet in which nobody did any housekeeping for so long has no worker.
const SILENCE_S: i64 = 60;

/// How much may run at a time, as the workers are configured.
#[derive(Debug, Clone, Copy)]
pub struct WaitLimits {
    /// Shards of one practice.
    pub shards_per_practice: u32,
    /// Shards of one app.
    pub shards_per_app: u32,
    /// Whether it may be told how many shards of the app are read elsewhere: a practice is not to know of others.
    pub tell_app: bool,
}

/// Why an export is waiting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// What it waits for, in one line; none: it is being worked on, or has ended.
    pub line: Option<String>,
    /// What is known, most telling first.
    pub facts: Vec<String>,
}

/// What the tables say.
struct Row {
    export_id: String,
    state: String,
    failure: Option<String>,
    step_retry_at: Option<DateTime<Utc>>,
    step_attempts: i32,
    step_leased: bool,
    ready: i64,
    resting: i64,
    next_retry_at: Option<DateTime<Utc>>,
    worst_attempts: i32,
    last_failure: Option<String>,
    leased: i64,
    done: i64,
    of_practice: i64,
    of_app: i64,
    refreshed: bool,
    source_failure: Option<String>,
    silent_s: Option<i64>,
    pause_of_fleet: Option<bool>,
    paused_at: Option<DateTime<Utc>>,
    paused_by: Option<String>,
    pause_reason: Option<String>,
    pause_drains: Option<bool>,
    now: DateTime<Utc>,
}

impl Store {
    /// Why an export is waiting; `None` when there is no such export.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn export_waiting(
        &self,
        practice: PracticeNumber,
        export: &ExportId,
        limits: WaitLimits,
    ) -> Result<Option<Waiting>> {
        let mut tx = self.everywhere().await?;
        Ok(waiting(&mut tx, &[(practice, export)], limits).await?.remove(export.as_str()))
    }
}

/// Why each of these exports is waiting, by id; those that are not there are left out.
pub(crate) async fn waiting(
    connection: &mut PgConnection,
    exports: &[(PracticeNumber, &ExportId)],
    limits: WaitLimits,
) -> Result<HashMap<String, Waiting>> {
    let practices: Vec<i64> = exports.iter().map(|(practice, _)| practice.get()).collect();
    let ids: Vec<String> = exports.iter().map(|(_, export)| export.to_string()).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"/* export_waiting */
        SELECT e.export_id, e.state, e.failure, e.retry_at AS step_retry_at, e.attempts AS step_attempts,
               coalesce(e.lease_expires_at > clock_timestamp(), false) AS "step_leased!",
               own.ready AS "ready!", own.resting AS "resting!", own.next_retry_at, own.attempts AS "worst_attempts!",
               own.failure AS last_failure, own.leased AS "leased!", own.done AS "done!",
               (SELECT count(*) FROM headgate.shard s
                 WHERE s.practice_number = e.practice_number AND s.state = 'leased'
                   AND s.lease_expires_at > clock_timestamp()) AS "of_practice!",
               (SELECT count(*) FROM headgate.shard s JOIN headgate.export x USING (practice_number, export_id)
                 WHERE x.client_id = e.client_id AND s.state = 'leased'
                   AND s.lease_expires_at > clock_timestamp()) AS "of_app!",
               c.refreshed_at IS NOT NULL AS "refreshed!", c.failure AS source_failure,
               (SELECT extract(epoch FROM clock_timestamp() - max(last_run_at))::bigint
                  FROM headgate.maintenance) AS silent_s,
               p.of_fleet AS "pause_of_fleet?", p.since AS "paused_at?", p.paused_by AS "paused_by?",
               p.reason AS "pause_reason?", p.drains AS "pause_drains?",
               clock_timestamp() AS "now!"
          FROM unnest($1::bigint[], $2::text[]) AS asked (practice_number, export_id)
          JOIN headgate.export e USING (practice_number, export_id)
          JOIN headgate.source_catalog c USING (practice_number)
          LEFT JOIN headgate.pause p USING (practice_number)
         CROSS JOIN LATERAL (
               SELECT count(*) FILTER (WHERE state = 'ready' AND (retry_at IS NULL OR retry_at <= clock_timestamp())) AS ready,
                      count(*) FILTER (WHERE state = 'ready' AND retry_at > clock_timestamp()) AS resting,
                      min(retry_at) FILTER (WHERE state = 'ready' AND retry_at > clock_timestamp()) AS next_retry_at,
                      coalesce(max(attempts) FILTER (WHERE state <> 'done'), 0) AS attempts,
                      min(failure) FILTER (WHERE state <> 'done') AS failure,
                      count(*) FILTER (WHERE state = 'leased' AND lease_expires_at > clock_timestamp()) AS leased,
                      count(*) FILTER (WHERE state = 'done') AS done
                 FROM headgate.shard s
                WHERE s.practice_number = e.practice_number AND s.export_id = e.export_id) own"#,
        &practices,
        &ids,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.export_id.clone(), row.told(limits))).collect())
}

impl Row {
    fn told(&self, limits: WaitLimits) -> Waiting {
        let live = matches!(self.state.as_str(), "accepted" | "planning" | "running" | "finishing");
        let mut facts = vec![format!(
            "{}: {} shards done, {} being read, {} waiting",
            self.state,
            self.done,
            self.leased,
            self.ready + self.resting
        )];
        if live {
            facts.extend(self.pause());
        }
        if let Some(failure) = &self.failure {
            facts.push(format!("it failed: {failure}"));
        }
        if live {
            facts.extend(self.source_failure.as_ref().map(|f| format!("the practice's database: {f}")));
            facts.extend(self.last_failure.as_ref().map(|f| format!("a shard: {f}")));
            facts.push(format!(
                "{} of {} shards of this practice are being read, over all workers",
                self.of_practice, limits.shards_per_practice
            ));
            if limits.tell_app {
                facts.push(format!(
                    "{} of {} shards of this app are being read, at all practices",
                    self.of_app, limits.shards_per_app
                ));
            }
        }
        Waiting { line: self.reason(limits).filter(|_| live), facts }
    }

    /// That an operator holds it, and what becomes of what runs.
    fn pause(&self) -> Option<String> {
        let since = self.paused_at?;
        let whose = if self.pause_of_fleet == Some(true) { "the fleet" } else { "the practice" };
        let by = self.paused_by.as_deref().unwrap_or("somebody");
        let reason = self.pause_reason.as_deref().unwrap_or_default();
        let running = match (self.step_leased || self.leased > 0, self.pause_drains == Some(true)) {
            (false, _) => "",
            (true, true) => " (what runs is being given back)",
            (true, false) => " (what runs goes on to its end)",
        };
        let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
        Some(format!("{whose} is paused since {since} by {by}: {reason}{running}"))
    }

    /// The first thing that stands in the way.
    fn reason(&self, limits: WaitLimits) -> Option<String> {
        let seconds = |at: DateTime<Utc>| at.signed_duration_since(self.now).num_seconds().max(0);
        if let Some(pause) = self.pause() {
            return Some(pause);
        }
        if self.step_leased || self.leased > 0 {
            return None;
        }
        if self.silent_s.is_none_or(|silent| silent > SILENCE_S) {
            return Some("no worker: none did any housekeeping for a minute; is one running?".to_owned());
        }
        if let Some(at) = self.step_retry_at.filter(|at| *at > self.now) {
            let attempts = self.step_attempts;
            let why = self.source_failure.as_deref().unwrap_or("the log of the workers says why");
            return Some(format!(
                "a step failed {attempts} times and is tried again in {} s: {why}",
                seconds(at)
            ));
        }
        if self.ready == 0 && self.resting > 0 {
            let pause = self.next_retry_at.map_or(0, seconds);
            let why = self.last_failure.as_deref().unwrap_or("the log of the workers says why");
            return Some(format!(
                "its shards failed, up to {} times, and are tried again in {pause} s: {why}",
                self.worst_attempts
            ));
        }
        if self.ready > 0 && self.of_practice >= i64::from(limits.shards_per_practice) {
            return Some(
                "other exports of this practice are read: as many shards as may be at a time".to_owned(),
            );
        }
        if self.ready > 0 && self.of_app >= i64::from(limits.shards_per_app) {
            return Some("other exports of this app are read: as many shards as may be at a time".to_owned());
        }
        if !self.refreshed {
            return Some("no worker has looked at the practice's database yet".to_owned());
        }
        Some("a free worker: all are busy with others, or it is about to be taken up".to_owned())
    }
}
