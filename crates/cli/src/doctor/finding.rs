//! What a check found.

use std::time::Duration;

use serde::Serialize;

/// How a finding is to be taken; ordered from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, or cannot be told from here; somebody should look.
    Warning,
    /// It does not work, or is not safe.
    Failed,
}

impl Verdict {
    /// The word for a table.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "FAILED",
        }
    }
}

/// One finding. Its texts hold no secret and no patient's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// How it is to be taken.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self { check: check.into(), verdict: Verdict::Ok, found: found.into(), mend: None }
    }

    /// Somebody should look.
    pub fn warning(check: impl Into<String>, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, mend: Some(mend.into()), ..Self::ok(check, found) }
    }

    /// It does not work.
    pub fn failed(check: impl Into<String>, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { verdict: Verdict::Failed, mend: Some(mend.into()), ..Self::ok(check, found) }
    }
}

/// A check that took too long.
pub fn late(check: &str, patience: Duration) -> Finding {
    let found = format!("no answer within {} s", patience.as_secs());
    Finding::failed(
        check,
        found,
        "see whether it can be reached from here, or give it more time with --timeout",
    )
}
