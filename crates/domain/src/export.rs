//! An export and its states.
//!
//! ```text
//! accepted -> planning -> running -> finishing -> completed -> expired
//! live (accepted … finishing) or completed -> cancelled | revoked     live -> failed -> cancelled
//! ```
//! Every move is a guarded statement that names the state it comes from; but for the
//! deletion of a failed one by its client, none leads out of an ended one.

use serde::{Deserialize, Serialize};

/// The state of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportState {
    /// Kicked off; nothing planned yet.
    Accepted,
    /// transactionTime is fixed; shards are being found, the first may already be read.
    Planning,
    /// Every shard is known.
    Running,
    /// Every shard is done; error files and totals are being written.
    Finishing,
    /// The manifest is complete.
    Completed,
    /// Completed, and past its retention.
    Expired,
    /// Deleted by the client, or cancelled by an operator.
    Cancelled,
    /// Its consent ended.
    Revoked,
    /// It could not be done.
    Failed,
}

impl ExportState {
    /// The text form in the control database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ExportState::Accepted => "accepted",
            ExportState::Planning => "planning",
            ExportState::Running => "running",
            ExportState::Finishing => "finishing",
            ExportState::Completed => "completed",
            ExportState::Expired => "expired",
            ExportState::Cancelled => "cancelled",
            ExportState::Revoked => "revoked",
            ExportState::Failed => "failed",
        }
    }

    /// Reads the text form; `None` for a text that no version of ours wrote.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [
            ExportState::Accepted,
            ExportState::Planning,
            ExportState::Running,
            ExportState::Finishing,
            ExportState::Completed,
            ExportState::Expired,
            ExportState::Cancelled,
            ExportState::Revoked,
            ExportState::Failed,
        ]
        .into_iter()
        .find(|s| s.name() == name)
    }

    /// Whether work is still done for it.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(
            self,
            ExportState::Accepted | ExportState::Planning | ExportState::Running | ExportState::Finishing
        )
    }
}

/// How far an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Resources in published files.
    pub published: u64,
    /// Rows that planning has found so far.
    pub planned: u64,
    /// Whether planning has found all.
    pub planned_all: bool,
}

impl Progress {
    /// The text of `X-Progress`, shorter than 100 characters:
    /// `62% (31,000 of about 50,000 resources)`.
    #[must_use]
    pub fn text(self) -> String {
        if self.planned == 0 {
            return if self.planned_all { "finishing".to_owned() } else { "waiting to start".to_owned() };
        }
        let percent = (self.published.saturating_mul(100) / self.planned.max(1)).min(99);
        let about = if self.planned_all { "about" } else { "at least" };
        format!(
            "{percent}% ({} of {about} {} resources)",
            grouped(self.published),
            grouped(self.planned.max(self.published))
        )
    }
}

/// Writes a number with a comma between each three digits.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_in_percent_and_resources() {
        let progress = Progress { published: 31_000, planned: 50_000, planned_all: true };
        assert_eq!(progress.text(), "62% (31,000 of about 50,000 resources)");
        assert_eq!(Progress::default().text(), "waiting to start");
        let huge = Progress { published: u64::MAX, planned: u64::MAX - 1, planned_all: false };
        assert!(huge.text().len() < 100);
    }

    #[test]
    fn every_state_is_read_back_from_its_name() {
        for state in [
            "accepted",
            "planning",
            "running",
            "finishing",
            "completed",
            "expired",
            "cancelled",
            "revoked",
            "failed",
        ] {
            assert_eq!(ExportState::from_name(state).map(ExportState::name), Some(state));
        }
        assert_eq!(ExportState::from_name("done"), None);
    }
}
