//! Whether the bucket is there, and how the checks of it reach it.

use std::time::Duration;

use headgate_objects::{Access, ObjectError, Objects};
use headgate_runtime::Config;
use reqwest::redirect::Policy;
use url::Url;

use super::finding::Finding;
use crate::bootstrap;
use crate::export::past_proxies;

const CHECK: &str = "bucket";

/// How long the links live that are made here.
const LINK: Duration = Duration::from_secs(60);

/// Asks for the bucket with our credentials; it is there for further checks if it answers.
pub async fn check(config: &Config) -> (Finding, Option<Objects>) {
    let objects = match Objects::connect(bootstrap::s3_config(&config.s3)).await {
        Ok(objects) => objects,
        Err(error) => return (failed(&error), None),
    };
    match objects.check().await {
        Ok(Access::Whole) => (Finding::ok(CHECK, format!("{} can be used", config.s3.bucket)), Some(objects)),
        Ok(Access::Part) => {
            let found = format!("{} answers; it may be used in part", config.s3.bucket);
            (Finding::ok(CHECK, found), Some(objects))
        }
        Err(error) => (failed(&error), None),
    }
}

fn failed(error: &ObjectError) -> Finding {
    let mend = match error.status() {
        Some(404) => "make the bucket, or correct s3.bucket",
        Some(401 | 403) => "see the credentials",
        Some(301 | 400) => "see s3.region and s3.path_style",
        _ => "see s3.endpoint and s3.region, and whether the network lets us through",
    };
    Finding::failed(CHECK, error.to_string(), mend)
}

/// A client that has no credentials, for links and for seeing that nothing is given out without.
pub fn http(config: &Config) -> Result<reqwest::Client, Finding> {
    let builder = reqwest::Client::builder().redirect(Policy::none());
    let builder = match Url::parse(&config.s3.endpoint) {
        Ok(endpoint) => past_proxies(builder, &endpoint),
        Err(_) => builder,
    };
    let failed = |_| Finding::failed(CHECK, "no HTTP client can be made", "see the machine's certificates");
    builder.build().map_err(failed)
}

/// A link to an object, which holds a signature: not to be printed.
pub async fn link(objects: &Objects, key: &str) -> Result<String, ObjectError> {
    Ok(objects.signer(LINK).await?.get(key))
}

/// Where an object is, without a signature.
pub async fn address(objects: &Objects, key: &str) -> Result<String, ObjectError> {
    let link = link(objects, key).await?;
    Ok(link.split_once('?').map_or(link.clone(), |(address, _)| address.to_owned()))
}
