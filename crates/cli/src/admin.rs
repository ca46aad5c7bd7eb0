//! `headgate admin …`: a client of the admin API (`docs/ADMIN_API.md`). Each noun is a file; each prints what
//! the API answers, as a table or with `--json` as it is.

mod args;
pub mod client;

mod app;
mod audit;
mod consent;
mod disclosure;
mod export;
mod fleet;
mod group;
mod key;
mod mapping;
mod members;
mod practice;
mod token;
mod vendor;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use comfy_table::Table;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use url::Url;

use crate::export::read_authorities;
use crate::failure::Failure;
use crate::{input, output};
use client::AdminClient;

/// Register vendors, apps, practices and consents; look at exports and at what was done.
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
    /// File with your token for the admin API; HEADGATE_ADMIN_TOKEN may hold the token itself.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file of further certificate authorities to trust.
    #[arg(long, global = true, value_name = "PEM", env = "HEADGATE_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// Print the API's answer as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Debug, Subcommand)]
enum Noun {
    #[command(flatten)]
    OfTheApi(ApiNoun),
    /// Mint a token for the admin API, on this machine.
    Token(token::TokenArgs),
}

/// What the admin API is asked about.
#[derive(Debug, Subcommand)]
enum ApiNoun {
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
    #[command(subcommand, visible_alias = "exports")]
    Export(export::ExportCommand),
    /// All practices and workers together: pausing, leases, waits, costs.
    #[command(subcommand)]
    Fleet(fleet::FleetCommand),
    /// What was done, by whom, and whether the record of it is whole.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// What of a practice's data went to whom.
    #[command(subcommand)]
    Disclosure(disclosure::DisclosureCommand),
    /// The keys that access tokens are signed with.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Show what the admin API makes of your token.
    Me,
    /// Print the server's own description of the admin API (OpenAPI), as JSON.
    Openapi,
}

/// What a subcommand has to show.
struct Shown {
    answer: Value,
    tables: Vec<Table>,
    /// Said after the tables.
    line: Option<String>,
    /// The answer is "no", and why: the command ends with 1 after showing it.
    no: Option<&'static str>,
}

impl Shown {
    /// An answer without a table yet.
    fn nothing(answer: Value) -> Self {
        Self { answer, tables: Vec::new(), line: None, no: None }
    }

    /// One object as a table of its members.
    fn object(answer: Value) -> Self {
        Self { tables: vec![output::object(&answer)], ..Self::nothing(answer) }
    }

    /// The list that the answer holds under a name, with these columns.
    fn list<const N: usize>(answer: Value, name: &str, columns: [&str; N]) -> Self {
        let items = answer[name].as_array().map(Vec::as_slice).unwrap_or_default();
        Self { tables: vec![output::list(items, columns)], ..Self::nothing(answer) }
    }

    /// What became of the object that the answer holds under a name, and how many exports that has ended.
    fn ended(answer: Value, name: &str) -> Self {
        let ended = json!({ "ended_exports": answer["ended_exports"] });
        Self { tables: vec![output::object(&answer[name]), output::object(&ended)], ..Self::nothing(answer) }
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
    let noun = match args.noun {
        Noun::OfTheApi(noun) => noun,
        Noun::Token(asked) => {
            output::print(token::mint(&asked)?);
            return Ok(());
        }
    };
    let authorities = read_authorities(args.ca_file.as_deref())?;
    let client = AdminClient::new(args.admin_url, token(args.token_file)?, authorities.as_deref())?;
    let json = args.json || matches!(noun, ApiNoun::Openapi);
    let shown = answer(&client, noun).await?;
    if json {
        output::print_json(&shown.answer);
    } else {
        shown.tables.iter().for_each(output::print);
        shown.line.iter().for_each(output::print);
        if shown.answer["next"].is_string() {
            eprintln!("there are more; say how many with --limit, or --limit 0 for all");
        }
    }
    shown.no.map_or(Ok(()), |no| Err(Failure::failed(no)))
}

async fn answer(client: &AdminClient, noun: ApiNoun) -> Result<Shown, Failure> {
    match noun {
        ApiNoun::Vendor(command) => vendor::run(client, command).await,
        ApiNoun::Practice(command) => practice::run(client, command).await,
        ApiNoun::App(command) => app::run(client, command).await,
        ApiNoun::Consent(command) => consent::run(client, command).await,
        ApiNoun::Group(command) => group::run(client, command).await,
        ApiNoun::Mapping(command) => mapping::run(client, command).await,
        ApiNoun::Export(command) => export::run(client, command).await,
        ApiNoun::Fleet(command) => fleet::run(client, command).await,
        ApiNoun::Audit(command) => audit::run(client, command).await,
        ApiNoun::Disclosure(command) => disclosure::run(client, command).await,
        ApiNoun::Key(command) => key::run(client, command).await,
        ApiNoun::Me => Ok(Shown::object(client.get(&["me"]).await?)),
        ApiNoun::Openapi => Ok(Shown::nothing(client.get(&["openapi.json"]).await?)),
    }
}

/// A body of those members that were given.
fn given<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let members = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(Map::from_iter(members))
}

fn token(file: Option<PathBuf>) -> Result<SecretString, Failure> {
    let text = match file {
        Some(path) => input::text("--token-file", &path)?,
        None => std::env::var("HEADGATE_ADMIN_TOKEN").map_err(|_| {
            Failure::config("give your token for the admin API: --token-file FILE or HEADGATE_ADMIN_TOKEN")
        })?,
    };
    Ok(SecretString::from(text.trim().to_owned()))
}
