//! One kick-off, from the request to the last file, and whether it is what it must be.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use reqwest::Method;
use serde_json::Value;

use super::ask::{Ask, Case, Form, Wire};
use super::elements;
use super::expect::{Expected, expected};
use super::sites::Site;
use crate::{Answer, BulkClient, Download};

/// How long an export may take.
const WITHIN: Duration = Duration::from_secs(300);

/// Pause between polls.
const POLL_EVERY: Duration = Duration::from_millis(120);

/// Kick-offs of one case at most, where the server has too much to do.
const KICK_OFFS: u32 = 40;

/// Ids that a mismatch names.
const NAMED: usize = 5;

/// What came of a kick-off.
#[derive(Debug)]
pub enum Outcome {
    /// A refusal that is told as it should be, with its status and text.
    Refused(u16, String),
    /// The files of an export.
    Exported(Vec<Download>),
}

/// What is wrong.
pub type Wrong = String;

/// Performs a case in each of its forms; returns how many resources each export had, or what is wrong.
pub(super) async fn case(
    bulk: &BulkClient,
    site: &Site,
    case: &Case,
) -> Result<Result<Vec<Option<u64>>, Wrong>> {
    let expected = expected(site, case)?;
    let mut seen = Vec::new();
    for wire in &case.wires {
        let found = match perform(bulk, wire, &case.ask).await {
            Ok(outcome) => {
                judge(site, &expected, &case.ask, &outcome).map(|resources| (resources, status(&outcome)))
            }
            Err(error) => Err(format!("{error:#}")),
        };
        match found {
            Ok(found) => seen.push(found),
            Err(wrong) => return Ok(Err(format!("{:?}: {wrong}", wire.form))),
        }
    }
    if seen.windows(2).any(|pair| pair[0] != pair[1]) {
        return Ok(Err(format!("GET and POST differ: {seen:?}")));
    }
    Ok(Ok(seen.into_iter().map(|(resources, _)| resources).collect()))
}

fn status(outcome: &Outcome) -> u16 {
    match outcome {
        Outcome::Refused(status, _) => *status,
        Outcome::Exported(_) => 202,
    }
}

