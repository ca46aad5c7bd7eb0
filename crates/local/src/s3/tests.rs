//! The server as the AWS SDK and a plain HTTP client see it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumMode, Delete, ObjectIdentifier};
use tempfile::TempDir;

use super::{Error, S3Options, S3Server};

const SECRET: &str = "a-secret-nobody-may-see";
const LINES: &[u8] = b"{\"resourceType\":\"Patient\"}\n";

struct Fixture {
    folder: TempDir,
    server: S3Server,
    client: Client,
}

impl Fixture {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = S3Server::start(options(folder.path())).await.unwrap();
        let client = client(&server.endpoint(), SECRET, true);
        Self { folder, server, client }
    }

    async fn put(&self, key: &str, data: &[u8]) {
        let body = ByteStream::from(data.to_vec());
        self.client.put_object().bucket("files").key(key).body(body).send().await.unwrap();
    }

    async fn get_url(&self, key: &str) -> String {
        let lifetime = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
        let get = self.client.get_object().bucket("files").key(key);
        get.presigned(lifetime).await.unwrap().uri().to_owned()
    }

    /// The names of all files on disk.
    fn on_disk(&self) -> Vec<String> {
        fn below(folder: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { below(&path, found) } else { found.push(path.display().to_string()) }
            }
        }
        let mut found = Vec::new();
        below(self.folder.path(), &mut found);
        found
    }
}

fn options(root: &Path) -> S3Options {
    S3Options {
        root: root.to_path_buf(),
        listen: None,
        access_key: "demo".to_owned(),
        secret_key: SECRET.to_owned(),
        buckets: vec!["files".to_owned(), "other".to_owned()],
    }
}

fn client(endpoint: &str, secret: &str, path_style: bool) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("demo", secret, None, None, "test"))
        .force_path_style(path_style)
        .build();
    Client::from_conf(config)
}

fn crc32(data: &[u8]) -> String {
    use base64::Engine;
    use s3s::crypto::Checksum;
    base64::engine::general_purpose::STANDARD.encode(s3s::crypto::Crc32::checksum(data))
}

#[tokio::test]
async fn an_object_comes_back_with_its_attributes_and_checksum() {
    let s3 = Fixture::start().await;
    let put = s3.client.put_object().bucket("files").key("ema/1/Patient_1.ndjson");
    let put = put.content_type("application/fhir+ndjson").content_encoding("gzip").cache_control("no-store");
    let put = put.metadata("run", "7").body(ByteStream::from_static(LINES)).send().await.unwrap();
    assert_eq!(put.checksum_crc32(), Some(crc32(LINES).as_str()));

    let got = s3.client.get_object().bucket("files").key("ema/1/Patient_1.ndjson");
    let got = got.checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
    assert_eq!(got.content_type(), Some("application/fhir+ndjson"));
    assert_eq!(got.content_encoding(), Some("gzip"));
    assert_eq!(got.cache_control(), Some("no-store"));
    assert_eq!(got.metadata().unwrap()["run"], "7");
    assert_eq!(got.e_tag(), put.e_tag());
    assert_eq!(got.checksum_crc32(), put.checksum_crc32());
    assert_eq!(got.body.collect().await.unwrap().into_bytes(), LINES);

    let head = s3.client.head_object().bucket("files").key("ema/1/Patient_1.ndjson").send().await.unwrap();
    assert_eq!(head.content_length(), Some(LINES.len() as i64));
    assert_eq!(head.e_tag(), put.e_tag());
    s3.server.stop().await;
}

#[tokio::test]
async fn a_streamed_upload_of_several_pieces_is_stored_whole() {
    let s3 = Fixture::start().await;
    let data: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &data).unwrap();
    // From a file, the SDK frames the body (aws-chunked) and sends the checksum after it.
    let body = ByteStream::from_path(file.path()).await.unwrap();
    let put = s3.client.put_object().bucket("files").key("big").body(body).send().await.unwrap();
    assert_eq!(put.checksum_crc32(), Some(crc32(&data).as_str()));
    let got = s3.client.get_object().bucket("files").key("big").send().await.unwrap();
    assert_eq!(got.content_encoding(), None);
    assert!(got.body.collect().await.unwrap().into_bytes() == data);
}

