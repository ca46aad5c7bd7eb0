//! The page's table of search parameters, made of what `_typeFilter` knows.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use headgate_testkit::domain::ResourceType;
use headgate_testkit::domain::search::{self, Kind, Parameter};

const HEAD: &str = "| type | tokens | dates | references |\n| --- | --- | --- | --- |\n";

/// Fails unless the page has the table.
pub fn check(markdown: &str) -> Result<()> {
    ensure!(markdown.contains(&table()), "the table of search parameters is not what is:\n{}", table());
    Ok(())
}

/// The page with the table as it is now.
pub fn with_table(markdown: &str) -> Result<String> {
    let (before, rest) = markdown.split_once(HEAD).context("the page has no table of search parameters")?;
    let behind: String = rest.split_inclusive('\n').skip_while(|line| line.starts_with('|')).collect();
    Ok(format!("{before}{}{behind}", table()))
}

/// Without the two parameters that every type has. A star stands for an element without a system.
fn table() -> String {
    let mut table = HEAD.to_owned();
    for t in ResourceType::ALL {
        let of = |kinds: &[Kind]| {
            let known = search::parameters(*t).iter();
            let listed =
                known.filter(|p| kinds.contains(&p.kind) && p.name != "_id" && p.name != "_lastUpdated");
            listed.map(name).collect::<Vec<_>>().join(", ")
        };
        let (tokens, dates) = (of(&[Kind::Token, Kind::Id]), of(&[Kind::Date]));
        // Writing to a text does not fail.
        let _ = writeln!(table, "| {t} | {tokens} | {dates} | {} |", of(&[Kind::Reference]));
    }
    table
}

fn name(parameter: &Parameter) -> String {
    let star = if parameter.kind == Kind::Token && !parameter.has_system { "\\*" } else { "" };
    format!("`{}`{star}", parameter.name)
}
