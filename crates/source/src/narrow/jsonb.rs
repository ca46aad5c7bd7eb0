//! Finished resources in `jsonb`: paths in which a value must be found.
//!
//! Below each element of a parameter's path everything is looked at (`.**`), so that arrays, however deep, and
//! all shapes of an element are found by one path. Paths are asked by the operator `@?`, which a GIN index on
//! the column can serve, and which never fails on what it finds.

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use headgate_domain::ids;
use headgate_domain::search::{self, Criterion, End, Need, Side, Value};

use super::wanted::{self, Wanted};

pub(super) fn wanted(criterion: &Criterion) -> Wanted {
    let mut any = Vec::new();
    let mut ids = Vec::new();
    for value in &criterion.values {
        match predicate(value) {
            Predicate::Always => return Wanted::Always,
            Predicate::Never => {}
            Predicate::Id(id) => ids.push(id),
            Predicate::If(predicate) => any.push(predicate),
        }
    }
    if !ids.is_empty() {
        any.push(refers_to_one_of(&ids));
    }
    if any.is_empty() {
        return Wanted::Never;
    }
    let any = any.join(" || ");
    Wanted::any(criterion.parameter.paths.iter().map(|path| {
        let steps: String = path.iter().map(|name| format!(".{}.**", literal(name))).collect();
        let path = wanted::Value::Text(format!("${steps} ? ({any})"));
        Wanted::test("r.resource @? ", path, "::jsonpath")
    }))
}

/// What must be true of something below the element.
enum Predicate {
    Always,
    Never,
    /// A reference to this id.
    Id(String),
    If(String),
}

/// The id stands alone or behind a slash, at the end or before a version. One pattern for all, because the
/// server keeps only a few.
fn refers_to_one_of(ids: &[String]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| id.replace('.', "[.]")).collect();
    format!("@.reference like_regex {}", literal(&format!("(^|/)({})(/_history/|$)", ids.join("|"))))
}

fn predicate(value: &Value) -> Predicate {
    match value {
        Value::Token { system, code } => {
            let system = system.as_deref().filter(|system| !system.is_empty());
            let mut texts = system.into_iter().chain(code.as_deref());
            match writable(&mut texts) {
                Predicate::If(_) => token(system, code.as_deref()),
                other => other,
            }
        }
        // Of an id as FHIR allows it nothing means something else in a pattern, but for the dot.
        Value::Reference { id, .. } if ids::is_fhir_id(id) => Predicate::Id(id.clone()),
        Value::Reference { .. } => Predicate::Always,
        Value::Date { prefix, from, to } => match search::needs(*prefix, *from, *to) {
            Some(lists) => Predicate::If(time(&lists)),
            None => Predicate::Always,
        },
        // Asked of the row, not of the body.
        Value::Id(_) => Predicate::Always,
    }
}

/// Whether the texts can be part of a path: no database has a NUL in its texts, and not all have what is beyond
/// ASCII.
fn writable(texts: &mut dyn Iterator<Item = &str>) -> Predicate {
    let mut all = Predicate::If(String::new());
    for text in texts {
        if text.contains('\0') {
            return Predicate::Never;
        }
        if !text.is_ascii() {
            all = Predicate::Always;
        }
    }
    all
}

/// A code as it stands, or a Coding or Identifier of the system.
fn token(system: Option<&str>, code: Option<&str>) -> Predicate {
    Predicate::If(match (system.map(literal), code) {
        (None, None) => return Predicate::Always,
        (None, Some(flag @ ("true" | "false"))) => format!("@ == {} || @ == {flag}", literal(flag)),
        (None, Some(code)) => format!("@ == {}", literal(code)),
        (Some(system), None) => format!("@.system == {system}"),
        (Some(system), Some(code)) => {
            let code = literal(code);
            format!("(@.system == {system} && (@.code == {code} || @.value == {code}))")
        }
    })
}

/// A text on the right side, or a Period with such ends. A Timing is left to the finished resource.
fn time(lists: &[Vec<Need>]) -> String {
    let any = |one: &dyn Fn(&Need) -> String| {
        let all = |list: &Vec<Need>| format!("({})", list.iter().map(one).collect::<Vec<_>>().join(" && "));
        format!("({})", lists.iter().map(all).collect::<Vec<_>>().join(" || "))
    };
    let moment = any(&|need| on_side("@", need.side));
    let period = any(&|need| {
        let end = match need.end {
            End::Start => "@.start",
            End::Stop => "@.end",
        };
        let on_side = on_side(end, need.side);
        if need.or_missing { format!("(!exists({end}) || {on_side})") } else { on_side }
    });
    format!("{moment} || (@.type() == \"object\" && (exists(@.event) || exists(@.repeat) || {period}))")
}

/// Compares texts, which are dates and moments of any precision and zone, in the order of their characters, with
/// two days of room for zones. One that is less precise than a day comes before every day in it.
fn on_side(text: &str, side: Side) -> String {
    let room = TimeDelta::days(2);
    match side {
        Side::From(time) => match time.checked_sub_signed(room).and_then(day) {
            Some(day) => {
                let [year, month] = [&day[..4], &day[..7]].map(literal);
                format!("({text} >= {} || {text} == {year} || {text} == {month})", literal(&day))
            }
            None => ANY_TEXT.replace('@', text),
        },
        Side::UpTo(time) => match time.checked_add_signed(room).and_then(day) {
            Some(day) => format!("{text} < {}", literal(&day)),
            None => ANY_TEXT.replace('@', text),
        },
    }
}

/// True of every text.
const ANY_TEXT: &str = "@ >= \"\"";

/// The day, in the years that a FHIR date can have.
fn day(time: DateTime<Utc>) -> Option<String> {
    (1..=9999).contains(&time.year()).then(|| time.format("%Y-%m-%d").to_string())
}

/// A text as a path has it: as in JSON.
fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
