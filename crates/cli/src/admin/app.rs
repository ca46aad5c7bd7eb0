//! `headgate admin app …`

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use super::Shown;
use super::client::AdminClient;
use crate::failure::Failure;

/// Registered clients.
#[derive(Debug, Subcommand)]
pub enum AppCommand {
    /// Register an app. It is disabled until a practice consents.
    Create {
        /// Whose app it is.
        #[arg(long, value_name = "ID")]
        vendor: String,
        /// Its name.
        #[arg(long)]
        name: String,
        /// File with its public keys as a JWK Set, as `headgate keygen` prints it.
        #[arg(long, value_name = "FILE")]
        jwks: PathBuf,
        /// Whom to tell of security matters.
        #[arg(long, value_name = "EMAIL")]
        security_contact: String,
        /// The most it may ever be granted; `system/*.rs` if not given.
        #[arg(long, value_name = "SCOPES")]
        scopes: Option<String>,
    },
    /// Show all apps.
    List,
    /// Show one app and the practices that consent to it.
    Show {
        /// Its client id.
        client_id: String,
    },
}

pub(super) async fn run(client: &AdminClient, command: AppCommand) -> Result<Shown, Failure> {
    Ok(match command {
        AppCommand::Create { vendor, name, jwks, security_contact, scopes } => {
            let mut body = json!({
                "vendor_id": vendor,
                "name": name,
                "jwks": read_jwks(&jwks)?,
                "security_contact": security_contact,
            });
            if let Some(scopes) = scopes {
                body["scopes"] = scopes.into();
            }
            shown(client.post(&["apps"], &body).await?)
        }
        AppCommand::List => {
            let columns = ["client_id", "name", "vendor_name", "status", "scopes"];
            Shown::list(client.get(&["apps"]).await?, "apps", columns)
        }
        AppCommand::Show { client_id } => shown(client.get(&["apps", &client_id]).await?),
    })
}

fn shown(answer: Value) -> Shown {
    Shown::object(answer).and_list("consenting_practices", ["number", "name", "base_url"])
}

/// Reads a JWK Set; a key's private part, given by mistake, is not sent anywhere.
fn read_jwks(path: &Path) -> Result<Value, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::config(format!("--jwks: cannot read {}: {error}", path.display())))?;
    let set: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::config(format!("--jwks: not JSON (line {})", error.line())))?;
    let keys = set["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    if keys.is_empty() {
        return Err(Failure::config("--jwks: the file must hold a JWK Set: {\"keys\":[…]}"));
    }
    if keys.iter().any(|key| key.get("d").is_some()) {
        return Err(Failure::config(
            "--jwks: the file holds a private key; only the public part is registered",
        ));
    }
    Ok(set)
}
