//! A practice: the tenant. It has one EHR database (its source), one FHIR base URL and one prefix in
//! the bucket; nothing of one practice is ever reached through another.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::PracticeNumber;

/// A practice as the API serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Practice {
    /// The tenant's number.
    pub number: PracticeNumber,
    /// Its name in paths and host names: `pod21test`.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// The public FHIR base URL, without a trailing slash; every URL we generate begins with it.
    pub base_url: Url,
    /// Where its objects lie in the bucket: `ema/100491`.
    pub s3_prefix: String,
    /// Since when its source remembers deletions and memberships; `None`: since ever.
    pub history_since: Option<DateTime<Utc>>,
    /// Whether it was suspended by an operator.
    pub suspended: bool,
    /// What an operator set for it.
    pub options: PracticeOptions,
}

impl Practice {
    /// The base URL as text without a trailing slash.
    #[must_use]
    pub fn base(&self) -> &str {
        self.base_url.as_str().trim_end_matches('/')
    }
}

/// Per-practice switches. Unknown names are errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PracticeOptions {
    /// Accept a `_since` without a zone as UTC, with a warning (clients of the modelled product send it).
    pub since_without_zone: bool,
    /// Refuse a kick-off without `Accept: application/fhir+json` or `Prefer: respond-async`.
    pub require_headers: bool,
    /// Exports one app may run at a time; the installation's default when absent.
    pub max_exports_per_app: Option<u32>,
    /// Resources in a file at most; the installation's default (1000) when absent.
    pub file_resources: Option<u32>,
    /// The version of US Core that resources made by a mapping follow.
    pub us_core: UsCore,
    /// How clients get at the files.
    pub file_access: FileAccess,
    /// Store files gzipped. They are then served with `Content-Encoding: gzip`, whatever the client accepts.
    pub gzip: bool,
    /// At Group level, and where patients are named, export only those rows of the practice's directory that
    /// exported resources refer to.
    pub directory_by_reference: bool,
}

/// How clients get at the files of an export (Bulk Data IG, Output File Request).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileAccess {
    /// By signed links that need no token, as with the modelled product.
    #[default]
    Presigned,
    /// By URLs of this server that need the access token; they lead to a signed link of a few minutes.
    Token,
}

/// A version of the US Core implementation guide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum UsCore {
    /// US Core 6.1.0: USCDI v3, the baseline of certification.
    #[default]
    #[serde(rename = "6.1.0")]
    V6_1_0,
    /// US Core 7.0.0: USCDI v4.
    #[serde(rename = "7.0.0")]
    V7_0_0,
}

impl UsCore {
    /// The version as profiles are named with it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V6_1_0 => "6.1.0",
            Self::V7_0_0 => "7.0.0",
        }
    }
}

impl Default for PracticeOptions {
    fn default() -> Self {
        Self {
            since_without_zone: true,
            require_headers: true,
            max_exports_per_app: None,
            file_resources: None,
            us_core: UsCore::default(),
            file_access: FileAccess::default(),
            gzip: false,
            directory_by_reference: false,
        }
    }
}

/// Whether a text can be a practice's slug: a DNS label, so that it works in a path and in a host name.
#[must_use]
pub fn is_slug(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether a text can be a practice's prefix in the bucket: segments of `[A-Za-z0-9._-]` joined by
/// single slashes, none of them `.` or `..`.
#[must_use]
pub fn is_object_prefix(text: &str) -> bool {
    (1..=200).contains(&text.len())
        && text.split('/').all(|s| {
            !s.is_empty()
                && s != "."
                && s != ".."
                && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_cannot_leave_its_place() {
        assert!(is_object_prefix("ema/100491"));
        for wrong in ["", "/ema", "ema/", "ema//1", "ema/../other", ".", "a b"] {
            assert!(!is_object_prefix(wrong), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_option_is_an_error() {
        assert!(serde_json::from_str::<PracticeOptions>(r#"{"since_without_zone":false}"#).is_ok());
        assert!(serde_json::from_str::<PracticeOptions>(r#"{"since_without_zome":false}"#).is_err());
        let options: PracticeOptions = serde_json::from_str(r#"{"us_core":"7.0.0"}"#).unwrap();
        assert_eq!(options.us_core.as_str(), "7.0.0");
        assert!(serde_json::from_str::<PracticeOptions>(r#"{"us_core":"5.0.1"}"#).is_err());
    }
}
