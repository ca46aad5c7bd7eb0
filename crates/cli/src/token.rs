//! `headgate token`: gets an access token as an app does (SMART Backend Services), to look at or to use by hand;
//! makes the client assertion alone; and explains one.

mod explain;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use headgate_auth::PrivateKey;
use serde_json::Value;
use url::Url;

use crate::export::{past_proxies, read_authorities, trusting};
use crate::failure::Failure;
use crate::input;
use crate::output::print;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ASSERTION_LIFETIME: Duration = Duration::from_secs(240);
const PATIENCE: Duration = Duration::from_secs(30);

/// Get an access token as an app, and print the server's whole answer; or check an assertion (--explain).
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// FHIR base URL of the practice; its token endpoint is read from .well-known/smart-configuration.
    #[arg(
        long,
        value_name = "URL",
        required_unless_present_any = ["token_url", "explain"],
        conflicts_with = "token_url"
    )]
    base_url: Option<Url>,
    /// Token endpoint.
    #[arg(long, value_name = "URL")]
    token_url: Option<Url>,
    /// Client id that the server gave the app at registration.
    #[arg(long, value_name = "ID", required_unless_present = "explain")]
    client_id: Option<String>,
    /// File with the app's private key as a JWK.
    #[arg(long, value_name = "KEY.jwk", required_unless_present = "explain")]
    key: Option<PathBuf>,
    /// Scope to ask for; may be repeated.
    #[arg(long = "scope", value_name = "SCOPE", default_value = "system/*.rs")]
    scopes: Vec<String>,
    /// Print the access token alone, for `curl -H "Authorization: Bearer $(headgate token … --bare)"`.
    #[arg(long)]
    bare: bool,
    /// Print the client assertion alone, and ask for no token.
    #[arg(long, conflicts_with_all = ["bare", "explain"])]
    assertion_only: bool,
    /// PEM file of further certificate authorities to trust.
    #[arg(long, value_name = "PEM", env = "HEADGATE_CA_FILE")]
    ca_file: Option<PathBuf>,
    #[command(flatten)]
    explain: explain::ExplainArgs,
}

/// Asks for a token and prints it.
pub async fn run(args: TokenArgs) -> Result<(), Failure> {
    if args.explain.explain {
        return explain::run(
            &args.explain,
            args.client_id.as_deref(),
            args.token_url.as_ref().map(Url::as_str),
        );
    }
    let (Some(client_id), Some(key)) = (&args.client_id, &args.key) else {
        return Err(Failure::config("give --client-id and --key"));
    };
    let key = PrivateKey::from_jwk(&input::text("--key", key)?)?;
    // Without TLS only where the server is reached without it.
    let url = args.base_url.as_ref().or(args.token_url.as_ref());
    let builder = || {
        let builder = reqwest::Client::builder().timeout(PATIENCE);
        match url {
            Some(url) => past_proxies(builder, url),
            None => builder,
        }
    };
    let authorities = read_authorities(args.ca_file.as_deref())?;
    let plain_allowed = url.is_some_and(|url| url.scheme() == "http");
    let http = trusting(builder, authorities.as_deref(), plain_allowed)?;
    let endpoint = match (&args.token_url, &args.base_url) {
        (Some(endpoint), _) => endpoint.to_string(),
        (None, Some(base_url)) => discover(&http, base_url).await?,
        (None, None) => return Err(Failure::config("give --base-url or --token-url")),
    };
    let assertion = key.sign_assertion(client_id, &endpoint, ASSERTION_LIFETIME)?;
    if args.assertion_only {
        print(assertion);
        return Ok(());
    }
    let form = [
        ("client_id", client_id.as_str()),
        ("scope", &args.scopes.join(" ")),
        ("grant_type", "client_credentials"),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", &assertion),
    ];
    let answer = http.post(&endpoint).form(&form).send().await.map_err(|error| unreachable(&error))?;
    let status = answer.status();
    let body: Value = answer
        .json()
        .await
        .map_err(|_| Failure::failed(format!("the token endpoint answered {status} without JSON")))?;
    if !status.is_success() {
        return Err(Failure::failed(format!("the token endpoint answered {status}: {body}")));
    }
    match body["access_token"].as_str() {
        Some(token) if args.bare => print(token),
        None if args.bare => return Err(Failure::failed("the answer has no access_token")),
        _ => print(body),
    }
    Ok(())
}

/// Reads the token endpoint from the server's SMART configuration (SMART App Launch, Conformance).
async fn discover(http: &reqwest::Client, base_url: &Url) -> Result<String, Failure> {
    let url = format!("{}/.well-known/smart-configuration", base_url.as_str().trim_end_matches('/'));
    let answer = http.get(url).send().await.map_err(|error| unreachable(&error))?;
    let status = answer.status();
    let configuration: Value = answer.json().await.unwrap_or_default();
    configuration["token_endpoint"].as_str().map(str::to_owned).ok_or_else(|| {
        Failure::failed(format!(
            "the SMART configuration ({status}) names no token endpoint; give --token-url"
        ))
    })
}

fn unreachable(error: &reqwest::Error) -> Failure {
    Failure::unavailable(error)
}
