//! `headgate admin consent …`

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use headgate_domain::PracticeNumber;
use serde_json::{Map, Value, json};

use super::Shown;
use super::client::AdminClient;
use crate::failure::Failure;
use crate::output;

/// A practice's permission for an app.
#[derive(Debug, Subcommand)]
pub enum ConsentCommand {
    /// Let an app export a practice.
    Grant(GrantArgs),
    /// Take the permission back: running exports end, their files are deleted.
    Revoke(RevokeArgs),
    /// Show a practice's consents, ended ones too.
    List {
        /// The practice's number.
        #[arg(long, value_name = "NUMBER")]
        practice: PracticeNumber,
    },
}

/// A consent to be granted.
#[derive(Debug, Args)]
pub struct GrantArgs {
    /// The practice's number.
    #[arg(long, value_name = "NUMBER")]
    practice: PracticeNumber,
    /// The app's client id.
    #[arg(long, value_name = "CLIENT_ID")]
    app: String,
    /// Who at the practice grants it; `operator` if not given.
    #[arg(long, value_name = "WHO")]
    granted_by: Option<String>,
    /// What is granted; the app's own scopes if not given.
    #[arg(long, value_name = "SCOPES")]
    scopes: Option<String>,
    /// Only this group; may be repeated. Without it: everything.
    #[arg(long = "group", value_name = "GROUP_ID")]
    groups: Vec<String>,
    /// Until when, such as 2027-01-31T00:00:00Z.
    #[arg(long, value_name = "INSTANT")]
    expires_at: Option<DateTime<Utc>>,
}

/// A consent to be revoked.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The practice's number.
    #[arg(long, value_name = "NUMBER")]
    practice: PracticeNumber,
    /// The app's client id.
    #[arg(long, value_name = "CLIENT_ID")]
    app: String,
    /// Who at the practice revokes it; `operator` if not given.
    #[arg(long, value_name = "WHO")]
    revoked_by: Option<String>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) async fn run(client: &AdminClient, command: ConsentCommand) -> Result<Shown, Failure> {
    Ok(match command {
        ConsentCommand::Grant(args) => {
            let groups = (!args.groups.is_empty()).then(|| Value::from(args.groups));
            let body = given([
                ("client_id", Some(args.app.into())),
                ("granted_by", args.granted_by.map(Value::from)),
                ("scopes", args.scopes.map(Value::from)),
                ("group_ids", groups),
                ("expires_at", args.expires_at.map(|at| at.to_rfc3339().into())),
            ]);
            let path = ["practices", &args.practice.to_string(), "consents"];
            Shown::object(client.post(&path, &body).await?)
        }
        ConsentCommand::Revoke(args) => {
            let body = given([
                ("revoked_by", args.revoked_by.map(Value::from)),
                ("reason", args.reason.map(Value::from)),
            ]);
            let path = ["practices", &args.practice.to_string(), "consents", &args.app, "revoke"];
            let answer = client.post(&path, &body).await?;
            let ended = json!({ "ended_exports": answer["ended_exports"] });
            let tables = vec![output::object(&answer["consent"]), output::object(&ended)];
            Shown { answer, tables }
        }
        ConsentCommand::List { practice } => {
            let columns =
                ["client_id", "scopes", "group_ids", "granted_by", "granted_at", "revoked_at", "in_force"];
            let answer = client.get(&["practices", &practice.to_string(), "consents"]).await?;
            Shown::list(answer, "consents", columns)
        }
    })
}

/// A body of those members that were given.
fn given<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let members = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(Map::from_iter(members))
}
