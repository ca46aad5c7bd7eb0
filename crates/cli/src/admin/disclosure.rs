//! `headgate admin disclosure …`

use std::path::Path;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use headgate_domain::PracticeNumber;
use serde_json::json;

use super::Shown;
use super::args::Limit;
use super::client::AdminClient;
use crate::failure::Failure;
use crate::input;

/// What a practice's data went to whom (45 CFR 164.528: the accounting that a patient may ask for).
#[derive(Debug, Subcommand)]
pub enum DisclosureCommand {
    /// Show what left a practice, newest first.
    List {
        /// The practice's number.
        #[arg(long, value_name = "NUMBER")]
        practice: PracticeNumber,
        /// Only to this app.
        #[arg(long, value_name = "CLIENT_ID")]
        app: Option<String>,
        /// Only from this instant on, such as 2027-01-31T00:00:00Z.
        #[arg(long, value_name = "INSTANT")]
        since: Option<DateTime<Utc>>,
        /// Only before this instant.
        #[arg(long, value_name = "INSTANT")]
        until: Option<DateTime<Utc>>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show what a patient was in.
    Search {
        /// The practice's number.
        #[arg(long, value_name = "NUMBER")]
        practice: PracticeNumber,
        /// The patient's id; `-` reads it from standard input, so that no list of processes shows it.
        #[arg(long, value_name = "PATIENT_ID")]
        patient: String,
        #[command(flatten)]
        limit: Limit,
    },
}

pub(super) async fn run(client: &AdminClient, command: DisclosureCommand) -> Result<Shown, Failure> {
    let number = match &command {
        DisclosureCommand::List { practice, .. } | DisclosureCommand::Search { practice, .. } => {
            practice.to_string()
        }
    };
    Ok(match command {
        DisclosureCommand::List { app, since, until, limit, .. } => {
            let query = [
                ("client_id", app),
                ("since", since.map(|at| at.to_rfc3339())),
                ("until", until.map(|at| at.to_rfc3339())),
            ];
            let path = ["practices", &number, "disclosures"];
            let answer = client.list(&path, "disclosures", &query, limit.limit).await?;
            let columns = [
                "accepted_at",
                "app_name",
                "vendor_name",
                "level",
                "group_id",
                "state",
                "links",
                "downloads",
            ];
            Shown::list(answer, "disclosures", columns)
        }
        DisclosureCommand::Search { patient, limit, .. } => {
            let patient = if patient == input::STDIN {
                input::text("--patient", Path::new(input::STDIN))?.trim().to_owned()
            } else {
                patient
            };
            let path = ["practices", &number, "disclosures", "search"];
            let body = json!({ "patient_id": patient });
            let answer = client.search(&path, "disclosures", &body, limit.limit).await?;
            let columns =
                ["accepted_at", "app_name", "vendor_name", "level", "basis", "state", "links", "downloads"];
            Shown::list(answer, "disclosures", columns)
        }
    })
}