/// Kicks off, waits, downloads and deletes.
async fn perform(bulk: &BulkClient, wire: &Wire, ask: &Ask) -> Result<Outcome> {
    let mut left = KICK_OFFS;
    let answer = loop {
        let method = if wire.form == Form::Get { Method::GET } else { Method::POST };
        let mut request = bulk.request(method, &wire.path);
        for (name, value) in &wire.headers {
            request = request.header(*name, value.as_str());
        }
        if wire.form == Form::Post {
            request = request.body(wire.body.clone());
        }
        let answer = Answer::to(request).await?;
        left -= 1;
        if answer.status != 429 || left == 0 {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    if answer.status != 202 {
        anyhow::ensure!((400..500).contains(&answer.status), "status {}: {}", answer.status, answer.text());
        return Ok(Outcome::Refused(answer.status, diagnostics(&answer)?));
    }
    let status_url = answer.header("content-location").context("202 without Content-Location")?.to_owned();
    if ask.separate {
        let applied = answer.header("preference-applied").unwrap_or_default();
        anyhow::ensure!(applied.contains("separate-export-status"), "Preference-Applied is {applied:?}");
    }
    let manifests = manifests(bulk, &status_url, ask).await?;
    let mut downloads = Vec::new();
    for manifest in &manifests {
        downloads.push(bulk.download_all(manifest).await?);
    }
    bulk.delete(&status_url).await?.expect(202)?;
    Ok(Outcome::Exported(downloads))
}

/// The text of a refusal, which has to be an OperationOutcome.
fn diagnostics(answer: &Answer) -> Result<String> {
    let outcome = answer.json()?;
    let issue = &outcome["issue"][0];
    anyhow::ensure!(
        outcome["resourceType"] == "OperationOutcome" && issue["severity"] == "error",
        "a refusal that is no OperationOutcome: {outcome}"
    );
    Ok(issue["diagnostics"].as_str().or(issue["details"]["text"].as_str()).unwrap_or_default().to_owned())
}

/// Polls until the last manifest is there.
async fn manifests(bulk: &BulkClient, status_url: &str, ask: &Ask) -> Result<Vec<Value>> {
    let until = Instant::now() + WITHIN;
    let (mut manifests, mut url) = (Vec::new(), status_url.to_owned());
    loop {
        anyhow::ensure!(Instant::now() < until, "not complete within {} s", WITHIN.as_secs());
        let answer = bulk.poll(&url).await?;
        let status = match answer.header("x-export-status") {
            Some(status) if ask.separate && answer.status == 200 => status.parse()?,
            None if ask.separate => anyhow::bail!("a poll without X-Export-Status: {}", answer.status),
            _ => answer.status,
        };
        let next = match status {
            200 | 202 if answer.body.first() == Some(&b'{') => {
                let manifest = answer.json()?;
                let is_manifest = manifest["output"].is_array();
                let next = manifest["link"][0]["url"].as_str().filter(|_| is_manifest).map(str::to_owned);
                anyhow::ensure!(ask.partial || next.is_none(), "a link that nobody asked for");
                if status == 200 || next.is_some() {
                    manifests.push(manifest);
                }
                next
            }
            202 => None,
            429 => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            _ => anyhow::bail!("a poll is answered with {status}: {}", answer.text()),
        };
        match next {
            Some(next) => url = next,
            None if status == 200 => return Ok(manifests),
            None => tokio::time::sleep(POLL_EVERY).await,
        }
    }
}

/// Holds an outcome against what was expected; returns the number of resources of an export.
fn judge(site: &Site, expected: &Expected<'_>, ask: &Ask, outcome: &Outcome) -> Result<Option<u64>, Wrong> {
    match (expected, outcome) {
        (Expected::Refused(_) | Expected::Either(_), Outcome::Refused(..)) => Ok(None),
        (Expected::Refused(why), Outcome::Exported(_)) => Err(format!("exported, although {why}")),
        (Expected::Export { least, .. }, Outcome::Refused(status, text)) => {
            Err(format!("refused with {status}, expected {} resources: {text}", least.len()))
        }
        (Expected::Export { least, most }, Outcome::Exported(downloads)) => {
            let found = contents(site, ask, downloads, true)?;
            within(least.iter(), &found, "missing")?;
            let extra: Vec<_> = found.keys().filter(|key| !most.contains(*key)).collect();
            none(&extra, "too many")?;
            quiet(site, ask, downloads)?;
            Ok(Some(found.len() as u64))
        }
        (Expected::Either(most), Outcome::Exported(downloads)) => {
            let found = contents(site, ask, downloads, false)?;
            let extra: Vec<_> = found.keys().filter(|key| !most.contains(*key)).collect();
            none(&extra, "too many")?;
            Ok(Some(found.len() as u64))
        }
    }
}

type Found<'a> = HashMap<(&'a str, &'a str), ()>;

/// What is in the files; each resource has to be one of the practice, whole or as `_elements` leaves it.
fn contents<'a>(
    site: &'a Site,
    ask: &Ask,
    downloads: &[Download],
    compare: bool,
) -> Result<Found<'a>, Wrong> {
    let mut found = Found::new();
    for file in downloads.iter().flat_map(|download| download.section("output")) {
        for line in &file.lines {
            let body: Value =
                serde_json::from_str(line).map_err(|error| format!("{}: {error}", file.name))?;
            let (t, id) =
                (body["resourceType"].as_str().unwrap_or_default(), body["id"].as_str().unwrap_or_default());
            if t != file.resource_type {
                return Err(format!("{} holds {t}/{id}, but is listed as {}", file.name, file.resource_type));
            }
            let Some(whole) = site.data.get(t, id) else {
                return Err(format!("{t}/{id} is no resource of the practice"));
            };
            if found.insert((&whole.resource_type, &whole.id), ()).is_some() {
                return Err(format!("{t}/{id} is there twice"));
            }
            if !compare {
                continue;
            }
            if ask.elements.is_empty() && body != whole.body {
                return Err(format!("{t}/{id} differs from the source"));
            }
            if !ask.elements.is_empty() {
                elements::check(t, &whole.body, &ask.elements, &body)
                    .map_err(|wrong| format!("{t}/{id}: {wrong}"))?;
            }
        }
    }
    Ok(found)
}

fn within<'a>(
    wanted: impl Iterator<Item = &'a (&'a str, &'a str)>,
    found: &Found<'_>,
    what: &str,
) -> Result<(), Wrong> {
    let missing: Vec<_> = wanted.filter(|key| !found.contains_key(*key)).collect();
    none(&missing, what)
}

fn none(keys: &[&(&str, &str)], what: &str) -> Result<(), Wrong> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut names: Vec<String> = keys.iter().map(|(t, id)| format!("{t}/{id}")).collect();
    names.sort();
    names.truncate(NAMED);
    Err(format!("{} resources are {what}, such as {}", keys.len(), names.join(", ")))
}

/// A strict export of known patients has nothing to report; each unknown patient is reported once.
fn quiet(site: &Site, ask: &Ask, downloads: &[Download]) -> Result<(), Wrong> {
    if ask.lenient || ask.level != crate::Level::Patient {
        return Ok(());
    }
    let reports: usize = downloads.iter().flat_map(|d| d.section("error")).map(|file| file.lines.len()).sum();
    let named = ask.patients.iter().flatten();
    let unknown = named.filter(|id| site.data.get("Patient", id).is_none()).count();
    let about_provenance = ask.provenance.is_some();
    if reports == unknown || about_provenance {
        return Ok(());
    }
    Err(format!("{reports} reports in the error files, {unknown} patients are unknown"))
}
