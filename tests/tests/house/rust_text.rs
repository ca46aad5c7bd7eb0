//! Just enough of Rust's grammar to count lines: where comments and texts are, where a block ends, what is
//! compiled for tests only.

/// The code with every character of comments, texts and character literals blanked, so that lines and
/// positions stay. A brace or a word in what remains is code.
pub fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = at + literal(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        }
        while at < end {
            out.push(if chars[at] == '\n' { '\n' } else { ' ' });
            at += 1;
        }
    }
    out
}

/// The length of the comment, text or character literal that begins here; 0 if none does.
fn literal(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    let starts = |with: &str| with.chars().enumerate().all(|(i, c)| rest.get(i) == Some(&c));
    if starts("//") {
        return rest.iter().position(|c| *c == '\n').unwrap_or(rest.len());
    }
    if starts("/*") {
        return block_comment(rest);
    }
    if starts("\"") {
        return quoted(rest, '"');
    }
    let inside_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    if starts("r") && (!inside_word || matches!(chars[at - 1], 'b' | 'c')) {
        return raw_text(rest);
    }
    // 'a' is a character, 'a is a lifetime.
    if starts("'") && (rest.get(1) == Some(&'\\') || rest.get(2) == Some(&'\'')) {
        return quoted(rest, '\'');
    }
    0
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match (rest[at], rest.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// `r"…"`, `r#"…"#`; 0 for a word that begins with r.
fn raw_text(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return 0;
    }
    let mut at = 2 + hashes;
    while at < rest.len() {
        let closed = rest[at] == '"' && rest[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
        if closed {
            return at + 1 + hashes;
        }
        at += 1;
    }
    rest.len()
}

/// A function of a file: its name, the line it begins on, and how many lines it has.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
}

/// The functions with a body in `code`, nested ones too.
pub fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let starts_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !starts_word || name.is_empty() {
            continue;
        }
        if let Some(end) = end_of_item(&code[at..]) {
            let line = code[..at].matches('\n').count() + 1;
            found.push(Function { name, line, lines: code[at..at + end].matches('\n').count() + 1 });
        }
    }
    found
}

/// Where the block of the item that begins here ends; none for one that ends with a semicolon.
fn end_of_item(code: &str) -> Option<usize> {
    let (mut braces, mut brackets) = (0_i32, 0_i32);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            ';' if braces == 0 && brackets == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// The code without the items that are compiled for tests only, and the names of the modules among them that
/// are files of their own.
pub fn without_tests(code: &str) -> (String, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let (mut kept, mut modules) = (String::new(), Vec::new());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        kept.push_str(&rest[..at]);
        let item = &rest[at + MARK.len()..];
        let end = match end_of_item(item) {
            Some(end) => end,
            None => item.find(';').map_or(item.len(), |end| end + 1),
        };
        let name = item[..end].split("mod ").nth(1).and_then(|name| name.strip_suffix(';'));
        modules.extend(name.map(|name| name.trim().to_owned()));
        rest = &item[end..];
    }
    kept.push_str(rest);
    (kept, modules)
}

#[test]
fn comments_and_texts_are_blanked_and_lines_kept() {
    let text =
        "a /* { /* } */ */ b // {\nlet s = \"}\\\"{\"; let r = r#\"\"{\"#; let c = '{'; fn f<'a>() {}\n";
    let code = code_only(text);
    assert_eq!(code.matches(['{', '}']).count(), 2, "{code}");
    assert_eq!(code.lines().count(), 2);
    assert!(code.contains("fn f<'a>() {}"), "{code}");
    assert_eq!(code_only("for r in rows { br\"{\" }").matches('{').count(), 1);
}

#[test]
fn a_function_is_counted_from_its_first_line_to_its_brace() {
    let code =
        "trait T { fn none(&self) -> [u8; 2]; }\nasync fn two(\n    f: fn(u8),\n) {\n    if a { b() }\n}\n";
    assert_eq!(functions(code), [Function { name: "two".to_owned(), line: 2, lines: 5 }]);
}

#[test]
fn what_is_for_tests_only_is_left_out() {
    let code = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n#[cfg(test)]\n#[path = x]\nmod c;\nfn d() {}\n";
    let (kept, modules) = without_tests(code);
    assert_eq!(functions(&kept).iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["a", "d"]);
    assert_eq!(modules, ["c"]);
}
