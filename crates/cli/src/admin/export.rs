//! `headgate admin export …`

use clap::{Args, Subcommand};
use comfy_table::Table;
use headgate_domain::{ExportId, PracticeNumber};
use reqwest::Method;
use serde_json::{Value, json};

use super::Shown;
use super::args::{Limit, Once};
use super::client::AdminClient;
use crate::failure::Failure;
use crate::output;

/// Exports and their progress.
#[derive(Debug, Subcommand)]
pub enum ExportCommand {
    /// Show a practice's exports, newest first.
    List {
        /// The practice's number.
        #[arg(long, value_name = "NUMBER")]
        practice: PracticeNumber,
        /// Only those in this state, such as running.
        #[arg(long)]
        state: Option<String>,
        /// Only those of this app.
        #[arg(long, value_name = "CLIENT_ID")]
        app: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one export with its streams, shards and problems.
    Show(Which),
    /// Show the files of an export, without keys and links.
    Files {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        limit: Limit,
    },
    /// Say in one line what an export is waiting for.
    #[command(visible_alias = "waiting")]
    Why {
        #[command(flatten)]
        which: Which,
        /// Also print what that was concluded from.
        #[arg(long)]
        facts: bool,
    },
    /// Have whatever an export waits for tried again at once, as if it had never failed.
    Requeue {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        once: Once,
    },
    /// End an export; its files are deleted.
    Cancel {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        once: Once,
    },
}

/// An export of a practice.
#[derive(Debug, Args)]
pub struct Which {
    /// The practice's number; an operator may leave it out.
    #[arg(long, value_name = "NUMBER")]
    practice: Option<PracticeNumber>,
    /// The export's id: the 32 hex digits at the end of its status URL.
    export_id: ExportId,
}

impl Which {
    /// Where it is below the admin API, asked for where the practice is not said.
    async fn path(&self, client: &AdminClient) -> Result<[String; 4], Failure> {
        let practice = match self.practice {
            Some(practice) => practice.to_string(),
            None => client.get(&["exports", self.export_id.as_str()]).await?["practice"].to_string(),
        };
        Ok(["practices".to_owned(), practice, "exports".to_owned(), self.export_id.to_string()])
    }
}

pub(super) async fn run(client: &AdminClient, command: ExportCommand) -> Result<Shown, Failure> {
    Ok(match command {
        ExportCommand::List { practice, state, app, limit } => {
            let columns =
                ["export_id", "level", "state", "accepted_at", "completed_at", "resources", "files", "bytes"];
            let path = ["practices", &practice.to_string(), "exports"];
            let query = [("state", state), ("client_id", app)];
            Shown::list(client.list(&path, "exports", &query, limit.limit).await?, "exports", columns)
        }
        ExportCommand::Show(which) => {
            let streams =
                ["stream", "resource_type", "planned", "planned_rows", "resources", "files", "bytes"];
            let path = which.path(client).await?;
            let answer = client.get(&path.each_ref().map(String::as_str)).await?;
            let open = open_shards(&answer);
            let mut shown = Shown::object(answer)
                .and_list("streams", streams)
                .and_list("problems", ["reason", "occurrences", "diagnostics"]);
            shown.tables.extend(open);
            shown
        }
        ExportCommand::Files { which, limit } => {
            let columns = ["kind", "resource_type", "number", "part", "resources", "bytes", "published_at"];
            let [practices, practice, exports, export] = &which.path(client).await?;
            let path = [practices, practice, exports, export, "files"];
            Shown::list(client.list(&path, "files", &[], limit.limit).await?, "files", columns)
        }
        ExportCommand::Why { which, facts } => {
            let [practices, practice, exports, export] = &which.path(client).await?;
            let path = [practices, practice, exports, export, "waiting"];
            why(client.get(&path).await?, facts)
        }
        ExportCommand::Requeue { which, once } => act(client, &which, "requeue", once).await?,
        ExportCommand::Cancel { which, once } => act(client, &which, "cancel", once).await?,
    })
}

async fn act(client: &AdminClient, which: &Which, deed: &str, once: Once) -> Result<Shown, Failure> {
    let [practices, practice, exports, export] = &which.path(client).await?;
    let path = [practices, practice, exports, export, deed];
    Ok(Shown::object(client.change(Method::POST, &path, &json!({}), &once.into()).await?))
}

/// One line; where it waits for nothing, where it stands.
fn why(answer: Value, with_facts: bool) -> Shown {
    let facts: Vec<&str> =
        answer["facts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let line = match answer["waiting"].as_str() {
        Some(reason) => reason.to_owned(),
        None => format!("it is not waiting; {}", facts.first().unwrap_or(&"nothing more is known")),
    };
    let more = if with_facts { facts.as_slice() } else { &[] };
    let lines: Vec<&str> = std::iter::once(line.as_str()).chain(more.iter().copied()).collect();
    let line = Some(lines.join("\n  "));
    Shown { line, ..Shown::nothing(answer) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_is_one_line_unless_facts_are_asked_for() {
        let answer = json!({ "waiting": "a free worker", "facts": ["running: 1 shards done", "2 of 4"] });
        assert_eq!(why(answer.clone(), false).line.unwrap(), "a free worker");
        assert_eq!(why(answer, true).line.unwrap(), "a free worker\n  running: 1 shards done\n  2 of 4");
        let ended = json!({ "waiting": null, "facts": ["completed: 3 shards done"] });
        assert_eq!(why(ended, false).line.unwrap(), "it is not waiting; completed: 3 shards done");
    }
}
