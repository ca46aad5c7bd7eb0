//! A case: what a client asks for, and how it writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::elements::Element;
use crate::Level;
use crate::oracle::search::Query;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Which patients.
    pub level: Level,
    /// `_type`.
    pub types: Option<BTreeSet<String>>,
    /// `_since`.
    pub since: Option<DateTime<Utc>>,
    /// `_until`.
    pub until: Option<DateTime<Utc>>,
    /// `_typeFilter`.
    pub filters: Vec<Query>,
    /// Types that a `_typeFilter` restricts which nobody can read; handling is lenient.
    pub unreadable: BTreeSet<String>,
    /// `_elements`.
    pub elements: Vec<Element>,
    /// `patient`.
    pub patients: Option<BTreeSet<String>>,
    /// `includeAssociatedData`.
    pub provenance: Option<Associated>,
    /// `Prefer: handling=lenient`.
    pub lenient: bool,
    /// `allowPartialManifests=true`.
    pub partial: bool,
    /// `Prefer: separate-export-status`.
    pub separate: bool,
}

/// The Provenance that `includeAssociatedData` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Associated {
    /// `LatestProvenanceResources`
    Latest,
    /// `RelevantProvenanceResources`
    Relevant,
}

impl Ask {
    /// Everything of a level.
    #[must_use]
    pub fn new(level: Level) -> Self {
        Self {
            level,
            types: None,
            since: None,
            until: None,
            filters: Vec::new(),
            unreadable: BTreeSet::new(),
            elements: Vec::new(),
            patients: None,
            provenance: None,
            lenient: false,
            partial: false,
            separate: false,
        }
    }
}

/// What the answer must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// What the oracle makes of it.
    AsMeant,
    /// A refusal, for this reason.
    Refused(&'static str),
    /// A refusal, or anything within what level, client and types allow.
    Open,
}

/// A parameter as it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The member of a `Parameters` resource that holds the value.
    pub member: &'static str,
}

impl Given {
    /// With a value that is a text in a POST.
    pub fn text(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.to_owned(), value: value.into(), member: "valueString" }
    }

    fn json(&self) -> Value {
        let value = match self.member {
            "valueReference" => json!({ "reference": self.value }),
            "valueCoding" => json!({ "code": self.value }),
            "valueBoolean" => json!(self.value == "true"),
            _ => self.value.as_str().into(),
        };
        let mut parameter = json!({ "name": self.name });
        parameter[self.member] = value;
        parameter
    }
}

/// GET or POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The parameters are in the query.
    Get,
    /// They are in the body.
    Post,
}

/// A kick-off as it goes over the wire.
#[derive(Debug, Clone)]
pub struct Wire {
    /// GET or POST.
    pub form: Form,
    /// Path below the base URL, with the query.
    pub path: String,
    /// The headers, besides the token's.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// One kick-off, in one form or both, and what must come of it.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its number.
    pub number: u64,
    /// Which site, and which of its clients.
    pub site: usize,
    /// Which client of the site.
    pub client: usize,
    /// What is asked for.
    pub ask: Ask,
    /// How it is written: each of these means the same.
    pub wires: Vec<Wire>,
    /// What must come of it.
    pub verdict: Verdict,
}

/// The query of a GET. Some clients leave characters unencoded that have no meaning in a query.
pub(super) fn query(parameters: &[Given], sparing: bool) -> String {
    let mut query = String::new();
    for Given { name, value, .. } in parameters {
        if !query.is_empty() {
            query.push('&');
        }
        // Writing to a text cannot fail.
        let _written = write!(query, "{}={}", encoded(name, sparing), encoded(value, sparing));
    }
    query
}

/// Percent-encodes all but unreserved characters; `sparing` also leaves those that are legal in a query.
pub(super) fn encoded(text: &str, sparing: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        let stays =
            byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || sparing && b",:/?$*()".contains(&byte);
        if stays {
            out.push(char::from(byte));
        } else {
            let _written = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The `Parameters` resource of a POST.
pub(super) fn body(parameters: &[Given]) -> Vec<u8> {
    let list: Vec<Value> = parameters.iter().map(Given::json).collect();
    json!({ "resourceType": "Parameters", "parameter": list }).to_string().into_bytes()
}

impl Case {
    /// The case as a person can repeat it.
    #[must_use]
    pub fn describe(&self, sites: &[&str], clients: &[&str]) -> String {
        let mut text = format!(
            "case {} at the practice `{}` as `{}`, expected: {:?}\n",
            self.number,
            sites.get(self.site).unwrap_or(&"?"),
            clients.get(self.client).unwrap_or(&"?"),
            self.verdict
        );
        for wire in &self.wires {
            let method = if wire.form == Form::Get { "GET" } else { "POST" };
            let headers: BTreeMap<_, _> = wire.headers.iter().map(|(n, v)| (n, v)).collect();
            let body = String::from_utf8_lossy(&wire.body);
            let _written = writeln!(text, "  {method} {} {headers:?} {body}", wire.path);
        }
        for filter in &self.ask.filters {
            let _written = writeln!(text, "  filter {filter}");
        }
        text
    }
}
