//! Every supported search parameter of every type, alone, with many values: in each export one filter per type.

use std::collections::BTreeMap;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::ask::{Ask, Case, Form, Given, Verdict, Wire, body, query};
use super::generate::Draw;
use super::sites::Site;
use super::values;
use crate::Level;
use crate::oracle::search::{Criterion, Query, definition};

/// The cases of a site, with so many filters of each parameter.
///
/// # Errors
/// The parameters that the server supports and the oracle does not know.
pub(super) fn cases(seed: u64, at: usize, site: &Site, each: usize) -> Result<Vec<Case>, String> {
    let mut draw = Draw { random: StdRng::seed_from_u64(seed), site, given: Vec::new() };
    let mut filters: BTreeMap<&str, Vec<Query>> = BTreeMap::new();
    for t in site.data.in_source() {
        let names = values::supported(t);
        if names.is_empty() {
            return Err(format!("{t} has no search parameters"));
        }
        let unknown: Vec<&str> = names.iter().copied().filter(|name| definition(t, name).is_none()).collect();
        if !unknown.is_empty() {
            return Err(format!(
                "FHIR R4 and US Core have no such parameters of {t}: {}",
                unknown.join(", ")
            ));
        }
        let mut of_type = Vec::new();
        for _ in 0..each {
            for name in &names {
                let Some(wanted) = values::wanted(&mut draw.random, &site.data, t, name) else { continue };
                let criterion = Criterion { parameter: (*name).to_owned(), values: vec![wanted] };
                of_type.push(Query { resource_type: t.clone(), criteria: vec![criterion] });
            }
        }
        of_type.reverse();
        filters.insert(t, of_type);
    }
    let mut cases = Vec::new();
    loop {
        let round: Vec<Query> = filters.values_mut().filter_map(Vec::pop).collect();
        if round.is_empty() {
            return Ok(cases);
        }
        cases.push(case(&mut draw, at, cases.len() as u64, round));
    }
}

fn case(draw: &mut Draw<'_>, site: usize, number: u64, round: Vec<Query>) -> Case {
    let level = if number.is_multiple_of(2) { Level::System } else { Level::Patient };
    let mut ask = Ask::new(level);
    ask.types = Some(round.iter().map(|query| query.resource_type.clone()).collect());
    let names: Vec<&str> = round.iter().map(|query| query.resource_type.as_str()).collect();
    let mut given = vec![Given::text("_type", names.join(","))];
    given.extend(round.iter().map(|query| Given::text("_typeFilter", draw.filter_text(query))));
    ask.filters = round;
    let mut headers =
        vec![("accept", "application/fhir+json".to_owned()), ("prefer", "respond-async".to_owned())];
    let path = ask.level.path();
    let get = format!("{path}?{}", query(&given, false));
    // A long query is no test of filters.
    let wire = if number.is_multiple_of(3) && get.len() < 4000 {
        Wire { form: Form::Get, path: get, headers, body: Vec::new() }
    } else {
        headers.push(("content-type", "application/fhir+json".to_owned()));
        Wire { form: Form::Post, path, headers, body: body(&given) }
    };
    Case { number, site, client: 0, ask, wires: vec![wire], verdict: Verdict::AsMeant }
}
