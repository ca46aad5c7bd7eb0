//! What a server says when it refuses: an OperationOutcome, an OAuth error, a problem document, or anything else.

use serde::Deserialize;

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
    fn control_characters_and_web_pages_do_not_reach_the_terminal() {
        assert_eq!(ServerSays::read(b"bad\x1b[31m gateway\r\n").text, "bad[31m gateway");
        assert_eq!(ServerSays::read(b"  <html>...").text, "(a web page)");
        assert_eq!(ServerSays::read(b"").text, "(no explanation)");
    }
}
