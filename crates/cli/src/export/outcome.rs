//! What a server says when it refuses: an OperationOutcome, an OAuth error, a problem document, or anything else;
//! and what the OperationOutcomes of its error files say.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;

use super::error::ExportError;

/// Longest explanation passed on, in characters.
const LONGEST: usize = 600;
/// Children of `transient` in the FHIR issue types, and itself: "try again" (Bulk Data IG, Error Status).
const TRANSIENT: [&str; 7] =
    ["transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled"];

/// The explanation in the body of a refusal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ServerSays {
    /// Printable text, never empty.
    pub(super) text: String,
    /// OAuth error code, if this is one.
    pub(super) oauth_error: Option<String>,
    /// Whether the issues say that the server may do better later.
    pub(super) transient: bool,
}

/// Different texts of error files that are shown; the files have them all.
const MOST_WARNINGS: usize = 20;

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    issue: Vec<Issue>,
    error: Option<String>,
    error_description: Option<String>,
    title: Option<String>,
    detail: Option<String>,
}

#[derive(Deserialize)]
struct Issue {
    severity: Option<String>,
    #[serde(default)]
    code: String,
    diagnostics: Option<String>,
    details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    text: Option<String>,
}

impl ServerSays {
    /// Reads a body, whatever it is.
    pub(super) fn read(body: &[u8]) -> Self {
        let Ok(parsed) = serde_json::from_slice::<Body>(body) else {
            return ServerSays { text: plain_text(body), oauth_error: None, transient: false };
        };
        let transient =
            !parsed.issue.is_empty() && parsed.issue.iter().any(|i| TRANSIENT.contains(&i.code.as_str()));
        let text = if !parsed.issue.is_empty() {
            parsed.issue.into_iter().map(Issue::into_text).collect::<Vec<_>>().join("; ")
        } else {
            [parsed.error.as_deref(), parsed.error_description.as_deref(), parsed.title.as_deref()]
                .into_iter()
                .chain([parsed.detail.as_deref()])
                .flatten()
                .collect::<Vec<_>>()
                .join(": ")
        };
        ServerSays { text: printable(&text), oauth_error: parsed.error, transient }
    }

    /// The issues of an OperationOutcome that comes with a success.
    pub(super) fn note(body: &[u8]) -> Option<String> {
        let parsed = serde_json::from_slice::<Body>(body).ok()?;
        (!parsed.issue.is_empty()).then(|| ServerSays::read(body).text)
    }
}

impl Issue {
    fn into_text(self) -> String {
        self.diagnostics.or(self.details.and_then(|d| d.text)).unwrap_or(self.code)
    }
}

/// What error files say, each text once.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    /// How often each was said, by its place in `texts`.
    counts: HashMap<String, u64>,
    texts: Vec<String>,
    left_out: u64,
}

impl Warnings {
    /// Reads an error file.
    pub(super) async fn read(&mut self, path: &Path) -> Result<(), ExportError> {
        let owned = path.to_owned();
        let read = move || -> std::io::Result<Warnings> {
            let mut warnings = Warnings::default();
            for line in BufReader::new(std::fs::File::open(owned)?).split(b'\n') {
                warnings.add(&line?);
            }
            Ok(warnings)
        };
        let found = tokio::task::spawn_blocking(read).await;
        let found = found.unwrap_or_else(|gone| Err(std::io::Error::other(gone)));
        let found = found.map_err(|source| ExportError::io("read", path, source))?;
        for text in found.texts {
            let count = found.counts.get(&text).copied().unwrap_or_default();
            self.count(text, count);
        }
        self.left_out += found.left_out;
        Ok(())
    }

    fn add(&mut self, line: &[u8]) {
        let Ok(outcome) = serde_json::from_slice::<Body>(line) else { return };
        for issue in outcome.issue {
            let severity = issue.severity.clone().unwrap_or_else(|| "error".to_owned());
            let text = format!("{}: {}", printable(&severity), printable(&issue.into_text()));
            self.count(text, 1);
        }
    }

