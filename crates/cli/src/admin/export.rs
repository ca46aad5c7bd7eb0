//! `headgate admin export …`

use clap::{Args, Subcommand};
use comfy_table::Table;
use headgate_domain::{ExportId, PracticeNumber};
use serde_json::{Value, json};

use super::Shown;
use super::client::AdminClient;
use crate::failure::Failure;
use crate::output;

/// Exports and their progress.
#[derive(Debug, Subcommand)]
pub enum ExportCommand {
    /// Show a practice's newest exports.
    List {
        /// The practice's number.
        #[arg(long, value_name = "NUMBER")]
        practice: PracticeNumber,
    },
    /// Show one export with its streams, shards and problems.
    Show(Which),
    /// End an export; its files are deleted.
    Cancel(Which),
}

/// An export of a practice.
#[derive(Debug, Args)]
pub struct Which {
    /// The practice's number.
    #[arg(long, value_name = "NUMBER")]
    practice: PracticeNumber,
    /// The export's id: the 32 hex digits at the end of its status URL.
    export_id: ExportId,
}

pub(super) async fn run(client: &AdminClient, command: ExportCommand) -> Result<Shown, Failure> {
    Ok(match command {
        ExportCommand::List { practice } => {
            let columns =
                ["export_id", "level", "state", "accepted_at", "completed_at", "resources", "files", "bytes"];
            Shown::list(
                client.get(&["practices", &practice.to_string(), "exports"]).await?,
                "exports",
                columns,
            )
        }
        ExportCommand::Show(which) => {
            let path = ["practices", &which.practice.to_string(), "exports", which.export_id.as_str()];
            let streams =
                ["stream", "resource_type", "planned", "planned_rows", "resources", "files", "bytes"];
            let answer = client.get(&path).await?;
            let open = open_shards(&answer);
            let mut shown = Shown::object(answer)
                .and_list("streams", streams)
                .and_list("problems", ["reason", "occurrences", "diagnostics"]);
            shown.tables.extend(open);
            shown
        }
        ExportCommand::Cancel(which) => {
            let path =
                ["practices", &which.practice.to_string(), "exports", which.export_id.as_str(), "cancel"];
            Shown::object(client.post(&path, &json!({})).await?)
        }
    })
}

/// The shards that are not done: what an export that does not end is waiting for.
fn open_shards(export: &Value) -> Option<Table> {
    let mut open = Vec::new();
    for stream in export["streams"].as_array().into_iter().flatten() {
        for shard in stream["shards"].as_array().into_iter().flatten() {
            if shard["state"] != "done" {
                let mut shard = shard.clone();
                shard["resource_type"] = stream["resource_type"].clone();
                open.push(shard);
            }
        }
    }
    let columns = [
        "resource_type",
        "shard",
        "state",
        "planned_rows",
        "resources",
        "attempts",
        "leased_until",
        "failure",
    ];
    (!open.is_empty()).then(|| output::list(&open, columns))
}
