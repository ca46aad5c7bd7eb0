//! JSON for people: the same tokens, one member or element to a line.

/// Indents JSON. Members keep their order and numbers their digits; what is not JSON comes out as it is, more
/// or less.
pub(super) fn indented(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let (mut in_text, mut escaped, mut just_opened) = (false, false, false);
    for c in json.chars() {
        if in_text {
            out.push(c);
            in_text = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        if c.is_ascii_whitespace() {
            continue;
        }
        if matches!(c, '}' | ']') {
            depth = depth.saturating_sub(1);
            if !just_opened {
                new_line(&mut out, depth);
            }
        } else if just_opened {
            new_line(&mut out, depth);
        }
        just_opened = matches!(c, '{' | '[');
        out.push(c);
        match c {
            '{' | '[' => depth += 1,
            ',' => new_line(&mut out, depth),
            ':' => out.push(' '),
            '"' => in_text = true,
            _ => {}
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_white_space_changes() {
        let json = r#"{"z":[1.10,{"a":"x, \"{y}\" \\"}],"b":true,"c":[]}"#;
        let shown = "{\n  \"z\": [\n    1.10,\n    {\n      \"a\": \"x, \\\"{y}\\\" \\\\\"\n    }\n  ],\n  \"b\": true,\n  \"c\": []\n}";
        assert_eq!(indented(json), shown);
    }
}
