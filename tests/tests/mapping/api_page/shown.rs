//! What was printed, as the page shows it: what differs from run to run is replaced by an example of its kind, headers
//! that the page does not speak of are left out, and long lines of JSON are broken.

use std::time::Duration;

use headgate_testkit::domain::instant;
use headgate_testkit::domain::mapping::Json;
use headgate_testkit::serde_json;
use headgate_testkit::sqlx::types::chrono::{DateTime, Utc};

/// Headers that the page speaks of.
const HEADERS: [&str; 12] = [
    "allow",
    "content-encoding",
    "content-location",
    "content-range",
    "content-type",
    "expires",
    "location",
    "preference-applied",
    "retry-after",
    "www-authenticate",
    "x-export-status",
    "x-progress",
];

/// Longest line of JSON.
const WIDTH: usize = 118;

/// The moment that the page takes for the beginning of the run.
const START: &str = "2026-11-23T09:30:00Z";

/// Times are shown to this precision, seconds, so that every run of a few minutes shows the same.
const PRECISION: i64 = 600;

/// Length of an export's id.
const ID: usize = 32;

/// The first export of the page.
const FIRST_ID: u128 = 0xd60c_baa1_9d33_7fbf_b8ba_2677_d4dc_30a4;

/// The examples, which stay the same from output to output.
pub struct Shown {
    started: DateTime<Utc>,
    names: Vec<(String, String)>,
    /// Ids of exports in the order in which they were first printed.
    ids: Vec<String>,
}

impl Shown {
    pub fn new() -> Self {
        Self { started: Utc::now(), names: Vec::new(), ids: Vec::new() }
    }

    /// From now on one text stands for another.
    pub fn name(&mut self, real: &str, shown: &str) {
        self.names.push((real.to_owned(), shown.to_owned()));
        // What another one begins with must not be taken for it.
        self.names.sort_by_key(|(real, _)| std::cmp::Reverse(real.len()));
    }

    /// An output as the page shows it.
    pub fn text(&mut self, printed: &str) -> String {
        let mut text = String::new();
        let mut in_headers = false;
        for line in printed.lines().map(str::trim_end) {
            in_headers = line.starts_with("HTTP/") || (in_headers && !line.is_empty());
            if in_headers && !line.starts_with("HTTP/") && !is_shown(line) {
                continue;
            }
            let line = self.line(line);
            match serde_json::from_str::<Json>(&line) {
                Ok(json @ Json::Object(_)) => fold(&json, 0, 0, &mut text),
                _ => text.push_str(&line),
            }
            text.push('\n');
        }
        text
    }

    fn line(&mut self, line: &str) -> String {
        if line.starts_with("x-progress: ") {
            return "x-progress: 62% (31,000 of about 50,000 resources)".to_owned();
        }
        let line = self.names.iter().fold(line.to_owned(), |line, (real, shown)| line.replace(real, shown));
        let mut text = String::new();
        let mut rest = line.as_str();
        while let Some(first) = rest.chars().next() {
            let within_word = text.ends_with(|c: char| c.is_ascii_alphanumeric());
            let example = if within_word { within_link(&text, rest) } else { self.example(rest) };
            let (length, example) = example.unwrap_or_else(|| (first.len_utf8(), first.to_string()));
            text.push_str(&example);
            rest = &rest[length..];
        }
        text
    }

    /// The length of what stands here and is different in each run, and what is shown for it.
    fn example(&mut self, text: &str) -> Option<(usize, String)> {
        let word = |part: fn(char) -> bool| text.split(|c| !part(c)).next().unwrap_or_default();
        let token = word(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if token.starts_with("eyJ") && token.len() > 100 {
            return Some((token.len(), "eyJhbGciOiJSUzI1NiI…".to_owned()));
        }
        let hex = word(|c| c.is_ascii_alphanumeric());
        if hex.len() == ID && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Some((hex.len(), self.id(hex)));
        }
        let moment = word(|c| c.is_ascii_digit() || matches!(c, 'T' | 'Z' | ':' | '.' | '-'));
        if let Ok(parsed) = instant::parse(moment)
            && let Some(time) = self.time(parsed.time)
        {
            return Some((moment.len(), instant::format(time)));
        }
        let date = text.get(..29).filter(|date| date.ends_with(" GMT"))?;
        let time = self.time(DateTime::parse_from_rfc2822(date).ok()?.to_utc())?;
        Some((date.len(), time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()))
    }

