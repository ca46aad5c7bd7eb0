//! `headgate admin key …`

use clap::Subcommand;
use reqwest::Method;
use serde_json::json;

use super::Shown;
use super::args::Once;
use super::client::AdminClient;
use crate::failure::Failure;

/// The keys that access tokens are signed with.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Show all keys.
    List,
    /// Make a new key. It is published now and signs after token.key_overlap_s.
    Rotate {
        /// Let it sign at once: for an emergency. Whoever keeps our key set refuses its tokens until they ask again.
        #[arg(long)]
        at_once: bool,
        #[command(flatten)]
        once: Once,
    },
    /// Have tokens under a key refused from now on.
    Retire {
        /// The key's id.
        kid: String,
        #[command(flatten)]
        once: Once,
    },
}

pub(super) async fn run(client: &AdminClient, command: KeyCommand) -> Result<Shown, Failure> {
    Ok(match command {
        KeyCommand::List => {
            let columns = ["kid", "state", "created_at", "signs_from", "verifies_until"];
            Shown::list(client.get(&["signing-keys"]).await?, "signing_keys", columns)
        }
        KeyCommand::Rotate { at_once, once } => {
            let body = if at_once { json!({ "at_once": true }) } else { json!({}) };
            Shown::object(client.change(Method::POST, &["signing-keys"], &body, &once.into()).await?)
        }
        KeyCommand::Retire { kid, once } => {
            let path = ["signing-keys", &kid, "retire"];
            Shown::object(client.change(Method::POST, &path, &json!({}), &once.into()).await?)
        }
    })
}
