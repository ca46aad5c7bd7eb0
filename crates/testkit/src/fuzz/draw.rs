//! Drawing texts, bytes and JSON that nobody expects.

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::{Map, Value, json};

const ODD: [&str; 22] = [
    "",
    " ",
    "\0",
    "null",
    "NaN",
    "-1",
    "1e308",
    "99999999999999999999",
    "../../etc/passwd",
    "..%2f",
    "' OR 1=1 --",
    "\"",
    "\u{202e}",
    "\u{feff}",
    "é",
    "𝔘",
    "%00",
    "%",
    "{{7*7}}",
    "\r\nX-Injected: 1",
    "system/*.rs",
    "2024-02-30T25:61:61Z",
];

/// A text: an odd one, or random characters.
pub(super) fn text(random: &mut StdRng) -> String {
    if random.random_bool(0.4) {
        return ODD.choose(random).copied().unwrap_or_default().to_owned();
    }
    let length =
        if random.random_bool(0.05) { random.random_range(0..3_000) } else { random.random_range(0..40) };
    (0..length).map(|_| character(random)).collect()
}

fn character(random: &mut StdRng) -> char {
    match random.random_range(0..10) {
        0..7 => char::from(random.random_range(0x20..0x7f_u8)),
        7 => char::from(random.random_range(0..0x20_u8)),
        8 => char::from(random.random_range(0x7f..=0xff_u8)),
        _ => char::from_u32(random.random_range(0..0x11_0000)).unwrap_or('\u{fffd}'),
    }
}

/// Any bytes.
pub(super) fn bytes(random: &mut StdRng, most: usize) -> Vec<u8> {
    (0..random.random_range(0..most)).map(|_| random.random()).collect()
}

/// One of these, or any text.
pub(super) fn one_of(random: &mut StdRng, usual: &[&str]) -> String {
    if random.random_bool(0.7) {
        usual.choose(random).copied().unwrap_or_default().to_owned()
    } else {
        text(random)
    }
}

/// Any JSON value, not deeper than `depth`.
pub(super) fn value(random: &mut StdRng, depth: u32) -> Value {
    match random.random_range(0..if depth == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => Value::Bool(random.random()),
        2 => json!(random.random::<i64>()),
        3 => json!(random.random_range(-1e300..1e300_f64)),
        4 | 5 => Value::String(text(random)),
        6 => (0..random.random_range(0..4)).map(|_| value(random, depth - 1)).collect(),
        _ => {
            let members = (0..random.random_range(0..4)).map(|_| (text(random), value(random, depth - 1)));
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

/// Changes some of a document's members, at any depth.
pub(super) fn mutate(random: &mut StdRng, document: &mut Value) {
    match document {
        Value::Object(members) if !members.is_empty() && random.random_bool(0.9) => {
            let names: Vec<String> = members.keys().cloned().collect();
            let name = names.choose(random).cloned().unwrap_or_default();
            match random.random_range(0..6) {
                0 => drop(members.remove(&name)),
                1 => drop(members.insert(text(random), value(random, 2))),
                2 => {
                    let moved = members.remove(&name).unwrap_or_default();
                    members.insert(format!("{name}x"), moved);
                }
                _ => mutate(random, members.entry(name).or_insert(Value::Null)),
            }
        }
        Value::Array(items) if !items.is_empty() && random.random_bool(0.9) => {
            let at = random.random_range(0..items.len());
            match random.random_range(0..4) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                _ => mutate(random, &mut items[at]),
            }
        }
        other => *other = value(random, 2),
    }
}

/// Damages a text: flips, drops, doubles or swaps pieces of it.
pub(super) fn damage(random: &mut StdRng, given: &str) -> String {
    let mut characters: Vec<char> = given.chars().collect();
    for _ in 0..random.random_range(1..4) {
        if characters.is_empty() {
            break;
        }
        let at = random.random_range(0..characters.len());
        match random.random_range(0..5) {
            0 => drop(characters.remove(at)),
            1 => characters.insert(at, character(random)),
            2 => characters.truncate(at),
            3 => characters.extend_from_within(at..),
            _ => characters[at] = character(random),
        }
        characters.truncate(20_000);
    }
    characters.into_iter().collect()
}
