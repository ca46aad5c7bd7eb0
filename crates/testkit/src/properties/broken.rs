//! Requests with something wrong, and what that must lead to.

use headgate_domain::ResourceType;
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::ask::{Ask, Given, Verdict};
use super::elements::Element;
use super::values;

/// Adds something wrong to a request; returns what must come of it.
pub(super) fn spoil(
    random: &mut StdRng,
    ask: &mut Ask,
    given: &mut Vec<Given>,
    of_types: &[String],
) -> Verdict {
    let wrong = match random.random_range(0..5) {
        0 => return instant(random, given),
        1 | 2 => filter(random, ask, of_types),
        3 => Wrong::ignored(unknown(random)),
        _ => types(random, ask),
    };
    let name = wrong.given.name.as_str();
    if name == "allowPartialManifests" && given.iter().any(|parameter| parameter.name == name) {
        return Verdict::AsMeant;
    }
    if name == "_elements" && ask.elements.is_empty() {
        // Ignored, it still restricts: to what stays always.
        ask.elements.push(Element { resource_type: None, name: "id".to_owned(), member: None });
    }
    given.insert(random.random_range(0..=given.len()), wrong.given);
    if ask.lenient && wrong.can_be_ignored { Verdict::AsMeant } else { Verdict::Refused(wrong.why) }
}

struct Wrong {
    given: Given,
    can_be_ignored: bool,
    why: &'static str,
}

impl Wrong {
    fn ignored((given, why): (Given, &'static str)) -> Self {
        Self { given, can_be_ignored: true, why }
    }
}

/// Never ignored: an export must not be wider than somebody thinks.
fn instant(random: &mut StdRng, given: &mut Vec<Given>) -> Verdict {
    let values = [
        "2020-01-10",
        "2020",
        "2020-01",
        "",
        "now",
        "infinity",
        "2020-13-01T00:00:00Z",
        "2020-02-30T00:00:00Z",
        "2020-01-01T24:00:00Z",
        "2020-01-01T00:00:60Z",
        "2020-01-01T00:00Z",
        "0000-60-01T30:70:80+05:00",
        "2020-01-01T00:00:00+15:00",
        "2020-01-01T00:00:00.1234567890Z",
        "2020-01-01 00:00:00Z",
        "1577836800",
        "2020-01-01T00:00:00Z,2020-01-02T00:00:00Z",
        "２０２０-01-01T00:00:00Z",
    ];
    let name = ["_since", "_until"].choose(random).copied().unwrap_or("_since");
    let future = random.random_bool(0.1);
    given.retain(|parameter| parameter.name != name);
    if future {
        given.push(Given::text("_since", "2957-01-01T00:00:00Z"));
        return Verdict::Refused("_since lies in the future");
    }
    let value = values.choose(random).copied().unwrap_or_default();
    if random.random_bool(0.1) {
        for _ in 0..2 {
            given.push(Given::text(name, "2020-01-05T00:00:00Z"));
        }
        return Verdict::Refused("a bound is given twice");
    }
    given.push(Given::text(name, value));
    Verdict::Refused("it is no instant")
}

fn unknown(random: &mut StdRng) -> (Given, &'static str) {
    let (name, value) = [
        ("foo", "1"),
        ("_typefilter", "Patient?active=true"),
        ("_Since", "2020-01-01T00:00:00Z"),
        ("organizeOutputBy", "Patient"),
        ("allowPartialManifests", "yes"),
        ("includeAssociatedData", "_custom"),
        ("includeAssociatedData", ""),
        ("_elements", "Patient.nonsense"),
        ("_elements", "Patient.name.family"),
        ("_elements", "Nonsense.id"),
        ("_elements", ""),
        ("_count", "5"),
        ("_sort", "-date"),
        ("", "x"),
    ]
    .choose(random)
    .copied()
    .unwrap_or(("foo", "1"));
    (Given::text(name, value), "a parameter or its value is not known")
}

/// What a list of types names wrongly. Ignored, it still restricts.
fn types(random: &mut StdRng, ask: &mut Ask) -> Wrong {
    let name =
        ["MissingType", "patient", "Binary", "", "Patient Observation", "*", "Patient;Goal", "Patient\0"]
            .choose(random)
            .copied()
            .unwrap_or("MissingType");
    ask.types.get_or_insert_default();
    Wrong::ignored((Given::text("_type", name), "a type is not known"))
}

/// A filter that nobody can read. Ignored, it still restricts its type, if that can be told.
fn filter(random: &mut StdRng, ask: &mut Ask, of_types: &[String]) -> Wrong {
    let fallback = "Patient".to_owned();
    let t = of_types.choose(random).unwrap_or(&fallback);
    let templates = [
        "{T}?nonsense=1",
        "{T}?_id:not=x",
        "{T}?_id:missing=true",
        "{T}?_lastUpdated:in=x",
        "{T}?subject.name=x",
        "{T}?patient:Patient.gender=male",
        "{T}?_count=5",
        "{T}?_sort=_id",
        "{T}?_include={T}:patient",
        "{T}?_elements=id",
        "{T}?_has:Observation:patient:code=x",
        "{T}?_id=",
        "{T}?",
        "{T}",
        "{T}?_lastUpdated=2020-13",
        "{T}?_lastUpdated=ap2020",
        "{T}?_lastUpdated=yesterday",
        "{T}?_lastUpdated=gt",
        "{T}?_id=white space",
        "{T}?_id=a/b",
        "{T}?=x",
        "{T}?_id=x&",
        "{T}?_id",
        "{T}?_id=x,,y",
        "{T}?_filter=a eq b",
        "{T}?_text=x",
        "{T}?name=x",
        "{T}?_list=1",
        "{T}?code:text=x",
        "Nonsense?_id=x",
        "?_id=x",
        "",
        "{T}/1?_id=x",
        "{T}?_id=x&_id:exact=x",
        "Patient/x/{T}?_id=x",
    ];
    let text = templates.choose(random).copied().unwrap_or("{T}").replace("{T}", t);
    let before = text.split('?').next().unwrap_or_default().trim();
    if let Ok(restricted) = before.parse::<ResourceType>() {
        ask.unreadable.insert(restricted.name().to_owned());
    }
    let tolerated = text.ends_with("?_id=x&");
    let why = "a filter cannot be read";
    if tolerated || (text.contains("?name=") && values::supported(t).contains(&"name")) {
        // An empty part of a query says nothing: some servers read over it.
        return Wrong::ignored((Given::text("_typeFilter", format!("{t}?nonsense=1")), why));
    }
    Wrong::ignored((Given::text("_typeFilter", text), why))
}
