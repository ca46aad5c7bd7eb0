//! `headgate token`: gets an access token as an app does (SMART Backend Services), to look at or to use by hand.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use headgate_auth::PrivateKey;
use serde_json::Value;
use url::Url;

use crate::export::past_proxies;
use crate::failure::Failure;
use crate::output::print;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ASSERTION_LIFETIME: Duration = Duration::from_secs(240);
const PATIENCE: Duration = Duration::from_secs(30);

/// Get an access token as an app, and print the server's whole answer.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// FHIR base URL of the practice; its token endpoint is read from .well-known/smart-configuration.
    #[arg(long, value_name = "URL", required_unless_present = "token_url", conflicts_with = "token_url")]
    base_url: Option<Url>,
    /// Token endpoint.
    #[arg(long, value_name = "URL")]
    token_url: Option<Url>,
    /// Client id that the server gave the app at registration.
    #[arg(long, value_name = "ID")]
    client_id: String,
    /// File with the app's private key as a JWK.
    #[arg(long, value_name = "KEY.jwk")]
    key: PathBuf,
    /// Scope to ask for; may be repeated.
    #[arg(long = "scope", value_name = "SCOPE", default_value = "system/*.rs")]
    scopes: Vec<String>,
    /// Print the access token alone, for `curl -H "Authorization: Bearer $(headgate token … --bare)"`.
    #[arg(long)]
    bare: bool,
}

/// Asks for a token and prints it.
pub async fn run(args: TokenArgs) -> Result<(), Failure> {
    let jwk = std::fs::read_to_string(&args.key)
        .map_err(|error| Failure::config(format!("--key: cannot read {}: {error}", args.key.display())))?;
    let key = PrivateKey::from_jwk(&jwk)?;
    let mut http = reqwest::Client::builder().timeout(PATIENCE);
    if let Some(url) = args.base_url.as_ref().or(args.token_url.as_ref()) {
        http = past_proxies(http, url);
    }
    let http = http.build().map_err(|error| unreachable(&error))?;
    let endpoint = match (&args.token_url, &args.base_url) {
        (Some(endpoint), _) => endpoint.to_string(),
        (None, Some(base_url)) => discover(&http, base_url).await?,
        (None, None) => return Err(Failure::config("give --base-url or --token-url")),
    };
    let assertion = key.sign_assertion(&args.client_id, &endpoint, ASSERTION_LIFETIME)?;
    let form = [
        ("client_id", args.client_id.as_str()),
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
