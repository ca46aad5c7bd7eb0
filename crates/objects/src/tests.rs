//! Against a real S3 protocol server, through sockets.

use std::time::Duration;

use bytes::Bytes;
use headgate_local::s3::{S3Options, S3Server};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const NDJSON: &str = "application/fhir+ndjson";

struct Fixture {
    objects: Objects,
    server: S3Server,
    _root: TempDir,
}

async fn start(change: impl FnOnce(&mut S3Config)) -> Fixture {
    let root = tempfile::tempdir().unwrap();
    let server = S3Server::start(S3Options {
        root: root.path().to_path_buf(),
        listen: None,
        access_key: "key".to_owned(),
        secret_key: "hushhush".to_owned(),
        buckets: vec!["files".to_owned()],
    })
    .await
    .unwrap();
    let mut config = S3Config {
        endpoint: Some(server.endpoint()),
        region: "us-east-1".to_owned(),
        bucket: "files".to_owned(),
        path_style: true,
        sign_payload: false,
        keys: Some(Keys {
            access_key_id: "key".to_owned(),
            secret_access_key: SecretString::from("hushhush".to_owned()),
        }),
        links: Duration::ZERO,
    };
    change(&mut config);
    Fixture { objects: Objects::connect(config).await.unwrap(), server, _root: root }
}

