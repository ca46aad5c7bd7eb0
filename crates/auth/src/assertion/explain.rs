//! All checks of an assertion at once, each with what was found, for the developer whose assertion it is.
//!
//! It is shown to whoever sent the assertion, so values may be quoted here, cut to a bearable length. The
//! signature is the one part that is not shown. These are the very checks of `verify`: nothing failed
//! here exactly when `verify` accepts.

use std::time::Duration;

use chrono::{DateTime, Utc};
use headgate_domain::ClientId;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{AssertionError, checks};
use crate::claims;
use crate::compact::{Compact, object};
use crate::jwks::Jwks;

/// Longest quotation, in characters.
const MAX_QUOTED: usize = 120;

/// What an assertion is held against, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct Explain<'a> {
    /// The app; `None` when none has the client id.
    pub client_id: Option<&'a ClientId>,
    /// The URLs of the token endpoint; the first is the one that texts name.
    pub audiences: &'a [&'a str],
    /// The app's keys; `None` when there are none to be had.
    pub keys: Option<&'a Jwks>,
    /// The key set URL the app registered, if it did.
    pub jwks_url: Option<&'a str>,
    /// The time to judge at.
    pub now: DateTime<Utc>,
    /// How far the client's clock may be off.
    pub skew: Duration,
}

/// What an assertion holds, and how it fares.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The header, when it could be read.
    pub header: Option<Value>,
    /// The claims, when they could be read.
    pub claims: Option<Value>,
    /// All checks, in the order in which they are made at the token endpoint.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is checked: `signature`, `aud`.
    pub name: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// What was found and, after a failure, what is expected.
    pub text: String,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it must be.
    Passed,
    /// The token endpoint refuses it.
    Failed,
    /// It could not be checked, because of an earlier failure or of something that is not known.
    NotChecked,
}

impl Explanation {
    /// Whether a check failed.
    #[must_use]
    pub fn has_failure(&self) -> bool {
        self.checks.iter().any(|check| check.outcome == Outcome::Failed)
    }
}

/// Makes all checks of an assertion, going on after a failure where that is possible.
#[must_use]
pub fn explain(assertion: &str, explain: &Explain<'_>) -> Explanation {
    let form = checks::form(assertion);
    // Each part is shown, and judged, even if the other cannot be read.
    let mut parts = assertion.split('.');
    let mut part = || match checks::size(assertion) {
        Ok(()) => parts.next().and_then(object),
        Err(_) => None,
    };
    let (header, claims) = (part(), part());

    let mut report = Report(Vec::new());
    let bytes = format!("{} bytes", assertion.len());
    report.judge("form", bytes, form.as_ref().map_err(AssertionError::clone));
    match &header {
        Some(header) => report.header(header, form.as_ref().ok(), explain),
        None => report.skip(&HEADER_CHECKS, "the header cannot be read"),
    }
    match &claims {
        Some(claims) => report.claims(claims, explain),
        None => report.skip(&CLAIM_CHECKS, "the claims cannot be read"),
    }
    Explanation { header: header.map(Value::Object), claims: claims.map(Value::Object), checks: report.0 }
}

const HEADER_CHECKS: [&str; 7] = ["typ", "alg", "header", "kid", "jku", "key", "signature"];
const CLAIM_CHECKS: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];

struct Report(Vec<Check>);

