//! `headgate admin group …`

use clap::{Args, Subcommand};
use headgate_domain::PracticeNumber;
use reqwest::Method;
use serde_json::json;

use super::Shown;
use super::args::{Change, Limit};
use super::client::AdminClient;
use super::members::{Deed, Members, send};
use crate::failure::Failure;

/// Named sets of patients.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// Make an empty group, or rename one.
    Create {
        #[command(flatten)]
        which: Which,
        /// Its name for people.
        #[arg(long)]
        name: String,
        #[command(flatten)]
        terms: Change,
    },
    /// Show a practice's groups.
    List {
        /// The practice's number.
        #[arg(long, value_name = "NUMBER")]
        practice: PracticeNumber,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show a group.
    Show(Which),
    /// Show who is in a group, and since when.
    Members {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        limit: Limit,
    },
    /// Add patients; those who are in stay.
    Add(Members),
    /// Remove patients.
    Remove(Members),
    /// Make the group exactly these patients; who stays keeps the time of joining.
    Replace(Members),
}

/// A group of a practice.
#[derive(Debug, Args)]
pub struct Which {
    /// The practice's number.
    #[arg(long, value_name = "NUMBER")]
    pub practice: PracticeNumber,
    /// The group's id, such as 1.105681.22.0.1.
    #[arg(long, value_name = "GROUP_ID")]
    pub group: String,
}

pub(super) async fn run(client: &AdminClient, command: GroupCommand) -> Result<Shown, Failure> {
    Ok(match command {
        GroupCommand::Create { which, name, terms } => {
            let path = ["practices", &which.practice.to_string(), "groups", &which.group];
            Shown::object(client.change(Method::PUT, &path, &json!({ "name": name }), &terms).await?)
        }
        GroupCommand::List { practice, limit } => {
            let columns = ["group_id", "name", "member_count", "matched", "updated_at"];
            let path = ["practices", &practice.to_string(), "groups"];
            Shown::list(client.list(&path, "groups", &[], limit.limit).await?, "groups", columns)
        }
        GroupCommand::Show(which) => {
            let path = ["practices", &which.practice.to_string(), "groups", &which.group];
            Shown::object(client.get(&path).await?)
        }
        GroupCommand::Members { which, limit } => {
            let path = ["practices", &which.practice.to_string(), "groups", &which.group, "members"];
            let answer = client.list(&path, "members", &[], limit.limit).await?;
            Shown::list(answer, "members", ["patient_id", "member_since"])
        }
        GroupCommand::Add(members) => send(client, Deed::Add, &members).await?,
        GroupCommand::Remove(members) => send(client, Deed::Remove, &members).await?,
        GroupCommand::Replace(members) => send(client, Deed::Replace, &members).await?,
    })
}
