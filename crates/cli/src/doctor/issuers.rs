//! Whether the keys of issuers elsewhere can be fetched: of access tokens, and of tokens for the admin API.

use headgate_auth::KeySets;
use headgate_runtime::Config;
use url::Url;

use super::finding::Finding;
use crate::api;

const CHECK: &str = "issuer of access tokens";
const ADMIN_CHECK: &str = "issuers of admin tokens";

/// A key id that no issuer has; the set is fetched all the same.
const NO_KEY: &str = "headgate-doctor";

/// Fetches each set once.
pub async fn check(config: &Config) -> Vec<Finding> {
    let sets = match api::key_sets(config) {
        Ok(sets) => sets,
        Err(failure) => return vec![Finding::failed(CHECK, failure.message(), "see [jwks]")],
    };
    let external = &config.token.external;
    let mut findings = vec![match external.is_on() {
        false => Finding::ok(CHECK, "Headgate itself"),
        true => match fetch(&sets, &external.jwks_url).await {
            Ok(()) => Finding::ok(CHECK, format!("the keys of {} can be fetched", external.issuer)),
            Err(why) => {
                let found = format!("the keys of {} cannot be fetched: {why}", external.issuer);
                Finding::failed(
                    CHECK,
                    found,
                    "see token.external.jwks_url and [jwks]: no access token can be checked",
                )
            }
        },
    }];
    for issuer in &config.admin.issuers {
        findings.push(match fetch(&sets, &issuer.jwks_url).await {
            Ok(()) => Finding::ok(ADMIN_CHECK, format!("the keys of {} can be fetched", issuer.issuer)),
            Err(why) => {
                let found = format!("the keys of {} cannot be fetched: {why}", issuer.issuer);
                Finding::failed(ADMIN_CHECK, found, "see its jwks_url in admin.issuers, and [jwks]")
            }
        });
    }
    if config.admin.issuers.is_empty() && config.admin.builtin_jwks_file.is_empty() {
        let mend = "set admin.builtin_jwks_file or admin.issuers";
        findings.push(Finding::warning(ADMIN_CHECK, "there is none: the admin API refuses everything", mend));
    }
    findings
}

async fn fetch(sets: &KeySets, url: &str) -> Result<(), String> {
    let url = Url::parse(url).map_err(|_| "its URL is none".to_owned())?;
    sets.issuer_keys(&url, NO_KEY).await.map(drop).map_err(|error| error.to_string())
}
