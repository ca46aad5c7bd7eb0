//! Whether a command printed what a page says, but for what is different each time.
//!
//! Compared are words, because tables are as wide as what is in them. Not compared are instants, ids, hashes, ports,
//! numbers with a decimal point or of four digits and more, and amounts of time, memory and speed. A line of the page that
//! ends with `…` is an example, and stands for any lines or none.

/// Units of amounts that are different each time.
const UNITS: [&str; 10] =
    ["s", "ms", "min", "B", "KiB", "MiB", "seconds", "seconds,", "resources/s", "rows/s"];

/// Whether both are alike.
pub fn alike(printed: &str, page: &str) -> bool {
    let mut compared: Vec<&str> =
        page.lines().map(|line| if line.ends_with('…') { "…" } else { line }).collect();
    compared.dedup_by(|line, before| *line == "…" && *before == "…");
    matches(&words(printed), &words(&compared.join("\n")))
}

/// `…` matches any number of words.
fn matches(words: &[String], pattern: &[String]) -> bool {
    match pattern.split_first() {
        None => words.is_empty(),
        Some((first, rest)) if first == "…" => (0..=words.len()).any(|from| matches(&words[from..], rest)),
        Some((first, rest)) => {
            words.split_first().is_some_and(|(word, more)| word == first && matches(more, rest))
        }
    }
}

fn words(text: &str) -> Vec<String> {
    let is_rule = |word: &str| word.chars().all(|c| matches!(c, '─' | '═' | '-' | '+' | '|'));
    let words: Vec<&str> = text.split_whitespace().filter(|word| !is_rule(word)).collect();
    let unit_follows = |i: usize| words.get(i + 1).is_some_and(|next| UNITS.contains(next));
    (0..words.len()).map(|i| masked(words[i], unit_follows(i))).collect()
}

fn masked(word: &str, is_amount: bool) -> String {
    if is_instant(word) {
        return "T".to_owned();
    }
    let mut shown = String::new();
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let is_part = |c: char| c.is_ascii_alphanumeric() || (first.is_ascii_digit() && c == '.');
        let end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len()).max(first.len_utf8());
        let (run, more) = rest.split_at(end);
        shown.push_str(if varies(run) || (is_amount && is_number(run)) { "N" } else { run });
        rest = more;
    }
    // The parts of a UUID that happen to have no digits or are short.
    if is_uuid(word) { "N".to_owned() } else { shown }
}

/// An id, a hash, a port, a measured amount; not a version, a small count, a word.
fn varies(run: &str) -> bool {
    let digits = run.bytes().filter(u8::is_ascii_digit).count();
    let is_hex = run.bytes().all(|b| b.is_ascii_hexdigit());
    let unit = run.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let decimal = run.split('.').count() == 2 && run.ends_with(|c: char| c.is_ascii_digit());
    (is_hex && run.len() >= 12 && digits > 0)
        || (is_number(run) && (digits >= 4 || decimal))
        || (digits > 0 && matches!(unit, "s" | "ms" | "m" | "e"))
}

fn is_number(run: &str) -> bool {
    run.starts_with(|c: char| c.is_ascii_digit()) && run.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// A date, a time of day, or both.
fn is_instant(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let shape: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape.contains("00:00:00") || shape.starts_with("0000-00-00")
}

fn is_uuid(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_ascii_hexdigit());
    let lengths: Vec<usize> = word.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && word.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_different_each_time_is_not_compared() {
        for (one, other) in [
            ("at 2026-11-26T07:02:55.1Z, 07:02:55", "at 2025-01-01T00:00:00Z, 23:00:00"),
            ("0b5e2f4c-0000-4000-8000-abcdefabcdef ok", "abcdefab-abcd-abcd-abcd-0123456789ab ok"),
            ("http://127.0.0.1:31234/metrics", "http://127.0.0.1:10001/metrics"),
            ("up => 1 @[1764140000.1]", "up => 1 @[1764140999.734]"),
            ("───\n a   b\n───", "a b"),
            ("took 12 s", "took 7 s"),
            ("30.5s, 12 MiB", "1.25s, 7 MiB"),
            ("a\nb\nc d\ne", "a\n…\ne"),
            ("a\nb\nc d\ne", "a\nsuch …\nand such …\ne"),
            ("", "…"),
        ] {
            assert!(alike(one, other), "{one} / {other}");
        }
    }

    #[test]
    fn what_says_something_is_compared() {
        for (one, other) in [
            ("3 shards", "4 shards"),
            ("ok", "failed"),
            ("up => 1 @[1.5]", "up => 0 @[1.5]"),
            ("a b", "a b c"),
            ("a\nb", "…\na"),
            ("12,017 resources", "12,018 resources"),
            ("", "a"),
        ] {
            assert!(!alike(one, other), "{one} / {other}");
        }
    }
}
