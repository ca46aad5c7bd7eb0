//! `headgate admin group …`

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use headgate_domain::PracticeNumber;
use serde_json::json;

use super::Shown;
use super::client::AdminClient;
use crate::failure::Failure;

/// Named sets of patients.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// Make an empty group, or rename one.
    Create {
        /// Which group.
        #[command(flatten)]
        which: Which,
        /// Its name for people.
        #[arg(long)]
        name: String,
    },
    /// Show a practice's groups.
    List {
        /// The practice's number.
        #[arg(long, value_name = "NUMBER")]
        practice: PracticeNumber,
    },
    /// Show a group and its members.
    Show {
        /// Which group.
        #[command(flatten)]
        which: Which,
    },
    /// Change who is in a group.
    #[command(subcommand)]
    Members(MembersCommand),
}

/// Change who is in a group.
#[derive(Debug, Subcommand)]
pub enum MembersCommand {
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
    practice: PracticeNumber,
    /// The group's id, such as 1.105681.22.0.1.
    #[arg(long, value_name = "GROUP_ID")]
    group: String,
}

/// Patients of a group.
#[derive(Debug, Args)]
pub struct Members {
    #[command(flatten)]
    which: Which,
    /// Patient ids.
    #[arg(value_name = "PATIENT_ID", required_unless_present = "from", conflicts_with = "from")]
    ids: Vec<String>,
    /// File with one patient id a line; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

pub(super) async fn run(client: &AdminClient, command: GroupCommand) -> Result<Shown, Failure> {
    Ok(match command {
        GroupCommand::Create { which, name } => {
            let path = ["practices", &which.practice.to_string(), "groups", &which.group];
            Shown::object(client.put(&path, &json!({ "name": name })).await?)
        }
        GroupCommand::List { practice } => {
            let columns = ["group_id", "name", "member_count", "updated_at"];
            Shown::list(client.get(&["practices", &practice.to_string(), "groups"]).await?, "groups", columns)
        }
        GroupCommand::Show { which } => {
            let path = ["practices", &which.practice.to_string(), "groups", &which.group];
            Shown::object(client.get(&path).await?).and_list("members", ["patient_id", "member_since"])
        }
        GroupCommand::Members(command) => members(client, command).await?,
    })
}

async fn members(client: &AdminClient, command: MembersCommand) -> Result<Shown, Failure> {
    let (MembersCommand::Add(members) | MembersCommand::Remove(members) | MembersCommand::Replace(members)) =
        &command;
    let ids = members.ids()?;
    let practice = members.which.practice.to_string();
    let path = ["practices", &practice, "groups", &members.which.group, "members"];
    let answer = match &command {
        MembersCommand::Add(_) => client.post(&path, &json!({ "add": ids })).await?,
        MembersCommand::Remove(_) => client.post(&path, &json!({ "remove": ids })).await?,
        MembersCommand::Replace(_) => client.put(&path, &json!({ "patient_ids": ids })).await?,
    };
    Ok(Shown::object(answer))
}

impl Members {
    fn ids(&self) -> Result<Vec<String>, Failure> {
        let Some(file) = &self.from else { return Ok(self.ids.clone()) };
        let text =
            read(file).map_err(|error| Failure::config(format!("--from: {}: {error}", file.display())))?;
        Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    if file != Path::new("-") {
        return std::fs::read_to_string(file);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}