impl Fixture {
    async fn put(&self, key: &str, text: &str) {
        let crc32 = crc32fast::hash(text.as_bytes());
        self.objects.put(key, Bytes::copy_from_slice(text.as_bytes()), NDJSON, None, crc32).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_put_is_there_with_its_checksum_signed_or_not() {
    for sign_payload in [false, true] {
        let fixture = start(|config| config.sign_payload = sign_payload).await;
        fixture.put("ema/1/a/patient_1.ndjson", "{}\n").await;
        let head = fixture.objects.head("ema/1/a/patient_1.ndjson").await.unwrap();
        assert_eq!(head, Some(Head { bytes: 3, crc32: Some(crc32fast::hash(b"{}\n")) }));
        assert_eq!(fixture.objects.head("ema/1/a/patient_2.ndjson").await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_body_that_does_not_fit_its_checksum_is_not_stored() {
    let fixture = start(|_| {}).await;
    let wrong =
        fixture.objects.put("ema/1/a/patient_1.ndjson", Bytes::from_static(b"{}\n"), NDJSON, None, 1).await;
    assert!(matches!(wrong, Err(ObjectError::Refused { status: 400, .. })), "{wrong:?}");
    assert_eq!(fixture.objects.head("ema/1/a/patient_1.ndjson").await.unwrap(), None);
}

#[tokio::test]
async fn deleting_a_prefix_takes_all_of_it_and_nothing_else() {
    let fixture = start(|_| {}).await;
    for n in 0..1001 {
        fixture.put(&format!("ema/1/a/patient_{n}.ndjson"), "{}\n").await;
    }
    fixture.put("ema/1/a1/patient_1.ndjson", "{}\n").await;
    fixture.put("ema/10/a/patient_1.ndjson", "{}\n").await;
    assert_eq!(fixture.objects.delete_prefix("ema/1/a/").await.unwrap(), 1001);
    assert_eq!(fixture.objects.delete_prefix("ema/1/a/").await.unwrap(), 0);
    let left = fixture.objects.list("ema/", 10).await.unwrap();
    assert_eq!(left, ["ema/1/a1/patient_1.ndjson", "ema/10/a/patient_1.ndjson"]);
}

#[tokio::test]
async fn a_prefix_that_may_cover_more_than_meant_is_refused() {
    let fixture = start(|_| {}).await;
    fixture.put("ema/1/a/patient_1.ndjson", "{}\n").await;
    for wide in ["", "/", "ema", "ema/", "ema/1", "ema//", "/1/"] {
        let refused = fixture.objects.delete_prefix(wide).await;
        assert!(matches!(refused, Err(ObjectError::Prefix)), "{wide}: {refused:?}");
    }
    assert_eq!(fixture.objects.list("", 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_link_works_without_credentials_until_it_expires() {
    let fixture = start(|_| {}).await;
    fixture.put("ema/1/a/patient_1.ndjson", "{}\n").await;
    let signer = async |seconds| fixture.objects.signer(Duration::from_secs(seconds)).await.unwrap();
    let short = signer(1).await.get("ema/1/a/patient_1.ndjson");
    let (get, head) = {
        let signer = signer(600).await;
        (signer.get("ema/1/a/patient_1.ndjson"), signer.head("ema/1/a/patient_1.ndjson"))
    };
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(reqwest::get(&short).await.unwrap().status(), 403);
    let answer = reqwest::get(&get).await.unwrap();
    assert_eq!(answer.headers()["content-type"], NDJSON);
    assert_eq!(answer.text().await.unwrap(), "{}\n");
    let client = reqwest::Client::new();
    assert_eq!(client.head(&head).send().await.unwrap().headers()["content-length"], "3");
    assert_eq!(client.head(&get).send().await.unwrap().status(), 403, "a link is good for one method only");
}

#[tokio::test]
async fn a_link_is_good_for_its_own_object_only() {
    let fixture = start(|_| {}).await;
    fixture.put("ema/1/a/patient_1.ndjson", "{}\n").await;
    fixture.put("ema/2/a/patient_1.ndjson", "{}\n").await;
    let link = fixture.objects.signer(Duration::from_secs(60)).await.unwrap().get("ema/1/a/patient_1.ndjson");
    assert_eq!(reqwest::get(link.replace("ema/1", "ema/2")).await.unwrap().status(), 403);
    assert_eq!(reqwest::Client::new().delete(&link).send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_link_to_nothing_does_not_list_the_bucket() {
    let fixture = start(|_| {}).await;
    fixture.put("ema/1/a/patient_1.ndjson", "{}\n").await;
    let link = fixture.objects.signer(Duration::from_secs(60)).await.unwrap().get("");
    assert_eq!(reqwest::get(&link).await.unwrap().status(), 404);
}

#[tokio::test]
async fn the_bucket_may_stand_in_the_host_name() {
    let fixture = start(|config| {
        config.path_style = false;
        let port = config.endpoint.as_deref().and_then(|e| e.rsplit(':').next()).unwrap().to_owned();
        config.endpoint = Some(format!("http://localhost:{port}"));
    })
    .await;
    let link = fixture.objects.signer(Duration::from_secs(60)).await.unwrap().get("ema/1/a/patient_1.ndjson");
    assert!(link.starts_with("http://files.localhost:"), "the host does not hold the bucket");
}

#[tokio::test]
async fn a_bucket_that_is_missing_is_created_once() {
    let fixture = start(|config| config.bucket = "further".to_owned()).await;
    assert_eq!(fixture.objects.check().await.unwrap_err().status(), Some(404));
    fixture.objects.ensure_bucket().await.unwrap();
    fixture.objects.ensure_bucket().await.unwrap();
    fixture.objects.check().await.unwrap();
}

#[tokio::test]
async fn errors_tell_what_may_pass_and_hold_no_secret() {
    let fixture = start(|config| {
        config.keys = Some(Keys {
            access_key_id: "key".to_owned(),
            secret_access_key: SecretString::from("wronghush".to_owned()),
        });
    })
    .await;
    let body = || Bytes::from_static(b"{}\n");
    let refused =
        fixture.objects.put("ema/1/a/x", body(), NDJSON, None, crc32fast::hash(b"{}\n")).await.unwrap_err();
    assert!(!refused.is_transient() && refused.status() == Some(403), "{refused}");
    fixture.server.stop().await;
    let away =
        fixture.objects.put("ema/1/a/x", body(), NDJSON, None, crc32fast::hash(b"{}\n")).await.unwrap_err();
    assert!(away.is_transient(), "{away}");
    for error in [&refused, &away] {
        let text = format!("{error} {error:?}");
        assert!(!text.contains("hush") && !text.contains("Signature="), "{text}");
    }
}

/// A server that refuses everything to everybody, with this code where an answer has a body.
async fn refusing(code: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = vec![0; 16 * 1024];
                let length = stream.read(&mut request).await.unwrap();
                let body = match request[..length].starts_with(b"HEAD") {
                    true => String::new(),
                    false => format!("<Error><Code>{code}</Code></Error>"),
                };
                let answer = format!(
                    "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
        }
    });
    endpoint
}

#[tokio::test]
async fn a_bucket_that_may_not_be_asked_for_as_a_whole_is_there_for_who_is_known() {
    for (code, known) in
        [("AccessDenied", true), ("InvalidAccessKeyId", false), ("SignatureDoesNotMatch", false)]
    {
        let endpoint = refusing(code).await;
        let fixture = start(|config| config.endpoint = Some(endpoint)).await;
        match fixture.objects.check().await {
            Ok(access) => assert!(known && access == Access::Part, "{code}: {access:?}"),
            Err(error) => assert!(!known && error.to_string().contains(code), "{code}: {error}"),
        }
    }
}
