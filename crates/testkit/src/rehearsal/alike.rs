//! Whether a command printed what a page says: the same words, whatever the numbers.
//!
//! Compared are words, because tables are as wide as what is in them. Numbers, instants, ids and hashes are not compared, nor
//! how often a line is there that is the same without them: how much of a fleet's work one moment shows depends on the
//! machine. What must hold, a block itself asks for, and fails without it. A line of the page that ends with `…` is an
//! example, and stands for any lines or none.

/// Whether both are alike.
pub fn alike(printed: &str, page: &str) -> bool {
    matches(&lines(printed), &lines(page))
}

/// What is put for a line that stands for any.
const ANY: &str = "…";

/// [`ANY`] matches any number of lines.
fn matches(lines: &[String], pattern: &[String]) -> bool {
    match pattern.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first == ANY => (0..=lines.len()).any(|from| matches(&lines[from..], rest)),
        Some((first, rest)) => {
            lines.split_first().is_some_and(|(line, more)| line == first && matches(more, rest))
        }
    }
}

/// The words of every line that has some, without repetitions.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(masked_line).filter(|line| !line.is_empty()).collect();
    lines.dedup();
    lines
}

fn masked_line(line: &str) -> String {
    if line.ends_with(ANY) {
        return ANY.to_owned();
    }
    let words: Vec<String> = line.split_whitespace().filter(|word| !is_rule(word)).map(masked).collect();
    words.join(" ")
}

/// A part of a table's frame. A lone `-` is an empty cell.
fn is_rule(word: &str) -> bool {
    word.chars().count() > 1 && word.chars().all(|c| matches!(c, '─' | '═' | '-' | '+'))
}

/// The word with `N` for every number, id and hash, and for an empty cell.
fn masked(word: &str) -> String {
    let mut shown = String::new();
    for part in word.split_inclusive(|c: char| !is_of_id(c)) {
        let run = part.trim_end_matches(|c: char| !is_of_id(c));
        let after = &part[run.len()..];
        if is_id(run) || run == "-" {
            shown.push('N');
        } else {
            let mut last = ' ';
            for c in run.chars().map(|c| if c.is_ascii_digit() { 'N' } else { c }) {
                if c != 'N' || last != 'N' {
                    shown.push(c);
                }
                last = c;
            }
        }
        shown.push_str(after);
    }
    // Decimals, thousands, dates and times are numbers too.
    for joined in ["N.N", "N,N", "N:N", "N-N", "NTN"] {
        while shown.contains(joined) {
            shown = shown.replace(joined, "N");
        }
    }
    shown
}

/// Whether it is an id and no name. A hash in base64url may have no digit; then it is long, and of both cases.
fn is_id(run: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| run.bytes().any(|byte| kind(&byte));
    let digits = run.bytes().filter(u8::is_ascii_digit).count();
    (digits > 1 && run.len() >= 16)
        || (run.len() >= 40 && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase))
}

/// Whether ids consist of it: hexadecimal digits, base64url, words joined by `-`.
const fn is_of_id(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_different_each_time_is_not_compared() {
        for (one, other) in [
            ("at 2026-11-26T07:02:55.1Z, 07:02:55", "at 2025-01-01T00:00:00Z, 23:00:00"),
            ("0b5e2f4c-0000-4000-8000-abcdefabcdef ok", "abcdefab-abcd-abcd-abcd-0123456789ab ok"),
            (
                "kid 8rsRD5-sRp_a2lBCzUUmpZhsSWsbflbUS1aivd51Uuw,",
                "kid dnZXKK-ZxHyxBEUPBTykG65MNRq7DEwsaOOE5Pn_fDk,",
            ),
            // Of one digit, and of none.
            (
                "kid yjKSoP1xsRgcXHRtoeTFqCDjuRvxSkhKEdoPgDmlFi_ signing",
                "kid hiUEvSxtzaVcNQUEPBTykGpMNRqKDEwsaOOERPn-fDk signing",
            ),
            ("http://127.0.0.1:31234/metrics", "http://127.0.0.1:10001/metrics"),
            ("up => 1 @[1764140000.1]", "up => 0 @[1764140999.734]"),
            ("───\n a   b\n───", "a b"),
            ("published s\n-", "published s\n1204"),
            ("30.5s, 12 MiB, 12,017 resources", "1.25s, 7 MiB, 8 resources"),
            ("w 0 1\nw 0 2\nend", "w 7 7\nend"),
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
            ("ok", "failed"),
            ("3 shards", "3 steps"),
            ("up{job=\"api\"} => 1", "up{job=\"worker\"} => 1"),
            ("a b", "a b c"),
            ("a\nb", "…\na"),
            ("export_shard_rescued_total", "export_shard_retried_total"),
            ("http_client_request_duration_seconds_bucket", "http_server_request_duration_seconds_bucket"),
            ("HEADGATE__KEYS__PREVIOUS_ENCRYPTION_KEY_FILE", "HEADGATE__KEYS__CURRENT_ENCRYPTION_KEY_FILE"),
            ("practice state", "practice since state"),
            ("", "a"),
        ] {
            assert!(!alike(one, other), "{one} / {other}");
        }
    }
}
