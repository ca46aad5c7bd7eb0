//! A page of commands and what they print, as [`crate::onboarding`] and [`crate::api_page`] run them.
//!
//! What a fenced block is follows from the words behind its fence:
//!
//! - `sh`: run, from the folder of the page's files. A `text` block right behind it is what that prints; without one
//!   it must succeed.
//! - `sql`: run in the EHR's database as its owner.
//! - `sql FILE`, `json FILE`: a part of that file, word for word.
//! - `sh example`, `sql example`, `python example`: not run, because it depends on where the reader is.

use anyhow::{Context as _, Result, bail, ensure};

/// A block to be run or compared.
#[derive(Debug, PartialEq, Eq)]
pub enum Block {
    Sh { script: String, prints: Option<String> },
    Sql(String),
    Excerpt { file: String, text: String },
}

/// The blocks of a page, in order.
pub fn blocks(markdown: &str) -> Result<Vec<Block>> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = markdown.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let text = text.join("\n");
        let (language, what) = info.split_once(' ').unwrap_or((info, ""));
        match (language, what) {
            ("sh" | "sql" | "python", "example") => {}
            ("sh", "") => blocks.push(Block::Sh { script: text, prints: None }),
            ("sql", "") => blocks.push(Block::Sql(text)),
            ("sql" | "json", file) => blocks.push(Block::Excerpt { file: file.to_owned(), text }),
            ("text", "") => match blocks.last_mut().context("an output without a command")? {
                Block::Sh { prints, .. } if prints.is_none() => *prints = Some(text),
                other => bail!("an output without a command, behind {other:?}"),
            },
            _ => bail!("a block of unknown kind: {info}"),
        }
    }
    Ok(blocks)
}

/// The page with another output in place of one, which is sought from `from` on; and where the new one ends, for outputs
/// may be alike.
pub fn with_output(markdown: &str, from: usize, expected: &str, printed: &str) -> (String, usize) {
    let block = |text: &str| format!("```text\n{text}\n```\n");
    let printed: Vec<&str> = printed.lines().map(str::trim_end).collect();
    let (before, behind) = markdown.split_at(from);
    let new = block(printed.join("\n").trim_end());
    let end = from + behind.find(&block(expected)).unwrap_or_default() + new.len();
    (before.to_owned() + &behind.replacen(&block(expected), &new, 1), end)
}

/// Compares outputs, but for what varies: times and rates, versions, the planner's estimates and the width of tables.
pub fn ensure_alike(command: &str, printed: &str, expected: &str) -> Result<()> {
    ensure!(
        normal(printed) == normal(expected),
        "the page is not what is:\n{command}\nprints\n{printed}\nand the page says\n{expected}"
    );
    Ok(())
}

/// The words: where lines break depends on how long the numbers are.
fn normal(text: &str) -> String {
    let is_rule = |word: &str| word.chars().all(|c| matches!(c, '─' | '═'));
    let words: Vec<&str> = text.split_whitespace().filter(|word| !is_rule(word)).collect();
    let word = |i: usize| words.get(i).copied().unwrap_or_default();
    let varies = |i: usize| {
        let before = if i == 0 { "" } else { word(i - 1) };
        matches!(before, "about" | "PostgreSQL" | "--since" | "read")
            || ["rows/s", "resources/s"].iter().any(|rate| word(i + 1).starts_with(rate))
            || matches!(word(i + 1), "s," | "KiB," | "MiB,")
            || (word(i + 1) == "s" && word(i + 2).starts_with("behind"))
    };
    let shown = |i: usize| {
        // What other sessions of the server do.
        if i > 1 && (word(i - 2), word(i - 1)) == ("limited", "by") {
            return "N";
        }
        let is_number = word(i).starts_with(|c: char| c.is_ascii_digit());
        if is_number && varies(i) { "N" } else { word(i) }
    };
    (0..words.len()).map(shown).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_told_apart_by_their_fences() {
        let page = "x\n```sh\na\n```\nsays\n```text\nb\n```\n```sql\nc\n\nd\n```\n```json f/g.json\n{}\n```\n```sh example\ne\n```\n";
        let sh = Block::Sh { script: "a".into(), prints: Some("b".into()) };
        let excerpt = Block::Excerpt { file: "f/g.json".into(), text: "{}".into() };
        assert_eq!(blocks(page).unwrap(), [sh, Block::Sql("c\n\nd".into()), excerpt]);
        assert!(blocks("```text\nb\n```").is_err());
        assert!(blocks("```perl\nb\n```").is_err());
    }

    #[test]
    fn an_output_can_be_put_in_place_of_another() {
        let page = "a\n```text\nb\n```\nc\n```text\nb\n```\n";
        let (page, end) = with_output(page, 0, "b", "d  \ne\n");
        assert_eq!(page, "a\n```text\nd\ne\n```\nc\n```text\nb\n```\n");
        assert_eq!(&page[end..], "c\n```text\nb\n```\n");
        assert_eq!(with_output(&page, end, "b", "d\ne").0, "a\n```text\nd\ne\n```\nc\n```text\nd\ne\n```\n");
    }

    #[test]
    fn numbers_that_say_something_are_compared() {
        assert!(
            ensure_alike("", " ok  a   about 12 rows; 99 rows/s", "ok a about 7 rows; 1 rows/s\n───").is_ok()
        );
        assert!(ensure_alike("", "2 s behind, 3 rows", "0 s behind, 3 rows").is_ok());
        assert!(ensure_alike("", "3 rows", "4 rows").is_err());
    }
}
