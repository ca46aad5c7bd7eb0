//! `headgate admin mapping …`

use std::path::PathBuf;

use clap::Subcommand;
use headgate_domain::mapping::Json;
use reqwest::Method;
use serde_json::json;

use super::Shown;
use super::args::Once;
use super::client::AdminClient;
use crate::failure::Failure;

/// Mapping sets: how the columns of a kind of EHR become resources.
#[derive(Debug, Subcommand)]
pub enum MappingCommand {
    /// Store the files of a folder as a mapping set, in place of one of the same name.
    Put {
        /// The set's name.
        name: String,
        /// Folder with a file <Type>.json for each resource type.
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
        #[command(flatten)]
        once: Once,
    },
    /// Show all mapping sets of the control database.
    List,
    /// Show a mapping set's documents.
    Show {
        /// The set's name.
        name: String,
    },
}

pub(super) async fn run(client: &AdminClient, command: MappingCommand) -> Result<Shown, Failure> {
    Ok(match command {
        MappingCommand::Put { name, from, once } => {
            let files = headgate_worker::mappings::read_folder(&from)
                .map_err(|error| Failure::config(format!("--from: {error}")))?;
            let mut documents = Vec::new();
            for (file, text) in files {
                let document: Json = serde_json::from_str(&text)
                    .map_err(|error| Failure::config(format!("--from: {file} is not JSON: {error}")))?;
                documents.push((file, document));
            }
            let body = Json::Object(vec![("files".to_owned(), Json::Object(documents))]);
            Shown::object(client.change(Method::PUT, &["mappings", &name], &body, &once.into()).await?)
        }
        MappingCommand::List => {
            Shown::list(client.get(&["mappings"]).await?, "mappings", ["name", "files", "updated_at"])
        }
        MappingCommand::Show { name } => {
            Shown::object(json!(client.get(&["mappings", &name]).await?["files"]))
        }
    })
}
