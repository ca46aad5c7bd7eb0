//! `headgate admin fleet …`

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::args::{Limit, Once};
use super::client::AdminClient;
use super::{Shown, given};
use crate::failure::Failure;
use crate::output;

/// All practices and workers together.
#[derive(Debug, Subcommand)]
pub enum FleetCommand {
    /// Show pauses, what is to be done, exports by state, and the workers.
    Status,
    /// Show which worker holds what, since when and until when.
    Leases {
        #[command(flatten)]
        limit: Limit,
    },
    /// Show shards and steps that failed, whose lease expired, or that publish nothing.
    Stuck {
        #[command(flatten)]
        limit: Limit,
    },
    /// Show the live exports, those that have waited longest first, with the reason.
    Waits {
        #[command(flatten)]
        limit: Limit,
    },
    /// Show what was exported of each practice, and how long workers were busy with it.
    Costs {
        /// Exports kicked off from this instant on, such as 2027-01-01T00:00:00Z; 30 days before `--to` if not given.
        #[arg(long, value_name = "INSTANT")]
        from: Option<DateTime<Utc>>,
        /// Exports kicked off before this instant; now if not given.
        #[arg(long, value_name = "INSTANT")]
        to: Option<DateTime<Utc>>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Have workers take up nothing new. What runs goes on to its end, kick-offs wait, purging goes on.
    Pause(Hold),
    /// The same, and have what runs checkpoint and be given back.
    Drain(Hold),
    /// End a pause or drain of the fleet. Practices that are paused themselves stay so.
    Resume {
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        once: Once,
    },
}

/// Why the fleet is held.
#[derive(Debug, Args)]
pub struct Hold {
    /// Why; whoever asks what an export waits for is told.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    once: Once,
}

pub(super) async fn run(client: &AdminClient, command: FleetCommand) -> Result<Shown, Failure> {
    Ok(match command {
        FleetCommand::Status => status(client.get(&["operations", "status"]).await?),
        FleetCommand::Leases { limit } => {
            let columns = [
                "kind",
                "practice",
                "export_id",
                "resource_type",
                "shard",
                "worker",
                "since",
                "until",
                "attempts",
                "fence",
                "published_s",
            ];
            list(client, "leases", &[], &limit, columns).await?
        }
        FleetCommand::Stuck { limit } => {
            let columns = [
                "kind",
                "practice",
                "export_id",
                "resource_type",
                "shard",
                "trouble",
                "failures",
                "retry_at",
                "until",
                "silent_s",
                "failure",
            ];
            list(client, "stuck", &[], &limit, columns).await?
        }
        FleetCommand::Waits { limit } => {
            let columns = ["practice", "export_id", "state", "waited_s", "waiting"];
            list(client, "waits", &[], &limit, columns).await?
        }
        FleetCommand::Costs { from, to, limit } => {
            let columns = [
                "practice",
                "name",
                "exports",
                "resources",
                "files",
                "bytes",
                "worker_s",
                "share",
                "stored_bytes",
            ];
            let query = [("from", from.map(|at| at.to_rfc3339())), ("to", to.map(|at| at.to_rfc3339()))];
            list(client, "costs", &query, &limit, columns).await?
        }
        FleetCommand::Pause(hold) => pause(client, hold, false).await?,
        FleetCommand::Drain(hold) => pause(client, hold, true).await?,
        FleetCommand::Resume { reason, once } => {
            let body = given([("reason", reason.map(Into::into))]);
            Shown::object(client.change(Method::POST, &["operations", "resume"], &body, &once.into()).await?)
        }
    })
}

async fn list<const N: usize>(
    client: &AdminClient,
    name: &str,
    query: &[(&str, Option<String>)],
    limit: &Limit,
    columns: [&str; N],
) -> Result<Shown, Failure> {
    let answer = client.list(&["operations", name], name, query, limit.limit).await?;
    Ok(Shown::list(answer, name, columns))
}

async fn pause(client: &AdminClient, hold: Hold, drain: bool) -> Result<Shown, Failure> {
    let body = json!({ "reason": hold.reason, "drain": drain });
    Ok(Shown::object(client.change(Method::POST, &["operations", "pause"], &body, &hold.once.into()).await?))
}

fn status(answer: Value) -> Shown {
    let fleet = json!({ "paused": answer["paused"], "paused_practices": answer["paused_practices_total"] });
    let mut shown = Shown { tables: vec![output::object(&fleet)], ..Shown::nothing(answer) };
    shown = shown
        .and_list("paused_practices", ["practice", "at", "by", "reason", "drain"])
        .and_list("queue", ["step", "waiting", "oldest_s"])
        .and_list("exports", ["state", "exports", "oldest_s"]);
    match shown.answer["workers"].as_array() {
        Some(workers) if !workers.is_empty() => {
            shown.and_list("workers", ["worker", "seen_s", "shards", "steps"])
        }
        _ => Shown { line: Some("no worker was heard of in the last minute".to_owned()), ..shown },
    }
}
