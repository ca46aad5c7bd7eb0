//! Handing out the files of an export: the manifest, and where its URLs lead.
//!
//! That files are handed out is recorded before the manifest is shown, and it is not shown when it cannot be
//! recorded. The text is written while it is sent, each link being signed as its turn comes: a manifest of tens of
//! thousands of files neither stands in memory as a whole nor keeps a thread from other requests.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream;
use headgate_domain::manifest::{Entry, EntryExtension, Files, Manifest};
use headgate_domain::practice::{FileAccess, Practice};
use headgate_domain::{ClientId, ExportId};
use headgate_objects::LinkSigner;
use headgate_store::{Audit, ExportRecord, FileKind, FileRecord};
use http::HeaderValue;
use http::header::{CONTENT_TYPE, EXPIRES};
use serde_json::json;

use super::file::PublicFolder;
use crate::error::ApiError;
use crate::state::ApiState;

/// An export whose files its client may have.
pub(super) struct Manifests<'a> {
    pub(super) state: &'a ApiState,
    pub(super) practice: &'a Practice,
    pub(super) client: &'a ClientId,
    pub(super) id: &'a ExportId,
    pub(super) export: &'a ExportRecord,
}

/// Where the URLs of a manifest lead.
enum Place {
    /// Into the bucket, by signed links.
    Bucket(Box<LinkSigner>),
    /// To this server, with the access token.
    Here(PublicFolder),
}

impl Manifests<'_> {
    /// The absolute URL that is polled.
    pub(super) fn status_url(&self) -> String {
        super::status_url(self.practice, self.id)
    }

    /// All files, in one manifest.
    pub(super) async fn whole(&self) -> Result<Response, ApiError> {
        let files = self.state.store().files_of(self.practice.number, self.id).await?;
        self.of(files, None).await
    }

    /// A manifest of these files, with the URL of the next page.
    pub(super) async fn of(
        &self,
        files: Vec<FileRecord>,
        next: Option<String>,
    ) -> Result<Response, ApiError> {
        let export = self.export;
        let transaction_time = export
            .transaction_time
            .ok_or(ApiError::Unexpected("an export that has files has no transaction time"))?;
        let (place, expires) = self.place().await?;
        if let Place::Here(folder) = &place
            && files.iter().any(|file| folder.url(&file.object_key).is_none())
        {
            return Err(ApiError::Unexpected("a file of an export lies elsewhere than its files do"));
        }
        let audit = Audit::new(format!("client {}", self.client), "link.minted")
            .at(self.practice.number)
            .about_client(self.client)
            .about_export(self.id)
            .with(json!({ "links": files.len() }));
        if !self.state.store().mint_links(self.practice.number, self.id, self.client, &audit).await? {
            return Err(ApiError::NoSuchExport);
        }
        let manifest = Manifest {
            transaction_time,
            request: export.request_url.clone(),
            requires_access_token: matches!(place, Place::Here(_)),
            next,
        };
        let mut response = Response::new(body(manifest, files, place));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(Ok(expires)) = expires.map(|time| HeaderValue::from_str(&http_date(time))) {
            response.headers_mut().insert(EXPIRES, expires);
        }
        Ok(response)
    }

    /// Where the files are had, and until when, as far as that is known.
    async fn place(&self) -> Result<(Place, Option<DateTime<Utc>>), ApiError> {
        match self.practice.options.file_access {
            FileAccess::Presigned => {
                let ttl = link_ttl(self.export, self.state.config().url_ttl);
                let signer = self.state.objects().signer(ttl).await?;
                let end = signer.end().into();
                Ok((Place::Bucket(Box::new(signer)), Some(end)))
            }
            FileAccess::Token => {
                Ok((Place::Here(PublicFolder::of(self.practice, self.id)), self.export.expires_at))
            }
        }
    }
}

impl Place {
    fn url(&self, object_key: &str) -> String {
        match self {
            Place::Bucket(signer) => signer.get(object_key),
            Place::Here(folder) => folder.url(object_key).unwrap_or_default(),
        }
    }
}

fn body(manifest: Manifest, files: Vec<FileRecord>, place: Place) -> Body {
    let pieces = pieces(manifest, files, place);
    Body::from_stream(stream::iter(pieces.map(|piece| Ok::<_, Infallible>(Bytes::from(piece)))))
}

fn pieces(manifest: Manifest, files: Vec<FileRecord>, place: Place) -> impl Iterator<Item = Vec<u8>> {
    let mut lists: Files<Vec<FileRecord>> = Files::default();
    for file in files {
        match file.kind {
            FileKind::Output => lists.output.push(file),
            FileKind::Deleted => lists.deleted.push(file),
            FileKind::Error => lists.error.push(file),
        }
    }
    let place = std::sync::Arc::new(place);
    let entries = |files: Vec<FileRecord>| {
        let place = place.clone();
        files.into_iter().map(move |file| entry(file, &place))
    };
    manifest.pieces(Files {
        output: entries(lists.output),
        deleted: entries(lists.deleted),
        error: entries(lists.error),
    })
}