impl Report {
    fn header(&mut self, header: &Map<String, Value>, token: Option<&Compact<'_>>, explain: &Explain<'_>) {
        self.judge("typ", found(header, "typ"), checks::typ(header));
        let alg = self.judge("alg", found(header, "alg"), checks::alg(header));
        let names: Vec<&str> = header.keys().map(String::as_str).collect();
        self.judge("header", cut(&names.join(", ")), checks::refused_members(header));
        let kid = self.judge("kid", found(header, "kid"), checks::kid(header));
        let jku = found(header, "jku");
        match (checks::jku(header), explain.client_id) {
            (Ok(Some(_)), None) => self.note("jku", format!("{jku}; the client is not known")),
            _ => {
                self.judge("jku", jku, checks::jku_is_registered(header, explain.jwks_url));
            }
        }
        let Some(keys) = explain.keys else {
            return self.skip(&["key", "signature"], "the keys of the client are not known");
        };
        if alg.is_none() || kid.is_none() {
            return self.skip(&["key", "signature"], "alg and kid say which key it is");
        }
        let ids: Vec<&str> = keys.keys().iter().map(|key| key.kid()).collect();
        let registered = format!("{} of the registered {}", found(header, "kid"), cut(&ids.join(", ")));
        match (self.judge("key", registered, checks::key(header, keys)), token) {
            (Some(key), Some(token)) => {
                let text = format!("checked with the key {}", cut(key.kid()));
                self.judge("signature", text, checks::signature(token, key));
            }
            (None, _) => self.skip(&["signature"], "there is no key to check it with"),
            (_, None) => self.skip(&["signature"], "the assertion is malformed"),
        }
    }

    fn claims(&mut self, claims: &Map<String, Value>, explain: &Explain<'_>) {
        let iss = found(claims, "iss");
        // Of a client that is not known, iss can only be a client id, and sub the same one.
        match (explain.client_id, checks::issuer(claims)) {
            (Some(client_id), issuer) => {
                let text = format!("{iss}; the client is {client_id}");
                self.judge("iss", text, issuer.and_then(|_| checks::issuer_is(claims, client_id.as_str())));
            }
            (None, Ok(issuer)) if issuer.parse::<ClientId>().is_ok() => {
                self.note("iss", format!("{iss}; the client is not known"));
            }
            (None, _) => {
                self.judge::<()>("iss", iss, Err(AssertionError::WrongIssuer));
            }
        }
        let sub = found(claims, "sub");
        match explain.client_id.map(ClientId::as_str).or(claims::text(claims, "iss")) {
            Some(client_id) => {
                self.judge("sub", sub, checks::subject_is(claims, client_id));
            }
            None => self.note("sub", format!("{sub}; iss is missing")),
        }
        self.judge("aud", found(claims, "aud"), checks::audience(claims, explain.audiences));
        let (now, skew) = (explain.now, explain.skew);
        self.judge("exp", found_time(claims, "exp", now), checks::expiry(claims, now, skew));
        for name in ["nbf", "iat"] {
            let verdict = checks::not_in_the_future(claims, name, now, skew);
            self.judge(name, found_time(claims, name, now), verdict);
        }
        let jti = format!("{}; whether it is new is seen at the token endpoint", found(claims, "jti"));
        self.judge("jti", jti, checks::jti(claims));
    }

    /// Notes how a check went; what it found, if it passed.
    fn judge<T>(
        &mut self,
        name: &'static str,
        found: String,
        verdict: Result<T, AssertionError>,
    ) -> Option<T> {
        let (outcome, text, passed) = match verdict {
            Ok(passed) => (Outcome::Passed, found, Some(passed)),
            Err(error) => (Outcome::Failed, format!("{error} (found: {found})"), None),
        };
        self.0.push(Check { name, outcome, text });
        passed
    }

    fn note(&mut self, name: &'static str, text: String) {
        self.0.push(Check { name, outcome: Outcome::NotChecked, text });
    }

    fn skip(&mut self, names: &[&'static str], why: &str) {
        for name in names {
            self.note(name, why.to_owned());
        }
    }
}

/// A member as JSON.
fn found(members: &Map<String, Value>, name: &str) -> String {
    match members.get(name) {
        Some(value) => cut(&value.to_string()),
        None => format!("no {name}"),
    }
}

/// A time as JSON, and how far it is from now.
fn found_time(claims: &Map<String, Value>, name: &str, now: DateTime<Utc>) -> String {
    let found = found(claims, name);
    match claims::time(claims, name) {
        Ok(Some(time)) => {
            let ahead = time - claims::seconds(now);
            let (distance, side) = if ahead < 0.0 { (-ahead, "ago") } else { (ahead, "ahead") };
            format!("{found}, which is {} {side}", cut(&format!("{distance:.0} s")))
        }
        _ => found,
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
