//! That documents name files and options that are there, and that every option is explained.

use std::collections::BTreeSet;
use std::path::Path;

use crate::{assert_kept, files, root, text};

#[test]
fn every_relative_link_of_a_document_leads_to_a_file() {
    let mut broken = Vec::new();
    let documents = files("md");
    assert!(documents.iter().any(|path| path == Path::new("README.md")), "no README.md was found");
    for path in documents {
        let text = std::fs::read_to_string(root().join(&path)).expect("the file is readable");
        let folder = root().join(path.parent().unwrap_or(Path::new("")));
        for link in relative_links(&text) {
            if !folder.join(&link).exists() {
                broken.push(format!("{}: {link} is not there", path.display()));
            }
        }
    }
    assert_kept(&broken);
}

/// The targets of links that are not on the web, without their fragments.
fn relative_links(markdown: &str) -> Vec<String> {
    markdown
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .filter_map(|target| target.split('#').next())
        .filter(|target| !target.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_option_is_explained_in_place() {
    assert_kept(&unexplained(&text("config/default.toml")));
}

/// The keys that have no comment above them. Keys that follow each other without a blank line, as a value and
/// its `_file`, share one.
fn unexplained(toml: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut explained = false;
    for line in toml.lines() {
        match line.split_once(" = ") {
            _ if line.starts_with('#') => explained = true,
            Some((key, _)) if !explained => found.push(format!("{key} has no explanation above it")),
            Some(_) => {}
            None => explained = false,
        }
    }
    found
}

#[test]
fn every_option_that_a_document_names_exists() {
    let options = options(&text("config/default.toml"));
    let mut unknown = Vec::new();
    for path in files("md") {
        let text = std::fs::read_to_string(root().join(&path)).expect("the file is readable");
        for name in variables(&text).into_iter().filter(|name| !options.contains(name)) {
            unknown.push(format!("{}: there is no option {name}", path.display()));
        }
    }
    for name in keys(&text("README.md"), &options) {
        unknown.push(format!("README.md: there is no option {name}"));
    }
    assert_kept(&unknown);
}

/// Every option as `section.key`.
fn options(toml: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut found = BTreeSet::new();
    for line in toml.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((key, _)) = line.split_once(" = ") {
            found.insert(format!("{section}.{key}"));
        }
    }
    found
}

/// The options that a document names as variables of the environment.
fn variables(markdown: &str) -> Vec<String> {
    let word = |rest: &str| {
        rest.chars()
            .take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_')
            .collect::<String>()
    };
    let names = markdown.split("HEADGATE__").skip(1).map(word);
    // The pattern `HEADGATE__SECTION__KEY` itself is not an option.
    names
        .filter(|name| name != "SECTION__KEY")
        .map(|name| name.to_ascii_lowercase().replacen("__", ".", 1))
        .collect()
}

/// The words in backticks that look like an option of a known section and are none.
fn keys(markdown: &str, options: &BTreeSet<String>) -> Vec<String> {
    let sections: BTreeSet<&str> = options.iter().filter_map(|o| o.split('.').next()).collect();
    let looks_like_a_key = |word: &&str| {
        word.split_once('.').is_some_and(|(section, key)| {
            sections.contains(section) && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        })
    };
    let words = markdown.split('`').skip(1).step_by(2);
    words.filter(looks_like_a_key).filter(|word| !options.contains(*word)).map(str::to_owned).collect()
}

#[test]
fn links_options_and_missing_explanations_are_found() {
    let markdown = "[a](docs/A.md#part) [b](https://example.org/) [c](#here) ![d](d.png)";
    assert_eq!(relative_links(markdown), ["docs/A.md", "d.png"]);

    let toml = "# About a.\n[s]\n# Why.\nurl = \"\"\nurl_file = \"\"\n\nbare = 1\n";
    assert_eq!(unexplained(toml), ["bare has no explanation above it"]);

    let options = options(toml);
    assert_eq!(
        variables("`HEADGATE__S__URL`, HEADGATE__S__GONE, HEADGATE__SECTION__KEY"),
        ["s.url", "s.gone"]
    );
    assert_eq!(keys("`s.url` and `s.gone`, but `other.thing`", &options), ["s.gone"]);
}