fn entry(file: FileRecord, place: &Place) -> Entry {
    Entry {
        url: place.url(&file.object_key),
        resource_type: match file.kind {
            FileKind::Output => file.resource_type,
            FileKind::Deleted | FileKind::Error => file.kind.resource_type().to_owned(),
        },
        count: file.resources,
        extension: EntryExtension { bytes: file.bytes, sha256: file.sha256 },
    }
}

/// Links die with the files at the latest.
fn link_ttl(export: &ExportRecord, longest: Duration) -> Duration {
    let left = export.expires_at.map_or(longest, |end| (end - export.now).to_std().unwrap_or_default());
    left.min(longest).max(Duration::from_secs(1))
}

/// A date as HTTP headers have it (RFC 9110, section 5.6.7).
fn http_date(time: DateTime<Utc>) -> String {
    time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Instant;

    use headgate_domain::export::{ExportState, Progress};
    use headgate_domain::request::Delivery;
    use headgate_objects::{Keys, Objects, S3Config};

    use super::*;

    fn export(expires_in_s: i64) -> ExportRecord {
        let now = DateTime::UNIX_EPOCH;
        ExportRecord {
            request_url: String::new(),
            types: BTreeSet::new(),
            state: ExportState::Completed,
            transaction_time: None,
            accepted_at: now,
            expires_at: Some(now + chrono::TimeDelta::seconds(expires_in_s)),
            failure: None,
            delivery: Delivery::default(),
            progress: Progress::default(),
            now,
        }
    }

    fn manifest() -> Manifest {
        Manifest {
            transaction_time: DateTime::UNIX_EPOCH,
            request: "https://a.example/fhir/r4/$export".to_owned(),
            requires_access_token: false,
            next: None,
        }
    }

    fn file(kind: FileKind, number: u32) -> FileRecord {
        FileRecord {
            kind,
            resource_type: "Observation".to_owned(),
            number,
            part: 1,
            object_key: format!("ema/100491/d60cbaa19d337fbfb8ba2677d4dc30a4/observation_{number}.ndjson"),
            resources: 1000,
            bytes: 1_000_000,
            sha256: "00".repeat(32),
        }
    }

    async fn signer() -> LinkSigner {
        let config = S3Config {
            endpoint: Some("https://s3.example".to_owned()),
            region: "us-east-1".to_owned(),
            bucket: "files".to_owned(),
            path_style: true,
            sign_payload: false,
            keys: Some(Keys {
                access_key_id: "id".to_owned(),
                secret_access_key: "secret".to_owned().into(),
            }),
            links: Duration::ZERO,
        };
        Objects::connect(config).await.unwrap().signer(Duration::from_secs(300)).await.unwrap()
    }

    #[test]
    fn a_link_never_outlives_the_files() {
        let hour = Duration::from_secs(3600);
        assert_eq!(link_ttl(&export(7200), hour), hour);
        assert_eq!(link_ttl(&export(60), hour), Duration::from_secs(60));
    }

    #[test]
    fn the_expiry_is_an_http_date() {
        let time = DateTime::from_timestamp(784_111_777, 0).unwrap();
        assert_eq!(http_date(time), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[tokio::test]
    async fn every_file_stands_in_its_list_with_its_type() {
        let files = [(FileKind::Deleted, 1), (FileKind::Error, 2), (FileKind::Output, 3)];
        let files = files.map(|(kind, number)| file(kind, number)).to_vec();
        let text =
            pieces(manifest(), files, Place::Bucket(Box::new(signer().await))).collect::<Vec<_>>().concat();
        let read: serde_json::Value = serde_json::from_slice(&text).unwrap();
        for (list, resource_type, number) in
            [("deleted", "Bundle", 1), ("error", "OperationOutcome", 2), ("output", "Observation", 3)]
        {
            let entries = read[list].as_array().unwrap();
            assert_eq!(entries.len(), 1);
            assert_eq!(entries[0]["type"], resource_type);
            let url = entries[0]["url"].as_str().unwrap();
            assert!(
                url.contains(&format!("/observation_{number}.ndjson?")) && url.contains("X-Amz-Signature=")
            );
        }
    }

    #[tokio::test]
    #[expect(clippy::print_stdout, reason = "a measurement to read, not to assert")]
    async fn a_manifest_of_ten_thousand_files_takes_little_time() {
        let files: Vec<_> = (1..=10_000).map(|number| file(FileKind::Output, number)).collect();
        let place = Place::Bucket(Box::new(signer().await));
        let started = Instant::now();
        let bytes: usize = pieces(manifest(), files, place).map(|piece| piece.len()).sum();
        println!("a manifest of 10,000 files: {:?}, {bytes} bytes", started.elapsed());
    }
}
