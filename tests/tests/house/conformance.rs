//! That docs/CONFORMANCE.md tells the truth: each requirement names code that is there and tests that are there, or
//! why it is refused; and every test of the conformance suite is named.

use std::collections::BTreeSet;
use std::path::Path;

use crate::rust_text::code_only;
use crate::{assert_kept, files, root, text};

const PAGE: &str = "docs/CONFORMANCE.md";

/// The suite of which the page names every test.
const SUITE: &str = "tests/tests/conformance";

/// What a row says in place of tests.
const REFUSED: &str = "[refused](#conscious-refusals)";

/// The levels of a requirement: those of the guide, and what a public test suite wants beyond it.
const LEVELS: &[&str] = &["MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY", "suite"];

/// A requirement on the page.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    line: usize,
    level: String,
    paths: Vec<String>,
    tests: Vec<String>,
    refused: bool,
}

#[test]
fn every_requirement_has_code_and_tests_or_a_refusal() {
    let mut sources = Vec::new();
    for path in files("rs") {
        let text = std::fs::read_to_string(root().join(&path)).expect("the file is readable");
        sources.push((path, tests(&code_only(&text))));
    }
    let all: BTreeSet<&str> = sources.iter().flat_map(|(_, tests)| tests).map(String::as_str).collect();
    let suite = sources.iter().filter(|(path, _)| path.starts_with(SUITE)).flat_map(|(_, tests)| tests);
    let suite: BTreeSet<&str> = suite.map(String::as_str).collect();
    assert!(suite.len() > 50, "few tests were found");
    let page = text(PAGE);
    let (rows, mut violations) = rows(&page);
    assert!(rows.len() > 50, "few requirements were found");
    violations.extend(broken(&rows, &all, |path| root().join(path).exists()));
    violations.extend(unnamed(&rows, &suite));
    assert_kept(&violations);
}

/// The requirements of the page, and what stands in its tables that cannot be read as one.
fn rows(page: &str) -> (Vec<Row>, Vec<String>) {
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    let mut inside = false;
    for (line, text) in (1..).zip(page.lines()) {
        let Some(cells) = text.strip_prefix('|') else {
            inside = false;
            continue;
        };
        let cells: Vec<&str> = cells.trim_end().trim_end_matches('|').split('|').map(str::trim).collect();
        if cells.first().is_some_and(|cell| *cell == "Requirement") {
            inside = true;
        } else if inside && !cells.iter().all(|cell| cell.starts_with("---")) {
            match cells.as_slice() {
                [_, level, _, how, tests] if LEVELS.contains(level) => rows.push(Row {
                    line,
                    level: (*level).to_owned(),
                    paths: quoted(how).into_iter().filter(|word| word.contains('/')).collect(),
                    tests: quoted(tests),
                    refused: tests.contains(REFUSED),
                }),
                _ => wrong
                    .push(format!("{PAGE}:{line}: requirement, level, versions, how and tests are wanted")),
            }
        }
    }
    (rows, wrong)
}

/// The words in backticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The functions of a file that are tests.
fn tests(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut marked = false;
    for line in code.lines().map(str::trim) {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| marked) {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
            marked = false;
        }
    }
    found
}

/// Rows that name what is not there, or prove nothing.
fn broken(rows: &[Row], tests: &BTreeSet<&str>, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for row in rows {
        let mut say = |what: String| found.push(format!("{PAGE}:{}: {what}", row.line));
        for path in row.paths.iter().filter(|path| !exists(Path::new(path))) {
            say(format!("{path} is not there"));
        }
        for test in row.tests.iter().filter(|test| !tests.contains(test.as_str())) {
            say(format!("there is no test {test}"));
        }
        let must = row.level.starts_with("MUST");
        if row.tests.is_empty() && (must || !row.refused) {
            say(if must {
                "a MUST without a test".to_owned()
            } else {
                "neither test nor refusal".to_owned()
            });
        }
        if row.paths.is_empty() && !row.refused {
            say("no code is named".to_owned());
        }
    }
    found
}

/// Tests of the suite that no row names.
fn unnamed(rows: &[Row], suite: &BTreeSet<&str>) -> Vec<String> {
    let named: BTreeSet<&str> = rows.iter().flat_map(|row| &row.tests).map(String::as_str).collect();
    suite.difference(&named).map(|test| format!("{PAGE} does not name the test {test}")).collect()
}

#[test]
fn rows_that_prove_nothing_and_names_of_nothing_are_found() {
    let page = "\
| Requirement | Level | Versions | How | Tests |
| --- | --- | --- | --- | --- |
| a | MUST | 1 | `crates/a.rs`, by `word` | `good` `gone` |
| b | MUST | 1 | `crates/b.rs` | [refused](#conscious-refusals) |
| c | MAY | 1 | | [refused](#conscious-refusals) |
| d | SHOULD | 1 | `crates/a.rs` | |
| e | MIGHT | 1 | `crates/a.rs` | `good` |
| f | MAY | 1 | nothing | `good` |

| Something else | b |
| --- | --- |
| x | `y` |
";
    let (rows, wrong) = rows(page);
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    let tests_there = BTreeSet::from(["good", "unnamed"]);
    let broken = broken(&rows, &tests_there, |path| path == Path::new("crates/a.rs"));
    let of = |line: usize| broken.iter().filter(|text| text.contains(&format!(":{line}:"))).count();
    assert_eq!([3, 4, 5, 6, 8].map(of), [1, 2, 0, 1, 1], "{broken:?}");
    assert_eq!(unnamed(&rows, &tests_there), ["docs/CONFORMANCE.md does not name the test unnamed"]);
    let code = "#[test]\nfn a() {}\nfn b() {}\n#[tokio::test(x)]\nasync fn c() {}\n";
    assert_eq!(tests(code), ["a", "c"]);
}
