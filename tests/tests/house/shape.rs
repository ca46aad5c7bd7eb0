//! How long files and functions may be, and what must not stand in them.

use std::collections::BTreeSet;
use std::path::Path;

use crate::rust_text::{code_only, functions, without_tests};
use crate::{assert_kept, files, root};

/// Lines of a file without its tests.
const FILE_LINES: usize = 500;

/// Lines of a function, tests too.
const FUNCTION_LINES: usize = 80;

/// What must not stand in any code, and what to do instead.
const BANNED: &[(&str, &str)] = &[
    ("#[allow(", "use #[expect(…, reason = \"…\")]"),
    ("#![allow(", "use #![expect(…, reason = \"…\")]"),
    ("#[ignore", "a test that is not run proves nothing"),
    ("todo!(", "do it, or leave it out"),
    ("unimplemented!(", "do it, or leave it out"),
    ("dbg!(", "use tracing"),
];

#[test]
fn files_and_functions_are_short_and_nothing_is_left_undone() {
    let files = files("rs");
    assert!(files.len() > 100, "few files were found");
    let mut sources = Vec::new();
    let mut for_tests = BTreeSet::from(["tests".to_owned()]);
    for path in files {
        let text = std::fs::read_to_string(root().join(&path)).expect("the file is readable");
        let code = code_only(&text);
        let (kept, modules) = without_tests(&code);
        for_tests.extend(modules);
        sources.push((path, code, kept));
    }
    let mut violations = Vec::new();
    for (path, code, kept) in &sources {
        let name = path.display().to_string();
        violations.extend(everywhere(&name, code));
        if !is_for_tests(path, &for_tests) {
            violations.extend(outside_tests(&name, kept));
        }
    }
    assert_kept(&violations);
}

/// Whether a file is part of a test or of what tests are built with.
fn is_for_tests(path: &Path, modules: &BTreeSet<String>) -> bool {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.starts_with("tests")
        || path.starts_with("crates/testkit")
        || stem.ends_with("_tests")
        || modules.contains(stem.as_ref())
        || path.components().any(|c| c.as_os_str() == "tests")
}

fn everywhere(name: &str, code: &str) -> Vec<String> {
    let banned = BANNED.iter().filter(|(word, _)| code.contains(word));
    let mut found: Vec<String> =
        banned.map(|(word, instead)| format!("{name} has {word}: {instead}")).collect();
    for function in functions(code).iter().filter(|f| f.lines > FUNCTION_LINES) {
        let (line, lines, function) = (function.line, function.lines, &function.name);
        found.push(format!(
            "{name}:{line} fn {function} has {lines} lines, more than {FUNCTION_LINES}: split it"
        ));
    }
    found
}

fn outside_tests(name: &str, kept: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = kept.lines().count();
    if lines > FILE_LINES {
        found.push(format!("{name} has {lines} lines without its tests, more than {FILE_LINES}: split it"));
    }
    if kept.contains(".unwrap()") {
        found.push(format!(
            "{name} has .unwrap() outside tests: return the error, or expect(\"why it cannot fail\")"
        ));
    }
    found
}

#[test]
fn every_breach_of_shape_is_found() {
    let long = format!("fn long() {{\n{}}}\n", "    step();\n".repeat(FUNCTION_LINES));
    assert_eq!(everywhere("a.rs", &long).len(), 1);
    assert_eq!(everywhere("a.rs", "#[allow(dead_code)]\nfn a() { todo!() }\n").len(), 2);
    assert_eq!(everywhere("a.rs", &code_only("// todo!()\nfn a() -> &str { \"dbg!(\" }\n")), [""; 0]);
    assert_eq!(outside_tests("a.rs", &"\n".repeat(FILE_LINES + 1)).len(), 1);
    assert_eq!(outside_tests("a.rs", "a.b().unwrap();").len(), 1);
    assert_eq!(outside_tests("a.rs", "a.b().unwrap_or_default();"), [""; 0]);
}

#[test]
fn files_of_tests_are_told_from_code() {
    let modules = BTreeSet::from(["fixtures".to_owned()]);
    for path in [
        "tests/tests/a.rs",
        "crates/a/src/b_tests.rs",
        "crates/a/src/fixtures.rs",
        "crates/a/src/b/tests/c.rs",
    ] {
        assert!(is_for_tests(Path::new(path), &modules), "{path}");
    }
    assert!(!is_for_tests(Path::new("crates/a/src/b.rs"), &modules));
}
