//! A page of console blocks: lines that begin with `$ ` are commands, those with `> ` continue them, and the lines below
//! are what they print. A block of the kind `sh run` is one command that prints nothing, to be copied as it is. Blocks of
//! other kinds are for reading.

use anyhow::{Result, ensure};

const FENCE: &str = "```";

/// The kinds of block that are run.
const CONSOLE: &str = "console";
const SCRIPT: &str = "sh run";

/// One console block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The heading that it stands under.
    pub heading: String,
    /// Its first line in the page, counted from 1.
    pub line: usize,
    /// Its commands, in order.
    pub commands: Vec<Command>,
}

/// A command and what it prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The shell's words; of several lines perhaps.
    pub script: String,
    /// What the page says that it prints.
    pub prints: String,
}

/// The console blocks of a page, in order.
///
/// # Errors
/// When a block prints something before its first command.
pub fn blocks(markdown: &str) -> Result<Vec<Block>> {
    let mut found = Vec::new();
    let mut heading = String::new();
    let mut lines = markdown.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(title) = title(line) {
            title.clone_into(&mut heading);
        }
        let Some(kind) = line.strip_prefix(FENCE) else { continue };
        let body: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| *line != FENCE).collect();
        let commands = match kind {
            CONSOLE => commands(&body, number + 1)?,
            SCRIPT => vec![Command { script: body.join("\n"), prints: String::new() }],
            _ => continue,
        };
        found.push(Block { heading: heading.clone(), line: number + 1, commands });
    }
    Ok(found)
}

/// The headings of a page that are one word which begins so.
pub fn headings<'a>(markdown: &'a str, prefix: &str) -> Vec<&'a str> {
    let mut inside = false;
    let outside = markdown.lines().filter(|line| {
        inside ^= line.starts_with(FENCE);
        !inside
    });
    outside.filter_map(title).filter(|title| title.starts_with(prefix) && !title.contains(' ')).collect()
}

fn title(line: &str) -> Option<&str> {
    let title = line.trim_start_matches('#');
    (title.len() < line.len()).then(|| title.strip_prefix(' ')).flatten()
}

fn commands(body: &[&str], number: usize) -> Result<Vec<Command>> {
    let mut commands: Vec<Command> = Vec::new();
    // Whether the command may still go on.
    let mut open = false;
    for line in body {
        if let Some(script) = line.strip_prefix("$ ") {
            commands.push(Command { script: script.to_owned(), prints: String::new() });
            open = true;
            continue;
        }
        let last = commands.last_mut();
        ensure!(last.is_some(), "line {number}: a block begins with an output");
        let Some(last) = last else { continue };
        match line.strip_prefix("> ").or((*line == ">").then_some("")).filter(|_| open) {
            Some(more) => last.script.extend(["\n", more]),
            None => {
                open = false;
                last.prints.extend([line, "\n"]);
            }
        }
    }
    ensure!(!commands.is_empty(), "line {number}: a block without a command");
    Ok(commands)
}

/// The page with these outputs, as many and in the order of its commands.
pub fn with_outputs(markdown: &str, blocks: &[Block], printed: &[Vec<String>]) -> String {
    let mut page = String::new();
    let mut blocks = blocks.iter().zip(printed);
    let mut lines = markdown.lines();
    while let Some(line) = lines.next() {
        page.extend([line, "\n"]);
        let Some(kind) = line.strip_prefix(FENCE) else { continue };
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != FENCE).collect();
        let block = if matches!(kind, CONSOLE | SCRIPT) { blocks.next() } else { None };
        match block {
            Some((block, printed)) if kind == CONSOLE => page.push_str(&console(block, printed)),
            _ => body.iter().for_each(|line| page.extend([line, "\n"])),
        }
        page.extend([FENCE, "\n"]);
    }
    page
}

fn console(block: &Block, printed: &[String]) -> String {
    let mut text = String::new();
    for (i, command) in block.commands.iter().enumerate() {
        text.extend(["$ ", &command.script.replace('\n', "\n> "), "\n"]);
        // What was not reached keeps what it has.
        let output = printed.get(i).unwrap_or(&command.prints);
        output.trim_end().lines().for_each(|line| text.extend([line.trim_end(), "\n"]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A\n```text\n$ no\n```\n## B c\n```console\n$ one\n1\n$ two \\\n>   more\n2\n> 3\n```\nx\n### HeadgateD\n```console\n$ four\n```\n";

    #[test]
    fn commands_and_what_they_print_are_told_apart() {
        let blocks = blocks(PAGE).unwrap();
        let command =
            |script: &str, prints: &str| Command { script: script.to_owned(), prints: prints.to_owned() };
        assert_eq!((blocks[0].heading.as_str(), blocks[0].line), ("B c", 6));
        assert_eq!(blocks[0].commands, [command("one", "1\n"), command("two \\\n  more", "2\n> 3\n")]);
        assert_eq!((blocks[1].heading.as_str(), blocks[1].line), ("HeadgateD", 16));
        assert_eq!(headings(PAGE, "Headgate"), ["HeadgateD"]);
        assert!(super::blocks("```console\n1\n```\n").is_err());
        assert!(super::blocks("```console\n```\n").is_err());
    }

    #[test]
    fn a_script_is_run_as_it_stands_and_stays_so() {
        const PAGE: &str = "## F\n```sh run\nf() {\n  one\n}\n```\n```sh\nno\n```\n```console\n$ f\n1\n```\n";
        let found = blocks(PAGE).unwrap();
        assert_eq!(found[0].commands[0].script, "f() {\n  one\n}");
        assert_eq!((found.len(), found[0].line), (2, 2));
        let page = with_outputs(PAGE, &found, &[vec!["x".to_owned()], vec!["2".to_owned()]]);
        assert_eq!(page, PAGE.replace("1\n", "2\n"));
    }

    #[test]
    fn outputs_are_put_in_place_of_others_and_the_rest_stays() {
        let found = blocks(PAGE).unwrap();
        let same: Vec<Vec<String>> =
            found.iter().map(|block| block.commands.iter().map(|c| c.prints.clone()).collect()).collect();
        assert_eq!(with_outputs(PAGE, &found, &same), PAGE);
        let page = with_outputs(PAGE, &found, &[vec!["7 \n".to_owned()], vec!["4".to_owned()]]);
        assert_eq!(page, PAGE.replace("$ one\n1\n", "$ one\n7\n").replace("$ four\n", "$ four\n4\n"));
    }
}
