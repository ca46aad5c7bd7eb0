//! What may be built in: bans, licences and sources, by the lists of `deny.toml`.

use std::collections::{BTreeMap, BTreeSet};

use crate::{assert_kept, cargo, text};

/// The only registry.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The lists of `deny.toml`.
#[derive(Debug, PartialEq, Eq)]
struct Rules {
    allowed: BTreeSet<String>,
    banned: BTreeSet<String>,
    /// Licences of crates whose manifests name none.
    clarified: BTreeMap<String, String>,
}

impl Rules {
    /// Reads what this test needs of `deny.toml`: a list of texts and two keys, no more of TOML.
    fn read(toml: &str) -> Self {
        let mut rules =
            Self { allowed: BTreeSet::new(), banned: BTreeSet::new(), clarified: BTreeMap::new() };
        let (mut section, mut list, mut name) = ("", "", String::new());
        for line in toml.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if line.starts_with('[') {
                (section, list) = (line, "");
            }
            if let Some(key) = line.strip_suffix("= [") {
                list = key.trim();
            }
            match (section, list) {
                ("[licenses]", "allow") => rules.allowed.extend(quoted(line)),
                ("[bans]", "deny") => rules.banned.extend(value(line, "crate")),
                ("[[licenses.clarify]]", _) => {
                    name = value(line, "crate").unwrap_or(name);
                    if let Some(expression) = value(line, "expression") {
                        rules.clarified.insert(name.clone(), expression);
                    }
                }
                _ => {}
            }
            if line.starts_with(']') {
                list = "";
            }
        }
        rules
    }
}

/// The first text between quotes.
fn quoted(line: &str) -> Option<String> {
    line.split('"').nth(1).map(str::to_owned)
}

/// The text of `key = "…"` in a line.
fn value(line: &str, key: &str) -> Option<String> {
    let (_, rest) = line.split_once(&format!("{key} = \""))?;
    rest.split('"').next().map(str::to_owned)
}

#[test]
fn nothing_banned_and_nothing_of_a_foreign_licence_is_built_in() {
    let rules = Rules::read(&text("deny.toml"));
    assert!(
        rules.allowed.contains("MIT") && rules.banned.contains("openssl"),
        "deny.toml was not understood"
    );
    // The tree is what is really built for this platform; the lock file also names what no feature asks for.
    let tree =
        cargo(&["tree", "--workspace", "--edges=normal,build,dev", "--prefix=none", "--format={p}|{l}|"]);
    assert!(tree.lines().count() > 100, "cargo tree named few crates");
    assert_kept(&unwelcome(&tree, &rules));
}

/// Banned crates, and crates whose licence the allowed ones cannot fulfil. Lines are `name version …|licence|`.
fn unwelcome(tree: &str, rules: &Rules) -> Vec<String> {
    let crates: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| {
            let mut fields = line.split('|');
            Some((fields.next()?.split(' ').next()?, fields.next()?))
        })
        .collect();
    let mut unwelcome = Vec::new();
    for (name, licence) in crates {
        if rules.banned.contains(name) {
            unwelcome.push(format!("{name} is banned; `cargo tree -i {name}` says who brought it"));
        }
        let licence =
            rules.clarified.get(name).filter(|_| licence.is_empty()).map_or(licence, String::as_str);
        if !permitted(licence, &rules.allowed) {
            unwelcome.push(format!("{name} has the licence {licence:?}, which deny.toml does not allow"));
        }
    }
    unwelcome
}

/// Whether an SPDX expression can be fulfilled with the allowed licences. `/` is an old way to write `OR`.
fn permitted(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced =
        expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ").replace(" WITH ", "+");
    let mut words = spaced.split_whitespace().peekable();
    let permitted = any(&mut words, allowed);
    permitted && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut result = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        result |= all(words, allowed);
    }
    result
}

fn all(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut result = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        result &= one(words, allowed);
    }
    result
}

fn one(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    match words.next() {
        Some("(") => {
            let result = any(words, allowed);
            words.next_if_eq(&")").is_some() && result
        }
        Some(word) => allowed.contains(&word.replace('+', " WITH ")),
        None => false,
    }
}

#[test]
fn every_crate_comes_from_crates_io_or_this_repository() {
    let lock = text("Cargo.lock");
    assert!(lock.contains(REGISTRY), "the lock file was not understood");
    assert_kept(&foreign_sources(&lock));
}

fn foreign_sources(lock: &str) -> Vec<String> {
    let sources = lock.lines().filter_map(|line| line.strip_prefix("source = "));
    sources.filter(|source| source.trim_matches('"') != REGISTRY).map(str::to_owned).collect()
}

const FIXTURE: &str = r#"
[licenses]
# "GPL-3.0" is not allowed
allow = [
    "MIT",
    "Apache-2.0 WITH LLVM-exception",
]
[[licenses.clarify]]
crate = "quiet"
expression = "MIT"
license-files = [{ path = "LICENSE", hash = 1 }]
[bans]
deny = [
    { crate = "openssl", reason = "one \"TLS\" stack" },
]
[sources]
unknown-git = "deny"
"#;

#[test]
fn the_lists_are_read_from_the_file() {
    let rules = Rules::read(FIXTURE);
    let expected = ["Apache-2.0 WITH LLVM-exception", "MIT"].map(str::to_owned);
    assert_eq!(rules.allowed, BTreeSet::from(expected));
    assert_eq!(rules.banned, BTreeSet::from(["openssl".to_owned()]));
    assert_eq!(rules.clarified.get("quiet").map(String::as_str), Some("MIT"));
}

#[test]
fn a_banned_crate_and_a_foreign_licence_are_found() {
    let tree = "good v1.0.0|MIT|\nopenssl v0.10.0|MIT|\nviral v2.0.0 (proc-macro)|GPL-3.0|\nquiet v1.0.0||\nmute v1.0.0||";
    let found = unwelcome(tree, &Rules::read(FIXTURE));
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("mute has the licence \"\""), "{found:?}");
    assert!(found[1].starts_with("openssl is banned"), "{found:?}");
    assert!(found[2].starts_with("viral has the licence \"GPL-3.0\""), "{found:?}");
}

#[test]
fn a_licence_expression_is_read_as_spdx_defines_it() {
    let allowed = Rules::read(FIXTURE).allowed;
    for fine in
        ["MIT", "MIT/GPL-3.0", "GPL-3.0 OR MIT", "(GPL-3.0 OR MIT) AND MIT", "Apache-2.0 WITH LLVM-exception"]
    {
        assert!(permitted(fine, &allowed), "{fine}");
    }
    for not in ["", "GPL-3.0", "MIT AND GPL-3.0", "MIT AND (GPL-3.0 OR ISC)", "Apache-2.0", "(MIT", "MIT)"] {
        assert!(!permitted(not, &allowed), "{not}");
    }
}

#[test]
fn a_crate_from_git_is_found() {
    let lock = format!("source = \"{REGISTRY}\"\nsource = \"git+https://example.org/a#1\"\n");
    assert_eq!(foreign_sources(&lock), ["\"git+https://example.org/a#1\""]);
}
