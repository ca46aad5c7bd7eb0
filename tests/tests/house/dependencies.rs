//! The dependency rule:
//!
//! ```text
//! domain | metrics <- auth | store | source | objects | runtime <- api | worker <- cli
//! ```
//!
//! `metrics` is the list of what is measured and depends on nothing of ours; everybody but the domain, which measures
//! nothing, may count with it.
//!
//! Adapters never know each other; `api` and `worker` never know each other: they meet in PostgreSQL. `api`
//! does not know `source` either: the process that faces the internet never connects to a practice's EHR.

use serde_json::Value;

use crate::{assert_kept, cargo};

/// Which crates of ours a crate may depend on.
const MAY_USE: &[(&str, &[&str])] = &[
    ("headgate-domain", &[]),
    ("headgate-metrics", &[]),
    ("headgate-auth", &["headgate-domain", "headgate-metrics"]),
    ("headgate-store", &["headgate-domain", "headgate-metrics"]),
    ("headgate-source", &["headgate-domain", "headgate-metrics"]),
    ("headgate-objects", &["headgate-domain", "headgate-metrics"]),
    ("headgate-runtime", &["headgate-domain", "headgate-metrics"]),
    (
        "headgate-api",
        &[
            "headgate-domain",
            "headgate-metrics",
            "headgate-auth",
            "headgate-store",
            "headgate-objects",
            "headgate-runtime",
        ],
    ),
    (
        "headgate-worker",
        &[
            "headgate-domain",
            "headgate-metrics",
            "headgate-store",
            "headgate-source",
            "headgate-objects",
            "headgate-runtime",
        ],
    ),
    ("headgate-local", &["headgate-metrics"]),
    ("headgate-reference-ehr", &["headgate-domain", "headgate-metrics"]),
    (
        "headgate",
        &[
            "headgate-domain",
            "headgate-metrics",
            "headgate-auth",
            "headgate-store",
            "headgate-source",
            "headgate-objects",
            "headgate-runtime",
            "headgate-api",
            "headgate-worker",
            "headgate-local",
            "headgate-reference-ehr",
        ],
    ),
    (
        "headgate-testkit",
        &[
            "headgate-domain",
            "headgate-metrics",
            "headgate-auth",
            "headgate-store",
            "headgate-source",
            "headgate-objects",
            "headgate-local",
            "headgate-reference-ehr",
        ],
    ),
    ("headgate-tests", &["headgate-metrics"]),
];

/// What the tests of any crate may use as well.
const FOR_TESTS: &[&str] = &["headgate-local", "headgate-reference-ehr", "headgate-testkit"];

/// Libraries that only these crates may name, so that each outside world has one door.
const DOORS: &[(&str, &[&str])] = &[
    ("apalis", &["headgate-store"]),
    ("apalis-postgres", &["headgate-store"]),
    ("aws-sdk-s3", &["headgate-objects"]),
    ("axum", &["headgate-api", "headgate-runtime"]),
    ("jsonwebtoken", &["headgate-auth"]),
    (
        "sqlx",
        &[
            "headgate-store",
            "headgate-source",
            "headgate-local",
            "headgate-reference-ehr",
            // The demo and `ehr load` prepare databases.
            "headgate",
            "headgate-testkit",
        ],
    ),
];

/// What a crate without input and output has no use for.
const INPUT_AND_OUTPUT: &[&str] = &["tokio", "sqlx", "reqwest", "axum", "hyper", "aws-sdk-s3", "figment"];

#[derive(Debug)]
struct Dependency {
    of: String,
    on: String,
    dev: bool,
    optional: bool,
}

#[test]
fn crates_depend_on_each_other_only_as_the_rule_allows() {
    assert_kept(&violations(&declared(&cargo(&["metadata", "--format-version=1", "--no-deps"]))));
}

