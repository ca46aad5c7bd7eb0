//! The manifest of a completed export (Bulk Data IG, Response - Complete Status).

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

/// The manifest. Arrays are always present, also when empty: clients index them blindly.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Everything changed up to this instant is in the output.
    #[serde(serialize_with = "instant")]
    pub transaction_time: DateTime<Utc>,
    /// The kick-off URL with its query.
    pub request: String,
    /// Whether the file URLs want the access token (`false`: they are signed).
    pub requires_access_token: bool,
    /// One entry per file.
    pub output: Vec<Entry>,
    /// Files of deletion bundles.
    pub deleted: Vec<Entry>,
    /// Files of OperationOutcomes.
    pub error: Vec<Entry>,
}

/// One file of a manifest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// The resource type of every line.
    #[serde(rename = "type")]
    pub resource_type: String,
    /// Where the file is.
    pub url: String,
    /// Lines in the file.
    pub count: u64,
    /// What lets a client verify the file.
    pub extension: EntryExtension,
}

/// Size and hash of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EntryExtension {
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 of the bytes, in lower-case hex.
    pub sha256: String,
}

fn instant<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&crate::instant::format(*time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_arrays_are_kept_and_the_time_is_an_instant() {
        let manifest = Manifest {
            transaction_time: DateTime::UNIX_EPOCH,
            request: "https://a.example/fhir/r4/$export".into(),
            requires_access_token: false,
            output: vec![Entry {
                resource_type: "Patient".into(),
                url: "https://b.example/patient_1.ndjson".into(),
                count: 2,
                extension: EntryExtension { bytes: 10, sha256: "00".into() },
            }],
            deleted: vec![],
            error: vec![],
        };
        assert_eq!(
            serde_json::to_string(&manifest).unwrap(),
            r#"{"transactionTime":"1970-01-01T00:00:00.000Z","request":"https://a.example/fhir/r4/$export","requiresAccessToken":false,"output":[{"type":"Patient","url":"https://b.example/patient_1.ndjson","count":2,"extension":{"bytes":10,"sha256":"00"}}],"deleted":[],"error":[]}"#
        );
    }
}