    fn count(&mut self, text: String, count: u64) {
        if let Some(known) = self.counts.get_mut(&text) {
            *known += count;
        } else if self.texts.len() < MOST_WARNINGS {
            self.texts.push(text.clone());
            self.counts.insert(text, count);
        } else {
            self.left_out += count;
        }
    }

    /// A line for each text, in the order in which they came.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for text in &self.texts {
            match self.counts.get(text) {
                Some(count) if *count > 1 => lines.push(format!("the server reports {text} ({count} times)")),
                _ => lines.push(format!("the server reports {text}")),
            }
        }
        if self.left_out > 0 {
            lines.push(format!("{} more reports are in the error files", self.left_out));
        }
        lines
    }
}

/// A few words of a text body; a web page is of no use in a terminal.
fn plain_text(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(LONGEST)]);
    if text.trim_start().starts_with('<') { "(a web page)".to_owned() } else { printable(&text) }
}

/// One bounded line without control characters: a server's text must not steer the terminal.
pub(super) fn printable(text: &str) -> String {
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.retain(|c| !c.is_control());
    if line.chars().count() > LONGEST {
        line = line.chars().take(LONGEST).chain(['…']).collect();
    }
    if line.is_empty() { "(no explanation)".to_owned() } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_outcome_gives_its_diagnostics() {
        let body = br#"{"resourceType":"OperationOutcome","issue":[
            {"severity":"error","code":"invalid","diagnostics":"Invalid Tenant: only ndjson"},
            {"severity":"error","code":"not-supported","details":{"text":"csv"}}]}"#;
        let says = ServerSays::read(body);
        assert_eq!(says.text, "Invalid Tenant: only ndjson; csv");
        assert!(!says.transient);
    }

    #[test]
    fn a_throttled_issue_is_transient() {
        assert!(ServerSays::read(br#"{"issue":[{"code":"throttled"}]}"#).transient);
    }

    #[test]
    fn a_success_has_a_note_only_if_it_has_issues() {
        let warning = br#"{"issue":[{"code":"informational","diagnostics":"taken as UTC"}]}"#;
        assert_eq!(ServerSays::note(warning).as_deref(), Some("taken as UTC"));
        assert_eq!(ServerSays::note(b"{}"), None);
        assert_eq!(ServerSays::note(b""), None);
    }

    #[test]
    fn an_oauth_error_gives_code_and_description() {
        let says = ServerSays::read(br#"{"error":"invalid_scope","error_description":"nothing left"}"#);
        assert_eq!(says.text, "invalid_scope: nothing left");
        assert_eq!(says.oauth_error.as_deref(), Some("invalid_scope"));
    }

    #[test]
    fn what_error_files_say_is_told_once_and_within_bounds() {
        let mut warnings = Warnings::default();
        warnings
            .add(br#"{"issue":[{"severity":"warning","code":"x","diagnostics":"no\u001b such patient"}]}"#);
        warnings.add(br#"{"issue":[{"code":"exception"},{"code":"exception"}]}"#);
        warnings.add(b"no json");
        assert_eq!(
            warnings.lines(),
            ["the server reports warning: no such patient", "the server reports error: exception (2 times)"]
        );
        for number in 0..30 {
            warnings.count(number.to_string(), 1);
        }
        assert_eq!(warnings.lines().len(), MOST_WARNINGS + 1);
        assert_eq!(warnings.lines().last().unwrap(), "12 more reports are in the error files");
    }

    #[test]
    fn control_characters_and_web_pages_do_not_reach_the_terminal() {
        assert_eq!(ServerSays::read(b"bad\x1b[31m gateway\r\n").text, "bad[31m gateway");
        assert_eq!(ServerSays::read(b"  <html>...").text, "(a web page)");
        assert_eq!(ServerSays::read(b"").text, "(no explanation)");
    }
}
