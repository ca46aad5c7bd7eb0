//! Cases, drawn from a seed: each is the same whenever seed, number and data are the same.

use std::collections::BTreeSet;

use chrono::{DateTime, FixedOffset, SecondsFormat, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, RngCore as _, SeedableRng as _};

use super::ask::{Ask, Associated, Case, Form, Given, Verdict, Wire, body, encoded, query};
use super::broken;
use super::elements::{Element, element_of};
use super::junk;
use super::sites::{COVERED, Site};
use super::values;
use crate::Level;

/// The case of a number.
pub(super) fn case(seed: u64, number: u64, sites: &[Site]) -> Case {
    let mut random = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(number));
    let at = random.random_range(0..sites.len());
    Draw { random, site: &sites[at], given: Vec::new() }.case(number, at)
}

pub(super) struct Draw<'a> {
    pub random: StdRng,
    pub site: &'a Site,
    pub given: Vec<Given>,
}

impl Draw<'_> {
    fn case(mut self, number: u64, site: usize) -> Case {
        let client = [0, 0, 0, 1, 2, 3, 4].choose(&mut self.random).copied().unwrap_or(0);
        let only_groups = self.site.clients[client].groups.is_some();
        let level = self.level(only_groups);
        let mut ask = Ask::new(level);
        ask.lenient = self.random.random_bool(0.25);
        ask.separate = self.random.random_bool(0.1);
        if self.random.random_bool(0.08) {
            return junk::case(self, ask, number, site, client);
        }
        let types = self.types(&mut ask, client);
        self.window(&mut ask);
        self.filters(&mut ask, &types);
        self.elements(&mut ask, &types);
        let post_only = self.patients(&mut ask);
        self.associated(&mut ask);
        self.delivery(&mut ask);
        let mut verdict = Verdict::AsMeant;
        if self.random.random_bool(0.25) {
            verdict = broken::spoil(&mut self.random, &mut ask, &mut self.given, &types);
        }
        if post_only && ask.level == Level::System {
            verdict = Verdict::Refused("$export has no patients to choose from");
        }
        let (headers, refused) = self.headers(&ask);
        if let Some(why) = refused {
            verdict = Verdict::Refused(why);
        }
        let wires = self.wires(&ask, &headers, post_only);
        Case { number, site, client, ask, wires, verdict }
    }

    fn level(&mut self, only_groups: bool) -> Level {
        let group = [COVERED, COVERED, COVERED, "mixed", "empty", "no-such-group"];
        let group = if only_groups { &group[..] } else { &group[2..] };
        let group = group.choose(&mut self.random).copied().unwrap_or(COVERED);
        match self.random.random_range(0..if only_groups { 12 } else { 6 }) {
            0 | 1 => Level::System,
            2 | 3 if !only_groups => Level::Patient,
            2 => Level::Patient,
            _ => Level::Group(group.to_owned()),
        }
    }

    /// `_type`; returns the types that the rest of the request speaks of.
    fn types(&mut self, ask: &mut Ask, client: usize) -> Vec<String> {
        let site = self.site;
        let all: Vec<String> = site.data.in_source().iter().cloned().collect();
        let readable: Vec<String> =
            all.iter().filter(|t| site.clients[client].may_read(t)).cloned().collect();
        if self.random.random_bool(0.25) {
            return readable;
        }
        let within = if self.random.random_bool(0.93) { &readable } else { &all };
        let mut named: Vec<String> = Vec::new();
        for _ in 0..self.random.random_range(1..=4) {
            named.extend(within.choose(&mut self.random).cloned());
        }
        if named.is_empty() {
            return readable;
        }
        ask.types = Some(named.iter().cloned().collect());
        let mut lists: Vec<Vec<String>> = vec![Vec::new()];
        for name in &named {
            if self.random.random_bool(0.3) {
                lists.push(Vec::new());
            }
            if let Some(list) = lists.last_mut() {
                list.push(name.clone());
            }
        }
        lists.retain(|list| !list.is_empty());
        let between = if self.random.random_bool(0.1) { ", " } else { "," };
        self.given.extend(lists.iter().map(|list| Given::text("_type", list.join(between))));
        named
    }

    fn window(&mut self, ask: &mut Ask) {
        if self.random.random_bool(0.4) {
            let (time, text) = self.instant();
            ask.since = Some(time);
            self.given.push(Given { member: "valueInstant", ..Given::text("_since", text) });
        }
        if self.random.random_bool(0.25) {
            let (time, text) = self.instant();
            ask.until = Some(time);
            self.given.push(Given { member: "valueInstant", ..Given::text("_until", text) });
        }
    }

    /// A time near a stamp, and one of the ways to write it.
    fn instant(&mut self) -> (DateTime<Utc>, String) {
        let n = usize::try_from(self.random.next_u32()).unwrap_or_default();
        let stamp = self.site.data.nth("Patient", n).map_or(DateTime::UNIX_EPOCH, |r| r.stamp);
        let micros = [0, 0, 1, -1, 86_400_000_000, -86_400_000_000];
        let moved = stamp + TimeDelta::microseconds(micros.choose(&mut self.random).copied().unwrap_or(0));
        // Stamps of a practice that was made just now have no later time that is allowed.
        let time = if moved > Utc::now() { stamp } else { moved };
        let whole = DateTime::from_timestamp(time.timestamp(), 0).unwrap_or(time);
        let east = FixedOffset::east_opt(5 * 3600 + 1800).map(|zone| time.with_timezone(&zone));
        let micro = time.to_rfc3339_opts(SecondsFormat::Micros, true);
        match (self.random.random_range(0..6), east) {
            (0, _) => (whole, whole.to_rfc3339_opts(SecondsFormat::Secs, true)),
            (1, _) => (whole, whole.format("%Y-%m-%dT%H:%M:%S").to_string()),
            (2, Some(east)) => (time, east.to_rfc3339_opts(SecondsFormat::Micros, false)),
            // A plus that was not encoded arrives as a blank.
            (3, Some(east)) => (time, east.to_rfc3339_opts(SecondsFormat::Micros, false).replace('+', " ")),
            (4, _) => (time, micro.replace('Z', "-00:00")),
            _ => (time, micro),
        }
    }

    fn filters(&mut self, ask: &mut Ask, types: &[String]) {
        if !self.random.random_bool(0.5) {
            return;
        }
        let mut texts: Vec<String> = Vec::new();
        for _ in 0..self.random.random_range(1..=3) {
            let t = match types.choose(&mut self.random) {
                // Of a type that is not exported perhaps.
                Some(_) if self.random.random_bool(0.07) => "Observation",
                Some(t) => t,
                None => return,
            };
            let Some(query) = values::query(&mut self.random, &self.site.data, t) else { continue };
            texts.push(self.filter_text(&query));
            ask.filters.push(query);
        }
        // The form of versions 1 and 2: one list of queries.
        if texts.len() > 1 && self.random.random_bool(0.25) {
            texts = vec![texts.join(",")];
        }
        self.given.extend(texts.into_iter().map(|text| Given::text("_typeFilter", text)));
    }

    /// A query as clients write it: with values that are encoded once more, or as far as they have to be.
    pub(super) fn filter_text(&mut self, query: &crate::oracle::search::Query) -> String {
        let twice = self.random.random_bool(0.15);
        let criteria: Vec<String> = query
            .criteria
            .iter()
            .map(|criterion| {
                let values: Vec<String> = criterion.values.iter().map(ToString::to_string).collect();
                let value = values.join(",");
                let must = value.contains(['&', '%', '#', '+']) && !is_time(&value);
                let value = if twice || must { encoded(&value, false) } else { value };
                format!("{}={value}", criterion.parameter)
            })
            .collect();
        format!("{}?{}", query.resource_type, criteria.join("&"))
    }

    fn elements(&mut self, ask: &mut Ask, types: &[String]) {
        if !self.random.random_bool(0.2) {
            return;
        }
        let mut texts = Vec::new();
        for _ in 0..self.random.random_range(1..=4) {
            let n = usize::try_from(self.random.next_u32()).unwrap_or_default();
            let Some(resource) = types.choose(&mut self.random).and_then(|t| self.site.data.nth(t, n)) else {
                continue;
            };
            let members: Vec<&String> =
                resource.body.as_object().into_iter().flatten().map(|(name, _)| name).collect();
            let Some(member) = members.choose(&mut self.random).filter(|m| !m.starts_with('_')) else {
                continue;
            };
            if *member == "resourceType" {
                continue;
            }
            let name = element_of(member);
            let chosen = [name.to_owned(), (*member).clone(), format!("{name}[x]")];
            let written = if name == *member { &chosen[..1] } else { &chosen[..] };
            let written = written.choose(&mut self.random).cloned().unwrap_or_default();
            let of_type = self.random.random_bool(0.5).then(|| resource.resource_type.clone());
            texts.push(of_type.as_ref().map_or(written.clone(), |t| format!("{t}.{written}")));
            let named = (written == **member && name != *member).then_some(written);
            ask.elements.push(Element { resource_type: of_type, name: name.to_owned(), member: named });
        }
        if !texts.is_empty() {
            self.given.push(Given::text("_elements", texts.join(",")));
        }
    }

    /// `patient`, which only a POST may have; whether there is one.
    fn patients(&mut self, ask: &mut Ask) -> bool {
        if !self.random.random_bool(if ask.level == Level::System { 0.03 } else { 0.2 }) {
            return false;
        }
        let all = self.site.data.patients();
        let mut named = BTreeSet::new();
        for _ in 0..self.random.random_range(1..=4) {
            let unknown = self.random.random_bool(0.15);
            let id = all.choose(&mut self.random).filter(|_| !unknown).copied().unwrap_or("nobody");
            named.insert(id.to_owned());
            let reference =
                Given { member: "valueReference", ..Given::text("patient", format!("Patient/{id}")) };
            self.given.push(reference);
        }
        ask.patients = Some(named);
        true
    }

    fn associated(&mut self, ask: &mut Ask) {
        if !self.random.random_bool(0.15) {
            return;
        }
        let codes = ["LatestProvenanceResources", "RelevantProvenanceResources"];
        let (text, wanted) = match self.random.random_range(0..4) {
            0 => (codes[0].to_owned(), Associated::Latest),
            1 => (codes[1].to_owned(), Associated::Relevant),
            2 => (codes.join(","), Associated::Relevant),
            _ => {
                self.given.push(Given::text("includeAssociatedData", codes[1]));
                (codes[0].to_owned(), Associated::Relevant)
            }
        };
        let members = if text.contains(',') {
            &["valueString"][..]
        } else {
            &["valueString", "valueCode", "valueCoding"]
        };
        let member = members.choose(&mut self.random).copied().unwrap_or("valueString");
        self.given.push(Given { member, ..Given::text("includeAssociatedData", text) });
        ask.provenance = Some(wanted);
    }

    fn delivery(&mut self, ask: &mut Ask) {
        if self.random.random_bool(0.12) {
            ask.partial = self.random.random_bool(0.8);
            let value = ask.partial.to_string();
            self.given.push(Given { member: "valueBoolean", ..Given::text("allowPartialManifests", value) });
        }
        if self.random.random_bool(0.25) {
            let formats =
                ["ndjson", "application/ndjson", "application/fhir+ndjson", "Application/FHIR+NDJSON"];
            let format = formats.choose(&mut self.random).copied().unwrap_or("ndjson");
            self.given.push(Given::text("_outputFormat", format));
        }
        // What can be ordered freely is.
        self.given.shuffle(&mut self.random);
    }

    /// Headers, and why they must be refused.
    pub(super) fn headers(&mut self, ask: &Ask) -> (Vec<(&'static str, String)>, Option<&'static str>) {
        let mut preferences = vec!["respond-async".to_owned()];
        preferences.extend(ask.lenient.then(|| "handling=lenient".to_owned()));
        preferences.extend(ask.separate.then(|| "separate-export-status".to_owned()));
        if self.random.random_bool(0.2) {
            let others = ["wait=10", "return=minimal; q=1", "x"];
            preferences.extend(others.choose(&mut self.random).map(|other| (*other).to_owned()));
        }
        preferences.shuffle(&mut self.random);
        let accepts =
            ["application/fhir+json", "*/*", "application/json", "text/html, application/fhir+json;q=0.9"];
        let accept = accepts.choose(&mut self.random).copied().unwrap_or("*/*");
        let mut headers = vec![("accept", accept.to_owned())];
        match self.random.random_range(0..4) {
            0 => headers.extend(preferences.into_iter().map(|p| ("prefer", p))),
            1 => headers.push(("prefer", preferences.join(",").to_uppercase())),
            _ => headers.push(("prefer", preferences.join(", "))),
        }
        match self.random.random_range(0..60) {
            0 => {
                headers[0].1 = String::new();
                (headers, Some("Accept is empty"))
            }
            1 => {
                headers.retain(|(name, _)| *name != "prefer");
                (headers, Some("there is no Prefer"))
            }
            2 => {
                headers[0].1 = "text/html".to_owned();
                (headers, Some("JSON is not accepted"))
            }
            _ => (headers, None),
        }
    }

    fn wires(&mut self, ask: &Ask, headers: &[(&'static str, String)], post_only: bool) -> Vec<Wire> {
        let mut path = ask.level.path();
        if self.random.random_bool(0.15) {
            path = path.replace('$', "%24");
        }
        let sparing = self.random.random_bool(0.4);
        let content = ["application/fhir+json", "application/json", "application/fhir+json; charset=utf-8"];
        let content = content.choose(&mut self.random).copied().unwrap_or("application/json");
        let mut post = headers.to_vec();
        post.push(("content-type", content.to_owned()));
        let wire = Wire { form: Form::Post, path: path.clone(), headers: post, body: body(&self.given) };
        if post_only {
            return vec![wire];
        }
        let query = query(&self.given, sparing);
        let path = if query.is_empty() { path } else { format!("{path}?{query}") };
        vec![Wire { form: Form::Get, path, headers: headers.to_vec(), body: Vec::new() }, wire]
    }
}

/// Dates have no reserved character but the plus of a zone, which clients leave as it is.
fn is_time(value: &str) -> bool {
    value.chars().all(|c| c.is_ascii_digit() || "-:.TZ+,egltnsab".contains(c))
}
