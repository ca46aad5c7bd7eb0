//! `headgate admin app …`

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::args::{Change, Limit, Once};
use super::client::AdminClient;
use super::{Shown, given};
use crate::failure::Failure;
use crate::output;

/// Registered clients.
#[derive(Debug, Subcommand)]
pub enum AppCommand {
    /// Register an app. It is disabled until a practice consents.
    Create(CreateArgs),
    /// Show all apps; as a vendor, your own.
    List {
        /// Only those of this vendor.
        #[arg(long, value_name = "ID")]
        vendor: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one app, its keys, and the practices that consent to it.
    Show {
        /// Its client id.
        client_id: String,
    },
    /// Change what is registered of an app. Exports beyond narrower scopes end.
    Update(UpdateArgs),
    /// Add public keys to an app, so that it can change to them.
    AddKeys(AddKeysArgs),
    /// Have a key of an app refused.
    RevokeKey {
        /// Its client id.
        client_id: String,
        /// The key's id.
        kid: String,
        /// From when on, such as 2027-01-31T00:00:00Z; now if not given.
        #[arg(long, value_name = "INSTANT")]
        at: Option<DateTime<Utc>>,
        #[command(flatten)]
        terms: Change,
    },
    /// Suspend an app: its running exports end, its tokens are refused.
    Suspend {
        /// Its client id.
        client_id: String,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        terms: Change,
    },
    /// End an app's suspension.
    Resume {
        /// Its client id.
        client_id: String,
        #[command(flatten)]
        terms: Change,
    },
    /// Show why an app's last assertions were refused.
    Refusals {
        /// Its client id.
        client_id: String,
    },
    /// Have the server check a client assertion, with the keys it has, without using it up. Ends with 1 if the
    /// token endpoint would refuse it.
    CheckAssertion {
        /// Its client id.
        client_id: String,
        /// File with the assertion; `-` is standard input.
        #[arg(long, value_name = "FILE")]
        assertion: PathBuf,
        /// Token endpoint that it is meant for; any of the server's if not given.
        #[arg(long, value_name = "URL")]
        token_url: Option<String>,
    },
}

/// An app to be registered.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Whose app it is.
    #[arg(long, value_name = "ID")]
    vendor: String,
    /// Its name.
    #[arg(long)]
    name: String,
    /// File with its public keys as a JWK Set, as `headgate keygen` prints it.
    #[arg(long, value_name = "FILE", required_unless_present = "jwks_url", conflicts_with = "jwks_url")]
    jwks: Option<PathBuf>,
    /// Where it publishes its public keys, instead.
    #[arg(long, value_name = "URL")]
    jwks_url: Option<String>,
    /// Whom to tell of security matters.
    #[arg(long, value_name = "EMAIL")]
    security_contact: String,
    /// The most it may ever be granted; `system/*.rs` if not given.
    #[arg(long, value_name = "SCOPES")]
    scopes: Option<String>,
    #[command(flatten)]
    once: Once,
}

/// What is to be registered of an app from now on.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Its client id.
    client_id: String,
    /// Its new name.
    #[arg(long)]
    name: Option<String>,
    /// Whom to tell of security matters from now on.
    #[arg(long, value_name = "EMAIL")]
    security_contact: Option<String>,
    /// The most it may be granted from now on.
    #[arg(long, value_name = "SCOPES")]
    scopes: Option<String>,
    /// Where it publishes its public keys from now on; keys that were given themselves are revoked at once.
    #[arg(long, value_name = "URL")]
    jwks_url: Option<String>,
    #[command(flatten)]
    terms: Change,
}

/// Public keys for an app.
#[derive(Debug, Args)]
pub struct AddKeysArgs {
    /// Its client id.
    client_id: String,
    /// File with the public keys as a JWK Set, as `headgate keygen` prints it.
    #[arg(long, value_name = "FILE")]
    jwks: PathBuf,
    /// When the former keys end, such as 2027-01-31T00:00:00Z; they stay if not given.
    #[arg(long, value_name = "INSTANT")]
    former_expire_at: Option<DateTime<Utc>>,
    /// Even where the app publishes its keys at a URL, which is given up then.
    #[arg(long)]
    replace_url: bool,
    #[command(flatten)]
    terms: Change,
}