#[tokio::test]
async fn a_put_with_a_wrong_checksum_leaves_nothing() {
    let s3 = Fixture::start().await;
    let put = || s3.client.put_object().bucket("files").key("a").body(ByteStream::from_static(LINES));
    let wrong_crc = put().checksum_crc32(crc32(b"something else")).send().await.unwrap_err();
    assert_eq!(wrong_crc.code(), Some("BadDigest"));
    let wrong_sha =
        put().checksum_sha256("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").send().await.unwrap_err();
    assert_eq!(wrong_sha.code(), Some("BadDigest"));
    let wrong_md5 = put().content_md5("AAAAAAAAAAAAAAAAAAAAAA==").send().await.unwrap_err();
    assert_eq!(wrong_md5.code(), Some("BadDigest"));
    let get = s3.client.get_object().bucket("files").key("a").send().await.unwrap_err();
    assert_eq!(get.code(), Some("NoSuchKey"));
    assert_eq!(s3.on_disk(), Vec::<String>::new());
}

#[tokio::test]
async fn a_put_that_must_not_replace_is_refused_where_an_object_is() {
    let s3 = Fixture::start().await;
    let put = |data| s3.client.put_object().bucket("files").key("a").body(ByteStream::from_static(data));
    put(b"first").if_none_match("*").send().await.unwrap();
    let refused = put(b"second").if_none_match("*").send().await.unwrap_err();
    assert_eq!(refused.code(), Some("PreconditionFailed"));
    assert_eq!(refused.raw_response().unwrap().status().as_u16(), 412);
    let get = || s3.client.get_object().bucket("files").key("a");
    assert_eq!(get().send().await.unwrap().body.collect().await.unwrap().into_bytes(), "first");
    put(b"third").send().await.unwrap();
    assert_eq!(get().send().await.unwrap().body.collect().await.unwrap().into_bytes(), "third");
    assert_eq!(s3.on_disk().len(), 1);
}

#[tokio::test]
async fn no_key_leads_into_another_bucket() {
    let s3 = Fixture::start().await;
    s3.client
        .put_object()
        .bucket("other")
        .key("x")
        .body(ByteStream::from_static(LINES))
        .send()
        .await
        .unwrap();
    for key in ["../other/x", "a/../../other/x", "/other/x"] {
        let put = s3.client.put_object().bucket("files").key(key).body(ByteStream::from_static(b"evil"));
        assert_eq!(put.send().await.unwrap_err().code(), Some("InvalidArgument"), "{key}");
        let get = s3.client.get_object().bucket("files").key(key).send().await.unwrap_err();
        assert_eq!(get.code(), Some("InvalidArgument"), "{key}");
        let object = ObjectIdentifier::builder().key(key).build().unwrap();
        let delete = Delete::builder().objects(object).build().unwrap();
        let done = s3.client.delete_objects().bucket("files").delete(delete).send().await.unwrap();
        assert_eq!(done.errors()[0].code(), Some("InvalidArgument"), "{key}");
    }
    let kept = s3.client.get_object().bucket("other").key("x").send().await.unwrap();
    assert_eq!(kept.body.collect().await.unwrap().into_bytes(), LINES);
}

#[tokio::test]
async fn a_missing_bucket_is_not_made_by_a_put() {
    let s3 = Fixture::start().await;
    let put = s3.client.put_object().bucket("missing").key("a").body(ByteStream::from_static(LINES));
    assert_eq!(put.send().await.unwrap_err().code(), Some("NoSuchBucket"));
    s3.client.head_bucket().bucket("missing").send().await.unwrap_err();
    s3.client.create_bucket().bucket("missing").send().await.unwrap();
    s3.client.head_bucket().bucket("missing").send().await.unwrap();
}

#[tokio::test]
async fn a_listing_is_paged_and_deleted_objects_leave_no_folders() {
    let s3 = Fixture::start().await;
    let mut expected: Vec<String> = (0..25).map(|n| format!("ema/{}/Patient_{n}.ndjson", n % 4)).collect();
    expected.sort();
    for key in &expected {
        s3.put(key, LINES).await;
    }
    s3.put("other", LINES).await;
    let list = s3.client.list_objects_v2().bucket("files").prefix("ema/").max_keys(10);
    let mut pages = list.into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        assert!(page.contents().len() <= 10);
        assert!(page.contents().iter().all(|object| object.size() == Some(LINES.len() as i64)));
        found.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
    }
    assert_eq!(found, expected);

    let objects = found.iter().map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
    let delete = Delete::builder().set_objects(Some(objects.collect())).build().unwrap();
    let done = s3.client.delete_objects().bucket("files").delete(delete).send().await.unwrap();
    assert_eq!((done.deleted().len(), done.errors().len()), (25, 0));
    s3.client.delete_object().bucket("files").key("other").send().await.unwrap();
    s3.client.delete_object().bucket("files").key("other").send().await.unwrap();
    assert!(std::fs::read_dir(s3.folder.path().join("files")).unwrap().next().is_none());
}

