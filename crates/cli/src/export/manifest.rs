//! Reads manifests (Bulk Data IG, Complete Status), also those of servers that are not strict.
//!
//! What a file cannot be had without (`url`) is demanded; anything else that is missing or odd is left out, because a
//! manifest comes after hours of waiting. Bytes and SHA-256 stand in `extension` of an entry as
//! `{"bytes": 123, "sha256": "<hex>"}`; other extensions are kept as they are.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use url::Url;

use super::error::ExportError;

const WHAT: &str = "reading the manifest";

/// The part of a manifest in which a file is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Section {
    /// Resources.
    Output,
    /// OperationOutcomes.
    Error,
    /// Bundles of deletions.
    Deleted,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileEntry {
    pub(super) section: Section,
    /// Resource type; absent where a file holds several.
    pub(super) resource_type: Option<String>,
    /// Where it is; may carry a signature in its query string.
    pub(super) url: Url,
    /// Resources in the file, if told.
    pub(super) count: Option<u64>,
    /// Bytes of the file, if told.
    pub(super) bytes: Option<u64>,
    /// SHA-256 in hex, if told.
    pub(super) sha256: Option<String>,
    pub(super) extension: Option<Value>,
}

/// A manifest: a page, or all pages together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    /// `transactionTime` as given; empty if missing.
    pub(super) transaction_time: String,
    pub(super) request: Option<String>,
    /// Whether file requests need the token; `None` if the server does not say.
    pub(super) requires_access_token: Option<bool>,
    pub(super) files: Vec<FileEntry>,
}

/// One page and the address of the next.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) manifest: Manifest,
    pub(super) next: Option<Url>,
}

impl Page {
    /// Parses the body of an answer; `at` is the URL that gave it (links of STU1 servers may be relative).
    pub(super) fn parse(body: &[u8], at: &Url) -> Result<Page, ExportError> {
        let value: Value = serde_json::from_slice(body).map_err(|error| {
            problem(format!("it is not JSON (line {}, column {})", error.line(), error.column()))
        })?;
        let Value::Object(mut fields) = value else {
            return Err(problem("it is not a JSON object".to_owned()));
        };
        if !fields.contains_key("output") && !fields.contains_key("transactionTime") {
            return Err(problem("it has neither output nor transactionTime".to_owned()));
        }
        let mut files = Vec::new();
        for (name, section) in [
            ("output", Section::Output),
            ("error", Section::Error),
            // The name of `error` in version 4.
            ("outcome", Section::Error),
            ("deleted", Section::Deleted),
        ] {
            let Some(Value::Array(entries)) = fields.remove(name) else { continue };
            for entry in entries {
                files.push(file_entry(entry, section, name, at)?);
            }
        }
        let manifest = Manifest {
            transaction_time: text(&mut fields, "transactionTime").unwrap_or_default(),
            request: text(&mut fields, "request"),
            requires_access_token: fields.get("requiresAccessToken").and_then(Value::as_bool),
            files,
        };
        Ok(Page { manifest, next: next_link(&fields, at)? })
    }
}

impl Manifest {
    /// What `manifest.json` holds: the manifest with the local name of each file, and without the query strings of
    /// the links, since those may be signatures.
    pub(super) fn record(&self, names: &[String]) -> Value {
        let section = |wanted: Section| -> Vec<Value> {
            let entries = self.files.iter().zip(names).filter(|(entry, _)| entry.section == wanted);
            entries.map(|(entry, name)| entry.record(name)).collect()
        };
        let mut record = json!({
            "transactionTime": self.transaction_time,
            "output": section(Section::Output),
            "error": section(Section::Error),
            "deleted": section(Section::Deleted),
        });
        if let Some(request) = &self.request {
            record["request"] = json!(request);
        }
        if let Some(required) = self.requires_access_token {
            record["requiresAccessToken"] = json!(required);
        }
        record
    }
}

impl FileEntry {
    fn record(&self, name: &str) -> Value {
        let mut url = self.url.clone();
        url.set_query(None);
        url.set_fragment(None);
        // Fails only for URLs that cannot have a user, and so have none.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let mut record = json!({ "url": url.as_str(), "file": name });
        if let Some(resource_type) = &self.resource_type {
            record["type"] = json!(resource_type);
        }
        if let Some(count) = self.count {
            record["count"] = json!(count);
        }
        if let Some(extension) = &self.extension {
            record["extension"] = extension.clone();
        }
        record
    }
}

fn file_entry(entry: Value, section: Section, list: &str, at: &Url) -> Result<FileEntry, ExportError> {
    let Value::Object(mut fields) = entry else {
        return Err(problem(format!("an entry of {list} is not an object")));
    };
    let Some(link) = text(&mut fields, "url") else {
        return Err(problem(format!("an entry of {list} has no url")));
    };
    let url = at.join(&link).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(url) = url else {
        return Err(problem(format!("an entry of {list} has a url that is not a web address")));
    };
    let extension = fields.remove("extension");
    let told = |name: &str| extension.as_ref().and_then(|e| e.get(name));
    Ok(FileEntry {
        section,
        resource_type: text(&mut fields, "type"),
        url,
        count: fields.get("count").and_then(Value::as_u64),
        bytes: told("bytes").and_then(Value::as_u64),
        sha256: told("sha256").and_then(Value::as_str).map(str::to_owned),
        extension,
    })
}

