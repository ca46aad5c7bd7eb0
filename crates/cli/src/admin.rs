//! `headgate admin …`: a client of the admin API (`docs/ADMIN_API.md`). Each noun is a file; each prints what
//! the API answers, as a table or with `--json` as it is.

pub mod client;

mod app;
mod consent;
mod export;
mod group;
mod mapping;
mod practice;
mod vendor;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use comfy_table::Table;
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use crate::failure::Failure;
use crate::output;
use client::AdminClient;

/// Register vendors, apps, practices and consents; look at exports.
#[derive(Debug, Args)]
pub struct AdminArgs {
    /// Where the admin API listens.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "HEADGATE_ADMIN_URL",
        default_value = "http://127.0.0.1:8081"
    )]
    admin_url: Url,
    /// File with the operator's token; HEADGATE_ADMIN_TOKEN may hold the token itself.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print the API's answer as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Debug, Subcommand)]
enum Noun {
    /// Third parties that register apps.
    #[command(subcommand)]
    Vendor(vendor::VendorCommand),
    /// Tenants and their sources.
    #[command(subcommand)]
    Practice(practice::PracticeCommand),
    /// Registered clients.
    #[command(subcommand)]
    App(app::AppCommand),
    /// A practice's permission for an app.
    #[command(subcommand)]
    Consent(consent::ConsentCommand),
    /// Named sets of patients.
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// How the columns of a kind of EHR become resources.
    #[command(subcommand)]
    Mapping(mapping::MappingCommand),
    /// Exports and their progress.
    #[command(subcommand)]
    Export(export::ExportCommand),
}

/// What a subcommand has to show.
struct Shown {
    answer: Value,
    tables: Vec<Table>,
}

impl Shown {
    /// One object as a table of its members.
    fn object(answer: Value) -> Self {
        Self { tables: vec![output::object(&answer)], answer }
    }

    /// The list that the answer holds under a name, with these columns.
    fn list<const N: usize>(answer: Value, name: &str, columns: [&str; N]) -> Self {
        let items = answer[name].as_array().map(Vec::as_slice).unwrap_or_default();
        Self { tables: vec![output::list(items, columns)], answer }
    }

    /// Adds a list within the object, unless it is empty.
    fn and_list<const N: usize>(mut self, name: &str, columns: [&str; N]) -> Self {
        if let Some(items) = self.answer[name].as_array().filter(|items| !items.is_empty()) {
            self.tables.push(output::list(items, columns));
        }
        self
    }
}

/// Runs the subcommand.
pub async fn run(args: AdminArgs) -> Result<(), Failure> {
    let client = AdminClient::new(args.admin_url, token(args.token_file)?)?;
    let shown = match args.noun {
        Noun::Vendor(command) => vendor::run(&client, command).await?,
        Noun::Practice(command) => practice::run(&client, command).await?,
        Noun::App(command) => app::run(&client, command).await?,
        Noun::Consent(command) => consent::run(&client, command).await?,
        Noun::Group(command) => group::run(&client, command).await?,
        Noun::Mapping(command) => mapping::run(&client, command).await?,
        Noun::Export(command) => export::run(&client, command).await?,
    };
    if args.json {
        output::print_json(&shown.answer);
    } else {
        shown.tables.iter().for_each(output::print);
    }
    Ok(())
}

fn token(file: Option<PathBuf>) -> Result<SecretString, Failure> {
    let text = match file {
        Some(path) => std::fs::read_to_string(&path).map_err(|error| {
            Failure::config(format!("--token-file: cannot read {}: {error}", path.display()))
        })?,
        None => std::env::var("HEADGATE_ADMIN_TOKEN").map_err(|_| {
            Failure::config("give the operator's token: --token-file FILE or HEADGATE_ADMIN_TOKEN")
        })?,
    };
    Ok(SecretString::from(text.trim().to_owned()))
}