    fn id(&mut self, id: &str) -> String {
        let known = self.ids.iter().position(|known| known == id);
        let number = known.unwrap_or_else(|| {
            self.ids.push(id.to_owned());
            self.ids.len() - 1
        });
        let turn = u32::try_from(number * 20 % 127).unwrap_or_default();
        format!("{:032x}", FIRST_ID.rotate_left(turn))
    }

    /// A moment of this run, as if it had begun when the page says; `None` for those that stand in the records.
    fn time(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let after = (time - self.started).num_seconds();
        let steps = (after + PRECISION / 2).div_euclid(PRECISION);
        let start: DateTime<Utc> = START.parse().ok()?;
        let later = Duration::from_secs(u64::try_from(steps * PRECISION).ok()?);
        (after < 4 * 86_400).then(|| start + later)
    }
}

/// The query of a signed link; and behind an id the folder of an attempt, of which more may have been needed.
fn within_link(before: &str, text: &str) -> Option<(usize, String)> {
    let is_id = before.len() >= ID && before.bytes().rev().take(ID).all(|b| b.is_ascii_hexdigit());
    if let Some((attempt, _)) = text.strip_prefix("/r").and_then(|rest| rest.split_once('/'))
        && is_id
        && attempt.bytes().all(|b| b.is_ascii_digit())
    {
        return Some((2 + attempt.len(), "/r2".to_owned()));
    }
    let is_signed = text.starts_with("?X-Amz-") || text.starts_with("?x-id=");
    let length = text.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(text.len());
    is_signed.then(|| (length, "?X-Amz-Signature=…".to_owned()))
}

fn is_shown(header: &str) -> bool {
    let name = header.split(':').next().unwrap_or_default();
    HEADERS.iter().any(|shown| name.eq_ignore_ascii_case(shown))
}

/// Writes a value, on several lines where one is too short. `used` is what stands on the line already.
fn fold(json: &Json, indent: usize, used: usize, text: &mut String) {
    let line = json.to_line();
    if indent + used + line.chars().count() <= WIDTH {
        text.push_str(&line);
        return;
    }
    let (open, close, parts): (_, _, Vec<(Option<&str>, &Json)>) = match json {
        Json::Object(members) => ('{', '}', members.iter().map(|(n, v)| (Some(n.as_str()), v)).collect()),
        Json::Array(elements) => ('[', ']', elements.iter().map(|v| (None, v)).collect()),
        _ => return text.push_str(&line),
    };
    text.push(open);
    for (i, (name, value)) in parts.iter().enumerate() {
        text.push_str(if i == 0 { "\n" } else { ",\n" });
        text.push_str(&" ".repeat(indent + 2));
        let name = name.map(|name| format!("\"{name}\": ")).unwrap_or_default();
        text.push_str(&name);
        fold(value, indent + 2, name.len() + 1, text);
    }
    text.push('\n');
    text.push_str(&" ".repeat(indent));
    text.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_shown_as_an_example() {
        let mut shown = Shown::new();
        shown.name("http://127.0.0.1:4711", "https://fhir.example");
        let now = instant::format(shown.started);
        let printed = format!(
            "at http://127.0.0.1:4711/r4/{:032x}/{:032x}/r13/x?X-Amz-Date=1&b=c {now} 2020-01-01T00:00:00.000Z",
            1, 2
        );
        assert_eq!(
            shown.text(&printed),
            "at https://fhir.example/r4/d60cbaa19d337fbfb8ba2677d4dc30a4/aa19d337fbfb8ba2677d4dc30a4d60cb/r2/x\
             ?X-Amz-Signature=… 2026-11-23T09:30:00.000Z 2020-01-01T00:00:00.000Z\n"
        );
    }

    #[test]
    fn headers_that_the_page_does_not_speak_of_are_left_out() {
        let printed = "HTTP/1.1 202 Accepted\r\ndate: x\r\nRetry-After: 1\r\n\r\ndate: y\n";
        assert_eq!(Shown::new().text(printed), "HTTP/1.1 202 Accepted\nRetry-After: 1\n\ndate: y\n");
    }

    #[test]
    fn a_long_line_of_json_is_broken() {
        let long = "x".repeat(100);
        let printed = format!(r#"{{"a":{{"b":[1,2]}},"c":"{long}"}}"#);
        let expected = format!("{{\n  \"a\": {{\"b\":[1,2]}},\n  \"c\": \"{long}\"\n}}\n");
        assert_eq!(Shown::new().text(&printed), expected);
        assert_eq!(Shown::new().text("{\"a\":1}"), "{\"a\":1}\n");
    }
}