/// The `link` of relation `next` (Bulk Data IG 3, partial manifests).
fn next_link(fields: &Map<String, Value>, at: &Url) -> Result<Option<Url>, ExportError> {
    let links = fields.get("link").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let next = links.iter().find(|link| link.get("relation").and_then(Value::as_str) == Some("next"));
    let Some(url) = next.and_then(|link| link.get("url")).and_then(Value::as_str) else { return Ok(None) };
    at.join(url).map(Some).map_err(|_| problem("its next link is not a URL".to_owned()))
}

fn text(fields: &mut Map<String, Value>, name: &str) -> Option<String> {
    match fields.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn problem(problem: String) -> ExportError {
    ExportError::Protocol { what: WHAT, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Url {
        "https://ehr.example/fhir/r4/status/1".parse().unwrap()
    }

    fn parse(text: &str) -> Page {
        Page::parse(text.as_bytes(), &at()).unwrap()
    }

    #[test]
    fn a_full_manifest_is_read() {
        let page = parse(
            r#"{"transactionTime":"2026-01-01T00:00:00.123Z","request":"https://ehr.example/fhir/r4/$export",
            "requiresAccessToken":false,
            "output":[{"type":"Patient","url":"https://b.example/patient_1.ndjson?X-Amz-Signature=s","count":2,
                       "extension":{"bytes":6,"sha256":"ab"}}],
            "error":[{"type":"OperationOutcome","url":"https://b.example/error_1.ndjson"}],
            "deleted":[{"type":"Bundle","url":"https://b.example/deleted_1.ndjson","count":1}]}"#,
        );
        let manifest = page.manifest;
        assert_eq!(page.next, None);
        assert_eq!(manifest.transaction_time, "2026-01-01T00:00:00.123Z");
        assert_eq!(manifest.requires_access_token, Some(false));
        let sections: Vec<Section> = manifest.files.iter().map(|f| f.section).collect();
        assert_eq!(sections, [Section::Output, Section::Error, Section::Deleted]);
        let patient = &manifest.files[0];
        assert_eq!((patient.count, patient.bytes, patient.sha256.as_deref()), (Some(2), Some(6), Some("ab")));
    }

    #[test]
    fn a_foreign_manifest_may_be_sparse_relative_and_newer() {
        let manifest = parse(
            r#"{"transactionTime":"2026-01-01T00:00:00Z","unknown":{"a":1},
            "output":[{"url":"/files/Binary/77","type":"Patient","count":"3","extension":[{"url":"x"}]}],
            "outcome":[{"url":"../e1"}],"deleted":null}"#,
        )
        .manifest;
        assert_eq!(manifest.requires_access_token, None);
        assert_eq!(manifest.files[0].url.as_str(), "https://ehr.example/files/Binary/77");
        assert_eq!((manifest.files[0].count, manifest.files[0].bytes), (None, None));
        assert_eq!(manifest.files[1].section, Section::Error);
        assert_eq!(manifest.files[1].url.as_str(), "https://ehr.example/fhir/r4/e1");
    }

    #[test]
    fn the_next_link_is_found() {
        let page = parse(
            r#"{"output":[{"url":"a"}],"link":[{"relation":"self","url":"1"},{"relation":"next","url":"2?p=2"}]}"#,
        );
        assert_eq!(page.next.unwrap().as_str(), "https://ehr.example/fhir/r4/status/2?p=2");
    }

    #[test]
    fn what_cannot_be_a_manifest_is_refused() {
        for body in [
            "",
            "[]",
            "<html>",
            r#"{"resourceType":"OperationOutcome"}"#,
            r#"{"output":[{"type":"Patient"}]}"#,
            r#"{"output":[{"url":"file:///etc/passwd"}]}"#,
            r#"{"output":["x"]}"#,
        ] {
            assert!(Page::parse(body.as_bytes(), &at()).is_err(), "{body}");
        }
    }

    #[test]
    fn the_record_has_local_names_and_no_secrets() {
        let manifest = parse(
            r#"{"transactionTime":"t","requiresAccessToken":false,"output":[
            {"type":"Patient","url":"https://u:pw@b.example/p.ndjson?X-Amz-Signature=secret#f","count":2}]}"#,
        )
        .manifest;
        let record = manifest.record(&["p.ndjson".to_owned()]);
        assert_eq!(
            record["output"],
            json!([{"type":"Patient","url":"https://b.example/p.ndjson","file":"p.ndjson","count":2}])
        );
        assert_eq!(record["requiresAccessToken"], json!(false));
    }
}
