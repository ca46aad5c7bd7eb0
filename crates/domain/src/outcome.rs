//! FHIR `OperationOutcome`: how every refusal and every problem of an export is told.

use serde::{Deserialize, Serialize};

/// How bad an issue is (FHIR `IssueSeverity`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The request cannot be served.
    Error,
    /// The request is served, but not as its sender may think.
    Warning,
    /// For the reader's information.
    Information,
}

/// What kind of issue it is: the codes of FHIR `IssueType` that Headgate uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IssueCode {
    /// Content that breaks the specification.
    Invalid,
    /// A parameter's value is not of its type or range.
    Value,
    /// A header or element that must be there is missing.
    Required,
    /// A parameter, type or format that is not supported.
    NotSupported,
    /// No such thing, or none that this client may see.
    NotFound,
    /// No token, or one that is not valid.
    Login,
    /// A token that expired.
    Expired,
    /// A valid token that does not permit this.
    Forbidden,
    /// Too much of something.
    TooCostly,
    /// Too many requests.
    Throttled,
    /// Something that will be over soon: try again.
    Transient,
    /// An unexpected failure inside.
    Exception,
    /// A resource that could not be exported.
    Processing,
    /// Informational.
    Informational,
}

/// One issue of an [`OperationOutcome`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    severity: Severity,
    code: IssueCode,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
    diagnostics: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Details {
    text: String,
}

impl Issue {
    /// An issue that stops the request.
    pub fn error(code: IssueCode, diagnostics: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, details: None, diagnostics: readable(diagnostics.into()) }
    }

    /// An issue the sender should know of although the request is served.
    pub fn warning(code: IssueCode, diagnostics: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, diagnostics) }
    }

    /// A message without consequence.
    pub fn information(diagnostics: impl Into<String>) -> Self {
        Self { severity: Severity::Information, ..Self::error(IssueCode::Informational, diagnostics) }
    }

    /// Adds `details.text`: a short text that clients may match on.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        self.details = Some(Details { text: text.into() });
        self
    }

    /// What is wrong and what to do, for the developer at the other end.
    #[must_use]
    pub fn diagnostics(&self) -> &str {
        &self.diagnostics
    }
}

/// A text may repeat what a client sent. Control characters are not allowed in FHIR's texts, and a database refuses
/// the first of them.
fn readable(text: String) -> String {
    let is_bad = |c: char| c.is_control() && !matches!(c, '\t' | '\r' | '\n');
    if text.contains(is_bad) { text.replace(is_bad, "\u{fffd}") } else { text }
}

/// A FHIR R4 `OperationOutcome`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationOutcome {
    #[serde(rename = "resourceType")]
    resource_type: OutcomeType,
    issue: Vec<Issue>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum OutcomeType {
    OperationOutcome,
}

impl OperationOutcome {
    /// An outcome of the given issues; FHIR wants at least one.
    #[must_use]
    pub fn new(issue: Vec<Issue>) -> Self {
        Self { resource_type: OutcomeType::OperationOutcome, issue }
    }

    /// The issues.
    #[must_use]
    pub fn issues(&self) -> &[Issue] {
        &self.issue
    }
}

impl From<Issue> for OperationOutcome {
    fn from(issue: Issue) -> Self {
        Self::new(vec![issue])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_that_a_client_sent_are_not_repeated() {
        let issue = Issue::warning(IssueCode::Value, "a\0b\u{1b}c\nd");
        assert_eq!(issue.diagnostics(), "a\u{fffd}b\u{fffd}c\nd");
    }

    #[test]
    fn an_outcome_looks_as_fhir_wants_it() {
        let outcome = OperationOutcome::from(
            Issue::error(IssueCode::NotSupported, "Invalid Tenant: only ndjson").with_text("Invalid Tenant"),
        );
        assert_eq!(
            serde_json::to_string(&outcome).unwrap(),
            r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-supported","details":{"text":"Invalid Tenant"},"diagnostics":"Invalid Tenant: only ndjson"}]}"#
        );
    }
}