pub(super) async fn run(client: &AdminClient, command: AppCommand) -> Result<Shown, Failure> {
    Ok(match command {
        AppCommand::Create(args) => create(client, args).await?,
        AppCommand::List { vendor, limit } => {
            let columns = ["client_id", "name", "vendor_name", "status", "scopes"];
            let answer = client.list(&["apps"], "apps", &[("vendor_id", vendor)], limit.limit).await?;
            Shown::list(answer, "apps", columns)
        }
        AppCommand::Show { client_id } => shown(client.get(&["apps", &client_id]).await?),
        AppCommand::Update(args) => update(client, args).await?,
        AppCommand::AddKeys(args) => add_keys(client, args).await?,
        AppCommand::RevokeKey { client_id, kid, at, terms } => {
            let path = ["apps", &client_id, "keys", &kid, "revoke"];
            let body = given([("at", at.map(|at| at.to_rfc3339().into()))]);
            shown(client.change(Method::POST, &path, &body, &terms).await?)
        }
        AppCommand::Suspend { client_id, reason, terms } => {
            let path = ["apps", &client_id, "suspend"];
            let answer = client.change(Method::POST, &path, &json!({ "reason": reason }), &terms).await?;
            Shown::ended(answer, "app")
        }
        AppCommand::Resume { client_id, terms } => {
            let path = ["apps", &client_id, "resume"];
            shown(client.change(Method::POST, &path, &json!({}), &terms).await?)
        }
        AppCommand::Refusals { client_id } => {
            let columns = ["last_at", "reason", "description", "occurrences", "first_at", "kid", "address"];
            Shown::list(client.get(&["apps", &client_id, "refusals"]).await?, "refusals", columns)
        }
        AppCommand::CheckAssertion { client_id, assertion, token_url } => {
            check_assertion(client, &client_id, &assertion, token_url).await?
        }
    })
}

async fn create(client: &AdminClient, args: CreateArgs) -> Result<Shown, Failure> {
    let jwks = args.jwks.as_deref().map(read_jwks).transpose()?;
    let body = given([
        ("vendor_id", Some(args.vendor.into())),
        ("name", Some(args.name.into())),
        ("security_contact", Some(args.security_contact.into())),
        ("jwks", jwks),
        ("jwks_url", args.jwks_url.map(Into::into)),
        ("scopes", args.scopes.map(Into::into)),
    ]);
    Ok(shown(client.change(Method::POST, &["apps"], &body, &args.once.into()).await?))
}

async fn update(client: &AdminClient, args: UpdateArgs) -> Result<Shown, Failure> {
    let body = given([
        ("name", args.name.map(Into::into)),
        ("security_contact", args.security_contact.map(Into::into)),
        ("scopes", args.scopes.map(Into::into)),
        ("jwks_url", args.jwks_url.map(Into::into)),
    ]);
    Ok(shown(client.change(Method::PATCH, &["apps", &args.client_id], &body, &args.terms).await?))
}

async fn add_keys(client: &AdminClient, args: AddKeysArgs) -> Result<Shown, Failure> {
    let body = given([
        ("jwks", Some(read_jwks(&args.jwks)?)),
        ("former_expire_at", args.former_expire_at.map(|at| at.to_rfc3339().into())),
        ("replace_url", args.replace_url.then(|| true.into())),
    ]);
    let path = ["apps", &args.client_id, "keys"];
    Ok(shown(client.change(Method::POST, &path, &body, &args.terms).await?))
}

async fn check_assertion(
    client: &AdminClient,
    client_id: &str,
    assertion: &Path,
    token_url: Option<String>,
) -> Result<Shown, Failure> {
    let assertion = crate::input::text("--assertion", assertion)?;
    let body = given([
        ("client_assertion", Some(assertion.trim().into())),
        ("token_url", token_url.map(Into::into)),
    ]);
    let answer = client.ask(&["apps", client_id, "assertion-check"], &body).await?;
    let checks = answer["checks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let tables = vec![output::list(checks, ["name", "outcome", "text"])];
    let no = (answer["accepted"] != true).then_some("the token endpoint would refuse this assertion");
    Ok(Shown { tables, no, ..Shown::nothing(answer) })
}

fn shown(answer: Value) -> Shown {
    Shown::object(answer)
        .and_list("keys", ["kid", "alg", "thumbprint", "created_at", "expires_at", "revoked_at"])
        .and_list("consenting_practices", ["number", "name", "base_url"])
}

/// Reads a JWK Set; a key's private part, given by mistake, is not sent anywhere.
fn read_jwks(path: &Path) -> Result<Value, Failure> {
    let text = crate::input::text("--jwks", path)?;
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
