//! Whether the public listener answers under the URL that clients are given.

use headgate_runtime::Config;
use reqwest::redirect::Policy;
use url::Url;

use super::finding::Finding;
use crate::export::past_proxies;

const CHECK: &str = "public URL";

/// Asks for the list of endpoints, which anybody may see.
pub async fn check(config: &Config) -> Vec<Finding> {
    let address = format!("{}/endpoints", config.server.public_base_url);
    vec![match ask(&address).await {
        Ok(200) => Finding::ok(CHECK, format!("{address} answers")),
        Ok(status) => unreachable(format!("{address} answers {status}")),
        Err(why) => unreachable(format!("{address}: {why}")),
    }]
}

async fn ask(address: &str) -> Result<u16, &'static str> {
    let url = Url::parse(address).map_err(|_| "is no URL")?;
    let builder = past_proxies(reqwest::Client::builder().redirect(Policy::none()), &url);
    let http = builder.build().map_err(|_| "no HTTP client can be made")?;
    let answer = http.get(url).send().await;
    answer.map(|answer| answer.status().as_u16()).map_err(|_| "cannot be reached from here")
}

/// Perhaps it can be from elsewhere.
fn unreachable(found: String) -> Finding {
    let mend = "start `headgate api`; see server.public_base_url, the name's address, the proxy in front and its \
                certificate; a network may let clients through and not us";
    Finding::warning(CHECK, found, mend)
}
