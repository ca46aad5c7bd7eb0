//! `headgate token --explain`: checks a client assertion as a token endpoint does, on this machine, and says of
//! each check what was found and what is expected.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::Utc;
use clap::Args;
use headgate_auth::Jwks;
use headgate_auth::assertion::{Explain, Explanation, Outcome, explain};
use headgate_domain::ClientId;
use serde_json::Value;

use crate::failure::Failure;
use crate::input;
use crate::output::{print, table};

/// How far a client's clock may be off: Headgate's default.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// What an assertion is held against.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Check an assertion instead of getting a token: with --assertion, and as far as they are given against --jwks,
    /// --client-id and --token-url. Nothing is sent anywhere. Ends with 1 if a check fails.
    #[arg(long, requires = "assertion", conflicts_with_all = ["key", "base_url"])]
    pub explain: bool,
    /// File with the assertion to be checked; `-` is standard input.
    #[arg(long, value_name = "FILE", requires = "explain")]
    assertion: Option<PathBuf>,
    /// File with the app's public keys as a JWK Set.
    #[arg(long, value_name = "FILE", requires = "explain")]
    jwks: Option<PathBuf>,
    /// Where the app publishes its keys, if the assertion names that with `jku`; nothing is fetched.
    #[arg(long, value_name = "URL", requires = "explain")]
    jwks_url: Option<String>,
}

/// Checks the assertion and prints a table of the checks.
pub(super) fn run(
    args: &ExplainArgs,
    client_id: Option<&str>,
    token_url: Option<&str>,
) -> Result<(), Failure> {
    let file = args.assertion.as_deref().ok_or_else(|| Failure::config("give --assertion FILE"))?;
    let assertion = input::text("--assertion", file)?;
    let client_id = client_id
        .map(|id| id.parse::<ClientId>().map_err(|error| Failure::config(format!("--client-id: {error}"))))
        .transpose()?;
    let keys = args.jwks.as_deref().map(read_keys).transpose()?;
    let explanation = explain(
        assertion.trim(),
        &Explain {
            client_id: client_id.as_ref(),
            audiences: token_url.as_slice(),
            keys: keys.as_ref(),
            jwks_url: args.jwks_url.as_deref(),
            now: Utc::now(),
            skew: CLOCK_SKEW,
        },
    );
    show(&explanation);
    if explanation.has_failure() {
        return Err(Failure::failed("a token endpoint refuses this assertion; the table says why"));
    }
    Ok(())
}

fn show(explanation: &Explanation) {
    for (name, part) in [("header", &explanation.header), ("claims", &explanation.claims)] {
        print(format_args!("{name}: {}", part.as_ref().map_or_else(|| "-".to_owned(), Value::to_string)));
    }
    let mut shown = table(["check", "outcome", "what was found"]);
    for check in &explanation.checks {
        let outcome = match check.outcome {
            Outcome::Passed => "passed",
            Outcome::Failed => "FAILED",
            Outcome::NotChecked => "not checked",
        };
        shown.add_row([check.name, outcome, &check.text]);
    }
    print(shown);
}

/// Reads the app's keys, with the rules of a registration.
fn read_keys(file: &Path) -> Result<Jwks, Failure> {
    Jwks::parse(&input::text("--jwks", file)?).map_err(|error| Failure::config(format!("--jwks: {error}")))
}