#[tokio::test]
async fn a_presigned_url_serves_the_whole_or_a_range_and_no_other_method() {
    let s3 = Fixture::start().await;
    s3.put("a", b"0123456789").await;
    let url = s3.get_url("a").await;
    let http = reqwest::Client::new();
    let whole = http.get(&url).send().await.unwrap();
    assert_eq!(whole.headers()["content-length"], "10");
    assert_eq!(whole.text().await.unwrap(), "0123456789");
    for (range, expected, content_range) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-1", "9", "bytes 9-9/10"),
    ] {
        let part = http.get(&url).header("range", range).send().await.unwrap();
        assert_eq!(part.status(), 206, "{range}");
        assert_eq!(part.headers()["content-range"], content_range);
        assert_eq!(part.text().await.unwrap(), expected);
    }
    assert_eq!(http.get(&url).header("range", "bytes=10-").send().await.unwrap().status(), 416);
    assert_eq!(http.head(&url).send().await.unwrap().status(), 403);
    assert_eq!(http.put(&url).body("evil").send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_presigned_url_with_an_authorization_header_is_refused() {
    let s3 = Fixture::start().await;
    s3.put("a", LINES).await;
    let url = s3.get_url("a").await;
    let refused = reqwest::Client::new().get(&url).bearer_auth("token").send().await.unwrap();
    assert_eq!(refused.status(), 400);
    let body = refused.text().await.unwrap();
    assert!(body.contains("<Code>InvalidArgument</Code>"), "{body}");
    assert!(body.contains("Only one auth mechanism allowed"), "{body}");
}

#[tokio::test]
async fn an_expired_or_altered_url_is_refused() {
    let s3 = Fixture::start().await;
    s3.put("a", LINES).await;
    s3.put("b", LINES).await;
    let past = SystemTime::now() - Duration::from_secs(30);
    let lifetime =
        PresigningConfig::builder().start_time(past).expires_in(Duration::from_secs(10)).build().unwrap();
    let expired = s3.client.get_object().bucket("files").key("a").presigned(lifetime).await.unwrap();
    let refused = reqwest::get(expired.uri()).await.unwrap();
    assert_eq!(refused.status(), 403);
    let body = refused.text().await.unwrap();
    assert!(body.contains("AccessDenied") && body.contains("Request has expired"), "{body}");

    let url = s3.get_url("a").await;
    let altered = url.replacen("/files/a", "/files/b", 1);
    assert_ne!(url, altered);
    assert_eq!(reqwest::get(altered).await.unwrap().status(), 403);
    let unsigned = url.split('?').next().unwrap();
    assert_eq!(reqwest::get(unsigned).await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_wrong_secret_is_refused() {
    let s3 = Fixture::start().await;
    let stranger = client(&s3.server.endpoint(), "guessed", true);
    let refused = stranger.list_objects_v2().bucket("files").send().await.unwrap_err();
    assert_eq!(refused.code(), Some("SignatureDoesNotMatch"));
}

#[tokio::test]
async fn a_bucket_may_be_named_in_the_host() {
    let s3 = Fixture::start().await;
    s3.put("a", LINES).await;
    let address = s3.server.address();
    let by_host = client(&format!("http://localhost:{}", address.port()), SECRET, false);
    let lifetime = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let url = by_host.get_object().bucket("files").key("a").presigned(lifetime).await.unwrap();
    assert!(url.uri().starts_with("http://files.localhost:"), "{}", url.uri());
    let http = reqwest::Client::builder().resolve("files.localhost", address).build().unwrap();
    assert_eq!(http.get(url.uri()).send().await.unwrap().bytes().await.unwrap(), LINES);
}

#[tokio::test]
async fn a_stopped_server_listens_no_more_and_its_objects_are_served_by_the_next() {
    let s3 = Fixture::start().await;
    s3.put("a", LINES).await;
    let address = s3.server.address();
    s3.server.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    let next = S3Server::start(options(s3.folder.path())).await.unwrap();
    let client = client(&next.endpoint(), SECRET, true);
    let got = client.get_object().bucket("files").key("a").send().await.unwrap();
    assert_eq!(got.body.collect().await.unwrap().into_bytes(), LINES);
}

#[tokio::test]
async fn an_address_outside_the_machine_and_a_bad_bucket_name_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = S3Options { listen: Some("0.0.0.0:0".parse().unwrap()), ..options(folder.path()) };
    assert!(matches!(S3Server::start(open).await, Err(Error::NotLoopback(_))));
    let bad = S3Options { buckets: vec!["../up".to_owned()], ..options(folder.path()) };
    assert!(matches!(S3Server::start(bad).await, Err(Error::BucketName(_))));
}

#[test]
fn debug_output_hides_the_secret() {
    let shown = format!("{:?}", options(Path::new("/tmp")));
    assert!(shown.contains("demo") && !shown.contains(SECRET), "{shown}");
}
