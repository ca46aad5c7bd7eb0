//! Random and mutated requests at everything that strangers reach: assertions, scopes, forms, key sets, headers,
//! parameters, bodies and queries of the admin API, uploads of members.
//!
//! Whatever is sent: the processes live, there is no 5xx but a 503 that says when to come again, an answer is what its
//! media type says, no token or assertion is repeated, and no token is granted beyond what is registered and consented.
//! A case is drawn from the seed and its number alone, so that it can be sent again by itself.

mod draw;
mod protocol;
mod registrations;
mod site;
mod tokens;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::Value;

use crate::{Answer, TestApp};
use site::Site;

/// What is to be tried.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What is drawn.
    pub seed: u64,
    /// How many requests.
    pub cases: u64,
    /// Only the case of this number.
    pub only: Option<u64>,
}

/// Cases after which it is looked whether the processes live.
const LOOK_EVERY: u64 = 100;

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    counts: BTreeMap<(&'static str, u16), u64>,
    wrong: Vec<String>,
}

impl Report {
    /// What must not have happened; nothing else is sent after the first.
    #[must_use]
    pub fn wrong(&self) -> &[String] {
        &self.wrong
    }

    /// How many requests of each kind there were.
    #[must_use]
    pub fn sent(&self, kind: &str) -> u64 {
        self.counts.iter().filter(|((k, _), _)| *k == kind).map(|(_, count)| count).sum()
    }

    /// How many requests of each kind were answered with which status.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut last = "";
        for ((kind, status), count) in &self.counts {
            if *kind != last {
                let _written = write!(text, "{}{kind:<16}", if last.is_empty() { "" } else { "\n" });
                last = kind;
            }
            let _written = write!(text, " {status}: {count}");
        }
        text
    }
}

/// A request of a case, and what its answer must not hold.
struct Case {
    kind: &'static str,
    request: reqwest::RequestBuilder,
    /// Tokens and assertions in it.
    secrets: Vec<String>,
    /// Whether it asks for a token.
    grants: bool,
}

/// Tries everything on a running Headgate, which needs a worker. What this makes there stays.
///
/// # Errors
/// When a request finds no server, or what is needed to ask cannot be made.
pub async fn run(app: &TestApp, options: Options) -> Result<Report> {
    let site = Site::build(app).await?;
    let mut report = Report::default();
    let cases = match options.only {
        Some(number) => number..=number,
        None => 1..=options.cases,
    };
    for number in cases {
        let mut random = StdRng::seed_from_u64(options.seed.wrapping_mul(1_000_003).wrapping_add(number));
        let case = drawn(&site, &mut random).with_context(|| format!("case {number}"))?;
        let (kind, grants, secrets) = (case.kind, case.grants, case.secrets);
        let answer = Answer::to(case.request).await.with_context(|| format!("case {number}, {kind}"))?;
        *report.counts.entry((kind, answer.status)).or_default() += 1;
        let mut wrong = answer_is_wrong(&answer, &secrets);
        if wrong.is_none() && grants && answer.status == 200 {
            wrong = site.grant_is_wrong(&answer)?;
        }
        if wrong.is_none() && (number % LOOK_EVERY == 0 || number == options.cases || options.only.is_some())
        {
            wrong = site.is_unwell().await?;
        }
        if let Some(wrong) = wrong {
            report.wrong.push(format!(
                "seed {} case {number} ({kind}), status {}: {wrong}",
                options.seed, answer.status
            ));
            break;
        }
        site.clean(kind, &answer).await?;
    }
    Ok(report)
}

fn drawn(site: &Site<'_>, random: &mut StdRng) -> Result<Case> {
    use rand::Rng as _;
    Ok(match random.random_range(0..20) {
        0..5 => tokens::assertion(site, random)?,
        5..7 => tokens::scopes(site, random)?,
        7 => tokens::form(site, random)?,
        8 => tokens::about(site, random)?,
        9..11 => protocol::headers(site, random)?,
        11..14 => protocol::parameters(site, random)?,
        14..16 => registrations::keys(site, random)?,
        16..18 => registrations::body(site, random)?,
        18 => registrations::query(site, random)?,
        _ => registrations::members(site, random)?,
    })
}

/// What is wrong with an answer, whatever the question was.
fn answer_is_wrong(answer: &Answer, secrets: &[String]) -> Option<String> {
    let text = answer.text();
    if answer.status >= 500 && !(answer.status == 503 && answer.header("retry-after").is_some()) {
        return Some(format!("a failure of the server: {text:.300}"));
    }
    let media_type = answer.header("content-type").unwrap_or_default();
    if media_type.contains("json") && serde_json::from_slice::<Value>(&answer.body).is_err() {
        return Some(format!("not {media_type}: {text:.300}"));
    }
    if media_type.is_empty() && !answer.body.is_empty() {
        return Some(format!("a body without a media type: {text:.300}"));
    }
    for secret in secrets {
        for part in secret.split('.').filter(|part| part.len() > 20) {
            let in_headers = answer.headers.values().any(|v| v.to_str().is_ok_and(|v| v.contains(part)));
            if in_headers || text.contains(part) {
                return Some("a part of a token or assertion is repeated".to_owned());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};

    use super::*;

    fn answer(status: u16, media_type: &'static str, body: &str) -> Answer {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))]);
        Answer { status, headers, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn what_must_not_be_answered_is_seen() {
        let secret = ["a.bcdefghijklmnopqrstuvwxyz.c".to_owned()];
        assert!(answer_is_wrong(&answer(400, "application/json", "{}"), &secret).is_none());
        assert!(answer_is_wrong(&answer(500, "application/json", "{}"), &secret).is_some());
        assert!(answer_is_wrong(&answer(503, "application/json", "{}"), &secret).is_some());
        let mut later = answer(503, "application/json", "{}");
        later.headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
        assert!(answer_is_wrong(&later, &secret).is_none());
        assert!(answer_is_wrong(&answer(400, "application/fhir+json", "{"), &secret).is_some());
        let repeated = answer(400, "text/plain", "no: bcdefghijklmnopqrstuvwxyz");
        assert!(answer_is_wrong(&repeated, &secret).is_some());
    }
}