/// Every dependency that the workspace's manifests declare.
fn declared(metadata: &str) -> Vec<Dependency> {
    let metadata: Value = serde_json::from_str(metadata).expect("cargo metadata is JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut declared = Vec::new();
    for package in list(&metadata["packages"]) {
        for dependency in list(&package["dependencies"]) {
            declared.push(Dependency {
                of: package["name"].as_str().unwrap_or_default().to_owned(),
                on: dependency["name"].as_str().unwrap_or_default().to_owned(),
                dev: dependency["kind"] == "dev",
                optional: dependency["optional"] == true,
            });
        }
    }
    assert!(!declared.is_empty(), "cargo metadata named no dependency");
    declared
}

fn violations(declared: &[Dependency]) -> Vec<String> {
    declared.iter().filter_map(|d| Some(format!("{} -> {}: {}", d.of, d.on, wrong(d)?))).collect()
}

/// What is wrong with a dependency, if anything is.
fn wrong(d: &Dependency) -> Option<&'static str> {
    let (of, on) = (d.of.as_str(), d.on.as_str());
    if on == "headgate-testkit" && !d.dev {
        return Some("the testkit is for tests: make it a dev-dependency");
    }
    if of == "headgate" && on == "headgate-local" && !d.optional && !d.dev {
        return Some("what the demo starts is not part of the production image: make it optional");
    }
    if on == "headgate" || on.starts_with("headgate-") {
        let known = MAY_USE.iter().find(|(name, _)| *name == of);
        let Some((_, allowed)) = known else { return Some("the crate is not in the dependency rule yet") };
        let allowed = allowed.contains(&on) || (d.dev && FOR_TESTS.contains(&on));
        return (!allowed).then_some("the dependency rule does not allow it");
    }
    if d.dev {
        return None;
    }
    if of == "headgate-domain" && INPUT_AND_OUTPUT.contains(&on) {
        return Some("the domain has no input and output");
    }
    let door = DOORS.iter().find(|(library, _)| *library == on);
    door.filter(|(_, crates)| !crates.contains(&of)).map(|_| "another crate is the only one to use it")
}

#[test]
fn every_way_to_break_the_rule_is_found() {
    let of = |of: &str, on: &str, dev: bool, optional: bool| {
        wrong(&Dependency { of: of.to_owned(), on: on.to_owned(), dev, optional }).is_some()
    };
    assert!(of("headgate-store", "headgate-source", false, false), "adapters know each other");
    assert!(of("headgate-api", "headgate-worker", false, false), "api and worker know each other");
    assert!(of("headgate-worker", "headgate-api", true, false), "even in tests");
    assert!(of("headgate-api", "headgate-source", false, false), "the API reaches an EHR");
    assert!(of("headgate", "headgate-testkit", false, true), "the testkit is shipped");
    assert!(of("headgate", "headgate-local", false, false), "the demo's servers are always shipped");
    assert!(of("headgate-domain", "tokio", false, false), "the domain does I/O");
    assert!(of("headgate-worker", "sqlx", false, false), "the worker speaks SQL");
    assert!(of("headgate-domain", "headgate-metrics", false, false), "the domain counts");
    assert!(
        of("headgate-metrics", "headgate-domain", false, false),
        "the list of metrics needs something of ours"
    );
    assert!(of("headgate-new", "headgate-domain", false, false), "a crate nobody placed");
    assert!(!of("headgate-source", "headgate-local", true, false));
    assert!(!of("headgate-store", "headgate-metrics", false, false));
    assert!(!of("headgate", "headgate-local", false, true));
    assert!(!of("headgate-store", "sqlx", false, false));
}

#[test]
fn manifests_are_read_with_kind_and_option() {
    let metadata = r#"{"packages":[{"name":"a","dependencies":[
        {"name":"b","kind":"dev","optional":false},{"name":"c","kind":null,"optional":true}]}]}"#;
    let found = declared(metadata);
    assert_eq!((found[0].on.as_str(), found[0].dev, found[0].optional), ("b", true, false));
    assert_eq!((found[1].on.as_str(), found[1].dev, found[1].optional), ("c", false, true));
}
